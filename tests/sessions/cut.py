"""Runs something in a process of its own that is killed at a chosen moment, as SIGKILL from outside would."""

from __future__ import annotations

import linecache
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

CHANGES = frozenset({"rename", "replace", "unlink", "mkdir", "rmdir"})
"""The functions of the system by which something on the disk changes, beside the ends of SQLite's transactions.

A file that nobody sees yet changes with other functions too; they do not make a difference to a kill.
"""


def everywhere(prepare: Callable[[], Callable[[], None]]) -> Iterator[bool]:
    """Do something again and again, killed before its first change, its second, and so on.

    Args:
        prepare: makes the state that it begins with, and returns what is to be done.

    Yields whether it was killed, each time after the process has ended; the last time it was not.
    """
    moment = 0
    while True:
        killed = _killed(prepare(), moment)
        yield killed
        if not killed:
            return
        moment += 1


def _killed(action: Callable[[], None], moment: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            setattr(os, "fsync", _not_needed)  # noqa: B010  (a kill leaves what the system has, synced or not)
            sys.setprofile(_Killer(moment))
            action()
            sys.setprofile(None)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _not_needed(_: object) -> None:
    pass


class _Killer:
    def __init__(self, moment: int) -> None:
        self._left = moment

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "c_call" or not _changes(frame, getattr(argument, "__name__", "")):
            return
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def _changes(frame: FrameType, function: str) -> bool:
    if function == "execute":
        return "COMMIT" in linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    called_by = Path(frame.f_code.co_filename)
    return function in CHANGES and (
        called_by.name in ("pathlib.py", "shutil.py") or called_by.parent.name == "sessions"
    )
