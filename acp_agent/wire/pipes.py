"""Two threads between two file descriptors and the event loop: one reads lines, one writes them.

Threads with blocking reads and writes are used for every kind of descriptor, because they are the one mechanism
that works for all of them: event loops refuse regular files and /dev/null, and for the rest they need O_NONBLOCK,
which is a property of the open file and so would change it for every other process that shares it (a terminal is
shared with the shell). A descriptor that somebody else made non-blocking is polled instead. A thread also sees the
end of the input while a handler blocks the event loop, which is when the process must be ended from outside.

Both threads are daemons and are never joined: one that hangs in `read` or `write` keeps nothing alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from acp_agent.system import descriptors
from acp_agent.wire.framing import Lines, Message, read_line

CHUNK: Final = 1024 * 1024
"""Bytes that are read or written at a time, at most."""

READ_AHEAD: Final = 4
"""Messages that are read before the agent takes the first of them; bounds memory, a message can have 64 MiB."""

HIGH_WATER: Final = 1024 * 1024
"""Unwritten bytes above which a sender waits."""


class LineInput:
    """Reads lines from a descriptor and hands the messages in them to the event loop, in order.

    `on_message` is called on the loop, and `on_end` after the last message; `on_sight_of_end` on the reading
    thread as soon as the end is seen, whatever the loop does. At most `READ_AHEAD` messages are handed over before
    `taken` is called for the first. `on_line` is called on the reading thread for each line that is not blank,
    with None for one that is too long.
    """

    def __init__(
        self,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        *,
        on_message: Callable[[Message], None],
        on_sight_of_end: Callable[[], None],
        on_end: Callable[[str], None],
        on_line: Callable[[bytes | None], None] | None = None,
    ) -> None:
        self._fd = fd
        self._loop = loop
        self._on_message = on_message
        self._on_sight_of_end = on_sight_of_end
        self._on_end = on_end
        self._on_line = on_line
        self._free = threading.Semaphore(READ_AHEAD)
        threading.Thread(target=self._run, name="acp-input", daemon=True).start()

    def taken(self) -> None:
        """Make room for one more message."""
        self._free.release()

    def _run(self) -> None:
        why = "the reader failed"
        try:
            why = self._read()
        finally:
            self._on_sight_of_end()
            _call(self._loop, partial(self._on_end, why))

    def _read(self) -> str:
        lines = Lines()
        while True:
            try:
                data = os.read(self._fd, CHUNK)
            except BlockingIOError:
                descriptors.wait_readable(self._fd)
                continue
            except OSError as error:
                return f"reading from the client failed: {os.strerror(error.errno or errno.EIO)}"
            for line in lines.feed(data) if data else lines.end():
                if (message := read_line(line)) is not None:
                    if self._on_line is not None:
                        self._on_line(line)
                    self._free.acquire()
                    _call(self._loop, partial(self._on_message, message))
            if not data:
                return "the client closed the input"


class LineOutput:
    """Writes lines to a descriptor, whole and in the order of `put`.

    When that fails, `on_sight_of_end` is called on the writing thread and `on_broken` on the loop, once. Lines are
    queued without limit; a sender keeps to the limit by awaiting `room` after its `put`. So a line whose sender is
    cancelled is still written whole. `on_line` is called with each line that is queued.
    """

    def __init__(
        self,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        *,
        on_sight_of_end: Callable[[], None],
        on_broken: Callable[[str], None],
        on_line: Callable[[bytes], None] | None = None,
    ) -> None:
        self._fd = fd
        self._loop = loop
        self._on_sight_of_end = on_sight_of_end
        self._on_broken = on_broken
        self._on_line = on_line
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._backlog = 0
        self._broken = False
        self._waiting = False
        self._progress = asyncio.Event()
        self._released = False
        threading.Thread(target=self._run, name="acp-output", daemon=True).start()

    @property
    def backlog(self) -> int:
        """Bytes that were put and are not written yet."""
        return self._backlog

    def put(self, line: bytes) -> None:
        """Queue a line. Raises `ConnectionError` when an earlier one could not be written."""
        with self._changed:
            if self._broken:
                raise ConnectionError("The client is gone.")
            self._queue.append(line)
            self._backlog += len(line)
            self._changed.notify()
        if self._on_line is not None:
            self._on_line(line)

    async def room(self) -> None:
        """Wait until little is unwritten. Raises `ConnectionError` if the client is gone or was given up.

        The other tasks of the loop get a turn in any case, so that one that sends without end stops nobody else.
        """
        await asyncio.sleep(0)
        while self._backlog > HIGH_WATER:
            if self._released or self._broken:
                raise ConnectionError("The client does not read.")
            await self._next_progress(HIGH_WATER)

    async def flush(self) -> None:
        """Wait until everything is written or nothing can be."""
        while self._backlog and not self._broken:
            await self._next_progress(0)

    def release(self) -> None:
        """End the waiting in `room`, now and from now on."""
        self._released = True
        self._progress.set()

    async def _next_progress(self, level: int) -> None:
        with self._changed:
            if self._backlog <= level or self._broken:
                return
            self._progress.clear()
            self._waiting = True
        await self._progress.wait()

    def _run(self) -> None:
        why = "the writer failed"
        try:
            why = self._write()
        finally:
            with self._changed:
                self._broken = True
            self._on_sight_of_end()
            _call(self._loop, self._progress.set)
            _call(self._loop, partial(self._on_broken, why))

    def _write(self) -> str:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                batch = b"".join(self._queue)
                self._queue.clear()
            rest = memoryview(batch)
            while rest:
                try:
                    written = os.write(self._fd, rest[:CHUNK])
                except BlockingIOError:
                    descriptors.wait_writable(self._fd)
                    continue
                except OSError as error:
                    return f"writing to the client failed: {os.strerror(error.errno or errno.EIO)}"
                rest = rest[written:]
                self._report(written)

    def _report(self, written: int) -> None:
        with self._changed:
            self._backlog -= written
            waiting, self._waiting = self._waiting, False
        if waiting:
            _call(self._loop, self._progress.set)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call `callback` on the loop; not if the loop is closed, for then the process is ending."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
