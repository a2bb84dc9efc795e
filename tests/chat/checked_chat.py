"""`acp-agent` as a user starts it, with a check of all that agents write to its terminal client.

python -m tests.chat.checked_chat chat --offline
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path

from acp_agent.chat.process import AgentProcess, Spawn
from acp_agent.cli import main
from tests.protocol.connection import Connection
from tests.protocol.streams import CheckedReader, NotedWriter

start = AgentProcess.start
connections: list[Connection] = []


@wraps(start)
async def checked_start(command: tuple[str, ...], cwd: Path, *, spawn: Spawn | None = None) -> AgentProcess:
    process, connection = await start(command, cwd, spawn=spawn), Connection()
    connections.append(connection)
    process.reader = CheckedReader(process.reader, connection, [])
    process.writer = NotedWriter(process.writer, connection)
    return process


if __name__ == "__main__":
    setattr(AgentProcess, "start", checked_start)  # noqa: B010  (a class method is replaced by a function)
    try:
        main()
    finally:
        for each in connections:
            each.check()
        assert len(connections) > 1, "the script starts an agent, kills it and starts another"
