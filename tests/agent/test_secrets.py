"""No secret on disk: the data folder, the log and the trace after a session with an API key and MCP secrets."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs
import pytest

from acp_agent.chat.process import AgentProcess
from acp_agent.chat.rpc import PeerGone
from sessions import checkpoint
from sessions.store import Store
from tests.agent.driver import Agent, Chooser, Json, World, resume_report
from tests.agent.proof import promise_holds

pytestmark = pytest.mark.anyio

API_KEY = "AIza-the-key-of-the-engine-0123456789"
MCP_SECRET = "s3cr3t-of-the-weather-station"
SECRETS = (API_KEY.encode(), MCP_SECRET.encode())
CALL = '!call call_mcp_tool {"ServerName": "weather", "ToolName": "temperature", "Arguments": {"town": "Riga"}}'
FAILING = "!fail 400 The key is not valid."


@asynccontextmanager
async def agent(world: World, log: Path) -> AsyncIterator[Agent]:
    """An agent with a key and all of its standard error in a file."""
    keyed = replace(world, endpoint=("--gemini-url", world.model.gemini_url, "--model", "offline"))
    logged = ("--log-file", str(world.root / "agent.log"), "--trace", str(world.root / "trace"))
    command = keyed.command("--log-level", "debug", *logged)
    process = await AgentProcess.start(("sh", "-c", 'exec "$@" 2>>"$0"', str(log), *command), world.workspace)
    started = Agent(process)
    try:
        await started.initialize()
        yield started
    finally:
        await started.stop()


def opening(world: World) -> Json:
    """The parameters of a new or loaded session."""
    script = str(Path(__file__).with_name("mcp_server.py"))
    env: list[Json] = [{"name": "WEATHER_KEY", "value": MCP_SECRET}]
    server: Json = {"name": "weather", "command": sys.executable, "args": [script], "env": list(env)}
    return {"cwd": str(world.workspace), "mcpServers": [server]}


async def a_life_with_everything(world: World, log: Path) -> str:
    """A session with an MCP call, an edit, a failed turn, a kill in a turn, and a recovery."""
    async with agent(world, log) as first:
        session_id = str((await first.call("session/new", opening(world)))["sessionId"])
        await first.prompt(session_id, CALL)
        assert "Riga: 21 degrees, key present" in first.text()
        await first.prompt(session_id, "!write_to_file engine.txt steam\n!run_command echo steam")
        await first.refused(
            "session/prompt", {"sessionId": session_id, "prompt": [{"type": "text", "text": FAILING}]}
        )
        with suppress(PeerGone):
            first.choose = killer(first)
            await first.prompt(session_id, "!run_command echo never")
    load: Json = {"sessionId": session_id, **opening(world)}
    async with agent(world, log) as second:
        report = resume_report(await second.call("session/load", load))
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        await second.prompt(session_id, CALL)
        await second.kill()
    world.trajectory(session_id).write_bytes(b"garbage" * 5000)
    async with agent(world, log) as third:
        report = resume_report(await third.call("session/load", load))
        assert report["outcome"] == "recovered"
        await promise_holds(world, third, session_id, report, finished=[CALL])
        await third.prompt(session_id, CALL)
        assert third.text().count("key present") == 3, "the server has its environment after a recovery too"
    return session_id


def killer(victim: Agent) -> Chooser:
    """Answers a question by killing the agent."""

    async def choose(_: Json) -> str | None:
        victim.process.kill_group()
        return None

    return choose


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the agent's environment."""
    monkeypatch.setenv("GEMINI_API_KEY", API_KEY)


@pytest.mark.usefixtures("keyed")
async def test_no_secret_is_in_the_data_folder_or_the_log_and_files_are_private(world: World) -> None:
    log = world.root / "log"
    session_id = await a_life_with_everything(world, log)
    said = log.read_bytes()
    assert b"DEBUG" in said, "the log is the detailed one"
    assert not [secret for secret in SECRETS if secret in said]
    for kept, found in ((world.root / "agent.log", b"level=debug"), (world.root / "trace", b"WEATHER_KEY")):
        written = kept.read_bytes()
        assert found in written, "the detailed one, and what is no secret is kept"
        assert not [secret for secret in SECRETS if secret in written], kept
    searched = 0
    for path in files(world.data_dir):
        for content in contents(path):
            searched += 1
            assert not [secret for secret in SECRETS if secret in content], path
    assert searched > 100
    with Store(world.data_dir).open(session_id) as session:
        for stored in checkpoint.newest_first(session):
            with TemporaryDirectory() as folder:
                checkpoint.restore(session, stored, Path(folder) / "restored.db")
                for path in files(Path(folder)):
                    for content in contents(path):
                        assert not [secret for secret in SECRETS if secret in content], stored
    runtime = platformdirs.user_runtime_path("acp-agent", appauthor=False) / session_id
    assert not runtime.exists(), "the servers' environments are removed in the end"
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [world.data_dir, *world.data_dir.rglob("*")]}
    wrong = {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)}
    assert not wrong, "what the harness makes is made private when it is closed"


@pytest.mark.usefixtures("keyed")
async def test_the_search_finds_what_is_there(world: World) -> None:
    async with agent(world, world.root / "log") as first:
        session_id = str((await first.call("session/new", opening(world)))["sessionId"])
        await first.prompt(session_id, f"My key is {API_KEY}.")
    written = (world.root / "trace").read_text()
    assert "My key is [hidden]." in written
    assert API_KEY not in written
    where = {path for path in files(world.data_dir) for content in contents(path) if API_KEY.encode() in content}
    folder = world.session_folder(session_id)
    assert {folder / "store.db", world.trajectory(session_id)} <= where


def files(folder: Path) -> Iterator[Path]:
    """All files in a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def contents(path: Path) -> Iterator[bytes]:
    """What a file holds: its bytes, and for a database every value, decompressed if it was compressed."""
    content = path.read_bytes()
    yield content
    if not content.startswith(b"SQLite format 3\0"):
        return
    with TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(path.with_name(path.name + suffix), Path(folder) / f"copy{suffix}")
        with closing(sqlite3.connect(Path(folder) / "copy")) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                for row in db.execute(f'SELECT * FROM "{table}"'):  # noqa: S608
                    for value in row:
                        if isinstance(value, bytes):
                            yield value
                            with suppress(zlib.error):
                                yield zlib.decompress(value)
                        elif value is not None:
                            yield str(value).encode()
