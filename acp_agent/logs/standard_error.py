"""The log on standard error, which holds nobody up: a client may have made a pipe of it that it does not read.

A pipe takes 64 KiB as a rule; whoever writes more than is read waits, and would wait on the event loop, with every
session of the process. So a line is written only while there is room for it. For a reader that is merely slow
there is a little patience, once until there is room again. What is left out is counted and told when it is read.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Final, TextIO

from acp_agent.system import descriptors

PATIENCE_SECONDS: Final = 0.05
"""How long a line waits for room, if the one before it had some."""


class StandardError(logging.StreamHandler[TextIO]):
    """Writes formatted records to standard error, or to another stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self._left_out = 0
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Part of `logging.Handler`: called by one thread at a time. Raises nothing."""
        try:
            fd = self.stream.fileno()
        except (io.UnsupportedOperation, AttributeError, ValueError):  # it is no file
            super().emit(record)
            return
        try:
            if self._left_out and descriptors.takes(fd, 0):
                missing = f"lines that are missing here, since nobody read them: {self._left_out}\n"
                if self._write(fd, f"\n{missing}" if self._torn else missing):
                    self._left_out = 0
            if self._left_out or not self._write(fd, f"{self.format(record)}\n"):
                self._left_out += 1
        except OSError:
            self._left_out += 1  # nobody is there to be told
        except Exception:
            self.handleError(record)

    def _write(self, fd: int, text: str) -> bool:
        """Write a text as far as there is room; whether there was for all of it."""
        data = memoryview(text.encode(self.stream.encoding or "utf-8", "backslashreplace"))
        self.stream.flush()
        while data:
            if not descriptors.takes(fd, PATIENCE_SECONDS):
                return False
            data = data[os.write(fd, data[: descriptors.AT_ONCE]) :]
            self._torn = bool(data)
        return True
