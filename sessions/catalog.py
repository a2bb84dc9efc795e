"""The list of all sessions, kept in one small database so that a page of it does not open every store.

A cache, never the truth: whatever is wrong with it, the stores say what is right. It may be deleted at any time.

A row is what a session's store said when it was read, with a stamp of the files that were read. It is believed as
long as the stamp is theirs. To look at the files of ten thousand sessions for every page would cost too much, so
only these are looked at: the sessions on the page, and those that are marked as open for writing. A session is
marked before its first write and unmarked when it is closed in order; one whose process was killed stays marked.
Sessions that came or went in another way are found by comparing the names in the folder, and the numbers that the
file system gave them, with the rows. One that was replaced behind this program's back and got the old number is
listed as it is when its turn comes, but its turn may come at the old one's place.

A stamp that is younger than the clock of the file system is fine is no proof, and is not kept. A row carries a sum
of its own, since a flipped bit in the catalog must not change what a list says.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sessions import durable, schema
from sessions.report import CheckpointRef, Outcome, Reason
from sessions.session import SessionSummary, store_path
from sessions.system import files

NAME = "catalog.db"

WAIT_MILLISECONDS = 250
"""How long a page or a mark waits for another process that writes the catalog; none writes for longer."""

UNSURE_NANOSECONDS = 2_000_000_000
"""How much older than its reading a file's last change must be for its time to tell it from a later one."""

BATCH = 50
"""Stores that are read while the catalog is kept from others."""

_VERSION = 2

_TABLES = f"""
BEGIN;
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    inode INTEGER NOT NULL,             -- of the session's folder
    stamp TEXT,                         -- of the files that were read, NULL if that proves nothing
    marked INTEGER NOT NULL,            -- whether it is, or was when its process died, open for writing
    cwd TEXT,
    additional TEXT,                    -- JSON array of paths
    title TEXT,
    updated_at TEXT NOT NULL,           -- empty if the store is damaged
    turns INTEGER NOT NULL,
    checkpoint_turn INTEGER,
    checkpoint_steps INTEGER,
    checkpoint_at TEXT,
    outcome TEXT,
    reason TEXT,
    damaged INTEGER NOT NULL,
    sum INTEGER NOT NULL                -- CRC-32 of the id, the stamp and what the store said
) STRICT;
CREATE INDEX place ON session (updated_at, id);
CREATE INDEX place_in_folder ON session (cwd, updated_at, id);
CREATE INDEX marked ON session (id) WHERE marked;
-- The folder of all sessions as it was when its names were last compared; one row, or none.
CREATE TABLE names (only INTEGER PRIMARY KEY CHECK (only = 1), stamp TEXT NOT NULL) STRICT;
PRAGMA user_version = {_VERSION};
COMMIT;
"""

_SAID = (
    "cwd, additional, title, updated_at, turns, checkpoint_turn, checkpoint_steps, checkpoint_at, outcome, reason,"
    " damaged"
)

_REFUSALS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)
"""Errors that say nothing against the catalog itself."""

Value = str | int | None


class Unusable(Exception):
    """The catalog cannot be used now; the stores have to be read. The text says why."""


def problem(data_dir: Path) -> str | None:
    """What is wrong with the catalog, None if nothing is, or there is none. It is only read.

    Whatever it is, the next list makes a new one.
    """
    path = data_dir / NAME
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        return "it is no file"
    if not path.stat().st_size:
        return None  # it was being made
    try:
        with contextlib.closing(schema.connect(path, schema.quiet_mode(path))) as db:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except (sqlite3.Error, ValueError) as error:  # what SQLite says of damage may name it, and be no UTF-8
        return str(error)
    return None if found == "ok" else str(found)


class Catalog:
    """The catalog of the sessions in one folder.

    Args:
        data_dir: where the catalog lies.
        root: the folder of the sessions.
        valid: whether a name can be that of a session.
        read: reads a session's store, never raises.
    """

    def __init__(
        self,
        data_dir: Path,
        root: Path,
        *,
        valid: Callable[[str], bool],
        read: Callable[[Path], SessionSummary],
    ) -> None:
        self._path = data_dir / NAME
        self._root = root
        self._valid = valid
        self._read = read

    def opened(self, session_id: str, *, wait: bool) -> bool:
        """Mark a session before its first write; whether that succeeded. It is tried again with later writes."""
        try:
            with self._writing(wait=wait) as db:
                row = _unread(session_id)
                db.execute(
                    f"INSERT INTO session (id, inode, stamp, marked, {_SAID}, sum)"  # noqa: S608
                    f" VALUES ({_marks(len(row))}) ON CONFLICT (id) DO UPDATE SET marked = 1",
                    row,
                )
        except Unusable:
            return False
        return True

    def closed(self, folder: Path, summary: SessionSummary) -> None:
        """Note what an orderly closed session's store says, and unmark it.

        If that fails the mark stays, which costs the next page a look at the session.
        """
        with contextlib.suppress(Unusable, OSError), self._writing() as db:
            row = _row(folder, lambda _: summary, marked=_log(folder) != "-")
            _put(db, row)

    def page(self, *, cwd: str | None, after: tuple[str, str] | None, limit: int) -> tuple[SessionSummary, ...]:
        """At most `limit` sessions, newest first, damaged ones last, from the one after a place on.

        Raises:
            Unusable: see there.
        """
        try:
            with self._writing() as db:
                sure = self._reconcile(db)
                while True:
                    rows = _select(db, cwd, after, limit)
                    doubtful = [
                        row[0]
                        for row in rows
                        if row[0] not in sure and not self._proven(str(row[0]), row[1], row[2:])
                    ]
                    if not doubtful:
                        return tuple(_summary(row[0], row[2:-1]) for row in rows)
                    self._look(db, doubtful, sure)
        except (TypeError, ValueError) as error:
            self._remove()
            raise Unusable(str(error)) from error

    def _reconcile(self, db: sqlite3.Connection) -> set[Value]:
        """Bring the rows up to the stores, as far as the module says; returns the ids that were read just now."""
        sure: set[Value] = set()
        marked = db.execute(f"SELECT id, stamp, {_SAID}, sum FROM session WHERE marked").fetchall()  # noqa: S608
        self._look(db, [row[0] for row in marked if not self._proven(row[0], row[1], row[2:])], sure)
        before = time.time_ns()
        names = self._root.stat()
        stamp = f"{names.st_dev}:{names.st_ino}:{files.changed_ns(names)}"
        if db.execute("SELECT 1 FROM names WHERE stamp = ?", (stamp,)).fetchone():
            return sure
        known = dict(db.execute("SELECT id, inode FROM session"))
        with os.scandir(self._root) as entries:
            present = {entry.name: entry.inode() for entry in entries}
        gone = [(name,) for name in known if name not in present]
        db.executemany("DELETE FROM session WHERE id = ?", gone)
        new = (name for name, inode in present.items() if known.get(name) != inode)
        self._look(db, [name for name in new if name not in sure and self._valid(name)], sure)
        if files.changed_ns(names) + UNSURE_NANOSECONDS < before:
            db.execute("INSERT OR REPLACE INTO names VALUES (1, ?)", (stamp,))
        return sure

    def _look(self, db: sqlite3.Connection, session_ids: Iterable[Value], sure: set[Value]) -> None:
        """Read these sessions' stores into their rows.

        Nobody can mark a session meanwhile, so a row that has no mark is what the store says.
        """
        for count, session_id in enumerate(session_ids, start=1):
            folder = self._root / str(session_id)
            sure.add(session_id)
            try:
                there = folder.is_dir()
                if there:
                    known = db.execute(
                        f"SELECT id, inode, stamp, marked, {_SAID}, sum FROM session WHERE id = ?",  # noqa: S608
                        (session_id,),
                    ).fetchone()
                    row = _row(folder, self._read, marked=bool(known[3]) if known else _log(folder) != "-")
                    if row != known:
                        _put(db, row)
            except FileNotFoundError:
                there = False
            if not there:
                db.execute("DELETE FROM session WHERE id = ?", (session_id,))
            if count % BATCH == 0:
                # Others may write in between: a process that begins a session must not wait for thousands.
                db.execute("COMMIT")
                db.execute("BEGIN IMMEDIATE")

    def _proven(self, session_id: str, stamp: Value, said: tuple[Value, ...]) -> bool:
        return (
            stamp is not None
            and said[-1] == _sum(session_id, stamp, said[:-1])
            and stamp == _stamp(self._root / session_id)[0]
        )

    @contextmanager
    def _writing(self, *, wait: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction on the catalog, which is made anew if it is none."""
        try:
            with contextlib.closing(self._connect(wait=wait)) as db:
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF not in _REFUSALS:
                # Damaged. The next one is made from the stores.
                self._remove()
            raise Unusable(str(error)) from error
        except OSError as error:
            raise Unusable(str(error)) from error

    def _connect(self, *, wait: bool) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):
            durable.make_file(self._path)
        db = schema.connect(self._path, "mode=rw")
        try:
            db.execute(f"PRAGMA busy_timeout = {WAIT_MILLISECONDS if wait else 0}")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                if db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
                    self._remove()
                    raise OSError(f"the catalog has version {version}")
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(_TABLES)
            db.execute("BEGIN IMMEDIATE")
        except BaseException:
            db.close()
            raise
        return db

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                self._path.with_name(NAME + suffix).unlink()


def _select(
    db: sqlite3.Connection, cwd: str | None, after: tuple[str, str] | None, limit: int
) -> list[tuple[Value, ...]]:
    wanted: list[str] = []
    values: list[str | int] = []
    if cwd is not None:
        wanted.append("cwd = ?")
        values.append(cwd)
    if after is not None:
        wanted.append("(updated_at, id) < (?, ?)")
        values += after
    where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
    return db.execute(
        f"SELECT id, stamp, {_SAID}, sum FROM session {where} ORDER BY updated_at DESC, id DESC LIMIT ?",  # noqa: S608
        (*values, limit),
    ).fetchall()


def _put(db: sqlite3.Connection, row: tuple[Value, ...]) -> None:
    db.execute(
        f"INSERT OR REPLACE INTO session (id, inode, stamp, marked, {_SAID}, sum) VALUES ({_marks(len(row))})",  # noqa: S608
        row,
    )


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _row(folder: Path, read: Callable[[Path], SessionSummary], *, marked: bool) -> tuple[Value, ...]:
    """A row of what a session's store says now. Raises FileNotFoundError if there is no such session."""
    before = time.time_ns()
    inode = folder.lstat().st_ino
    stamp, changed = _stamp(folder)
    said = _said(read(folder))
    kept = stamp if changed + UNSURE_NANOSECONDS < before else None
    return (folder.name, inode, kept, int(marked), *said, _sum(folder.name, kept, said))


def _unread(session_id: str) -> tuple[Value, ...]:
    said = _said(SessionSummary(id=session_id, damaged=True))
    return (session_id, 0, None, 1, *said, _sum(session_id, None, said))


def _sum(session_id: Value, stamp: Value, said: tuple[Value, ...]) -> int:
    return zlib.crc32(repr((session_id, stamp, said)).encode())


def _stamp(folder: Path) -> tuple[str, int]:
    """What tells the files that a list reads from any others, and when they changed last (ns since 1970)."""
    store = store_path(folder)
    parts: list[str] = []
    changed = 0
    for path in (store, store.with_name(f"{store.name}-wal")):
        try:
            found = path.stat()
        except OSError:
            parts.append("-")
            continue
        parts.append(
            f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{files.changed_ns(found)}"
        )
        if stat.S_ISREG(found.st_mode):
            changed = max(changed, found.st_mtime_ns, files.changed_ns(found))
    return " ".join(parts), changed


def _log(folder: Path) -> str:
    return _stamp(folder)[0].rpartition(" ")[2]


def _said(summary: SessionSummary) -> tuple[Value, ...]:
    at = summary.checkpoint
    return (
        summary.cwd,
        json.dumps(summary.additional_directories),
        summary.title,
        summary.updated_at or "",
        summary.turns,
        at.turn if at else None,
        at.steps if at else None,
        at.at if at else None,
        summary.outcome.value if summary.outcome else None,
        summary.reason.value if summary.reason else None,
        int(summary.damaged),
    )


def _summary(session_id: Value, said: tuple[Value, ...]) -> SessionSummary:
    (cwd, additional, title, updated_at, turns, turn, steps, at, outcome, reason, damaged) = said
    return SessionSummary(
        id=str(session_id),
        cwd=None if cwd is None else str(cwd),
        additional_directories=tuple(json.loads(str(additional))),
        title=None if title is None else str(title),
        updated_at=str(updated_at) or None,
        turns=int(turns or 0),
        checkpoint=None if at is None else CheckpointRef(turn=int(turn or 0), steps=int(steps or 0), at=str(at)),
        outcome=None if outcome is None else Outcome(str(outcome)),
        reason=None if reason is None else Reason(str(reason)),
        damaged=bool(damaged),
    )
