"""What the disk must hold after untoward events: what was cut, what was told of it, and what a store refused."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from acp_agent.chat.rpc import PeerGone, RpcError
from acp_agent.chat.transcript import Item, Message, Output, Role, ToolCall
from sessions.trajectory import FINISHED
from tests.agent.bad_states import Damage, empty, remove
from tests.agent.driver import (
    WAIT_SECONDS,
    Agent,
    Json,
    World,
    checkpoint_report,
    comes_true,
    resume_report,
    settled,
)
from tests.agent.processes import commands_in, end_orphans, harnesses
from tests.agent.proof import assert_replay_equals, promise_holds, prompts
from tests.agent.test_kills import FIRST, SECOND, cut, objects, two_turns
from tests.agent.test_untoward import STREAM, cut_in_an_answer, load_request

pytestmark = pytest.mark.anyio


# --- What is told of a turn that was cut --------------------------------------------------------------------


async def test_note_survives_a_prompt_that_never_reached_the_harness(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, FIRST)
        turn = asyncio.create_task(settled(agent.prompt(session_id, STREAM)))
        await agent.until(lambda: "word" in agent.text())
        (harness,) = harnesses(session_id)
        harness.kill()
        assert isinstance(await turn, RpcError)
        # It has been opened again, and ends once more. So this prompt needs a new harness; its cancellation is
        # there long before that is open.
        (harness,) = harnesses(session_id)
        harness.kill()
        await comes_true(lambda: not harnesses(session_id))
        answer, _ = await asyncio.gather(agent.prompt(session_id, "Never mind."), agent.cancel(session_id))
        assert answer["stopReason"] == "cancelled"
        await agent.prompt(session_id, SECOND)
        request = world.model.requests[-1]
        assert request.user_turns == (FIRST, STREAM, SECOND), "the cancelled prompt was not sent"
        note = request.turns[-1].note
        assert note is not None
        assert "turn 2" in note
        assert "interrupted" in note


async def test_note_that_the_model_has_got_is_not_sent_again(world: World) -> None:
    session_id = await cut_in_an_answer(world)
    async with world.agent() as agent:
        await agent.load(session_id, world.workspace)
        before = len(agent.text())
        await cut(agent, session_id, STREAM, when="", seen=lambda: len(agent.text()) > before + 40)
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
    notes = [turn.note or "" for turn in request.turns]
    assert [note.count("was interrupted") for note in notes] == [0, 0, 0, 1, 1]
    assert "turn 3" in notes[3]
    assert "turn 4" in notes[4]
    assert "turn 3" not in notes[4]


async def test_what_was_unfinished_is_said_at_every_load_until_the_next_turn(world: World) -> None:
    try:
        async with world.agent() as agent:
            session_id = await two_turns(agent, world)
            turn = asyncio.create_task(agent.prompt(session_id, "!run_command sleep 304"))
            await comes_true(lambda: runs(world, "sleep 304"))
            await agent.kill()
            with suppress(PeerGone):
                await turn
        ended = False
        for _ in range(3):
            async with world.agent() as agent:
                report = await agent.load(session_id, world.workspace)
                assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
                interrupted = report["interrupted"]
                assert isinstance(interrupted, dict)
                (unfinished,) = objects(interrupted["unfinished"])
                assert (unfinished["kind"], unfinished["title"]) == ("execute", "`sleep 304`")
                assert unfinished["state"] == ("gone" if ended else "ended")
                ended = True
                (call,) = (item for item in agent.shown() if isinstance(item, ToolCall))
                assert call.status == "failed"
                assert "Interrupted" in str(call.content)
                await agent.kill()
        async with world.agent() as agent:
            report = await agent.load(session_id, world.workspace)
            request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
            assert request.turns[-1].note is not None
            assert request.turns[-1].note.count("The command `sleep 304` was") == 1
    finally:
        end_orphans(world)


def runs(world: World, text: str) -> bool:
    """Whether there is a process for a command; the client sees it as running a moment before."""
    return any(text in command for command in commands_in(world))


@pytest.mark.parametrize("stopped_in", ["the command", "the answer"])
async def test_turn_that_ended_while_the_agent_was_stopped_is_shown_whole(world: World, stopped_in: str) -> None:
    text = "!run_command while [ ! -e go ]; do sleep 0.02; done; echo the engine runs\n!stream 60 20"
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        turn = asyncio.create_task(agent.prompt(session_id, text))
        await comes_true(lambda: runs(world, "-e go"))
        if stopped_in == "the answer":
            (world.workspace / "go").touch()
            await agent.until(lambda: "word5" in agent.text())
        os.kill(agent.process.pid, signal.SIGSTOP)
        (world.workspace / "go").touch()
        # Nobody is told of what the harness does now; its database shows it.
        await comes_true(lambda: whole_turns(world, session_id) == 3)
        await agent.kill()
        with suppress(PeerGone):
            await turn
        assert "word60" not in agent.text()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "ahead")
        assert (report["turns"], report["turnsInContext"], report["interrupted"]) == (3, 3, None)
        shown = agent.shown()
        assert prompts(shown) == [FIRST, SECOND, text]
        (call,) = (item for item in shown if isinstance(item, ToolCall))
        assert call.status == "completed"
        assert any(isinstance(part, Output) and "the engine runs" in part.text for part in call.content), call
        assert isinstance(shown[-1], Message)
        assert shown[-1].role is Role.AGENT
        assert shown[-1].text == " ".join(f"word{number}" for number in range(1, 61))
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["reason"] == "verified"
        assert agent.shown() == shown
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND, text])
        assert request.turns[-1].note is None


def whole_turns(world: World, session_id: str) -> int:
    """How many turns the harness has stored to their end; 0 while it is in the middle of one."""
    with closing(sqlite3.connect(f"file:{world.trajectory(session_id)}?mode=ro", uri=True)) as database:
        statuses = {status for (status,) in database.execute("SELECT status FROM steps")}
        (ends,) = database.execute("SELECT count(*) FROM executor_metadata").fetchone()
    return int(ends) if statuses <= FINISHED else 0


@pytest.mark.parametrize("damage", [remove, empty])
async def test_loss_is_counted_at_every_load_and_moves_files_only_once(world: World, damage: Damage) -> None:
    session_id = await cut_in_an_answer(world)
    damage(world.session_folder(session_id), world.trajectory(session_id))
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["outcome"] == "recovered"
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, 2, 1)
        await agent.kill()
    aside = world.session_folder(session_id) / "aside"
    kept = sorted(aside.rglob("*"))
    for _ in range(2):
        async with world.agent() as agent:
            report = await agent.load(session_id, world.workspace)
            assert (report["outcome"], report["reason"]) == ("resumed", "verified")
            assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, 2, 1)
            assert report["movedAside"] is None
            assert sorted(aside.rglob("*")) == kept
            await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        assert request.turns[-1].note is not None
        assert request.turns[-1].note.count("lost from your memory") == 1


# --- A store that refuses -----------------------------------------------------------------------------------


@contextmanager
def locked(world: World, session_id: str) -> Iterator[None]:
    """Another process is writing the session's store, and takes its time."""
    store = world.session_folder(session_id) / "store.db"
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("locked_from", ["the beginning", "the middle"])
async def test_store_locked_in_the_first_prompt(world: World, locked_from: str) -> None:
    text = "!stream 60 20"
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        with ExitStack() as stack:
            if locked_from == "the beginning":
                stack.enter_context(locked(world, session_id))
            turn = asyncio.create_task(agent.prompt(session_id, text))
            await agent.until(lambda: "word" in agent.text())
            if locked_from == "the middle":
                stack.enter_context(locked(world, session_id))
            answer = await turn
        assert answer["stopReason"] == "end_turn"
        refused = checkpoint_report(answer)
        assert refused["durable"] is False
        assert isinstance(refused["reason"], str)
        (told,) = (update for update in agent.updates() if "acp-agent/checkpoint" in str(update.get("_meta")))
        assert refused["reason"] in str(told["content"])
        report = checkpoint_report(await agent.prompt(session_id, SECOND))
        assert (report["turn"], report["durable"]) == (2, True)
        live = agent.shown()
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "verified", 2)
        assert prompts(agent.shown()) == [text, SECOND]
        assert_replay_equals(live, agent.shown())
        await promise_holds(world, agent, session_id, report, finished=[text, SECOND])


async def test_data_folder_that_cannot_be_written(world: World) -> None:
    # A file in its place: unlike a folder without permissions, nobody can write in it, root included.
    world.data_dir.write_text("in the way")
    async with world.agent() as agent:
        error = await agent.refused("session/new", {"cwd": str(world.workspace), "mcpServers": []})
        assert error.code == -31007
        await settled(agent.call("session/list", {}))
        world.data_dir.unlink()
        session_id = await agent.new(world.workspace)
        assert checkpoint_report(await agent.prompt(session_id, FIRST))["durable"] is True


async def test_load_of_a_locked_store(world: World) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
    async with world.agent() as agent:
        with locked(world, session_id):
            answer = await settled(load_request(agent, world, session_id))
        if isinstance(answer, RpcError):
            assert answer.code == -31007
        else:
            assert resume_report(answer)["reason"] == "verified"
        report = await agent.load(session_id, world.workspace)
        assert (report["reason"], report["turns"]) == ("verified", 2)
        await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])


async def one_durable_turn_and_one_not(world: World, agent: Agent) -> str:
    """A session whose second turn could not be checkpointed; the store refuses no more."""
    session_id = await agent.new(world.workspace)
    assert checkpoint_report(await agent.prompt(session_id, FIRST))["durable"] is True
    with locked(world, session_id):
        assert checkpoint_report(await agent.prompt(session_id, SECOND))["durable"] is False
    return session_id


@pytest.mark.parametrize("then", ["session/close", "session/load", "end of input"])
async def test_turn_that_was_refused_is_stored_as_soon_as_it_can_be(world: World, then: str) -> None:
    async def load_holds_both(agent: Agent, live: tuple[Item, ...]) -> None:
        agent.received.clear()
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["turnsLost"], report["interrupted"]) == ("resumed", 0, None)
        assert (report["turns"], report["turnsInContext"]) == (2, 2)
        assert prompts(agent.shown()) == [FIRST, SECOND]
        assert_replay_equals(live, agent.shown())
        await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])

    async with world.agent() as agent:
        session_id = await one_durable_turn_and_one_not(world, agent)
        live = agent.shown()
        if then == "session/close":
            assert await agent.call("session/close", {"sessionId": session_id}) == {}
        if then != "end of input":
            await load_holds_both(agent, live)
            return
    async with world.agent() as agent:
        await load_holds_both(agent, live)


async def test_nothing_is_said_to_be_kept_of_a_turn_that_the_harness_never_got(world: World) -> None:
    async with world.agent() as agent:
        session_id = await one_durable_turn_and_one_not(world, agent)
        (harness,) = harnesses(session_id)
        harness.suspend()
        turn = asyncio.create_task(agent.prompt(session_id, "And now?"))
        # Nothing is sent to the client at the beginning of a turn; the status shows that it has begun.
        status: Json = {"sessionId": session_id}
        async with asyncio.timeout(WAIT_SECONDS):
            while (await agent.call("_acp-agent/session_status", status))["turns"] != 3:
                pass
        await agent.kill()
        with suppress(PeerGone):
            await turn
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, 2, 1)
        interrupted = report["interrupted"]
        assert isinstance(interrupted, dict)
        assert interrupted["turn"] == 3
        assert "kept" not in str(report["summary"])
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        assert request.turns[-1].note is not None
        assert "That turn is not in this conversation." in request.turns[-1].note


async def test_damaged_store_does_not_hide_the_other_sessions(world: World) -> None:
    async with world.agent() as agent:
        sound = [await agent.new(world.workspace) for _ in range(2)]
        damaged = await agent.new(world.workspace)
    (world.session_folder(damaged) / "store.db").write_bytes(b"garbage" * 1000)
    async with world.agent() as agent:
        listed = (await agent.call("session/list", {}))["sessions"]
        assert isinstance(listed, list)
        assert all(isinstance(entry, dict) and isinstance(entry["cwd"], str) for entry in listed), listed
        ids = {entry["sessionId"] for entry in listed if isinstance(entry, dict)}
        assert set(sound) <= ids
        error = await agent.refused("_acp-agent/session_status", {"sessionId": damaged})
        assert error.code == -31005
        # Nothing is left of it, and nobody can say that nothing was: it is not taken for a new session.
        report = await agent.load(damaged, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("fresh", "missing", 0)
        assert "damaged" in str(report["summary"])
