"""All stored sessions: makes them, opens them and lists them.

A session id that was handed out can be opened from then on: `create` returns only when the session is on the disk.
Ids come from clients, so they are checked before they become a path.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessions import durable, schema
from sessions.session import (
    FOLDERS,
    STORE_NAME,
    Clock,
    Session,
    SessionInfo,
    SessionSummary,
    StoreDamaged,
    StoreRefused,
    read_summary,
    storable,
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

    def create(
        self,
        session_id: str,
        *,
        cwd: str,
        additional_directories: Sequence[str] = (),
        client: str | None = None,
    ) -> Session:
        """Make a session and open it. It is on the disk when this returns, or not there at all.

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
        unfinished = self._root / f".new-{session_id}"
        at = timestamp(self._clock())
        facts = (session_id, cwd, json.dumps(list(additional_directories)), client and storable(client), at, at)
        try:
            durable.make_folder(self._root)
            shutil.rmtree(unfinished, ignore_errors=True)
            _make(unfinished, facts)
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
        """Open a stored session.

        Raises:
            UnknownSession: nothing is stored under this id.
            StoreTooNew: a newer version of this program wrote it.
            StoreDamaged: its store cannot be read.
        """
        if not valid_session_id(session_id) or not (folder := self._root / session_id).is_dir():
            raise UnknownSession(session_id)
        try:
            db = schema.open_checked(folder / STORE_NAME)
        except schema.NewerStore as newer:
            raise StoreTooNew(session_id, newer.found, schema.VERSION) from newer
        except schema.NotAStore as problem:
            raise StoreDamaged(session_id, str(problem)) from problem
        session = Session(folder, db, self._clock)
        try:
            stored_id = session.info.id
            for name in FOLDERS:
                durable.make_folder(folder / name)
        except StoreDamaged:
            session.close()
            raise
        except OSError as error:
            session.close()
            raise StoreDamaged(session_id, str(error)) from error
        if stored_id != session_id:
            # A file system that ignores case finds the folder of another id.
            session.close()
            raise UnknownSession(session_id)
        return session

    def page(self, *, cwd: str | None = None, cursor: str | None = None, limit: int = 50) -> Page:
        """A part of the list of sessions: newest first, unreadable ones last.

        Changes nothing on the disk. An unreadable session is listed as damaged, unless a folder is asked for: it
        is not known which one it belongs to.

        Args:
            cwd: list only the sessions of this folder.
            cursor: where the page before this one ended.
            limit: the largest number of sessions in the page, at least 1.

        Raises:
            InvalidCursor: the cursor was not made by this program.
        """
        after = None if cursor is None else _read_cursor(cursor)
        found = [summary for summary in self._summaries() if cwd is None or summary.cwd == cwd]
        found.sort(key=_place, reverse=True)
        rest = [summary for summary in found if after is None or _place(summary) < after]
        page = rest[: max(limit, 1)]
        return Page(tuple(page), _write_cursor(page[-1]) if len(rest) > len(page) else None)

    def _summaries(self) -> Iterator[SessionSummary]:
        try:
            folders = list(self._root.iterdir())
        except FileNotFoundError:
            return
        for folder in folders:
            if valid_session_id(folder.name) and folder.is_dir():
                yield _summary(folder)


def _make(folder: Path, facts: tuple[str | None, ...]) -> None:
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
    finally:
        db.close()
    durable.sync_file(path)
    durable.sync_folder(folder)


def _summary(folder: Path) -> SessionSummary:
    try:
        db = schema.open_readonly(folder / STORE_NAME)
    except (schema.NotAStore, schema.NewerStore):
        return SessionSummary(id=folder.name, damaged=True)
    try:
        return read_summary(db)
    except (sqlite3.Error, TypeError, ValueError):
        return SessionSummary(id=folder.name, damaged=True)
    finally:
        db.close()


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
