"""MCP servers from the client: real ones over stdio and HTTP, their questions, failures and secrets."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from acp_agent.chat.transcript import ToolCall
from sessions.checkpoint import newest_first, restore
from sessions.store import Store
from tests.agent.driver import Json, World, comes_true
from tests.agent.processes import harnesses
from tests.agent.proof import promise_holds

pytestmark = pytest.mark.anyio

SECRET = "s3cr3t-of-the-weather"
TOKEN = "t0ken-of-the-weather-service"
SCRIPT = str(Path(__file__).with_name("mcp_server.py"))


def call(server: str, tool: str, arguments: str) -> str:
    return f'!call call_mcp_tool {{"ServerName": "{server}", "ToolName": "{tool}", "Arguments": {arguments}}}'


CALL = call("my_weather", "temperature", '{"town": "Riga"}')


def stdio(name: str = "my weather", *command: str) -> Json:
    """A server as a client names it; a space is not allowed in the SDK's name of it."""
    program, *arguments = command or (sys.executable, SCRIPT)
    env: list[Json] = [{"name": "WEATHER_KEY", "value": SECRET}]
    return {"name": name, "command": program, "args": [*arguments], "env": [*env]}


def http(name: str, port: int, token: str) -> Json:
    header: Json = {"name": "Authorization", "value": f"Bearer {token}"}
    return {"type": "http", "name": name, "url": f"http://127.0.0.1:{port}/mcp", "headers": [header]}


@contextmanager
def served() -> Iterator[int]:
    """A server over HTTP; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with subprocess.Popen([sys.executable, SCRIPT, str(port), TOKEN]) as process:
        try:
            yield port
        finally:
            process.kill()


async def listening(port: int) -> None:
    def answers() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    await comes_true(answers)


async def test_tools_over_stdio_and_http_ask_run_and_leave_no_secret(world: World) -> None:
    with served() as port:
        await listening(port)
        servers: list[Json] = [stdio(), http("remote", port, TOKEN)]
        where: Json = {"cwd": str(world.workspace), "mcpServers": [*servers]}
        prompts = [
            CALL,
            call("remote", "temperature", '{"town": "Oslo"}'),
            call("remote", "forecast", '{"days": 2}'),
            call("my_weather", "fail", '{"why": "no clouds"}'),
        ]
        async with world.agent("--log-level", "debug") as agent:
            session_id = str((await agent.call("session/new", where))["sessionId"])
            for prompt in prompts:
                await agent.prompt(session_id, prompt)
            assert len(agent.questions) == len(prompts)
            assert "Riga: 21 degrees, key present" in agent.text()
            assert "Oslo: 21 degrees, key present" in agent.text()
            assert "An MCP server failed" not in agent.text()
            calls = [item for item in agent.shown() if isinstance(item, ToolCall)]
            assert [call.status for call in calls] == ["completed", "completed", "completed", "failed"]
            assert calls[1].title.startswith("remote: temperature")
            await agent.kill()
        async with world.agent() as agent:
            result = await agent.call("session/load", {"sessionId": session_id, **where})
            meta = result["_meta"]
            assert isinstance(meta, dict)
            report = meta["acp-agent/resume"]
            assert isinstance(report, dict)
            await promise_holds(world, agent, session_id, report, finished=prompts)
            log = "\n".join(await agent.end())
    for secret in (SECRET, TOKEN):
        assert secret not in log
        for path in world.data_dir.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    # Checkpoints are compressed, so what they hold is looked at after restoring one.
    with Store(world.data_dir).open(session_id) as session:
        restored = world.root / "restored.db"
        restore(session, newest_first(session)[0], restored)
        assert SECRET.encode() not in restored.read_bytes()
        assert TOKEN.encode() not in restored.read_bytes()


async def test_servers_that_cannot_be_had_are_told_and_break_nothing(world: World) -> None:
    with socket.socket() as nobody, served() as port:
        nobody.bind(("127.0.0.1", 0))
        await listening(port)
        servers = [
            stdio("good"),
            stdio("missing", "/nonexistent/server"),
            stdio("dies", "false"),
            stdio("babbles", "echo", "hello"),
            http("unreachable", nobody.getsockname()[1], TOKEN),
            http("locked", port, "another token"),
        ]
        async with world.agent() as agent:
            where: Json = {"cwd": str(world.workspace), "mcpServers": [*servers]}
            session_id = str((await agent.call("session/new", where))["sessionId"])
            assert (await agent.prompt(session_id, call("good", "temperature", '{"town": "Riga"}')))["stopReason"]
            assert "Riga: 21 degrees" in agent.text()
            await agent.prompt(session_id, "And now?")
            told = [update for update in agent.updates() if "acp-agent/mcp" in str(update.get("_meta"))]
            said = {str(update["_meta"]["acp-agent/mcp"]["server"]): str(update["content"]) for update in told}  # type: ignore[index, call-overload]
            assert set(said) == {"missing", "dies", "babbles", "unreachable", "locked"}
            assert "No such file" in said["missing"]
            assert "ended (exit status 1)" in said["dies"]
            assert "refused to begin" in said["locked"]
            assert TOKEN not in str(said)
            # Nothing that was started outlives the session.
            (harness,) = harnesses(session_id)
            started = harness.children(recursive=True)
            assert started
            await agent.call("session/close", {"sessionId": session_id})
            await comes_true(lambda: not any(process.is_running() for process in started))


BAD: list[tuple[object, str]] = [
    ({"type": "sse", "name": "x", "url": "http://127.0.0.1:9/", "headers": []}, "unsupported_mcp_transport"),
    ({"type": "carrier pigeon", "name": "x"}, "unsupported_mcp_transport"),
    ({"junk": 1}, "invalid_mcp_server"),
    (7, "invalid_mcp_server"),
    ({"name": " ", "command": "x", "args": [], "env": []}, "invalid_mcp_server"),
    ({"name": "x", "command": "", "args": [], "env": []}, "invalid_mcp_server"),
    ({"name": "x", "command": "x", "args": [1], "env": []}, "invalid_mcp_server"),
    ({"name": "x", "command": "x\0", "args": [], "env": []}, "invalid_mcp_server"),
    ({"name": "x", "command": "x", "args": [], "env": {"KEY": SECRET}}, "invalid_mcp_server"),
    ({"name": "x", "command": "x", "args": [], "env": [{"name": SECRET}]}, "invalid_mcp_server"),
    ({"type": "http", "name": "x", "url": "file:///etc/passwd", "headers": []}, "invalid_mcp_server"),
    ({"type": "http", "name": "x", "url": "http://", "headers": []}, "invalid_mcp_server"),
    (
        {"type": "http", "name": "x", "url": "http://h/", "headers": [{"name": "a", "value": "b\r\nc: d"}]},
        "invalid_mcp_server",
    ),
]


async def test_what_cannot_be_a_server_or_a_folder_is_refused_before_anything_is_made(world: World) -> None:
    async with world.agent() as agent:
        for server, reason in BAD:
            new: Json = {"cwd": str(world.workspace), "mcpServers": [server]}  # type: ignore[list-item]
            error = await agent.refused("session/new", new)
            assert error.code == -32602, server
            assert isinstance(error.data, dict)
            assert error.data["reason"] == reason, server
            assert SECRET not in str(error.data)
        many: Json = {"cwd": str(world.workspace), "mcpServers": [stdio(f"s{number}") for number in range(65)]}
        assert (await agent.refused("session/new", many)).code == -32602
        for folders in (["relative"], [1], "text", [str(world.root / "nowhere")], ["/a\0b"]):
            new = {"cwd": str(world.workspace), "mcpServers": [], "additionalDirectories": folders}  # type: ignore[dict-item]
            assert (await agent.refused("session/new", new)).code == -32602, folders
        assert (await agent.call("session/list", {}))["sessions"] == []


async def test_additional_directories_are_those_of_the_last_request(world: World) -> None:
    folders = [world.root / name for name in ("second", "third")]
    for folder in folders:
        folder.mkdir()
        (folder / "note.txt").write_text(f"kept in {folder.name}")
    where: Json = {"cwd": str(world.workspace), "mcpServers": []}
    first: list[str] = [str(folders[0]), str(world.workspace), str(folders[0])]
    async with world.agent("--mode", "auto-edit") as agent:
        assert agent.initialized["agentCapabilities"]["sessionCapabilities"]["additionalDirectories"] == {}  # type: ignore[index, call-overload]
        new = await agent.call("session/new", {**where, "additionalDirectories": [*first]})
        session_id = str(new["sessionId"])
        await agent.prompt(
            session_id, f"!view_file {folders[0] / 'note.txt'}\n!write_to_file {folders[0] / 'new.txt'} x"
        )
        assert set(world.model.requests[-1].workspaces) == {str(world.workspace), str(folders[0])}
        assert agent.questions == []
        listed = (await agent.call("session/list", {}))["sessions"]
        assert isinstance(listed, list)
        assert [entry["additionalDirectories"] for entry in listed if isinstance(entry, dict)] == [
            [str(folders[0])]
        ]
        await agent.kill()
    for given in ([folders[1]], [], folders):
        async with world.agent() as agent:
            load = {"sessionId": session_id, **where, "additionalDirectories": [str(folder) for folder in given]}
            result = await agent.call("session/load", load)  # type: ignore[arg-type]
            report = result["_meta"]["acp-agent/resume"]  # type: ignore[index, call-overload]
            assert (report["outcome"], report["turnsLost"]) == ("resumed", 0)  # type: ignore[index, call-overload]
            await agent.prompt(session_id, "Where are you?")
            request = world.model.requests[-1]
            assert set(request.workspaces) == {str(world.workspace), *map(str, given)}
            assert len(request.user_turns) == report["turnsInContext"] + 1  # type: ignore[index, call-overload, operator]
