"""How the transport ends, in the order of events that a real process seldom shows."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from acp_agent import handshake
from acp_agent.wire import transport as transport_module
from acp_agent.wire.errors import JsonObject
from acp_agent.wire.pipes import HIGH_WATER
from acp_agent.wire.transport import StdioTransport
from tests.wire.client import INITIALIZE, PATIENCE, request_line

BIG_UPDATE: JsonObject = {"jsonrpc": "2.0", "method": "session/update", "params": {"text": "x" * HIGH_WATER * 2}}


class Ends:
    """The client's ends of the two pipes."""

    def __init__(self) -> None:
        self.agent_reads, self.write_fd = os.pipe()
        self.read_fd, self.agent_writes = os.pipe()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[StdioTransport, Ends]]:
    ends = Ends()
    yield StdioTransport(ends.agent_reads, ends.agent_writes, handshake.answer), ends


async def received(transport: StdioTransport) -> JsonObject | None:
    return await asyncio.wait_for(transport.receive(), PATIENCE)


def test_requests_before_the_end_of_the_input_are_answered_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "SETTLE", 10 * PATIENCE)

    async def scenario() -> None:
        async with connected() as (transport, ends):
            os.write(ends.write_fd, request_line(0, "initialize", INITIALIZE))
            os.write(ends.write_fd, request_line(1, "session/list", {}))
            os.close(ends.write_fd)
            assert await transport.greeted()
            assert json.loads(await asyncio.to_thread(os.read, ends.read_fd, 4096))["id"] == 0
            assert (await received(transport) or {})["id"] == 1
            end = asyncio.ensure_future(received(transport))
            seen = asyncio.Event()
            loop = asyncio.get_running_loop()

            def on_end() -> None:
                loop.call_soon_threadsafe(seen.set)

            transport.on_end(on_end)
            await asyncio.wait_for(seen.wait(), PATIENCE)
            assert await asyncio.wait({end}, timeout=0.1) == (set(), {end})
            await transport.send({"jsonrpc": "2.0", "id": 1, "result": {}})
            assert await end is None
            assert json.loads(await asyncio.to_thread(os.read, ends.read_fd, 4096))["result"] == {}

    asyncio.run(scenario())


def test_an_end_that_came_before_anybody_asked_is_told_at_once() -> None:
    async def scenario(fd: int) -> None:
        transport = StdioTransport(fd, fd, handshake.answer)
        assert await received(transport) is None
        told: list[str] = []
        transport.on_end(lambda: told.append("end"))
        assert told == ["end"]

    with Path(os.devnull).open("r+b") as nothing:
        asyncio.run(scenario(nothing.fileno()))


def test_senders_that_wait_for_a_client_are_let_go_at_the_end() -> None:
    async def scenario() -> None:
        async with connected() as (transport, _):
            update = asyncio.ensure_future(transport.send(BIG_UPDATE))
            answer = asyncio.ensure_future(transport.send({"jsonrpc": "2.0", "id": 1, "result": {}}))
            for _ in range(5):
                await asyncio.sleep(0)
            assert not update.done()
            assert not answer.done()
            await transport.close()
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(update, PATIENCE)
            await asyncio.wait_for(answer, PATIENCE)
            assert await received(transport) is None

    asyncio.run(scenario())


def test_a_refusal_that_nobody_can_read_any_more_is_no_failure() -> None:
    async def scenario() -> None:
        async with connected() as (transport, ends):
            gone = threading.Event()
            transport.on_end(gone.set)
            os.write(ends.write_fd, b"[]\n")
            os.close(ends.read_fd)
            await asyncio.wait_for(transport._arrival.wait(), PATIENCE)
            update = asyncio.ensure_future(transport.send(BIG_UPDATE))
            # Between the two it holds up the loop until the writing thread has met the broken pipe.
            asyncio.get_running_loop().call_soon(gone.wait, PATIENCE)
            refusal = asyncio.ensure_future(transport.receive())
            both = asyncio.gather(update, refusal, return_exceptions=True)
            sent, end = await asyncio.wait_for(both, PATIENCE)
            assert isinstance(sent, ConnectionError)
            assert end is None

    asyncio.run(scenario())
