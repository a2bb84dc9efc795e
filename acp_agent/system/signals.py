"""The signals that ask a process to end, and those of a terminal.

On Windows, whoever terminates a process kills it. Ctrl-C and Ctrl-Break come as SIGINT and SIGBREAK, the latter
also from a parent that gave the process a group of its own, and when the terminal is closed; and an event loop
watches no signals there.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

if sys.platform == "win32":
    ENDING: Final[tuple[signal.Signals, ...]] = (signal.SIGINT, signal.SIGBREAK)
    """What asks the agent to end in good order."""

    @contextmanager
    def in_terminal(
        loop: asyncio.AbstractEventLoop, *, interrupt: Callable[[], None], end: Callable[[], None]
    ) -> Iterator[None]:
        """Within the block, call `interrupt` on the loop for Ctrl-C, and `end` when the program is to end.

        Must be used on the main thread.
        """
        calls = {signal.SIGINT: interrupt, signal.SIGBREAK: end}
        before = {number: signal.getsignal(number) for number in calls}

        def tell(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(calls[signal.Signals(number)])

        try:
            for number in calls:
                signal.signal(number, tell)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

else:
    ENDING: Final[tuple[signal.Signals, ...]] = (signal.SIGTERM, signal.SIGINT)
    """What asks the agent to end in good order."""

    @contextmanager
    def in_terminal(
        loop: asyncio.AbstractEventLoop, *, interrupt: Callable[[], None], end: Callable[[], None]
    ) -> Iterator[None]:
        """Within the block, call `interrupt` on the loop for Ctrl-C, and `end` when the program is to end.

        It is to end at SIGTERM, and at SIGHUP, when the terminal is closed. Must be used on the main thread.
        """
        calls = {signal.SIGINT: interrupt, signal.SIGTERM: end, signal.SIGHUP: end}
        try:
            for number, call in calls.items():
                loop.add_signal_handler(number, call)
            yield
        finally:
            for number in calls:
                loop.remove_signal_handler(number)
