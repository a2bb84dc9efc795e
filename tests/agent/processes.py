"""The processes of a session: its harness, and the commands that work in a test's workspace."""

from __future__ import annotations

from contextlib import suppress

import psutil

from sessions.leftovers import HARNESS_NAME, MARKER_VARIABLE
from tests.agent.driver import World


def in_workspace(world: World) -> list[psutil.Process]:
    """The processes that work in the workspace."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.cwd() == str(world.workspace):
                found.append(process)
    return found


def commands_in(world: World) -> list[str]:
    """The command lines of the processes that work in the workspace."""
    found = []
    for process in in_workspace(world):
        with suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found


def end_orphans(world: World) -> None:
    """End the commands that a killed agent left in the workspace."""
    for process in in_workspace(world):
        with suppress(psutil.Error):
            process.kill()


def harnesses(session_id: str) -> list[psutil.Process]:
    """The running harnesses of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() == HARNESS_NAME and process.environ().get(MARKER_VARIABLE) == session_id:
                found.append(process)
    return found
