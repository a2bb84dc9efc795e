"""The log file: lines of several processes, rotated by size.

Every window of an IDE has an agent of its own, and a session is resumed in another process than it began in. All
write to one file, so that `grep session=…` gives the whole life of a session. Each line opens the file, appends in
one call and closes it: nobody keeps a file open that another has renamed, and no lock is waited for, so that an
agent that hangs or is stopped holds up no other. (concurrent-log-handler takes a lock for every line.) Only who
rotates takes a lock; if another has it, the line has been written already and the file is left to the other.

A file that cannot be written ends nothing: that is said once on standard error, and the lines are counted.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Final

from acp_agent import appending
from acp_agent.appending import CannotAppend
from acp_agent.logs.events import Event
from acp_agent.logs.saying import say
from sessions.system.files import FILE_MODE

ROTATE_BYTES: Final = 5 * 1024 * 1024
"""The size from which on a file is renamed and a new one begun."""

KEPT: Final = 3
"""How many full files are kept, as `<name>.1` (the newest) to `<name>.3`."""

log = logging.getLogger(__name__)


class LogFile(logging.Handler):
    """Appends formatted records to a file, which `appending.prepare` has prepared."""

    def __init__(self, path: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        super().__init__()
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._lost = 0
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Part of `logging.Handler`: called by one thread at a time. Raises nothing."""
        try:
            size = self._append(f"{self.format(record)}\n".encode())
        except Exception as error:
            self._lost += 1
            if self._lost == 1:
                self._complain(error)
            return
        lost, self._lost = self._lost, 0
        if lost:
            say(log, Event.LOG_RESUMED, lost=lost)
        if size >= self._rotate_bytes:
            self._rotate()

    def _append(self, data: bytes) -> int:
        """Append a line; the size of the file then."""
        if self._torn:
            data = b"\n" + data
        fd = appending.open_to_append(self._path)
        try:
            written = os.write(fd, data)
            self._torn = 0 < written < len(data)
            if written < len(data):
                os.write(fd, data[written:])  # raises what the disk says
                self._torn = False
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _rotate(self) -> None:
        from filelock import FileLock, Timeout  # noqa: PLC0415  (takes long to import, and is seldom needed)

        numbered = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, KEPT + 1))]
        try:
            with FileLock(f"{self._path}.lock", timeout=0, mode=FILE_MODE):
                # Another may have done it since.
                if self._path.stat().st_size >= self._rotate_bytes:
                    for older, newer in reversed(list(zip(numbered[1:], numbered[:-1], strict=True))):
                        if newer.exists():
                            newer.replace(older)
        except (OSError, Timeout):
            return  # another is at it, or has the file open on Windows; the next line tries again

    def _complain(self, error: Exception) -> None:
        why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        words = f"the log file {self._path} cannot be written: {why}. Lines are missing from now on."
        try:
            sys.stderr.write(f"WARNING {log.name}: {words}\n")
        except (OSError, ValueError):
            return  # nobody is there to be told


__all__ = ["KEPT", "ROTATE_BYTES", "CannotAppend", "LogFile"]
