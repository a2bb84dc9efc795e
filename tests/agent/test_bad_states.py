"""Every bad state of the trajectory that a load can meet: recovered, with its reason, and nothing thrown away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from acp_agent.chat.transcript import Item
from tests.agent.driver import Agent, Json, World
from tests.agent.proof import assert_replay_equals, promise_holds

pytestmark = pytest.mark.anyio

PROMPTS = ["My name is Ada.", "!write_to_file engine.txt steam", "I like engines."]


@dataclass(frozen=True, slots=True)
class BadState:
    """A way to break a trajectory, and what a load must say about it.

    `kill` ends the agent by SIGKILL, so that the write-ahead log is still there to be broken.
    """

    name: str
    reason: str
    damage: Callable[[Path], None]
    kill: bool = False


def remove(database: Path) -> None:
    for path in files_of(database):
        path.unlink()


def empty(database: Path) -> None:
    database.write_bytes(b"")


def garbage(database: Path) -> None:
    database.write_bytes(os.urandom(database.stat().st_size))


def halve(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def drop_log(database: Path) -> None:
    wal = database.with_name(database.name + "-wal")
    assert wal.stat().st_size > 0, "a killed harness leaves its log"
    wal.unlink()


def rename_inside(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE trajectory_meta SET trajectory_id = ?, cascade_id = ?", ("f" * 32, "f" * 32))
    connection.close()


def plain_sqlite(database: Path) -> None:
    remove(database)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()


def alter_a_step(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        (payload,) = connection.execute("SELECT step_payload FROM steps WHERE idx = 0").fetchone()
        assert b"Ada" in payload
        connection.execute("UPDATE steps SET step_payload = ? WHERE idx = 0", (payload.replace(b"Ada", b"Bob"),))
    connection.close()


def drop_a_step(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM steps WHERE idx = (SELECT max(idx) FROM steps)")
    connection.close()


def gap(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM steps WHERE idx = 1")
    connection.close()


def unreadable(database: Path) -> None:
    # A folder in its place: unlike a file without permissions, nobody can read it as a file, root included.
    database.unlink()
    database.mkdir()


def newer(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


STATES = [
    BadState("missing", "missing", remove),
    BadState("zero length", "empty", empty),
    BadState("garbage", "corrupt", garbage),
    BadState("truncated to half", "corrupt", halve),
    BadState("log gone after a kill", "truncated", drop_log, kill=True),
    BadState("another conversation's", "foreign", rename_inside),
    BadState("a plain SQLite file", "foreign", plain_sqlite),
    BadState("unreadable", "corrupt", unreadable),
    BadState("a checkpointed step altered", "diverged", alter_a_step),
    BadState("the last step gone", "truncated", drop_a_step),
    BadState("a step gone in the middle", "corrupt", gap),
    BadState("of a newer harness", "rejected", newer),
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
async def test_a_bad_trajectory_is_recovered(world: World, state: BadState) -> None:
    async with world.agent() as agent:
        session_id, live = await three_turns(agent, world)
        if state.kill:
            await agent.kill()
    database = world.trajectory(session_id)
    state.damage(database)
    damaged = contents(database)
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("recovered", state.reason), report
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, 3, 0)
        checkpoint = report["checkpoint"]
        assert isinstance(checkpoint, dict)
        assert checkpoint["turn"] == 3
        assert_replay_equals(live, agent.shown())
        announced = [update for update in agent.updates() if update["sessionUpdate"] == "agent_message_chunk"][-1]
        assert str(report["summary"]) in str(announced["content"])
        await promise_holds(world, agent, session_id, report, finished=PROMPTS)
    assert kept_aside(report) == damaged
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "verified", 4)


async def test_a_broken_checkpoint_falls_back_to_the_one_before(world: World) -> None:
    async with world.agent() as agent:
        session_id, _ = await three_turns(agent, world)
    remove(world.trajectory(session_id))
    with sqlite3.connect(world.session_folder(session_id) / "store.db") as store:
        store.execute(
            "UPDATE checkpoint_row SET content = x'00' WHERE seq = (SELECT max(seq) FROM checkpoint)"
            " AND content IS NOT NULL"
        )
    store.close()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("recovered", "missing")
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, 2, 1)
        request = await promise_holds(world, agent, session_id, report, finished=PROMPTS[:2])
        assert request.turns[-1].note is not None
        assert "lost from your memory" in request.turns[-1].note


async def test_nothing_usable_is_fresh_and_says_so(world: World) -> None:
    async with world.agent() as agent:
        session_id, live = await three_turns(agent, world)
    garbage(world.trajectory(session_id))
    with sqlite3.connect(world.session_folder(session_id) / "store.db") as store:
        store.execute("UPDATE checkpoint_row SET content = x'00' WHERE content IS NOT NULL")
    store.close()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("fresh", "corrupt")
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, 0, 3)
        assert_replay_equals(live, agent.shown())
        await promise_holds(world, agent, session_id, report, finished=[])
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (4, 1, 3)
        await promise_holds(world, agent, session_id, report, finished=["What do you remember?"])


async def test_require_refuses_what_is_lower_and_changes_nothing(world: World) -> None:
    async with world.agent() as agent:
        session_id, _ = await three_turns(agent, world)
    garbage(world.trajectory(session_id))
    before = contents(world.trajectory(session_id))
    params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
    async with world.agent("--require", "resumed") as agent:
        error = await agent.refused("session/load", params)
        assert error.code == -31002
        assert isinstance(error.data, dict)
        assert (error.data["sessionId"], error.data["reason"]) == (session_id, "corrupt")
        assert contents(world.trajectory(session_id)) == before
    async with world.agent("--require", "recovered") as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["outcome"] == "recovered"


async def three_turns(agent: Agent, world: World) -> tuple[str, tuple[Item, ...]]:
    """A session with three finished turns, one of them with an edit; its id and what was shown."""
    session_id = await agent.new(world.workspace)
    for text in PROMPTS:
        await agent.prompt(session_id, text)
    return session_id, agent.shown()


def files_of(database: Path) -> list[Path]:
    """The files of a database that exist: itself, its log and its shared memory."""
    names = [database.name + suffix for suffix in ("", "-wal", "-shm")]
    return [path for name in names if (path := database.with_name(name)).exists()]


def contents(database: Path) -> dict[str, bytes]:
    """The bytes of a database and its log; a folder in its place has none."""
    return {
        path.name: b"" if path.is_dir() else path.read_bytes()
        for path in files_of(database)
        if not path.name.endswith("-shm")
    }


def kept_aside(report: Json) -> dict[str, bytes]:
    """The bytes of what a load moved aside."""
    if report["movedAside"] is None:
        return {}
    folder = Path(str(report["movedAside"]))
    return {
        path.name: b"" if path.is_dir() else path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }
