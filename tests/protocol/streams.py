"""The two streams of a client of an agent process, which tell a `Connection` all that crosses them."""

from __future__ import annotations

import asyncio

from tests.protocol.connection import Connection


class CheckedReader(asyncio.StreamReader):
    """Reads the lines that an agent writes, has them checked, and keeps them in the order of the wire."""

    def __init__(self, source: asyncio.StreamReader, connection: Connection, lines: list[bytes]) -> None:
        super().__init__()
        self._source = source
        self._connection = connection
        self._lines = lines

    async def readline(self) -> bytes:
        line = await self._source.readline()
        if line.endswith(b"\n"):  # else the agent was killed while it wrote
            self._connection.received(line)
        if line:
            self._lines.append(line)
        return line


class NotedWriter(asyncio.StreamWriter):
    """Writes what a client sends, and notes it: by what was asked, answers are checked."""

    def __init__(self, target: asyncio.StreamWriter, connection: Connection) -> None:
        self._target = target
        self._connection = connection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._connection.sent(bytes(data))
        self._target.write(data)

    async def drain(self) -> None:
        await self._target.drain()

    def close(self) -> None:
        self._target.close()

    def __del__(self) -> None:
        """The target closes itself."""
