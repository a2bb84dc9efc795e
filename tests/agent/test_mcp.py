"""MCP servers from the client: a real one over stdio, its permission question, and its secret."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sessions.checkpoint import newest_first, restore
from sessions.store import Store
from tests.agent.driver import Json, World
from tests.agent.proof import promise_holds

pytestmark = pytest.mark.anyio

SECRET = "s3cr3t-of-the-weather"
CALL = '!call call_mcp_tool {"ServerName": "my_weather", "ToolName": "temperature", "Arguments": {"town": "Riga"}}'


def server() -> Json:
    """The server as a client names it; a space is not allowed in the SDK's name of it."""
    script = str(Path(__file__).with_name("mcp_server.py"))
    env: list[Json] = [{"name": "WEATHER_KEY", "value": SECRET}]
    return {"name": "my weather", "command": sys.executable, "args": [script], "env": list(env)}


async def test_a_tool_of_an_mcp_server_asks_runs_and_leaves_no_secret(world: World) -> None:
    async with world.agent("--log-level", "debug") as agent:
        result = await agent.call("session/new", {"cwd": str(world.workspace), "mcpServers": [server()]})
        session_id = str(result["sessionId"])
        await agent.prompt(session_id, "hello")
        await agent.prompt(session_id, CALL)
        assert len(agent.questions) == 1
        assert "Riga: 21 degrees, key present" in agent.text()
        await agent.kill()
    params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": [server()]}
    async with world.agent() as agent:
        result = await agent.call("session/load", params)
        meta = result["_meta"]
        assert isinstance(meta, dict)
        report = meta["acp-agent/resume"]
        assert isinstance(report, dict)
        await promise_holds(world, agent, session_id, report, finished=["hello", CALL])
        log = await agent.end()
    assert SECRET not in "\n".join(log)
    for path in world.data_dir.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    # Checkpoints are compressed, so what they hold is looked at after restoring one.
    with Store(world.data_dir).open(session_id) as session:
        restored = world.root / "restored.db"
        restore(session, newest_first(session)[0], restored)
        assert SECRET.encode() not in restored.read_bytes()


async def test_a_server_over_another_transport_is_refused(world: World) -> None:
    remote: Json = {"type": "http", "name": "remote", "url": "http://127.0.0.1:9/mcp", "headers": []}
    async with world.agent() as agent:
        error = await agent.refused("session/new", {"cwd": str(world.workspace), "mcpServers": [remote]})
        assert error.code == -32602
        assert isinstance(error.data, dict)
        assert error.data["reason"] == "unsupported_mcp_transport"
