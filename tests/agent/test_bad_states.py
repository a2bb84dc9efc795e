"""Every bad state that a load can meet: told as it is, checked at the model endpoint, and nothing thrown away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from acp_agent.chat.transcript import Item
from acp_agent.offline.server import OfflineModel
from tests.agent.bad_states import DAMAGED, PROMPTS, VERIFIED, Damaged, files_of, garbage, remove
from tests.agent.driver import Json, World
from tests.agent.proof import QUESTION, assert_replay_equals, promise_holds, said

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Made:
    """A session of three finished turns: where it is, and what was shown."""

    world: World
    session_id: str
    live: tuple[Item, ...]


@dataclass(slots=True)
class Sessions:
    """Sessions that are made once, ended in order and killed, and copied for each test that damages one."""

    root: Path
    model: OfflineModel
    made: dict[bool, Made] = field(default_factory=dict)

    async def copy(self, root: Path, *, killed: bool) -> Made:
        """The session in a data folder of its own; its model and its workspace are shared."""
        if killed not in self.made:
            self.made[killed] = await self._make(killed)
        made = self.made[killed]
        world = World(root, self.model, shared_workspace=made.world.workspace)
        shutil.copytree(made.world.data_dir, world.data_dir)
        return Made(world, made.session_id, made.live)

    async def _make(self, killed: bool) -> Made:
        world = World(self.root / ("killed" if killed else "closed"), self.model)
        world.workspace.mkdir(parents=True)
        async with world.agent() as agent:
            session_id = await agent.new(world.workspace)
            for text in PROMPTS:
                await agent.prompt(session_id, text)
            if killed:
                await agent.kill()
        return Made(world, session_id, agent.shown())


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    """The sessions that the tests of this module copy."""
    with OfflineModel() as model:
        yield Sessions(tmp_path_factory.mktemp("sessions"), model)


@pytest.mark.parametrize("state", DAMAGED, ids=lambda state: state.name)
async def test_every_bad_state_is_told_as_it_is(sessions: Sessions, tmp_path: Path, state: Damaged) -> None:
    made = await sessions.copy(tmp_path, killed=state.killed)
    world, session_id = made.world, made.session_id
    state.damage(world.session_folder(session_id), world.trajectory(session_id))
    damaged = contents(world.trajectory(session_id))
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert said(report) == state.said, report
        if state.said is not VERIFIED:
            announced = [u for u in agent.updates() if u["sessionUpdate"] == "agent_message_chunk"][-1]
            assert str(report["summary"]) in str(announced["content"])
        if state.journal_kept:
            assert_replay_equals(made.live, agent.shown())
        await promise_holds(world, agent, session_id, report, finished=state.model_keeps)
        if state.said.outcome != "resumed":
            assert kept_aside(report) == damaged
        again = await agent.load(session_id, world.workspace)
        assert (again["outcome"], again["reason"]) == ("resumed", "verified"), again
        assert (again["turns"], again["turnsLost"]) == (state.said.turns + 1, state.said.lost)
        await promise_holds(world, agent, session_id, again, finished=[*state.model_keeps, QUESTION])


async def test_a_refused_load_leaves_every_byte_as_it_was(sessions: Sessions, tmp_path: Path) -> None:
    made = await sessions.copy(tmp_path, killed=True)
    world, session_id = made.world, made.session_id
    garbage(world.session_folder(session_id), world.trajectory(session_id))
    before = everything(world)
    params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
    async with world.agent("--require", "resumed") as agent:
        for method in ("session/load", "session/resume"):
            error = await agent.refused(method, params)
            assert error.code == -31002
            assert isinstance(error.data, dict)
            assert (error.data["sessionId"], error.data["reason"]) == (session_id, "corrupt")
    assert everything(world) == before
    async with world.agent("--require", "recovered") as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["outcome"] == "recovered"


async def test_a_load_without_a_harness_leaves_every_byte_as_it_was(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await sessions.copy(tmp_path, killed=True)
    world, session_id = made.world, made.session_id
    remove(world.session_folder(session_id), world.trajectory(session_id))
    before = everything(world)
    params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
    monkeypatch.setenv("ANTIGRAVITY_HARNESS_PATH", "/bin/false")
    async with world.agent() as agent:
        error = await agent.refused("session/load", params)
        assert error.code == -31006
    assert everything(world) == before
    monkeypatch.delenv("ANTIGRAVITY_HARNESS_PATH")
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["turnsInContext"]) == ("recovered", 3)


def everything(world: World) -> dict[str, bytes]:
    """Every file of a data folder, but for the locks and SQLite's scratch memory, which hold no data."""
    found = {str(path.relative_to(world.data_dir)): path for path in world.data_dir.rglob("*")}
    return {
        name: path.read_bytes() if path.is_file() else b"a folder"
        for name, path in found.items()
        if not name.endswith(("-shm", "lease", "lease.json")) and not name.startswith("catalog.db")
    }


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
