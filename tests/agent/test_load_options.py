"""What a load can be told, and what it finds besides the trajectory: rollback, another folder, a lost memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.agent.bad_states import breaking_checkpoints, remove
from tests.agent.driver import Json, World
from tests.agent.proof import assert_replay_equals, promise_holds, prompts
from tests.agent.test_kills import FIRST, SECOND, cut, two_turns

pytestmark = pytest.mark.anyio

CUT = "!write_to_file done.txt hello\n!stream 400 20"


async def test_rollback_returns_to_the_checkpoint_and_names_the_files(world: World) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        before = len(agent.text())
        await cut(agent, session_id, CUT, when="", seen=lambda: len(agent.text()) > before + 40)
    done = world.workspace / "done.txt"
    assert done.exists()
    async with world.agent("--interrupted", "rollback") as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, 2, 1)
        interrupted = report["interrupted"]
        assert isinstance(interrupted, dict)
        assert interrupted["rolledBack"] is True
        assert interrupted["files"] == [{"path": str(done), "state": "applied"}]
        assert str(done) in str(report["summary"])
        assert report["movedAside"] is not None
        assert prompts(agent.shown()) == [FIRST, SECOND, CUT]
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        note = request.turns[-1].note
        assert note is not None
        assert "rolled back" in note
        assert str(done) in note
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["reason"], report["turns"], report["turnsLost"]) == ("verified", 4, 1)


async def test_rollback_of_the_first_turn_begins_anew(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await cut(agent, session_id, "!stream 400 20", when="", seen=lambda: len(agent.text()) > 40)
    async with world.agent("--interrupted", "rollback") as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (1, 0, 1)
        await promise_holds(world, agent, session_id, report, finished=[])


@pytest.mark.parametrize("there", [True, False], ids=["another folder", "a folder that is gone"])
async def test_a_changed_folder_is_told_and_followed(world: World, tmp_path: Path, there: bool) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
    other = tmp_path / "other"
    if there:
        other.mkdir()
    async with world.agent() as agent:
        report = await agent.load(session_id, other)
        assert (report["outcome"], report["reason"]) == ("resumed", "verified")
        assert report["cwd"] == {"from": str(world.workspace), "to": str(other), "exists": there}
        assert str(other) in str(report["summary"])
        told = [update for update in agent.updates() if "acp-agent/resume" in str(update.get("_meta"))]
        assert any(update["sessionUpdate"] == "agent_message_chunk" for update in told)
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
        assert request.turns[-1].note is not None
        assert str(other) in request.turns[-1].note
        if there:
            assert str(other) in request.workspaces
            await agent.prompt(session_id, "!run_command pwd > where.txt")
            assert (other / "where.txt").read_text().strip() == str(other)
    async with world.agent() as agent:
        again = await agent.load(session_id, other)
        assert again["cwd"] is None, "the harness made the folder"
        listed = (await agent.call("session/list", {"cwd": str(other)}))["sessions"]
        assert isinstance(listed, list)
        assert [entry["sessionId"] for entry in listed if isinstance(entry, dict)] == [session_id]


async def test_a_folder_that_was_deleted_does_not_fail_a_load(world: World) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
    gone = world.root / "gone"
    world.workspace.rename(gone)
    try:
        async with World(world.root, world.model, shared_workspace=gone).agent() as agent:
            report = await agent.load(session_id, world.workspace)
            assert report["cwd"] == {"from": str(world.workspace), "to": str(world.workspace), "exists": False}
            assert "no longer exists" in str(report["summary"])
            await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
    finally:
        shutil.rmtree(world.workspace, ignore_errors=True)


async def test_a_rebuilt_conversation_keeps_its_transcript(world: World) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        live = agent.shown()
    breaking_checkpoints(remove)(world.session_folder(session_id), world.trajectory(session_id))
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["turnsInContext"], report["turnsPrimed"]) == ("rebuilt", 2, 2)
        assert "as a transcript" in str(report["summary"])
        assert_replay_equals(live, agent.shown())
        await agent.kill()
    for turns, ending in ((2, "kill"), (3, "stop"), (4, "damage")):
        async with world.agent() as agent:
            report = await agent.load(session_id, world.workspace)
            if ending == "damage":
                # What is restored brings the transcript back that belongs to it.
                assert (report["outcome"], report["reason"]) == ("recovered", "missing")
            else:
                assert (report["outcome"], report["reason"]) == ("resumed", "verified"), report
            counts = [report[name] for name in ("turns", "turnsInContext", "turnsPrimed", "turnsLost")]
            assert counts == [turns, turns, 2, 0]
            await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])
            await (agent.kill() if ending == "kill" else agent.stop())
        if ending == "stop":
            remove(world.session_folder(session_id), world.trajectory(session_id))


async def test_bad_options_are_refused_before_anything_starts(world: World) -> None:
    params: Json = {"sessionId": "f" * 32, "cwd": str(world.workspace), "mcpServers": []}
    async with world.agent("--interrupted", "rollback", "--leftovers", "report") as agent:
        assert (await agent.refused("session/load", params)).code == -32002
