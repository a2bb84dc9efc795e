"""One stored session: what is known of it, where its files are, and its open store.

A session is opened to be read. Nothing in its folder changes until the first transaction, which opens the store
for writing; what has to happen before that (an older store is migrated, a salvaged one takes its place, the
catalog is told) happens then. A load that is refused before has left every byte as it was.

<session id>/
    store.db      this program's database: journal, checkpoints, memory (`sessions.schema`)
    lease         locked by the process that has the session open (`sessions.lease`)
    trajectory/   the harness's database and the files beside it; never written here
    harness/      the harness's other data
    aside/        damaged files, moved out of the way and kept
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pydantic import JsonValue

from sessions import durable, events, schema
from sessions.events import Detail, Event, Kind
from sessions.report import CheckpointRef, Outcome, Reason

STORE_NAME = "store.db"

SALVAGED_NAME = "store.db.salvaged"
"""A salvaged store that is about to take the place of the damaged one; while it lies there, it is the store."""

FOLDERS = ("trajectory", "harness", "aside")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """A moment as all files and reports write it: RFC 3339, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def store_path(folder: Path) -> Path:
    """The database that is a session's store."""
    salvaged = folder / SALVAGED_NAME
    return salvaged if salvaged.exists() else folder / STORE_NAME


def storable(text: str) -> str:
    """Text that a database and a client take: lone surrogates become question marks."""
    return text.encode(errors="replace").decode()


class StoreDamaged(Exception):
    """A session's store cannot be read; `detail` says what was found."""

    def __init__(self, session_id: str, detail: str) -> None:
        super().__init__(f"The store of session {session_id} cannot be read: {detail}.")
        self.session_id = session_id
        self.detail = detail


class StoreRefused(Exception):
    """A change was not written, because the disk or another process refused it; `detail` is SQLite's word."""

    def __init__(self, session_id: str, detail: str) -> None:
        super().__init__(f"The store of session {session_id} could not be written: {detail}.")
        self.session_id = session_id
        self.detail = detail


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session's store says of it.

    `turns` counts the turns of the line that the session is on. `outcome` and `reason` are of the last load, None
    before the first.
    """

    id: str
    cwd: str
    additional_directories: tuple[str, ...]
    client: str | None
    title: str | None
    created_at: str
    updated_at: str
    turns: int
    outcome: Outcome | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session in a list. If it is `damaged`, this version cannot read its store and only the id is known."""

    id: str
    cwd: str | None = None
    additional_directories: tuple[str, ...] = ()
    title: str | None = None
    updated_at: str | None = None
    turns: int = 0
    checkpoint: CheckpointRef | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Primer:
    """A transcript that a conversation was primed with: its number, its time, and the user turns it carries."""

    id: int
    at: str
    turns: int
    text: str


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was read of a damaged store, and what was wrong with it. What was lost is not known."""

    turns: int
    entries: int
    checkpoints: int
    detail: str


class Origin(Protocol):
    """Where a session is read from before it is written to, and what makes a store of this version of it."""

    def take_place(self, session: Session) -> None:
        """Make `store.db` what was read, at the first write. Tried again with the next write if it fails.

        Raises:
            OSError, sqlite3.Error: the disk refuses.
        """

    def leave(self) -> None:
        """The session was closed. What was made only for reading goes away."""


class Register(Protocol):
    """Who has to know which stores are being written to."""

    def opened(self, session_id: str, *, wait: bool) -> bool:
        """A session is about to be written to; whether that was noted."""

    def closed(self, folder: Path, summary: SessionSummary) -> None:
        """A session that was written to has been closed in order."""


class Session:
    """An open session. Safe to use from several threads, one transaction at a time; close it when done.

    Methods that change something raise `StoreRefused` if the disk refuses, those that read raise `StoreDamaged`.
    """

    def __init__(
        self,
        folder: Path,
        db: sqlite3.Connection,
        clock: Clock,
        *,
        origin: Origin,
        register: Register,
        salvaged: Salvaged | None = None,
    ) -> None:
        self.id = folder.name
        self.folder = folder
        self.trajectory_dir = folder / "trajectory"
        self.trajectory_path = self.trajectory_dir / f"{folder.name}.db"
        self.app_data_dir = folder / "harness"
        self.aside_dir = folder / "aside"
        self.salvaged = salvaged
        """What was saved if the store was damaged, None if it was not."""
        self._db = db
        self._clock = clock
        self._origin = origin
        self._register = register
        self._writable = False
        self._registered = False
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def info(self) -> SessionInfo:
        """What is known of the session now."""
        with self.reading() as db:
            return read_info(db)

    def summary(self) -> SessionSummary:
        """The session as a list shows it."""
        with self.reading() as db:
            return read_summary(db)

    def now(self) -> str:
        """The time by the store's clock, as `timestamp` writes it."""
        return timestamp(self._clock())

    def set_title(self, title: str | None) -> None:
        """Name the session. Durable."""
        clean = None if title is None else storable(title)
        self._change("UPDATE session SET title = ?, updated_at = ?", clean, self.now())

    def record_outcome(self, outcome: Outcome, reason: Reason, detail: Detail | None = None) -> None:
        """Remember how the session was brought back, with what is to be known of it later. Durable."""
        told = detail or {"outcome": outcome.value, "reason": reason.value}
        try:
            with self.transaction(durable=True) as db:
                db.execute("UPDATE session SET outcome = ?, reason = ?", (outcome.value, reason.value))
                events.add(db, self.now(), Kind.LOADED, told)
        except sqlite3.Error as error:
            raise StoreRefused(self.id, str(error)) from error

    def record(self, kind: Kind, detail: Detail) -> None:
        """Remember that something happened to the session. Durable."""
        try:
            with self.transaction(durable=True) as db:
                events.add(db, self.now(), kind, detail)
        except sqlite3.Error as error:
            raise StoreRefused(self.id, str(error)) from error

    def events(self) -> list[Event]:
        """What happened to the session, in order."""
        with self.reading() as db:
            return events.read(db)

    def remember(self, key: str, value: JsonValue) -> None:
        """Keep a small value under a key, in place of the one before; None forgets it. Durable."""
        if value is None:
            self._change("DELETE FROM memory WHERE key = ?", key)
        else:
            self._change("INSERT OR REPLACE INTO memory (key, value) VALUES (?, ?)", key, json.dumps(value))

    def recall(self, key: str) -> JsonValue:
        """The value that is kept under a key, None if there is none."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM memory WHERE key = ?", (key,)).fetchone()
            value: JsonValue = json.loads(row[0]) if row else None
            return value

    def update_folders(self, cwd: str, additional_directories: Sequence[str]) -> None:
        """The session belongs to other folders from now on. Durable.

        Raises:
            ValueError: a path has characters that cannot be stored.
        """
        self._change(
            "UPDATE session SET cwd = ?, additional_directories = ?", cwd, json.dumps([*additional_directories])
        )

    @property
    def primer(self) -> Primer | None:
        """What the live conversation was primed with, and must be again at every open; None if it was not."""
        with self.reading() as db:
            return _primer(db, "(SELECT primer FROM session)")

    @property
    def primer_id(self) -> int | None:
        """The number of what the live conversation was primed with, None if it was not."""
        found = self.primer
        return found.id if found else None

    def stored_primer(self, primer_id: int) -> Primer | None:
        """The primer with this number, as a checkpoint names it; None if it is not stored."""
        with self.reading() as db:
            return _primer(db, "?", primer_id)

    def set_primer(self, text: str, turns: int) -> Primer:
        """Store a transcript and name it as what the live conversation was primed with. Durable.

        Args:
            text: the transcript.
            turns: the number of user turns that it carries.
        """
        at, clean = self.now(), storable(text)
        try:
            with self.transaction(durable=True) as db:
                made = db.execute("INSERT INTO primer (at, turns, text) VALUES (?, ?, ?)", (at, turns, clean))
                primer_id = made.lastrowid
                assert primer_id is not None
                db.execute("UPDATE session SET primer = ?", (primer_id,))
        except sqlite3.Error as error:
            raise StoreRefused(self.id, str(error)) from error
        return Primer(primer_id, at, turns, clean)

    def use_primer(self, primer_id: int | None) -> None:
        """Name a stored primer as what the live conversation was primed with, None if it was not. Durable."""
        self._change("UPDATE session SET primer = ?", primer_id)

    def move_aside(self, reason: str, *, into: Path | None = None) -> Path | None:
        """Move the harness's database and the files beside it to `aside/<time>-<reason>/`, durably.

        Nobody may have them open. If they were being moved before, `into` is the folder that was made for them.
        Returns the folder, None if there was nothing to move. The database goes first: cut in between, what is
        left is a log without a database, never an older database that looks whole.

        Raises:
            OSError: the files cannot be moved.
        """
        present = [
            path
            for suffix in ("", "-wal", "-shm", "-journal")
            if os.path.lexists(path := self.trajectory_path.with_name(self.trajectory_path.name + suffix))
        ]
        if not present:
            return None
        folder = into or self.new_aside(reason)
        for path in present:
            path.rename(folder / path.name)
        durable.sync_folder(folder)
        durable.sync_folder(self.trajectory_dir)
        return folder

    def new_aside(self, reason: str) -> Path:
        """Make a new folder `aside/<time>-<reason>/` for files that are moved out of the way or copied, durably.

        Raises:
            OSError: the disk refuses.
        """
        stamp = self.now().replace(":", "").replace("-", "")
        for number in range(1, 1000):
            folder = self.aside_dir / (f"{stamp}-{reason}" if number == 1 else f"{stamp}-{reason}-{number}")
            if not folder.exists():
                durable.make_folder(folder)
                return folder
        raise FileExistsError(f"{self.aside_dir} holds too many folders of one moment")

    def make_folders(self) -> None:
        """Make the folders of the session that are missing, durably. The first write does it too.

        Raises:
            OSError: the disk refuses.
        """
        for name in FOLDERS:
            durable.make_folder(self.folder / name)

    def close(self) -> None:
        """Close the store. The session stays on disk; nothing else can be done with this object."""
        with self._lock:
            summary: SessionSummary | None = None
            if self._writable:
                with contextlib.suppress(StoreDamaged, sqlite3.ProgrammingError):
                    summary = self.summary()
            self._db.close()
            self._origin.leave()
            if summary is not None:
                self._register.closed(self.folder, summary)

    @contextmanager
    def transaction(self, *, durable: bool, wait: bool = True) -> Iterator[sqlite3.Connection]:
        """Do several things to the store, or none of them. For the journal and the checkpoints.

        Args:
            durable: whether the commit survives a power failure; it survives the end of the process anyway.
            wait: whether to wait a moment (`schema.BUSY_MILLISECONDS`) for another process that writes.

        Raises:
            sqlite3.Error: it could not be begun or committed; nothing was done.
        """
        with self._lock:
            if durable or not self._writable:
                self._prepare(wait=wait)
            db = self._db
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute(f"PRAGMA busy_timeout = {schema.BUSY_MILLISECONDS if wait else 0}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # After some failures, a full disk among them, SQLite has rolled back already.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read the store. For the journal and the checkpoints. What goes wrong inside raises `StoreDamaged`."""
        with self._lock:
            try:
                yield self._db
            except sqlite3.ProgrammingError:
                raise  # the session was closed: a mistake of the caller, not damage
            except (sqlite3.Error, TypeError, ValueError) as error:
                raise StoreDamaged(self.id, str(error)) from error

    def _prepare(self, *, wait: bool) -> None:
        """Be ready to write; what did not succeed is tried again with the next write."""
        if not self._writable:
            self._db.execute("SELECT 1")  # raises if the session was closed
            # Before anything is written, so that a list knows of this session even if the process is killed.
            self._registered = self._register.opened(self.id, wait=wait)
            try:
                self._origin.take_place(self)
                self.make_folders()
            except OSError as error:
                raise sqlite3.OperationalError(str(error)) from error
            read, self._db = self._db, schema.open_writable(self.folder / STORE_NAME)
            read.close()
            self._writable = True
        elif not self._registered:
            self._registered = self._register.opened(self.id, wait=False)

    def _change(self, statement: str, *values: str | int | None) -> None:
        try:
            with self.transaction(durable=True) as db:
                db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreRefused(self.id, str(error)) from error


def _primer(db: sqlite3.Connection, which: str, *values: int) -> Primer | None:
    row = db.execute(f"SELECT id, at, turns, text FROM primer WHERE id = {which}", values).fetchone()  # noqa: S608
    return Primer(*row) if row else None


def read_info(db: sqlite3.Connection) -> SessionInfo:
    """What a store says of its session.

    Raises:
        sqlite3.Error, TypeError, ValueError: the store is damaged.
    """
    row = db.execute(
        "SELECT id, cwd, additional_directories, client, title, created_at, updated_at, outcome, reason,"
        " coalesce((SELECT depth FROM turn WHERE turn = head), 0) FROM session"
    ).fetchone()
    (session_id, cwd, additional, client, title, created_at, updated_at, outcome, reason, turns) = row
    return SessionInfo(
        id=session_id,
        cwd=cwd,
        additional_directories=tuple(json.loads(additional)),
        client=client,
        title=title,
        created_at=created_at,
        updated_at=updated_at,
        turns=turns,
        outcome=Outcome(outcome) if outcome else None,
        reason=Reason(reason) if reason else None,
    )


def read_summary(db: sqlite3.Connection) -> SessionSummary:
    """The same, and the newest checkpoint, as a list shows it. Raises what `read_info` raises."""
    info = read_info(db)
    newest = db.execute("SELECT turn, steps, at FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()
    return SessionSummary(
        id=info.id,
        cwd=info.cwd,
        additional_directories=info.additional_directories,
        title=info.title,
        updated_at=info.updated_at,
        turns=info.turns,
        checkpoint=CheckpointRef(turn=newest[0], steps=newest[1], at=newest[2]) if newest else None,
        outcome=info.outcome,
        reason=info.reason,
    )
