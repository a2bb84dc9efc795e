"""One live process a session: a lock that the kernel releases when its holder ends, however it ends.

The lock is on a file that is never removed: two processes could otherwise lock two files of one name. Beside it
lies a note of who holds it, for the refusal that others get. Only the lock counts; the note may be missing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from sessions import durable


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


_HOLDER = TypeAdapter(Holder)


class Lease:
    """A held lease. It is released by `release`, with this object, or with the end of the process."""

    def __init__(self, lock: FileLock, note: Path) -> None:
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
            session_folder / "lease", timeout=0, mode=durable.FILE_MODE, thread_local=False, fallback_to_soft=False
        )
        try:
            lock.acquire()
        except Timeout:
            raise SessionBusy(_read(note)) from None
        lease = cls(lock, note)
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


def _read(note: Path) -> Holder | None:
    try:
        return _HOLDER.validate_json(note.read_bytes())
    except (OSError, ValidationError):
        return None
