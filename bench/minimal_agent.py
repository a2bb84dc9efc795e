"""The least that can answer `initialize`: a process that reads one line and writes one, with nothing imported.

A baseline for the agent's start: what an interpreter, an event loop and two pipes cost by themselves.
"""

from __future__ import annotations

import asyncio
import json
import sys


async def serve() -> None:
    """Answer each line on standard input with the result of a handshake, until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        answer = {"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {"protocolVersion": 1}}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve())
