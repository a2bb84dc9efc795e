"""Starting a program that can be ended with all that it starts, and ending it.

On Linux and macOS it leads a process group of its own, which one signal reaches as a whole. On Windows a group is
only what Ctrl-Break reaches, so what a program has started is looked for; and only pipes that are made for it can
be read by an event loop, so it is started as asyncio starts its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Pipe(Protocol):
    """An end of a pipe in this process, for `connect_read_pipe` or `connect_write_pipe` of an event loop."""

    def fileno(self) -> int:
        """Its descriptor, or its handle on Windows."""

    def close(self) -> None:
        """Close it."""


class Child(Protocol):
    """What is needed of a child process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Its process id, which nobody else gets before `wait` has returned."""

    @property
    def stdin(self) -> Pipe | None:
        """The end of its standard input that is written to."""

    @property
    def stdout(self) -> Pipe | None:
        """The end of its standard output that is read."""

    @property
    def stderr(self) -> Pipe | None:
        """The end of its standard error that is read."""

    def wait(self) -> int:
        """Wait for its end; the exit status, or minus the signal that ended it. May be called on any thread."""

    def terminate(self) -> None:
        """Send SIGTERM, if it has not ended; on Windows, kill it."""


if sys.platform == "win32":
    from asyncio import windows_utils

    import psutil

    def start(command: tuple[str, ...], cwd: Path, environment: Mapping[str, str] | None = None) -> Child:
        """Start a command in a folder, as the leader of a group, with three pipes for an event loop.

        Its environment is this process's unless it is given one.

        Raises:
            OSError: it cannot be started.
        """
        return windows_utils.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )

    def ask_to_end(child: Child) -> None:
        """Ask a process that was started here to end in good order; nothing happens if it has ended."""
        with contextlib.suppress(OSError):
            os.kill(child.pid, signal.CTRL_BREAK_EVENT)

    def kill_group(pid: int) -> None:
        """Kill a process that was started here and all that it started; nothing happens when none is left.

        What lost its parent before that is not found.
        """
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(pid)
            for process in [*leader.children(recursive=True), leader]:
                with contextlib.suppress(psutil.Error):
                    process.kill()

else:

    def start(command: tuple[str, ...], cwd: Path, environment: Mapping[str, str] | None = None) -> Child:
        """Start a command in a folder, as the leader of a group, with three pipes for an event loop.

        Its environment is this process's unless it is given one.

        Raises:
            OSError: it cannot be started.
        """
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def ask_to_end(child: Child) -> None:
        """Ask a process that was started here to end in good order; nothing happens if it has ended."""
        child.terminate()

    def kill_group(pid: int) -> None:
        """SIGKILL to a process that was started here and to its whole group; nothing happens when none is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
