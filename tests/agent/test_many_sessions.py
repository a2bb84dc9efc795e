"""Several sessions in one process, harnesses that are given up while idle, and harnesses that are stuck."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress

import psutil
import pytest

from acp_agent.chat.rpc import PeerGone, RpcError
from sessions.leftovers import MARKER_VARIABLE
from tests.agent.driver import World, comes_true, never, resume_report
from tests.agent.processes import harnesses
from tests.agent.test_untoward import FOR_EVER, Starts

pytestmark = pytest.mark.anyio

STREAM = "!stream 4000 20"


def running(session_ids: Sequence[str]) -> list[str]:
    """The sessions that hold a harness."""
    return [session_id for session_id in session_ids if harnesses(session_id)]


def stop(session_id: str) -> psutil.Process:
    """Make a session's harness stuck: it lives, and does nothing any more."""
    (harness,) = harnesses(session_id)
    harness.send_signal(signal.SIGSTOP)
    return harness


def started(session_id: str) -> list[psutil.Process]:
    """What has been started for a session and is stuck before it is a harness."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED and process.environ().get(MARKER_VARIABLE) == session_id:
                found.append(process)
    return found


async def test_idle_sessions_hold_no_harness_and_forget_nothing(world: World) -> None:
    async with world.agent("--hibernate", "0.2") as agent:
        sessions = [await agent.new(world.workspace) for _ in range(5)]
        assert running(sessions) == []
        for number, session_id in enumerate(sessions):
            await agent.prompt(session_id, f"My number is {number}.")
        # One that works stays awake, however long that takes.
        working = asyncio.ensure_future(agent.prompt(sessions[0], STREAM))
        await comes_true(lambda: running(sessions) == sessions[:1])
        for number, session_id in enumerate(sessions[1:], start=1):
            await agent.prompt(session_id, "What is my number?")
            assert world.model.requests[-1].user_turns == (f"My number is {number}.", "What is my number?")
        await agent.cancel(sessions[0])
        assert (await working)["stopReason"] == "cancelled"
        await comes_true(lambda: running(sessions) == [])
        # Nobody is told of what went well, and what crosses with it does no harm.
        assert "[" not in agent.text()
        await agent.prompt(sessions[0], "And mine?")
        assert world.model.requests[-1].user_turns == ("My number is 0.", STREAM, "And mine?")
        await comes_true(lambda: running(sessions) == [])
        together = [agent.prompt(session_id, "All at once.") for session_id in sessions]
        assert [answer["stopReason"] for answer in await asyncio.gather(*together)] == ["end_turn"] * 5
        await agent.call("session/close", {"sessionId": sessions[0]})
        await agent.load(sessions[0], world.workspace)
        await comes_true(lambda: running(sessions) == [])
        report = await agent.load(sessions[0], world.workspace)
        assert (report["reason"], report["turnsInContext"]) == ("verified", 4)


async def test_a_stuck_session_delays_no_other_and_is_cancelled(world: World) -> None:
    async with world.agent() as agent:
        stuck, other, new = [await agent.new(world.workspace) for _ in range(3)]
        await agent.prompt(stuck, "My name is Ada.")
        await agent.prompt(other, "My name is Bob.")
        hanging = asyncio.ensure_future(agent.prompt(stuck, STREAM))
        await agent.until(lambda: "word5 " in agent.text())
        stop(stuck)
        # All of this is done before the stuck prompt is answered.
        await agent.prompt(other, "Who am I?")
        assert world.model.requests[-1].user_turns == ("My name is Bob.", "Who am I?")
        streaming = asyncio.ensure_future(agent.prompt(other, STREAM))
        await agent.until(lambda: agent.text().count("word5 ") == 2)
        await agent.cancel(other)
        assert (await streaming)["stopReason"] == "cancelled"
        await agent.prompt(new, "Hello.")
        await agent.call("session/close", {"sessionId": new})
        assert not hanging.done()
        await agent.cancel(stuck)
        answer = await hanging
        assert answer["stopReason"] == "cancelled"
        assert harnesses(stuck) == []
        # At the next prompt it is opened again, and the cut turn reported.
        before = len(agent.updates())
        await agent.prompt(stuck, "Go on.")
        told = [update for update in agent.updates()[before:] if "acp-agent/resume" in str(update.get("_meta"))]
        report = resume_report(told[0])
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        request = world.model.requests[-1]
        assert request.user_turns == ("My name is Ada.", STREAM, "Go on.")
        assert report["turnsInContext"] == 2
        assert request.turns[-1].note is not None


async def test_a_harness_that_is_stuck_at_its_start_delays_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts.watched(world, monkeypatch)
    async with world.agent() as agent:
        stuck, other, last = [await agent.new(world.workspace) for _ in range(3)]
        await agent.prompt(other, "My name is Bob.")
        starts.then(failures=FOR_EVER, how="hangs")
        opening = asyncio.ensure_future(agent.prompt(stuck, "My name is Ada."))
        await comes_true(lambda: len(started(stuck)) == 1)
        # All of this is done while the other is being opened.
        streaming = asyncio.ensure_future(agent.prompt(other, STREAM))
        await agent.until(lambda: "word5 " in agent.text())
        await agent.cancel(other)
        assert (await streaming)["stopReason"] == "cancelled"
        assert not opening.done()
        (waiting,) = started(stuck)
        await agent.cancel(stuck)
        assert (await opening)["stopReason"] == "cancelled"
        assert started(stuck) == [waiting], "the prompt was answered only when the start was given up"
        # Whoever closes it does not wait for that either, and leaves nothing behind.
        await agent.call("session/close", {"sessionId": stuck})
        assert starts.count == 1
        assert started(stuck) == []
        starts.then(failures=0)
        report = await agent.load(stuck, world.workspace)
        assert (report["reason"], report["turnsInContext"]) == ("never_prompted", 0)
        await agent.prompt(stuck, "Who am I?")
        assert world.model.requests[-1].user_turns == ("Who am I?",)
        # The end of the process does not wait either.
        starts.then(failures=FOR_EVER, how="hangs")
        unanswered = asyncio.ensure_future(agent.prompt(last, "Hello."))
        await comes_true(lambda: len(started(last)) == 1)
    with pytest.raises((PeerGone, RpcError)):
        await unanswered
    assert started(last) == []


async def test_a_harness_that_dies_while_it_asks_withdraws_the_question(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "My name is Ada.")
        agent.choose = never
        prompt = asyncio.ensure_future(agent.prompt(session_id, "!write_to_file a.txt A"))
        await agent.until(lambda: len(agent.questions) == 1)
        (harness,) = harnesses(session_id)
        harness.kill()
        with pytest.raises(RpcError) as failed:
            await prompt
        assert failed.value.code == -31006
        assert agent.withdrawn == agent.questions
        assert isinstance(failed.value.data, dict)
        report = resume_report(failed.value.data)
        await agent.prompt(session_id, "Go on.")
        request = world.model.requests[-1]
        assert len(request.user_turns[:-1]) == report["turnsInContext"]
        assert request.turns[-1].note is not None
        assert not (world.workspace / "a.txt").exists()


async def test_a_harness_that_is_stuck_is_found_out(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "My name is Ada.")
        prompt = asyncio.ensure_future(agent.prompt(session_id, f"!write_to_file a.txt A\n{STREAM}"))
        await agent.until(lambda: "word5 " in agent.text())
        stop(session_id)
        with pytest.raises(RpcError) as failed:
            await prompt
        assert failed.value.code == -31006
        data = failed.value.data
        assert isinstance(data, dict)
        assert "does not answer" in str(data["details"])
        # It is open again already; what was finished of the turn is kept, and the user has been told.
        report = resume_report(data)
        assert (report["reason"], report["turnsInContext"]) == ("interrupted", 2)
        assert str(report["summary"]) in str(agent.updates()[-1])
        assert len(harnesses(session_id)) == 1
        assert (world.workspace / "a.txt").read_text() == "A\n"
        await agent.prompt(session_id, "Who am I?")
        request = world.model.requests[-1]
        assert len(request.user_turns) == 3
        assert any("a.txt" in message.text for message in request.messages if message.tool_name)
        assert request.turns[-1].note is not None


async def test_a_model_that_never_answers_is_given_up_and_a_user_who_thinks_is_not(world: World) -> None:
    asked = asyncio.Event()

    async def think(_: object) -> str | None:
        asked.set()
        await comes_true(lambda: bool(world.model.requests[-1].user_turns[-1] == "!stall"))
        return "allow_once"

    async with world.agent("--silence", "0.5") as agent:
        first, second = [await agent.new(world.workspace) for _ in range(2)]
        agent.choose = think
        thinking = asyncio.ensure_future(agent.prompt(first, "!run_command echo done"))
        await asked.wait()
        with pytest.raises(RpcError) as failed:
            await agent.prompt(second, "!stall")
        assert failed.value.code == -31006
        assert isinstance(failed.value.data, dict)
        assert "Nothing has come from the model" in str(failed.value.data["details"])
        assert (await thinking)["stopReason"] == "end_turn"
        await agent.prompt(second, "And now?")
        assert world.model.requests[-1].user_turns == ("!stall", "And now?")
