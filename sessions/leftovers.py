"""Processes that a killed session left behind.

Everything that a session's harness starts inherits an environment variable that names the session, so it can be
found after the agent and the harness are gone. A harness that is still dying must be gone before the trajectory
is looked at, since it may still write (3 to 57 ms were measured, facts section 3). Commands are only reported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

from sessions.report import Orphan

MARKER_VARIABLE = "ACP_AGENT_SESSION"
"""The environment variable; its value is the session id."""

HARNESS_NAME = "localharness"

DYING_SECONDS = 2.0
"""How long a harness without its agent may take to end by itself."""


class HarnessStillRunning(Exception):
    """A harness of this session cannot be ended, so its trajectory may still change."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"A harness of this session (process {pid}) is still running and cannot be ended.")
        self.pid = pid


def settle(session_id: str) -> tuple[Orphan, ...]:
    """Wait for a dying harness of the session, end it if it does not die, and return what else is left.

    Raises:
        HarnessStillRunning: the harness belongs to somebody else, or survives being killed.
    """
    harnesses = [process for process in _marked(session_id) if _name(process) == HARNESS_NAME]
    _, alive = psutil.wait_procs(harnesses, timeout=DYING_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=DYING_SECONDS)
    if alive:
        raise HarnessStillRunning(alive[0].pid)
    return tuple(Orphan(pid=process.pid, command=_command(process)) for process in _marked(session_id))


def _marked(session_id: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARKER_VARIABLE) == session_id and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name().removesuffix(".exe")
    return ""


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:500] or process.name()
    return ""
