"""What the threads promise to the event loop."""

import asyncio
import os

import pytest

from acp_agent.wire.framing import Message, Request
from acp_agent.wire.pipes import HIGH_WATER, READ_AHEAD, LineInput, LineOutput
from tests.wire.client import PATIENCE

LINE = b"x" * (HIGH_WATER - 1) + b"\n"
COUNT = 4


def test_senders_wait_for_the_reader_and_flush_for_the_last_byte() -> None:
    async def scenario() -> None:
        read_fd, write_fd = os.pipe()
        output = LineOutput(
            write_fd, asyncio.get_running_loop(), on_sight_of_end=lambda: None, on_broken=lambda _: None
        )
        turns: list[None] = []
        asyncio.get_running_loop().call_soon(turns.append, None)
        await output.room()
        assert turns

        for _ in range(COUNT):
            output.put(LINE)
        room = asyncio.ensure_future(output.room())
        flushed = asyncio.ensure_future(output.flush())
        taken = 0
        while not room.done():
            assert taken < len(LINE) * COUNT
            taken += len(await asyncio.to_thread(os.read, read_fd, 4096))
            await asyncio.sleep(0)
        assert not flushed.done()
        while taken < len(LINE) * COUNT:
            taken += len(await asyncio.to_thread(os.read, read_fd, 65536))
        await asyncio.wait_for(flushed, PATIENCE)
        assert output.backlog == 0

        for _ in range(COUNT):
            output.put(LINE)
        room = asyncio.ensure_future(output.room())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        output.release()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(room, PATIENCE)

    asyncio.run(scenario())


def test_a_reader_that_goes_away_is_seen_by_everybody_who_waits() -> None:
    async def scenario() -> None:
        read_fd, write_fd = os.pipe()
        seen: list[str] = []
        broken = asyncio.Event()

        def on_broken(why: str) -> None:
            seen.append(why)
            broken.set()

        output = LineOutput(
            write_fd,
            asyncio.get_running_loop(),
            on_sight_of_end=lambda: seen.append("end"),
            on_broken=on_broken,
        )
        output.put(LINE)
        output.put(LINE)
        room, flushed = asyncio.ensure_future(output.room()), asyncio.ensure_future(output.flush())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        os.close(read_fd)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(room, PATIENCE)
        await asyncio.wait_for(flushed, PATIENCE)
        await asyncio.wait_for(broken.wait(), PATIENCE)
        assert seen == ["end", "writing to the client failed: Broken pipe"]
        with pytest.raises(ConnectionError):
            output.put(LINE)

    asyncio.run(scenario())


def test_input_is_read_ahead_of_the_agent_but_not_far() -> None:
    async def scenario() -> None:
        read_fd, write_fd = os.pipe()
        count = 10 * READ_AHEAD
        os.write(write_fd, b"".join(b'{"id":%d,"method":"m"}\n' % number for number in range(count)))
        os.close(write_fd)
        found: list[Message] = []
        ahead: list[int] = []
        arrived = asyncio.Event()
        ended = asyncio.Event()

        def on_message(message: Message) -> None:
            found.append(message)
            ahead.append(len(found) - taken)
            arrived.set()

        taken = 0
        reader = LineInput(
            read_fd,
            asyncio.get_running_loop(),
            on_message=on_message,
            on_sight_of_end=lambda: None,
            on_end=lambda _: ended.set(),
        )
        while taken < count:
            while len(found) <= taken:
                arrived.clear()
                await asyncio.wait_for(arrived.wait(), PATIENCE)
            taken += 1
            reader.taken()
        await asyncio.wait_for(ended.wait(), PATIENCE)
        assert max(ahead) <= READ_AHEAD
        assert found == [Request(number, "m", {}) for number in range(count)]

    asyncio.run(scenario())
