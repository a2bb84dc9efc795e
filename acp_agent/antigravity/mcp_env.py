"""Gives MCP servers their environment without the harness writing it down.

The harness keeps the configuration of a conversation, MCP environments included, in its database (measured with
0.1.22), and secrets must not be stored. So the harness is told to start this module, which reads the environment
from a private file and becomes the server. The file lies in the user's runtime folder, outside every store, from
when a harness is opened until it is closed; one that a killed agent left is removed when its session is opened.

    python -m acp_agent.antigravity.mcp_env FILE COMMAND [ARGUMENT…]
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs

from acp_agent.steps import McpServer


class PrivateEnvironments:
    """The environment files of one open harness."""

    def __init__(self, conversation_id: str) -> None:
        runtime = platformdirs.user_runtime_path("acp-agent", appauthor=False)
        self._folder = runtime / conversation_id

    def wrap(self, servers: Sequence[McpServer]) -> tuple[McpServer, ...]:
        """The servers as the harness may know them: those with an environment start through this module.

        Raises:
            OSError: the files cannot be written.
        """
        self.remove()
        return tuple(self._wrap(number, server) for number, server in enumerate(servers))

    def remove(self) -> None:
        """Remove the files, those of a killed agent included."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wrap(self, number: int, server: McpServer) -> McpServer:
        if not server.env:
            return server
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{number}.json"
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(server.env, file)
        arguments = ("-m", "acp_agent.antigravity.mcp_env", str(path), server.command, *server.args)
        return replace(server, command=sys.executable, args=arguments, env={})


def main() -> None:
    """Become the server that the arguments name."""
    path, command, *arguments = sys.argv[1:]
    environment: dict[str, str] = json.loads(Path(path).read_text(encoding="utf-8"))
    os.execvpe(command, [command, *arguments], {**os.environ, **environment})  # noqa: S606


if __name__ == "__main__":
    main()
