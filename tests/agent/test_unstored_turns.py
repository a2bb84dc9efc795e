"""Turns that the harness showed and did not store, which it never says: found by reading back, and told."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.agent.driver import Agent, Json, World, checkpoint_report, comes_true
from tests.agent.proof import promise_holds
from tests.agent.test_kills import FIRST, SECOND

pytestmark = pytest.mark.anyio


def told(agent: Agent) -> Json:
    """The last report of a reopened harness that the person was told."""
    metas = [update.get("_meta") for update in agent.updates() if update["sessionUpdate"] == "agent_message_chunk"]
    reports = [meta["acp-agent/resume"] for meta in metas if isinstance(meta, dict) and "acp-agent/resume" in meta]
    assert isinstance(reports[-1], dict)
    return reports[-1]


async def test_a_row_that_another_process_kept_from_being_stored(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, FIRST)
        with closing(sqlite3.connect(world.trajectory(session_id), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            turn = asyncio.create_task(agent.prompt(session_id, SECOND))
            # The harness gives up storing the prompt after 5 s, and goes on without it (facts, section 4).
            await comes_true(lambda: world.model.requests[-1].user_turns == (FIRST, SECOND))
            other.execute("ROLLBACK")
        answer = await turn
        assert answer["stopReason"] == "end_turn"
        assert "latest is" in agent.text(), "the answer reaches the user"
        checkpoint = checkpoint_report(answer)
        assert checkpoint["durable"] is False
        assert "step 2 is missing" in str(checkpoint["reason"])
        report = told(agent)
        assert (report["outcome"], report["turns"], report["turnsInContext"], report["turnsLost"]) == (
            "recovered",
            2,
            1,
            1,
        )
        request = await promise_holds(world, agent, session_id, report, finished=[FIRST])
        assert request.turns[-1].note is not None
        assert "lost from your memory" in request.turns[-1].note
    async with world.agent() as agent:
        again = await agent.load(session_id, world.workspace)
        assert (again["reason"], again["turns"], again["turnsLost"]) == ("verified", 3, 1)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 1.5 MB in the place of a folder."""
    if shutil.which("mount") is None or not mounted("size=1536k,mode=700", str(folder)):
        pytest.skip("a file system of a given size can only be mounted by root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def mounted(options: str, folder: str) -> bool:
    """Whether a file system in memory could be mounted, or mounted again, with these options."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_room(folder: Path) -> bool:
    """Whether the small file system could be made a large one."""
    return mounted("remount,size=64m", str(folder))


async def test_a_full_disk_under_the_harness(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        folder = world.trajectory(session_id).parent
        with small_disk(folder):
            answer = await agent.prompt(session_id, "!stream 60 20")
            assert answer["stopReason"] == "end_turn"
            assert "word60" in agent.text(), "the answer reaches the user"
            checkpoint = checkpoint_report(answer)
            assert checkpoint["durable"] is False
            assert "did not store" in str(checkpoint["reason"])
            (warned,) = (u for u in agent.updates() if "acp-agent/checkpoint" in str(u.get("_meta")))
            assert str(checkpoint["reason"]) in str(warned["content"])
            # The harness stored the prompt, and the answer in part: to the model the turn was cut.
            report = told(agent)
            assert (report["outcome"], report["reason"], report["turnsInContext"]) == ("resumed", "interrupted", 1)
            assert make_room(folder), "what could be mounted can be mounted larger"
            request = await promise_holds(world, agent, session_id, report, finished=["!stream 60 20"])
            assert request.turns[-1].note is not None
            again = await agent.load(session_id, world.workspace)
            assert (again["reason"], again["turns"]) == ("verified", 2)
            await promise_holds(world, agent, session_id, again, finished=["!stream 60 20"])
