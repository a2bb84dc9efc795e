"""Behind a proxy that answers nobody, what is inside this machine is reached all the same."""

from __future__ import annotations

import socket

import pytest

from tests.agent.driver import Json, World
from tests.agent.test_mcp import TOKEN, call, http, listening, served

pytestmark = pytest.mark.anyio


async def test_the_harness_the_model_and_mcp_servers_on_this_machine_need_no_proxy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody, served() as port:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for name in ("http", "https", "all", "ws"):
            monkeypatch.setenv(f"{name}_proxy", dead)
            monkeypatch.setenv(f"{name}_PROXY".upper(), dead)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        await listening(port)
        servers: list[Json] = [http("remote", port, TOKEN)]
        async with world.agent() as agent:
            where: Json = {"cwd": str(world.workspace), "mcpServers": [*servers]}
            session_id = str((await agent.call("session/new", where))["sessionId"])
            await agent.prompt(session_id, call("remote", "temperature", '{"town": "Oslo"}'))
            assert "Oslo: 21 degrees" in agent.text()
            # What the harness runs has the proxies of the user, and nothing of ours.
            await agent.prompt(session_id, "!run_command env > environment")
            environment = (world.workspace / "environment").read_text().splitlines()
            assert f"http_proxy={dead}" in environment
            assert not [line for line in environment if line.lower().startswith("no_proxy")]
