"""One stored session: what is known of it, where its files are, and its open store.

<session id>/
    store.db      this program's database: journal, checkpoints, memory (`sessions.schema`)
    lease         locked by the process that has the session open (`sessions.lease`)
    trajectory/   the harness's database and the files beside it; never written here
    harness/      the harness's other data
    aside/        damaged files, moved out of the way and kept
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from sessions import durable, schema
from sessions.report import CheckpointRef, Outcome, Reason

STORE_NAME = "store.db"
FOLDERS = ("trajectory", "harness", "aside")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """A moment as all files and reports write it: RFC 3339, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
    title: str | None = None
    updated_at: str | None = None
    turns: int = 0
    checkpoint: CheckpointRef | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    damaged: bool = False


class Session:
    """An open session. Safe to use from several threads, one transaction at a time; close it when done.

    Methods that change something raise `StoreRefused` if the disk refuses, those that read raise `StoreDamaged`.
    """

    def __init__(self, folder: Path, db: sqlite3.Connection, clock: Clock) -> None:
        self.id = folder.name
        self.folder = folder
        self.trajectory_dir = folder / "trajectory"
        self.trajectory_path = self.trajectory_dir / f"{folder.name}.db"
        self.app_data_dir = folder / "harness"
        self.aside_dir = folder / "aside"
        self._db = db
        self._clock = clock
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

    def record_outcome(self, outcome: Outcome, reason: Reason) -> None:
        """Remember how the session was last brought back. Durable."""
        self._change("UPDATE session SET outcome = ?, reason = ?", outcome.value, reason.value)

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

    def move_aside(self, reason: str) -> Path | None:
        """Move the harness's database and the files beside it to `aside/<time>-<reason>/`, durably.

        Nobody may have them open. Returns the new folder, None if there was nothing to move. The database goes
        first: cut in between, what is left is a log without a database, never an older database that looks whole.

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
        folder = self._new_aside(reason)
        for path in present:
            path.rename(folder / path.name)
        durable.sync_folder(folder)
        durable.sync_folder(self.trajectory_dir)
        return folder

    def close(self) -> None:
        """Close the store. The session stays on disk; nothing else can be done with this object."""
        with self._lock:
            self._db.close()

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

    def _change(self, statement: str, *values: str | None) -> None:
        try:
            with self.transaction(durable=True) as db:
                db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreRefused(self.id, str(error)) from error

    def _new_aside(self, reason: str) -> Path:
        stamp = self.now().replace(":", "").replace("-", "")
        for number in range(1, 1000):
            folder = self.aside_dir / (f"{stamp}-{reason}" if number == 1 else f"{stamp}-{reason}-{number}")
            if not folder.exists():
                durable.make_folder(folder)
                return folder
        raise FileExistsError(f"{self.aside_dir} holds too many folders of one moment")


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
        title=info.title,
        updated_at=info.updated_at,
        turns=info.turns,
        checkpoint=CheckpointRef(turn=newest[0], steps=newest[1], at=newest[2]) if newest else None,
        outcome=info.outcome,
        reason=info.reason,
    )
