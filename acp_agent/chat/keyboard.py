"""Reads the keyboard while other things go on, and hands over finished lines.

On a terminal that can redraw, keys are read one by one (no echo, no line buffering) and edited by `LineEditor`;
Ctrl-C stays a signal. Otherwise, on a pipe or a dumb terminal, whole lines are read as they come.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import IO, TypeAlias

from acp_agent.chat.editor import EndOfInput, KeyDecoder, LineEditor, Submitted

_CHUNK = 64 * 1024
_BRACKETED_PASTE_ON, _BRACKETED_PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"

InputEvent: TypeAlias = Submitted | EndOfInput


class Keyboard:
    """A context manager that reads `fd` for as long as it is open; `out` writes to the same terminal.

    `on_event` gets each finished line, and the end of input once; `on_edit` is called when the line being typed
    has changed, with `editor` holding it. Both are called from the event loop.
    """

    def __init__(
        self,
        fd: int,
        *,
        keys: bool,
        out: IO[str],
        on_event: Callable[[InputEvent], None],
        on_edit: Callable[[], None],
    ) -> None:
        self.editor = LineEditor()
        self._fd = fd
        self._keys = keys
        self._out = out
        self._on_event = on_event
        self._on_edit = on_edit
        self._decoder = KeyDecoder()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = ""
        self._before: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> Keyboard:
        loop = asyncio.get_running_loop()
        if self._keys:
            self._before = termios.tcgetattr(self._fd)
            self._take_keys()
            # After a stop (Ctrl-Z) the shell has put the terminal back into its own mode.
            loop.add_signal_handler(signal.SIGCONT, self._take_keys)
        loop.add_reader(self._fd, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        if self._before is not None:
            loop.remove_signal_handler(signal.SIGCONT)
            self._write(_BRACKETED_PASTE_OFF)
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _take_keys(self) -> None:
        tty.setcbreak(self._fd)
        self._write(_BRACKETED_PASTE_ON)
        self._on_edit()

    def _write(self, control: str) -> None:
        self._out.write(control)
        self._out.flush()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._on_event(EndOfInput())
        elif self._keys:
            self._edit(data)
        else:
            *lines, self._line = (self._line + self._decode(data)).split("\n")
            for line in lines:
                self._on_event(Submitted(line))

    def _edit(self, data: bytes) -> None:
        for press in self._decoder.feed(data):
            done = self.editor.press(press)
            if done is not None:
                self._on_event(done)
        self._on_edit()
