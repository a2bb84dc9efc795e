"""The promise, checked at the model endpoint: what every test of a resume ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from acp_agent.chat.transcript import Item, Message, Role, ToolCall
from acp_agent.offline.model_request import ModelRequest
from sessions.primer import carried_turns
from tests.agent.bad_states import Said
from tests.agent.driver import Agent, Json, World

QUESTION = "What do you remember?"


async def ask_model(world: World, agent: Agent, session_id: str) -> ModelRequest:
    """Send one more prompt; the request that the model received for it."""
    before = len(world.model.requests)
    await agent.prompt(session_id, QUESTION)
    return world.model.requests[before]


async def promise_holds(
    world: World, agent: Agent, session_id: str, report: Json, *, finished: Sequence[str]
) -> ModelRequest:
    """Assert that the model's next request holds exactly what the report says, and every finished turn.

    Args:
        world: where the model is.
        agent: an agent that has just loaded the session.
        session_id: the session.
        report: what the load reported.
        finished: the prompts of the turns that had been answered and not been given up for lost.
    """
    request = await ask_model(world, agent, session_id)
    *earlier, last = request.user_turns
    assert last == QUESTION
    primed = carried_turns(request.system)
    assert len(primed) == report["turnsPrimed"], request.system
    earlier = [*primed, *earlier]
    assert len(earlier) == report["turnsInContext"], (earlier, report)
    assert earlier[: len(finished)] == list(finished)
    turns, lost, summarised = (report[name] for name in ("turns", "turnsLost", "turnsSummarised"))
    assert isinstance(turns, int)
    assert isinstance(lost, int)
    assert isinstance(summarised, int)
    assert turns - lost - summarised == len(earlier)
    return request


def without_prompts(items: Sequence[Item]) -> list[Item]:
    """A transcript without the user's messages, which a live client is not sent."""
    return [item for item in items if not (isinstance(item, Message) and item.role is Role.USER)]


def prompts(items: Sequence[Item]) -> list[str]:
    """The texts of the user's messages."""
    return [item.text for item in items if isinstance(item, Message) and item.role is Role.USER]


def assert_replay_equals(live: Sequence[Item], replayed: Sequence[Item]) -> None:
    """Assert that a replay shows what was shown live.

    Where the agent was killed two differences are right. Everything is journalled before it is sent, so the last
    message may be longer in the replay by what had not reached the pipe yet. And what was running has been closed.
    """
    shown, again = without_prompts(live), without_prompts(replayed)
    if shown and again and isinstance(shown[-1], Message) and isinstance(again[-1], Message):
        last, last_again = shown[-1], again[-1]
        assert last_again.text.startswith(last.text)
        assert len(last_again.text) - len(last.text) <= len("word 1000 ")
        shown[-1] = replace(last, content=last_again.content)
    assert [_as_ended(item) for item in shown] == [_as_ended(item) for item in again]


def _as_ended(item: Item) -> Item:
    if isinstance(item, ToolCall) and item.status in ("pending", "in_progress"):
        return replace(item, status="failed", content=(), fields={})
    if isinstance(item, ToolCall) and "Interrupted: the agent was stopped" in str(item.content):
        return replace(item, status="failed", content=(), fields={})
    return item


def said(report: Json) -> Said:
    """What a report says, as the table has it."""
    counts = [report[name] for name in ("turns", "turnsInContext", "turnsLost", "turnsPrimed")]
    turns, in_context, lost, primed = (count for count in counts if isinstance(count, int))
    return Said(str(report["outcome"]), str(report["reason"]), turns, in_context, lost, primed)
