"""One live process a session: a lock that the kernel releases when its holder ends, however it ends.

The lock is on a file that is never removed: two processes could otherwise lock two files of one name. Beside it
lies a note of who holds it, for the refusal that others get. Only the lock counts; the note may be missing.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from sessions import durable
from sessions.system import files, locks

NOTE_SECONDS = 1.0
"""How long a refused process waits for the note of a holder that is alive."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: its process, the client it serves, and since when (RFC 3339)."""

    pid: int
    client: str
    since: str


class SessionBusy(Exception):
    """Another lease on the session is held, by `holder` if that is known; perhaps in this very process."""

    def __init__(self, holder: Holder | None) -> None:
        by = f"process {holder.pid} ({holder.client})" if holder else "another process"
        super().__init__(f"The session is open in {by}.")
        self.holder = holder


FILES = frozenset({"lease", "lease.json"})
"""The names of the lock file and of the note, in the session's folder."""

_HOLDER = TypeAdapter(Holder)


class Lease:
    """A held lease. It is released by `release`, with this object, or with the end of the process."""

    def __init__(self, lock: FileLock, note: Path, holder: Holder) -> None:
        self.holder = holder
        self._lock = lock
        self._note = note

    @classmethod
    def acquire(cls, session_folder: Path, holder: Holder) -> Lease:
        """Take the lease of the session in this folder, without waiting.

        Raises:
            SessionBusy: it is held.
            OSError: the file system refuses the lock file, or has no locks.
        """
        note = session_folder / "lease.json"
        # No fallback to a lock that is only a file: it would outlive a killed holder. Not bound to a thread: it is
        # released by whichever closes the session.
        lock = FileLock(
            session_folder / "lease", timeout=0, mode=files.FILE_MODE, thread_local=False, fallback_to_soft=False
        )
        try:
            lock.acquire()
        except Timeout:
            raise SessionBusy(_holder(note)) from None
        lease = cls(lock, note, holder)
        # The note of a holder that was killed goes first: on a full disk there is then no note rather than that.
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)
            durable.write_file(note, _HOLDER.dump_json(holder))
        return lease

    def release(self) -> None:
        """Give the session up. A second call does nothing."""
        if self._lock.is_locked:
            try:
                self._note.unlink(missing_ok=True)
            finally:
                self._lock.release()


def refusal(session_folder: Path) -> SessionBusy | None:
    """What `Lease.acquire` would raise now, None if the lease could be taken. Nothing is written.

    It looks by locking the file for a moment; whoever wants the lease in that very moment is refused.

    Raises:
        OSError: the file system refuses.
    """
    try:
        held = locks.is_held(session_folder / "lease")
    except FileNotFoundError:
        return None
    return SessionBusy(_read(session_folder / "lease.json")) if held else None


def holder(session_folder: Path) -> Holder | None:
    """Who has the session open, as its note says, for lists: the lock is not touched, so nobody is refused for it.

    None if nobody has, or if that cannot be told.
    """
    said = _read(session_folder / "lease.json")
    if said is None:
        return None
    try:
        # A later process has only the number of the one that was killed.
        began = psutil.Process(said.pid).create_time()
        return said if began < datetime.fromisoformat(said.since).timestamp() + 1 else None
    except (psutil.Error, ValueError):
        return None


def _holder(note: Path) -> Holder | None:
    """Who holds the lease, as far as the note says.

    Whoever has just taken the lease has not written it yet, or not over that of a holder that was killed.
    """
    deadline = time.monotonic() + NOTE_SECONDS
    while True:
        holder = _read(note)
        if (holder is not None and psutil.pid_exists(holder.pid)) or time.monotonic() > deadline:
            return holder
        time.sleep(0.002)


def _read(note: Path) -> Holder | None:
    try:
        return _HOLDER.validate_json(note.read_bytes())
    except (OSError, ValidationError):
        return None
