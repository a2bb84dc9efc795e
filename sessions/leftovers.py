"""Processes that a killed session left behind.

Everything that a session's harness starts inherits an environment variable that names the session, so it can be
found after the agent and the harness are gone. A harness that is still dying must be gone before the trajectory
is looked at, since it may still write (3 to 57 ms were measured, facts section 3): `settle`. Commands do not write
it, so they are left alone until the load has come to something, and then those of the turn that was cut are ended
with all that they started: `end_commands`. What is older, such as a server that the user asked for, is reported.

A process is never known by its number alone: psutil compares its start time before it sends a signal.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import psutil

from sessions.report import Orphan
from sessions.resume import OnLeftovers
from sessions.session import timestamp

MARKER_VARIABLE = "ACP_AGENT_SESSION"
"""The environment variable; its value is the session id."""

HARNESS_NAME = "localharness"

DYING_SECONDS = 2.0
"""How long a harness without its agent may take to end by itself."""

TERM_SECONDS = 1.0
"""How long a command may take to end after SIGTERM, before it is killed."""

START_SLACK_SECONDS = 1.0
"""How much earlier than its turn a command may seem to have begun: systems tell the time of their start, which
those of processes are counted from, in whole seconds."""

_POLL_SECONDS = 0.01
_COMMAND_LENGTH = 500


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
    left = marked(session_id)
    harnesses = [process for process in left if _name(process) == HARNESS_NAME]
    if not harnesses:
        return tuple(_orphan(process) for process in left)
    alive = _wait_until_gone(harnesses, DYING_SECONDS)
    _send(alive, psutil.Process.kill)
    if alive := _wait_until_gone(alive, DYING_SECONDS):
        raise HarnessStillRunning(alive[0].pid)
    # It may have started something while it was dying.
    return tuple(_orphan(process) for process in marked(session_id))


def end_commands(
    session_id: str, *, since: float | None, policy: OnLeftovers = OnLeftovers.END, harness: int | None = None
) -> tuple[Orphan, ...]:
    """End what a turn that was cut left running, with its descendants, and report that and what else is left.

    A process is never ended that belongs to another session or user, that was started by something older than the
    turn, or that this one descends from.

    Args:
        session_id: the session, whose earlier harness has ended.
        since: when the turn began, in seconds since the epoch; None if none was cut, and nothing is ended.
        policy: whether to end anything.
        harness: the process id of the session's new harness, which is no leftover, nor is what it has started.
    """
    ours = _tree(harness)
    left = [process for process in marked(session_id) if process not in ours]
    if since is None or policy is OnLeftovers.REPORT or not left:
        return tuple(_orphan(process) for process in left)
    found = {process: _orphan(process) for process in left}
    # Taken before anything is ended: a child is found through its parent, even if it cleared its environment.
    doomed = _with_descendants(_begun_since(left, since), session_id)
    found |= {process: _orphan(process) for process in doomed}
    _send(doomed, psutil.Process.terminate)
    alive = _wait_until_gone(doomed, TERM_SECONDS)
    # What is left may go on starting things, so all of it is stopped before the first is killed.
    new = _begun_since([process for process in marked(session_id) if process not in ours], since)
    stubborn = _with_descendants([*alive, *new], session_id)
    _send(stubborn, psutil.Process.suspend)
    stubborn = _with_descendants(stubborn, session_id)
    _send(stubborn, psutil.Process.kill)
    surviving = _wait_until_gone(stubborn, DYING_SECONDS)
    for process in (*doomed, *stubborn):
        found.setdefault(process, _orphan(process))
    ended = {process for process in (*doomed, *stubborn) if process not in surviving}
    return tuple(
        orphan.model_copy(update={"ended": process in ended})
        for process, orphan in sorted(found.items(), key=lambda item: item[0].pid)
    )


def marked_sessions() -> dict[str, tuple[Orphan, ...]]:
    """The processes that name a session, by its id: the harness, what it started, and what is left of either.

    Without this one and those that it descends from, which are no leftovers of anything. Nothing is ended.
    """
    own = psutil.Process()
    spared = {own, *_parents(own)}
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        if (session_id := marker(process)) and process not in spared and _alive(process):
            found.setdefault(session_id, []).append(process)
    return {session_id: tuple(map(_orphan, processes)) for session_id, processes in found.items()}


def marked(session_id: str) -> list[psutil.Process]:
    """The processes that name this session and have not ended: not only its harness and what descends from that.

    A shell that was killed leaves its command without a parent. Nothing is ended.
    """
    return [process for process in psutil.process_iter() if marker(process) == session_id and _alive(process)]


def marker(process: psutil.Process) -> str | None:
    """The session that a process names, None if it names none or may not be asked."""
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARKER_VARIABLE)
    return None


def _tree(pid: int | None) -> set[psutil.Process]:
    """A process and its descendants; none if there is none."""
    if pid is None:
        return set()
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        return {root, *root.children(recursive=True)}
    return set()


def _begun_since(marked: Sequence[psutil.Process], since: float) -> list[psutil.Process]:
    """Those that were started since, and not by one of the others that is older."""
    older = {process for process in marked if not _started_since(process, since - START_SLACK_SECONDS)}
    return [process for process in marked if process not in older and not older.intersection(_parents(process))]


def _with_descendants(roots: Iterable[psutil.Process], session_id: str) -> list[psutil.Process]:
    """Processes and all that they started, without what may not be ended and what that started."""
    own = psutil.Process()
    spared = {own.pid, *(parent.pid for parent in own.parents())}
    user = own.username()
    found: dict[int, psutil.Process] = {}

    def take(process: psutil.Process) -> None:
        if process.pid in found or process.pid in spared or marker(process) not in (None, session_id):
            return
        with contextlib.suppress(psutil.Error):
            if process.username() != user:
                return
            children = process.children()
            found[process.pid] = process
            for child in children:
                take(child)

    for root in roots:
        take(root)
    return list(found.values())


def _wait_until_gone(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes to end; returns those that did not. A zombie has ended."""
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if _alive(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        alive = [process for process in alive if _alive(process)]
    return alive


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _send(processes: Iterable[psutil.Process], signal: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            signal(process)


def _started_since(process: psutil.Process, moment: float) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.create_time() >= moment
    return False


def _parents(process: psutil.Process) -> set[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return set(process.parents())
    return set()


def _orphan(process: psutil.Process) -> Orphan:
    since: str | None = None
    with contextlib.suppress(psutil.Error):
        since = timestamp(datetime.fromtimestamp(process.create_time(), UTC))
    return Orphan(pid=process.pid, command=_command(process), since=since)


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name().removesuffix(".exe")
    return ""


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:_COMMAND_LENGTH] or process.name()
    return ""
