"""All stored sessions: makes them, opens them and lists them.

A session id that was handed out can be opened from then on: `create` returns only when the session is on the disk.
Ids come from clients, so they are checked before they become a path.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sessions import durable, events, migrate, salvage, schema
from sessions.catalog import Catalog, Unusable
from sessions.events import Detail, Kind
from sessions.session import (
    FOLDERS,
    SALVAGED_NAME,
    STORE_NAME,
    Clock,
    Origin,
    Session,
    SessionInfo,
    SessionSummary,
    StoreDamaged,
    StoreRefused,
    storable,
    store_path,
    system_clock,
    timestamp,
)

__all__ = [
    "InvalidCursor",
    "Page",
    "Session",
    "SessionExists",
    "SessionInfo",
    "SessionSummary",
    "Store",
    "StoreDamaged",
    "StoreRefused",
    "StoreTooNew",
    "UnknownSession",
    "new_session_id",
    "now",
    "valid_session_id",
]

DELETED = ".deleted-"
"""What the names of folders of deleted sessions begin with."""

NEW = ".new-"
"""What the names of folders of sessions that are being made begin with."""

SALVAGED = ".salvage-"
"""What the names of folders begin with in which a store is made of a damaged one."""

Fill = Callable[[Path, sqlite3.Connection], None]
"""Is given the folder of a session that nobody sees yet, and its store, in which nothing but the session is."""

_SESSION_ID = re.compile(r"[A-Za-z0-9-]{32,128}")


class UnknownSession(Exception):
    """No session is stored under this id, or it cannot be an id at all."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"There is no session {session_id[:128]!r}.")
        self.session_id = session_id


class SessionExists(Exception):
    """A session is stored under this id already."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"There is a session {session_id} already.")
        self.session_id = session_id


class StoreTooNew(Exception):
    """A newer version of this program wrote the session: its schema is `found`, at most `supported` is known."""

    def __init__(self, session_id: str, found: int, supported: int) -> None:
        super().__init__(
            f"The store of session {session_id} has version {found}; this program reads up to {supported}."
        )
        self.session_id = session_id
        self.found = found
        self.supported = supported


class InvalidCursor(Exception):
    """The cursor of a list was not made by this program."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list of sessions, newest first. `next_cursor` asks for the next part; None after the last."""

    summaries: tuple[SessionSummary, ...]
    next_cursor: str | None


def now() -> str:
    """The present moment as all files and reports write it: RFC 3339, UTC, milliseconds."""
    return timestamp(system_clock())


def new_session_id() -> str:
    """A new id: 32 random hexadecimal digits."""
    return uuid.uuid4().hex


def valid_session_id(text: str) -> bool:
    """Whether this can be an id, both of a session and of the harness's conversation (facts, section 4)."""
    return _SESSION_ID.fullmatch(text) is not None


class Store:
    """The sessions under one data folder. The folder is made when the first session is."""

    def __init__(self, data_dir: Path, *, clock: Clock = system_clock) -> None:
        self._root = data_dir / "sessions"
        self._clock = clock
        self._catalog = Catalog(data_dir, self._root, valid=valid_session_id, read=_summary)

    def folder(self, session_id: str) -> Path:
        """The folder of a stored session, for its lease; the session need not be readable.

        Raises:
            UnknownSession: nothing is stored under this id.
        """
        if not valid_session_id(session_id) or not (folder := self._root / session_id).is_dir():
            raise UnknownSession(session_id)
        return folder

    def moment(self) -> datetime:
        """The present time by the store's clock."""
        return self._clock()

    def ids(self, prefix: str = "") -> list[str]:
        """The ids of all stored sessions that begin so, readable or not, in order."""
        if not self._root.is_dir():
            return []
        return sorted(
            path.name
            for path in self._root.iterdir()
            if path.name.startswith(prefix) and valid_session_id(path.name) and path.is_dir()
        )

    def deleted(self) -> list[Path]:
        """What is left of sessions that are being deleted, or were when the process was killed."""
        return sorted(self._root.glob(f"{DELETED}*"))

    def create(
        self,
        session_id: str,
        *,
        cwd: str,
        additional_directories: Sequence[str] = (),
        client: str | None = None,
        fill: Fill | None = None,
        made: Detail | None = None,
    ) -> Session:
        """Make a session and open it. It is on the disk when this returns, or not there at all.

        Args:
            session_id: its id.
            cwd: its folder.
            additional_directories: more folders that belong to it.
            client: the name of the client that wants it.
            fill: puts into it what it is to hold from the beginning.
            made: what is recorded of its making (`events.Kind.MADE`); that it is new if nothing is said.

        Raises:
            ValueError: the id is not valid, or a path has characters that cannot be stored.
            SessionExists: the id is taken.
            StoreRefused: the disk refused.
        """
        if not valid_session_id(session_id):
            raise ValueError(f"{session_id!r} is not a session id")
        folder = self._root / session_id
        if folder.exists():
            raise SessionExists(session_id)
        # Made under a name that is no id and then renamed: a session that was not finished is never seen.
        unfinished = self._root / f"{NEW}{session_id}"
        at = timestamp(self._clock())
        facts = (session_id, cwd, json.dumps(list(additional_directories)), client and storable(client), at, at)
        try:
            durable.make_folder(self._root)
            shutil.rmtree(unfinished, ignore_errors=True)
            _make(unfinished, facts, fill, {"as": "new"} if made is None else made)
            unfinished.rename(folder)
            durable.sync_folder(self._root)
        except (OSError, sqlite3.Error) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise StoreRefused(session_id, str(error)) from error
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return self.open(session_id)

    def open(self, session_id: str) -> Session:
        """Open a stored session. Not a byte of it changes before its first write.

        Whoever will write holds the session's lease already.

        Raises:
            UnknownSession: nothing is stored under this id.
            StoreTooNew: a newer version of this program wrote it.
            StoreDamaged: its store cannot be read; `open_salvaged` opens what is left of it.
        """
        folder = self.folder(session_id)
        try:
            if blocked := [name for name in FOLDERS if _blocked(folder / name)]:
                raise schema.NotAStore(f"{blocked[0]} is not a folder")
            origin, db = _to_read(folder)
        except schema.NewerStore as newer:
            raise StoreTooNew(session_id, newer.found, schema.VERSION) from newer
        except schema.NotAStore as problem:
            raise StoreDamaged(session_id, str(problem)) from problem
        session = Session(folder, db, self._clock, origin=origin, register=self._catalog)
        try:
            stored_id = session.info.id
        except BaseException:
            session.close()
            raise
        if stored_id != session_id:
            # A file system that ignores case finds the folder of another id.
            session.close()
            raise UnknownSession(session_id)
        return session

    def open_salvaged(self, session_id: str, *, cwd: str) -> Session:
        """Open what can be read of a damaged store; `Session.salvaged` says what that was.

        The lease must be held. The damaged files are as they were until the first write, which moves them to
        `aside/`; a session that is closed before has changed nothing.

        Args:
            session_id: the session.
            cwd: its folder, if the store does not say.

        Raises:
            UnknownSession: nothing is stored under this id.
            StoreTooNew: a newer version of this program wrote it.
            StoreRefused: the store is there but may not be read now, or the disk takes no salvaged one.
            ValueError: `cwd` has characters that cannot be stored.
        """
        folder = self.folder(session_id)
        try:
            origin = salvage.build(
                folder, self._root / f"{SALVAGED}{session_id}", cwd=cwd, at=timestamp(self._clock())
            )
        except schema.NewerStore as newer:
            raise StoreTooNew(session_id, newer.found, schema.VERSION) from newer
        except (OSError, sqlite3.Error) as error:
            raise StoreRefused(session_id, str(error)) from error
        return Session(
            folder, origin.db, self._clock, origin=origin, register=self._catalog, salvaged=origin.salvaged
        )

    def page(self, *, cwd: str | None = None, cursor: str | None = None, limit: int = 50) -> Page:
        """A part of the list of sessions: newest first, unreadable ones last.

        Changes nothing but the catalog. An unreadable session is listed as damaged, unless a folder is asked for:
        it is not known which one it belongs to.

        Args:
            cwd: list only the sessions of this folder.
            cursor: where the page before this one ended.
            limit: the largest number of sessions in the page, at least 1.

        Raises:
            InvalidCursor: the cursor was not made by this program.
        """
        after = None if cursor is None else _read_cursor(cursor)
        limit = max(limit, 1)
        if not self._root.is_dir():
            return Page((), None)
        try:
            found = self._catalog.page(cwd=cwd, after=after, limit=limit + 1)
        except Unusable:
            found = self._read_page(cwd=cwd, after=after, limit=limit + 1)
        return Page(found[:limit], _write_cursor(found[limit - 1]) if len(found) > limit else None)

    def _read_page(
        self, *, cwd: str | None, after: tuple[str, str] | None, limit: int
    ) -> tuple[SessionSummary, ...]:
        """The same from the stores, which takes as long as there are many."""
        summaries = map(
            _summary, (path for path in self._root.iterdir() if valid_session_id(path.name) and path.is_dir())
        )
        found = [summary for summary in summaries if cwd is None or summary.cwd == cwd]
        found.sort(key=_place, reverse=True)
        return tuple([summary for summary in found if after is None or _place(summary) < after][:limit])


class _AsItIs:
    """A store of this version; nothing has to happen before it is written to."""

    def take_place(self, session: Session) -> None:
        pass

    def leave(self) -> None:
        pass


def _to_read(folder: Path) -> tuple[Origin, sqlite3.Connection]:
    """The session's store, open to be read and looked at thoroughly. Raises NotAStore, NewerStore."""
    path = store_path(folder)
    db = schema.open_readonly(path, thorough=True)
    if schema.version(db) < schema.VERSION:
        try:
            return migrate.Older(schema.version(db)), migrate.readable(db)
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise schema.NotAStore(str(error)) from error
        finally:
            db.close()
    return (salvage.Unfinished() if path.name == SALVAGED_NAME else _AsItIs()), db


def _blocked(folder: Path) -> bool:
    return os.path.lexists(folder) and not folder.is_dir()


def _make(folder: Path, facts: tuple[str | None, ...], fill: Fill | None, made: Detail) -> None:
    durable.make_folder(folder)
    for name in FOLDERS:
        durable.make_folder(folder / name)
    path = folder / STORE_NAME
    durable.make_file(path)
    db = schema.create(path)
    try:
        db.execute(
            "INSERT INTO session (only, id, cwd, additional_directories, client, created_at, updated_at)"
            " VALUES (1, ?, ?, ?, ?, ?, ?)",
            facts,
        )
        if made:
            events.add(db, str(facts[-1]), Kind.MADE, made)
        if fill is not None:
            fill(folder, db)
    finally:
        db.close()
    durable.sync_file(path)
    durable.sync_folder(folder)


def _summary(folder: Path) -> SessionSummary:
    damaged = SessionSummary(id=folder.name, damaged=True)
    try:
        with closing(schema.open_readonly(store_path(folder))) as db:
            summary = migrate.summary_of(db)
    except (schema.NotAStore, schema.NewerStore, sqlite3.Error, TypeError, ValueError):
        return damaged
    # A copy under another name cannot be opened, and the session it was copied from is listed already.
    return summary if summary.id == folder.name else damaged


def _place(summary: SessionSummary) -> tuple[str, str]:
    return (summary.updated_at or "", summary.id)


def _write_cursor(last: SessionSummary) -> str:
    return base64.urlsafe_b64encode(json.dumps(_place(last)).encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        match json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True)):
            case [str(updated_at), str(session_id)]:
                return updated_at, session_id
    except (ValueError, RecursionError) as error:
        raise InvalidCursor(f"{cursor[:100]!r} is not a cursor of this list") from error
    raise InvalidCursor(f"{cursor[:100]!r} is not a cursor of this list")
