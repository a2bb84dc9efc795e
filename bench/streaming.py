"""A process that writes many text updates and then says how much CPU time that took: ours, or the least there is.

`python -m bench.streaming agent COUNT` sends them as the agent does, through its client link and its transport.
`python -m bench.streaming raw COUNT` makes the same lines with `json` and writes them with asyncio's own writer.
Both wait for the client where it is behind. The last line is not an update: it holds the milliseconds of CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from pydantic import JsonValue

from acp_agent import handshake
from acp_agent.client_link import ClientLink
from acp_agent.wire.transport import StdioTransport

Json = dict[str, JsonValue]
Send = Callable[[str, Json], Awaitable[None]]
Flush = Callable[[], Awaitable[None]]

SESSION = "0199b2a4-6a57-7c3e-8d51-0a7d2f4c9e10"
WARM_UP = 500
"""Updates that are sent before the clock starts."""

_FLUSH_SECONDS = 60.0


def update(number: int) -> Json:
    """One piece of an answer, as a model streams it."""
    return {
        "sessionUpdate": "agent_message_chunk",
        "messageId": "turn-1-message-1",
        "content": {"type": "text", "text": f"a few words of an answer, piece {number} "},
    }


async def _raw() -> tuple[Send, Flush]:
    loop = asyncio.get_running_loop()
    pipe, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    writer = asyncio.StreamWriter(pipe, protocol, None, loop)

    async def send(session_id: str, update_: Json) -> None:
        params = {"sessionId": session_id, "update": update_}
        message = {"jsonrpc": "2.0", "method": "session/update", "params": params}
        writer.write(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        await writer.drain()

    async def flush() -> None:
        pipe.set_write_buffer_limits(high=0)
        await writer.drain()

    return send, flush


async def _agent() -> tuple[Send, Flush]:
    transport = StdioTransport(0, os.dup(1), handshake.answer)
    return ClientLink(transport).update, partial(transport.flush, _FLUSH_SECONDS)


async def _run(which: str, count: int) -> None:
    send, flush = await (_agent() if which == "agent" else _raw())
    for number in range(WARM_UP):
        await send(SESSION, update(number))
    began = time.process_time()
    for number in range(count):
        await send(SESSION, update(number))
    await flush()
    milliseconds = (time.process_time() - began) * 1000
    await send(SESSION, {"milliseconds": milliseconds})
    await flush()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))
