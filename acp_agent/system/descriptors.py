"""File descriptors: copies that no child gets, pipes, and waiting for a descriptor that does not block.

Windows hands no descriptor on unless it is told to, translates line ends unless it is told not to, has no `poll`,
and lets nobody ask when a pipe is ready.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

AT_ONCE: Final = 512
"""Bytes that a pipe which takes anything takes as a whole, on every system (POSIX: `PIPE_BUF`)."""

_CHUNK: Final = 64 * 1024


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:  # a terminal that is gone
        return b""


if sys.platform == "win32":
    import msvcrt
    import time

    _POLL_SECONDS = 0.01

    def private_copy(fd: int) -> int:
        """A copy of a descriptor, above the three standard ones, that no child inherits. Raises OSError."""
        low: list[int] = []
        try:
            while (copy := os.dup(fd)) <= 2:
                low.append(copy)
        finally:
            for each in low:
                os.close(each)
        msvcrt.setmode(copy, os.O_BINARY)
        return copy

    def waking_pipe() -> tuple[int, int]:
        """A pipe: to read from on a thread, to write to in a signal handler.

        Here a full pipe blocks the writer; it takes thousands of signals that nobody reads.
        """
        return os.pipe()

    @contextmanager
    def read(loop: asyncio.AbstractEventLoop, fd: int, take: Callable[[bytes], None]) -> Iterator[None]:
        """Within the block, call `take` on the loop with what comes, and with nothing at its end.

        Here a thread reads, which waits for what comes next even after the block.
        """

        def run() -> None:
            data = b"more"
            while data:
                data = _read(fd)
                with suppress(RuntimeError):  # the loop is gone
                    loop.call_soon_threadsafe(tell, data)

        def tell(data: bytes) -> None:
            if wanted:
                take(data)

        wanted = [True]
        threading.Thread(target=run, name="reading", daemon=True).start()
        try:
            yield
        finally:
            wanted.clear()

    def wait_readable(fd: int) -> None:
        """Wait before reading from a descriptor that just had nothing and does not block."""
        time.sleep(_POLL_SECONDS)

    def wait_writable(fd: int) -> None:
        """Wait before writing to a descriptor that just took nothing and does not block."""
        time.sleep(_POLL_SECONDS)

    def takes(fd: int, seconds: float) -> bool:
        """Whether a write of up to `AT_ONCE` bytes would return at once; here nobody can ask, so it is said so."""
        return True

else:
    import fcntl
    import select

    def private_copy(fd: int) -> int:
        """A copy of a descriptor, above the three standard ones, that no child inherits. Raises OSError."""
        # Above 2, even where a standard descriptor was closed: those are handed to every child.
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)

    def waking_pipe() -> tuple[int, int]:
        """A pipe: to read from on a thread, to write to in a signal handler, which never blocks."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        return reading, writing

    @contextmanager
    def read(loop: asyncio.AbstractEventLoop, fd: int, take: Callable[[bytes], None]) -> Iterator[None]:
        """Within the block, call `take` on the loop with what comes, and with nothing at its end."""

        def ready() -> None:
            data = _read(fd)
            if not data:
                loop.remove_reader(fd)
            take(data)

        loop.add_reader(fd, ready)
        try:
            yield
        finally:
            loop.remove_reader(fd)

    def wait_readable(fd: int) -> None:
        """Wait until a descriptor that does not block has something to read."""
        _wait_for(fd, select.POLLIN)

    def wait_writable(fd: int) -> None:
        """Wait until a descriptor that does not block takes something."""
        _wait_for(fd, select.POLLOUT)

    def takes(fd: int, seconds: float) -> bool:
        """Whether a write of up to `AT_ONCE` bytes would return at once; so many seconds are waited for that."""
        return _wait_for(fd, select.POLLOUT, seconds)

    def _wait_for(fd: int, event: int, seconds: float | None = None) -> bool:
        poll = select.poll()
        poll.register(fd, event)
        return bool(poll.poll(None if seconds is None else seconds * 1000))
