"""Deletes sessions: one, or those that have not been used for long. Never one that is open in a process.

A session that is to be deleted is renamed first, to a name that is no id. From then on there is no such session;
what is left of one whose deletion was cut is removed with the next deletion.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from sessions import durable
from sessions.lease import FILES as LEASE_FILES
from sessions.lease import Holder, Lease, SessionBusy, refusal
from sessions.session import Session, SessionSummary, timestamp
from sessions.store import DELETED, Store, UnknownSession
from sessions.system import files

PAGE = 500
"""How many sessions are looked at, at once."""


class Fate(StrEnum):
    """What becomes of a session that is old enough to be pruned."""

    DELETED = "deleted"
    """It was deleted, or would be."""
    OPEN = "open"
    """A process has it open, so it stays."""
    FAILED = "failed"
    """The disk refused; it may be gone from the list and not from the disk."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A session that is gone, and how many bytes that freed on the disk."""

    session_id: str
    freed: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """A session that was old enough, its size on the disk in bytes, and what became of it."""

    summary: SessionSummary
    size: int
    fate: Fate
    detail: str = ""


def delete(store: Store, session_id: str, holder: Holder) -> Deleted:
    """Delete a session and all its files. It need not be readable.

    Args:
        store: where it is.
        session_id: its id.
        holder: who deletes it, for whoever wants it meanwhile.

    Raises:
        UnknownSession: nothing is stored under this id.
        SessionBusy: it is open in a process.
        OSError: the disk refuses.
    """
    folder = store.folder(session_id)
    lease = Lease.acquire(folder, holder)
    try:
        if {path.name for path in folder.iterdir()} <= LEASE_FILES:
            # It was deleted a moment ago, and only the lease that was taken now is there.
            shutil.rmtree(folder)
            raise UnknownSession(session_id)
        size = size_on_disk(folder)
        gone = _free_name(folder)
        folder.rename(gone)
        durable.sync_folder(folder.parent)
    finally:
        lease.release()
    finish_interrupted(store)
    return Deleted(session_id, size)


def prune(
    store: Store, holder: Holder, *, older_than: timedelta | None, keep: int | None, dry_run: bool = False
) -> Iterator[Pruned]:
    """Delete sessions that have not been used for long; yields each that is old enough, oldest last, as it goes.

    One that this version cannot read is left alone: it is not known how old it is.

    Args:
        store: where they are.
        holder: who deletes them.
        older_than: delete only those that were used last before that; None for whenever.
        keep: leave so many of the newest alone; None for none.
        dry_run: change nothing, and yield what would be deleted.
    """
    before = None if older_than is None else timestamp(store.moment() - older_than)
    for summary in list(_from(store, keep or 0)):
        if summary.damaged or (before is not None and (summary.updated_at or "") >= before):
            continue
        try:
            folder = store.folder(summary.id)
            size = size_on_disk(folder)
            if dry_run:
                busy = refusal(folder)
                yield Pruned(summary, size, Fate.OPEN if busy else Fate.DELETED, str(busy or ""))
            else:
                yield Pruned(summary, delete(store, summary.id, holder).freed, Fate.DELETED)
        except SessionBusy as error:
            yield Pruned(summary, size, Fate.OPEN, str(error))
        except UnknownSession:
            continue  # somebody else was faster
        except OSError as error:
            yield Pruned(summary, size, Fate.FAILED, str(error))


def finish_interrupted(store: Store) -> None:
    """Remove what is left of sessions whose deletion was cut.

    Raises:
        OSError: the disk refuses.
    """
    for left in store.deleted():
        with suppress(FileNotFoundError):  # somebody else removes it at this moment
            shutil.rmtree(left)


def size_on_disk(folder: Path) -> int:
    """How many bytes a folder and all in it take up on the disk."""
    total = 0
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            found = path.lstat()
            # A file with several names is not freed with one of them.
            if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode):
                total += files.space(found)
    return total


def sizes(session: Session) -> dict[str, int]:
    """How many bytes the parts of a session take up on the disk, and all of it (`total`)."""
    return {
        "store": sum(size_on_disk(path) for path in session.folder.glob("store.db*")),
        "trajectory": size_on_disk(session.trajectory_dir),
        "harness": size_on_disk(session.app_data_dir),
        "aside": size_on_disk(session.aside_dir),
        "total": size_on_disk(session.folder),
    }


def aside(session: Session) -> dict[str, int]:
    """The folders of files that were moved out of the way, in the order of their names, and their bytes."""
    folders = sorted(session.aside_dir.iterdir()) if session.aside_dir.is_dir() else []
    return {path.name: size_on_disk(path) for path in folders}


def _from(store: Store, first: int) -> Iterator[SessionSummary]:
    """The sessions from the newest on, without the first few."""
    cursor: str | None = None
    while True:
        page = store.page(cursor=cursor, limit=PAGE)
        yield from page.summaries[first:]
        first = max(first - len(page.summaries), 0)
        cursor = page.next_cursor
        if cursor is None:
            return


def _free_name(folder: Path) -> Path:
    for number in range(1_000):
        gone = folder.with_name(f"{DELETED}{folder.name}-{number}")
        if not os.path.lexists(gone):
            return gone
    raise FileExistsError(f"{folder.parent} holds too much that was deleted before")
