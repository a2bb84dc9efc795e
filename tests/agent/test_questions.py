"""What the model asks the user: as a form, as options, and what it gets when nobody answers."""

from __future__ import annotations

import asyncio
import json

import pytest

from acp_agent.chat.rpc import PeerGone
from acp_agent.chat.transcript import ToolCall
from tests.agent.driver import Json, World, never, settled
from tests.agent.proof import assert_replay_equals

pytestmark = pytest.mark.anyio

FORMS: Json = {"elicitation": {"form": {}}}
TWO: Json = {
    "questions": [
        {"question": "Which colour?", "options": ["red", "blue"]},
        {"question": "Which size?", "options": ["small", "large"]},
    ]
}
ASK = f"!call ask_question {json.dumps(TWO)}"


def answered(world: World) -> str:
    """What the model was told that the user answered."""
    return next(message.text for message in reversed(world.model.requests[-1].messages) if message.tool_name)


async def test_a_form_is_filled_in_declined_malformed_and_withdrawn(world: World) -> None:
    async with world.agent(capabilities=FORMS) as agent:
        session_id = await agent.new(world.workspace)
        cases: list[tuple[Json, tuple[str, ...]]] = [
            (
                {"action": "accept", "content": {"q1": "choice-2", "q2": "choice-1", "q2_text": " tiny "}},
                ("blue", "tiny"),
            ),
            (
                {
                    "action": "accept",
                    "content": {"q1": "choice-9", "q2": 7, "q1_text": ["x"], "q2_text": "medium"},
                },
                ("medium",),
            ),
            ({"action": "decline"}, ()),
            ({"action": "cancel"}, ()),
            ({"action": "accept", "content": "nonsense"}, ()),
            ({"action": "accept"}, ()),
        ]
        for answer, told in cases:
            agent.form = answer
            assert (await agent.prompt(session_id, ASK))["stopReason"] == "end_turn"
            text = answered(world)
            for word in ("red", "blue", "small", "large", "tiny", "medium"):
                assert (word in text) == (word in told) or word == "small", (answer, text)
        schema = agent.forms[0]["requestedSchema"]
        assert isinstance(schema, dict)
        assert isinstance(schema["properties"], dict)
        assert list(schema["properties"]) == ["q1", "q1_text", "q2", "q2_text"]
        calls = [item for item in agent.shown() if isinstance(item, ToolCall)]
        assert [call.status for call in calls] == ["completed"] * 6
        assert "☑ blue" in str(calls[0].content)
        agent.form = None
        turn = asyncio.ensure_future(agent.prompt(session_id, ASK))
        await agent.until(lambda: len(agent.forms) == 7)
        await agent.cancel(session_id)
        assert (await turn)["stopReason"] == "cancelled"
        await agent.until(lambda: len(agent.withdrawn) == 1)
        live = agent.shown()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["turnsInContext"]) == ("resumed", 7), report["checks"]
        assert_replay_equals(live, agent.shown())


async def test_options_are_chosen_skipped_and_cut(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        chosen = iter(["choice-1", "skip"])

        async def choose(_: Json) -> str | None:
            return next(chosen)

        agent.choose = choose
        await agent.prompt(session_id, ASK)
        assert "red" in answered(world)
        assert "large" not in answered(world)
        titles = [str(question["toolCall"]["title"]) for question in agent.questions]  # type: ignore[index, call-overload]
        assert titles == ["Which colour?", "Which size?"]
        agent.choose = never
        turn = asyncio.ensure_future(settled(agent.prompt(session_id, ASK)))
        await agent.until(lambda: len(agent.questions) == 3)
        await agent.kill()
        with pytest.raises(PeerGone):
            await turn
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["reason"], report["turnsInContext"]) == ("interrupted", 2)
        assert isinstance(report["interrupted"], dict)
        assert "2 questions" in str(report["interrupted"]["unfinished"])
        await agent.prompt(session_id, "Never mind.")
        request = world.model.requests[-1]
        assert request.user_turns == (ASK, ASK, "Never mind.")
        assert request.turns[-1].note is not None
