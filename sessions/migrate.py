"""Makes a store of this version of an older one.

A step is one SQLite transaction: a process that is killed in it leaves the old store, which can be migrated again.
The old store is copied to `aside/` first and kept. As long as a session is only read, a migrated copy in a
temporary database is read instead, and the store stays what it is.

A checkpoint's digest is over its fields, so new fields need new digests. They are made only as far as the old ones
are right: a checkpoint that was damaged before must not become whole by being migrated.

Steps are frozen: they say what a version was, not what this one is.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from sessions import checkpoint, durable, rows, schema
from sessions.checkpoint import Checkpoint
from sessions.report import CheckpointRef, Outcome, Reason
from sessions.session import STORE_NAME, SessionSummary, read_summary

if TYPE_CHECKING:
    from sessions.session import Session

_Changes = dict[tuple[str, int], bytes | None]


class Older:
    """The origin of a session whose store has an older version."""

    def __init__(self, version: int) -> None:
        self._version = version

    def take_place(self, session: Session) -> None:
        """Copy the old store to `aside/<time>-version-<n>/` and migrate it in its place.

        Raises:
            OSError, sqlite3.Error: the disk refuses; the store is the old one.
        """
        path = session.folder / STORE_NAME
        with closing(schema.open_writable(path)) as db:
            if schema.version(db) == schema.VERSION:
                return
            folder = session.new_aside(f"version-{self._version}")
            try:
                _copy(db, folder / STORE_NAME)
                migrate(db)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def leave(self) -> None:
        """Nothing was made."""


def readable(db: sqlite3.Connection) -> sqlite3.Connection:
    """A copy of an older store in a temporary database, migrated.

    Raises:
        sqlite3.Error, TypeError, ValueError: it cannot be read.
    """
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        db.backup(copy)
        migrate(copy)
        copy.execute("PRAGMA query_only = ON")
    except BaseException:
        copy.close()
        raise
    return copy


def migrate(db: sqlite3.Connection) -> None:
    """Make the present version of a store that is open for writing, durably, wholly or not at all.

    Raises:
        sqlite3.Error: it cannot be read or written; nothing was changed.
    """
    db.execute("PRAGMA synchronous = FULL")
    # Tables are made anew under rows that refer to them; that is set right again by the end of the transaction.
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("BEGIN IMMEDIATE")
    try:
        while (found := schema.version(db)) < schema.VERSION:
            _STEPS[found](db)
            db.execute(f"PRAGMA user_version = {found + 1}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def summary_of(db: sqlite3.Connection) -> SessionSummary:
    """A session as a list shows it, from a store of any version that is read.

    Raises:
        sqlite3.Error, TypeError, ValueError: the store is damaged.
    """
    if schema.version(db) > 1:
        return read_summary(db)
    (session_id, cwd, title, updated_at, outcome, reason, turns) = db.execute(
        "SELECT id, cwd, title, updated_at, outcome, reason,"
        " (SELECT coalesce(max(turn), 0) FROM turn) FROM session"
    ).fetchone()
    newest = db.execute("SELECT turn, steps, at FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()
    return SessionSummary(
        id=session_id,
        cwd=cwd,
        title=title,
        updated_at=updated_at,
        turns=turns,
        checkpoint=CheckpointRef(turn=newest[0], steps=newest[1], at=newest[2]) if newest else None,
        outcome=Outcome(outcome) if outcome else None,
        reason=Reason(reason) if reason else None,
    )


def _copy(db: sqlite3.Connection, target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.unfinished")
    durable.make_file(unfinished)
    with closing(schema.connect(unfinished, "mode=rw")) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    durable.sync_file(unfinished)
    durable.replace_file(unfinished, target)


_TABLES_2 = (
    """
CREATE TABLE session (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL,
    cwd TEXT NOT NULL,
    additional_directories TEXT NOT NULL,
    client TEXT,
    title TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    outcome TEXT,
    reason TEXT,
    head INTEGER NOT NULL DEFAULT 0,
    primer INTEGER REFERENCES primer (id)
) STRICT""",
    """
CREATE TABLE primer (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    turns INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT""",
    """
CREATE TABLE turn (
    turn INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    stop_reason TEXT,
    prompt_excerpt TEXT NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER
) STRICT""",
    "CREATE INDEX open_turn ON turn (turn) WHERE ended_at IS NULL",
    "CREATE INDEX entry_turn ON entry (turn)",
    """
CREATE TABLE checkpoint (
    seq INTEGER PRIMARY KEY,
    base INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    primer INTEGER REFERENCES primer (id),
    steps INTEGER NOT NULL,
    visible INTEGER NOT NULL,
    user_turns INTEGER NOT NULL,
    summarised_turns INTEGER NOT NULL,
    executions INTEGER NOT NULL,
    at TEXT NOT NULL,
    page_size INTEGER NOT NULL,
    user_version INTEGER NOT NULL,
    digest BLOB NOT NULL
) STRICT""",
)


def _one_to_two(db: sqlite3.Connection) -> None:
    """Version 2 gave turns a place on a line, and checkpoints a base and a primer."""
    session = db.execute(
        "SELECT only, id, cwd, additional_directories, client, title, created_at, updated_at, outcome, reason,"
        " (SELECT coalesce(max(turn), 0) FROM turn) FROM session"
    ).fetchall()
    turns = db.execute(
        "SELECT turn, turn - 1, turn, started_at, ended_at, stop_reason, prompt_excerpt FROM turn"
    ).fetchall()
    checkpoints = list(_sealed_as_2(db))
    for table in ("session", "turn", "checkpoint"):
        db.execute(f"DROP TABLE {table}")
    for statement in _TABLES_2:
        db.execute(statement)
    db.executemany(
        "INSERT INTO session (only, id, cwd, additional_directories, client, title, created_at, updated_at,"
        " outcome, reason, head) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        session,
    )
    db.executemany(
        "INSERT INTO turn (turn, parent, depth, started_at, ended_at, stop_reason, prompt_excerpt)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        turns,
    )
    db.executemany("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", checkpoints)


def _sealed_as_2(db: sqlite3.Connection) -> Iterator[tuple[int | str | bytes | None, ...]]:
    """The checkpoints with new digests, as far as the old chain is whole; from there on with the old ones."""
    changes: dict[int, _Changes] = {}
    for seq, table, row_id, digest in db.execute("SELECT seq, table_name, row_id, digest FROM checkpoint_row"):
        changes.setdefault(seq, {})[table, row_id] = digest
    before, sealed, whole = b"", b"", True
    stored = db.execute(
        "SELECT seq, turn, steps, visible, user_turns, summarised_turns, executions, at, page_size, user_version,"
        " digest FROM checkpoint ORDER BY seq"
    ).fetchall()
    for *fields, digest in stored:
        seq, turn, *rest = fields
        changed = changes.get(seq, {})
        whole = whole and _seal_1((*fields, before), changed) == digest
        made = Checkpoint(seq, 1, turn, turn, None, *(*rest, sealed if whole else digest))
        if whole:
            made = checkpoint.sealed(made, changed)
        before, sealed = digest, made.digest
        yield astuple(made)


def _seal_1(fields: tuple[rows.SqlValue, ...], changes: _Changes) -> bytes:
    """The digest that version 1 gave a checkpoint; the last field is the digest of the one before it."""
    seal = hashlib.sha256(rows.encode(fields))
    for (table, row_id), digest in sorted(changes.items()):
        seal.update(rows.encode((table, row_id, digest)))
    return seal.digest()


_EVENT_3 = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    at TEXT,
    kind TEXT NOT NULL,
    turn INTEGER NOT NULL,
    detail TEXT NOT NULL
) STRICT"""


def _two_to_three(db: sqlite3.Connection) -> None:
    """Version 3 gave tool calls times, and sessions a record of what happened to them."""
    db.execute("ALTER TABLE entry ADD COLUMN began_at TEXT")
    db.execute("ALTER TABLE entry ADD COLUMN ended_at TEXT")
    db.execute(_EVENT_3)
    # All that version 2 knew of loads: how the last one ended, not when.
    db.execute(
        "INSERT INTO event (at, kind, turn, detail)"
        " SELECT NULL, 'loaded', head, json_object('outcome', outcome, 'reason', reason)"
        " FROM session WHERE outcome IS NOT NULL"
    )


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _one_to_two, 2: _two_to_three}
