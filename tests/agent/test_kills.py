"""The ends that an agent can come to: every row of the table, and what is told of the turn that was cut."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory

import pytest

from acp_agent.chat.rpc import PeerGone
from sessions.trajectory import PENDING
from tests.agent.bad_states import ENDED, Ended, When, Who
from tests.agent.driver import Agent, Json, World, checkpoint_report, comes_true, never, settled
from tests.agent.processes import commands_in, end_orphans, harnesses
from tests.agent.proof import assert_replay_equals, promise_holds, prompts, said

pytestmark = pytest.mark.anyio

FIRST, SECOND = "My name is Ada.", "I like engines."


async def two_turns(agent: Agent, world: World) -> str:
    """A session with two finished turns."""
    session_id = await agent.new(world.workspace)
    for number, text in enumerate((FIRST, SECOND), 1):
        answer = await agent.prompt(session_id, text)
        assert answer["stopReason"] == "end_turn"
        report = checkpoint_report(answer)
        assert (report["turn"], report["durable"]) == (number, True)
    return session_id


async def cut(agent: Agent, session_id: str, text: str, *, when: str, seen: object) -> None:
    """Send a prompt and kill the agent as soon as something was seen."""
    assert callable(seen)
    turn = asyncio.create_task(agent.prompt(session_id, text))
    await agent.until(seen)
    assert not turn.done(), f"the turn ended before it could be killed {when}"
    await agent.kill()
    with suppress(PeerGone):
        await turn


@pytest.mark.parametrize("ended", ENDED, ids=lambda ended: ended.name)
async def test_every_end_is_told_as_it_is(world: World, ended: Ended) -> None:
    async def choose(_: Json) -> str | None:
        if ended.when is When.QUESTION:
            await asyncio.Event().wait()
        return "allow_once"

    finished = [FIRST, SECOND]
    try:
        async with world.agent() as agent:
            session_id = await two_turns(agent, world)
            agent.choose = choose
            turn = None
            if ended.when.prompt is not None:
                turn = asyncio.create_task(settled(agent.prompt(session_id, ended.when.prompt)))
                await reached(ended.when, world, agent)
            live = agent.shown()
            await end(ended, agent, session_id)
            if turn is not None:
                with suppress(PeerGone):
                    await turn
        async with world.agent() as agent:
            report = await agent.load(session_id, world.workspace)
            assert said(report) == ended.said, report
            if ended.who is Who.GROUP and ended.signal is SIGKILL:
                assert_replay_equals(live, agent.shown())
            assert prompts(agent.shown()) == [*finished, ended.when.prompt] if turn else finished
            request = await promise_holds(world, agent, session_id, report, finished=finished)
            assert (request.turns[-1].note is None) == (turn is None)
            again = await agent.load(session_id, world.workspace)
            assert (again["reason"], again["turns"]) == ("verified", ended.said.turns + 1)
    finally:
        end_orphans(world)


async def reached(when: When, world: World, agent: Agent) -> None:
    """Wait for a moment of the turn that runs."""
    before = len(agent.text())
    if when in (When.ANSWER, When.AFTER_EDIT):
        await agent.until(lambda: len(agent.text()) > before + 40)
    elif when is When.QUESTION:
        await agent.until(lambda: len(agent.questions) == 1)
    else:
        # The client sees a command as running a moment before there is a process.
        await comes_true(lambda: any("sleep 300" in command for command in commands_in(world)))


async def end(ended: Ended, agent: Agent, session_id: str) -> None:
    """Send the signal, and wait until who got it is gone."""
    if ended.who is Who.GROUP:
        os.killpg(agent.process.pid, ended.signal)
    elif ended.who is Who.AGENT:
        os.kill(agent.process.pid, ended.signal)
    else:
        (harness,) = harnesses(session_id)
        harness.send_signal(ended.signal)
        await comes_true(lambda: not harnesses(session_id))
        return
    await agent.process.exited()


async def test_in_a_streamed_answer(world: World) -> None:
    text = "!stream 400 20"
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        shown_before = len(agent.text())
        await cut(
            agent, session_id, text, when="while streaming", seen=lambda: len(agent.text()) > shown_before + 40
        )
        live = agent.shown()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        interrupted = report["interrupted"]
        assert isinstance(interrupted, dict)
        assert interrupted["turn"] == 3
        assert [item["kind"] for item in objects(interrupted["unfinished"])] == ["message"]
        assert_replay_equals(live, agent.shown())
        assert prompts(agent.shown()) == [FIRST, SECOND, text]
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        assert request.turns[-1].note is not None
        assert "interrupted" in request.turns[-1].note
        # The note has been delivered: the turn after it carries none, and no replay shows it.
        await agent.prompt(session_id, "And now?")
        assert world.model.requests[-1].turns[-1].note is None
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["reason"] == "verified"
        assert not any("acp-agent-note" in text for text in prompts(agent.shown()))


@pytest.mark.parametrize("leftovers", ["end", "report"])
async def test_in_a_running_command(world: World, leftovers: str) -> None:
    text = "!run_command sleep 300"
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        turn = asyncio.create_task(agent.prompt(session_id, text))
        await agent.until(lambda: any(update.get("status") == "in_progress" for update in agent.updates()))
        # The client sees a command as running a moment before there is a process, and nothing announces that.
        while not any("sleep 300" in command for command in commands_in(world)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await agent.kill()
        with suppress(PeerGone):
            await turn
        live = agent.shown()
    try:
        async with world.agent("--leftovers", leftovers) as agent:
            report = await agent.load(session_id, world.workspace)
            assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
            interrupted = report["interrupted"]
            assert isinstance(interrupted, dict)
            (unfinished,) = objects(interrupted["unfinished"])
            assert (unfinished["kind"], unfinished["title"]) == ("execute", "`sleep 300`")
            assert unfinished["state"] == ("ended" if leftovers == "end" else "running")
            orphans = objects(report["orphans"])
            assert orphans
            assert all("sleep 300" in str(orphan["command"]) for orphan in orphans), "the new harness is none"
            assert len(harnesses(session_id)) == 1
            assert all(orphan["ended"] is (leftovers == "end") for orphan in orphans)
            assert any("sleep 300" in command for command in commands_in(world)) is (leftovers == "report")
            assert "sleep 300" in str(report["summary"])
            assert_replay_equals(live, agent.shown())
            request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
            assert request.turns[-1].note is not None
            assert "sleep 300" in request.turns[-1].note
    finally:
        end_orphans(world)


async def test_command_that_was_allowed_but_had_not_begun_never_runs(world: World) -> None:
    text = "!run_command touch started.txt"
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        await cut(
            agent,
            session_id,
            text,
            when="before the command ran",
            seen=lambda: any(update.get("status") == "in_progress" for update in agent.updates()),
        )
    # Whether the harness had begun it when the signal came is chance (`tests.sessions.test_trim` leaves nothing to
    # chance); if it had not, it must never begin.
    pending = status_of_last_step(world, session_id) == PENDING
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        await agent.prompt(session_id, "Nothing else?")
        assert not (pending and (world.workspace / "started.txt").exists())
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["reason"] == "verified"


async def test_while_a_permission_question_is_open(world: World) -> None:
    text = "!write_to_file secret.txt hello"

    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        agent.choose = never
        await cut(agent, session_id, text, when="while asking", seen=lambda: len(agent.questions) == 1)
        live = agent.shown()
    assert not (world.workspace / "secret.txt").exists()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        interrupted = report["interrupted"]
        assert isinstance(interrupted, dict)
        (unfinished,) = objects(interrupted["unfinished"])
        assert (unfinished["kind"], unfinished["title"]) == ("edit", "Write secret.txt")
        assert (unfinished["state"], unfinished["detail"]) == ("not_applied", str(world.workspace / "secret.txt"))
        assert "was not applied" in str(report["summary"])
        assert_replay_equals(live, agent.shown())
        assert not agent.questions, "a load asks nothing again"
        await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
    assert not (world.workspace / "secret.txt").exists()


async def test_killed_again_before_the_note_was_delivered(world: World) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        await cut(agent, session_id, "!stream 400 20", when="", seen=lambda: "word" in agent.text()[-200:])
    for _ in range(2):
        async with world.agent() as agent:
            report = await agent.load(session_id, world.workspace)
            assert report["reason"] == "interrupted"
            await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        assert request.turns[-1].note is not None


def objects(value: object) -> list[Json]:
    """A JSON array of objects."""
    assert isinstance(value, list)
    assert all(isinstance(item, dict) for item in value)
    return value


def status_of_last_step(world: World, session_id: str) -> int:
    """The status of the newest row that a killed harness left."""
    with TemporaryDirectory() as folder:
        for path in world.trajectory(session_id).parent.glob(f"{session_id}.db*"):
            shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / f"{session_id}.db")) as database:
            (status,) = database.execute("SELECT status FROM steps ORDER BY idx DESC LIMIT 1").fetchone()
    assert isinstance(status, int)
    return status
