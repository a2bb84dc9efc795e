"""Checks of what runs, and of what killed agents have left: processes, and private files of MCP servers."""

from __future__ import annotations

from collections.abc import Iterator

from acp_agent.doctor.findings import Finding, ok, warning
from acp_agent.doctor.situation import Situation
from acp_agent.system import paths
from sessions import leftovers
from sessions.lease import SessionBusy, refusal
from sessions.report import Orphan
from sessions.store import Store, UnknownSession


def open_sessions(situation: Situation) -> Iterator[Finding]:
    """Which sessions are open, and in which processes."""
    found = False
    for each in situation.sessions:
        if each.busy is not None:
            found = True
            since = f" since {each.busy.holder.since}" if each.busy.holder and each.busy.holder.since else ""
            yield ok(f"Session {each.session_id} is open{_where(each.busy)}{since}")
    if not found:
        yield ok("No session is open")


def left_running(situation: Situation) -> Iterator[Finding]:
    """Whether processes of sessions still run whose agent is gone."""
    elsewhere = 0
    left = False
    for session_id, processes in sorted(leftovers.marked_sessions().items()):
        busy = _busy(situation.store, session_id)
        if busy is None:
            elsewhere += len(processes)
        elif not busy:
            left = True
            yield from (_leftover(session_id, process) for process in processes)
    if elsewhere:
        yield ok(
            "1 process belongs to a session of another data folder"
            if elsewhere == 1
            else f"{elsewhere} processes belong to sessions of other data folders"
        )
    if not left:
        yield ok("No process was left behind")


def private_files(situation: Situation) -> Iterator[Finding]:
    """Whether files with the environments of MCP servers were left behind."""
    root = paths.runtime()
    left = [
        path for path in sorted(root.glob("*")) if path.is_dir() and _busy(situation.store, path.name) is False
    ]
    for path in left:
        yield warning(
            f"{path} was left by an agent that was killed: how its MCP servers are started, with their keys.",
            "Load the session, which removes it, or remove it by hand.",
        )
    if not left:
        yield ok("No private files were left behind")


def _leftover(session_id: str, process: Orphan) -> Finding:
    return warning(
        f"Process {process.pid} of session {session_id} still runs, and its agent does not: {process.command}",
        f"If you do not need it: kill {process.pid}. The next load of the session ends what its last turn left.",
        private=(process.command,),
    )


def _busy(store: Store, session_id: str) -> bool | None:
    """Whether a session is open in a process, None if it is not one of these."""
    try:
        return refusal(store.folder(session_id)) is not None
    except UnknownSession:
        return None
    except OSError:
        return True  # it cannot be told, so nothing is said against it


def _where(busy: SessionBusy) -> str:
    return f" in process {busy.holder.pid} ({busy.holder.client})" if busy.holder else " in another process"
