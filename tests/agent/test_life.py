"""What a session's life says is what was reported then, and what the model received."""

from __future__ import annotations

import pytest

from acp_agent import session_page
from acp_agent.session_page.conversation import conversation
from sessions import life
from sessions.context import Turns
from sessions.events import Kind
from sessions.store import Store
from tests.agent.driver import World
from tests.lives import KILLED, cut, live

pytestmark = pytest.mark.anyio


async def test_the_life_of_a_session_is_what_happened(world: World) -> None:
    lived = await live(world)
    store = Store(world.data_dir)
    with store.open(lived.session_id) as session, life.reading(session) as found:
        assert found.unread == ()
        assert found.complete
        kinds = [event.kind for event in found.events]
        loaded = Kind.LOADED
        assert kinds == [Kind.MADE, loaded, loaded, Kind.RESTORED, loaded, Kind.FORKED, loaded]
        loads = [event for event in found.events if event.kind is loaded]
        told = [event.detail["report"] for event in loads if "again" not in event.detail]
        assert told == list(lived.reports)
        assert {event.detail["client"] for event in loads} == {"test-client"}
        assert [turn.record.turn for turn in found.turns if turn.cut] == [4, 6]
        assert found.events[5].detail == {"session": lived.fork_id, "turn": 1}

        # At the model's endpoint: each turn's prompt came with exactly the turns that are said.
        prompts = {turn.record.turn: turn.record.prompt_excerpt for turn in found.turns}
        received = [request.user_turns for request in world.model.requests]
        for turn in found.turns:
            assert turn.context is not None
            assert turn.context.turns is not None
            expected = tuple(prompts[number] for number in turn.context.turns.whole)
            assert expected in received, (turn.record.turn, expected)
        lost = {turn.record.turn: turn.context.lost for turn in found.turns if turn.context}
        assert lost == {1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 1, 8: 0}
        assert [turn.basis for turn in found.turns if turn.cut] == ["before", "before"]
        (written,) = [entry for entry in found.entries(2) if entry.kind == "tool_call"]
        seconds = life.between(written.began_at, written.ended_at)
        assert seconds is not None
        assert 0 <= seconds < 60
        assert all(turn.seconds is None for turn in found.turns if turn.record.prompt_excerpt == KILLED)

        text = session_page.render(found)
    for report in lived.reports:
        assert str(report["summary"]).replace("'", "&#39;") in text
    with store.open(lived.fork_id) as forked, life.reading(forked) as found:
        (made,) = found.events
        assert made.detail == {"as": "fork", "from": lived.session_id, "turn": 1}
        assert found.moments == (found.turns[0], made)


async def test_a_prompt_that_was_sent_before_a_compaction_came_with_what_was_there_then(world: World) -> None:
    (world.workspace / "notes.txt").write_text("".join(f"line {n} {'steam ' * 20}\n" for n in range(400)))
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        for number in range(3):
            await agent.prompt(session_id, f"{number} " + "word " * 37_000)
        looking = "Look.\n" + "\n".join(["!view_file notes.txt"] * 6)
        await agent.prompt(session_id, looking)
        await agent.prompt(session_id, "And now?")
    received = [len(request.user_turns) for request in world.model.requests if looking in request.user_turns]
    assert (received[0], received[-1]) == (4, 2), "a summary took the place of three turns in the middle"
    with Store(world.data_dir).open(session_id) as session, life.reading(session) as found:
        contexts = [turn.context.turns for turn in found.turns if turn.context]
        assert contexts[3:] == [Turns((1, 2, 3, 4), (), (), ()), Turns((4, 5), (1, 2, 3), (), ())]
        assert [turn.basis for turn in found.turns] == [*["checkpoint"] * 3, "compacted", "checkpoint"]
        assert "Later in the turn the harness put a summary" in session_page.render(found)


async def test_a_turn_has_the_note_that_the_model_got_with_its_prompt(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        await cut(agent, session_id)
    # It is told at both loads, and the model has it once.
    for _ in range(2):
        async with world.agent() as agent:
            assert (await agent.load(session_id, world.workspace))["reason"] == "interrupted"
            await agent.kill()
    async with world.agent() as agent:
        await agent.load(session_id, world.workspace)
        await agent.prompt(session_id, "three")
        await cut(agent, session_id)
    # What a load told and nobody delivered is not told any more after a rewind.
    async with world.agent() as agent:
        await agent.load(session_id, world.workspace)
        await agent.prompt(session_id, "/rewind 1")
        await agent.prompt(session_id, "five")
    delivered = {request.turns[-1].prompt: request.turns[-1].note for request in world.model.requests}
    with Store(world.data_dir).open(session_id) as session, life.reading(session) as found:
        said = {turn.title: " ".join(turn.notes) or None for turn in conversation(found)}
        assert "For the model" in session_page.render(found)
    assert said["three"] is not None
    assert said["five"] is not None
    assert {prompt: said[prompt] for prompt in ("one", "three", "five")} == {
        prompt: delivered[prompt] for prompt in ("one", "three", "five")
    }
