"""SIGKILL to the process group, as IDEs do it, at the four moments that matter most."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from acp_agent.chat.rpc import PeerGone
from sessions.trajectory import PENDING
from tests.agent.driver import Agent, Json, World, checkpoint_report
from tests.agent.processes import commands_in, end_orphans
from tests.agent.proof import assert_replay_equals, promise_holds, prompts

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


async def test_after_a_finished_turn(world: World) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        live = agent.shown()
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "verified")
        assert (report["turns"], report["turnsInContext"], report["interrupted"]) == (2, 2, None)
        assert_replay_equals(live, agent.shown())
        assert prompts(agent.shown()) == [FIRST, SECOND]
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        assert request.turns[-1].note is None


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


async def test_in_a_running_command(world: World) -> None:
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
        async with world.agent() as agent:
            report = await agent.load(session_id, world.workspace)
            assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
            interrupted = report["interrupted"]
            assert isinstance(interrupted, dict)
            assert interrupted["unfinished"] == [{"kind": "execute", "title": "`sleep 300`"}]
            orphans = objects(report["orphans"])
            assert any("sleep 300" in str(orphan["command"]) for orphan in orphans), orphans
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

    async def never(_: Json) -> str | None:
        await asyncio.Event().wait()
        return None

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
        assert interrupted["unfinished"] == [{"kind": "edit", "title": "Write secret.txt"}]
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
