"""The front for pipes and for terminals that cannot redraw: whole lines in, finished things out."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from types import TracebackType

from acp_agent.chat.events import EndOfInput, Submitted
from acp_agent.chat.front import Source
from acp_agent.chat.picker import Picker
from acp_agent.chat.screen import Screen
from acp_agent.system import descriptors


class Lines:
    """Reads lines from `fd` as they come; see `Front`."""

    def __init__(self, screen: Screen, fd: int) -> None:
        self.screen = screen
        self._fd = fd
        self._source: Source | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = ""
        self._reading = contextlib.ExitStack()

    def connect(self, source: Source) -> None:
        """See `Front`."""
        self._source = source

    async def __aenter__(self) -> Lines:
        self._reading.enter_context(descriptors.read(asyncio.get_running_loop(), self._fd, self._take))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.close()

    def ask(self, label: str | None) -> None:
        """Nothing: a question has been shown with its answers."""

    def put_back(self, text: str) -> bool:
        """It cannot be: the line is gone."""
        return False

    def drop_typed(self) -> bool:
        """There is nothing: what has not been submitted is still the terminal's."""
        return False

    def pick(self, picker: Picker) -> bool:
        """It cannot be: the list is shown with numbers instead."""
        return False

    def _take(self, data: bytes) -> None:
        assert self._source is not None
        *lines, self._line = (self._line + self._decode(data, not data)).split("\n")
        if not data:
            lines += [self._line] if self._line else []
        for line in lines:
            self._source.on_event(Submitted(line))
        if not data:
            self._source.on_event(EndOfInput())
