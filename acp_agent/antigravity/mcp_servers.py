"""Starts MCP servers through a bridge, and keeps what must not be written down in private files (`mcp_bridge`).

The files lie in the user's runtime folder, outside every store, from when a harness is opened until it is closed;
those that a killed agent left are removed when its session is opened.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from acp_agent import mcp_bridge
from acp_agent.steps import HttpMcpServer, McpServer, StdioMcpServer
from acp_agent.system import paths
from sessions import durable

Command = tuple[str, list[str]]


@dataclass(frozen=True, slots=True)
class ServerFailure:
    """A server that cannot be had, and why, in words that hold no secret."""

    name: str
    why: str


class McpBridges:
    """The bridges of one open harness."""

    def __init__(self, conversation_id: str) -> None:
        self._folder = paths.runtime() / conversation_id

    def commands(self, servers: Sequence[McpServer]) -> list[Command]:
        """What the harness is to start for each of the servers: a program and its arguments.

        Raises:
            OSError: the files cannot be written.
        """
        self.remove()
        return [self._command(number, server) for number, server in enumerate(servers)]

    def failures(self) -> list[ServerFailure]:
        """The servers that could not be had since the harness was opened."""
        found: list[ServerFailure] = []
        for path in sorted(self._folder.glob(f"*{mcp_bridge.STATUS_SUFFIX}")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                said = json.loads(path.read_text(encoding="utf-8"))
                found.append(ServerFailure(str(said["name"]), str(said["why"])))
        return found

    def remove(self) -> None:
        """Remove the files, those of a killed agent included."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self, number: int, server: McpServer) -> Command:
        told: dict[str, JsonValue] = {"name": server.name}
        match server:
            case StdioMcpServer():
                told |= {"command": server.command, "args": [*server.args], "env": dict(server.env)}
            case HttpMcpServer():
                told |= {"url": server.url, "headers": dict(server.headers)}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{number}.json"
        durable.make_file(path)
        path.write_text(json.dumps(told), encoding="utf-8")
        # -P: what lies in the folder that the session works in must not be taken for a module.
        return sys.executable, ["-P", "-m", mcp_bridge.__name__, str(path)]
