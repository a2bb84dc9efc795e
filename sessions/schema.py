"""The tables of `store.db`, the database that a session keeps its journal, checkpoints and memory in.

One database a session. It is marked with an application id and a version, so that another program's file, a file
of a newer version and a damaged file are told apart before anything is believed. It is written in WAL mode: with
`synchronous=NORMAL` a commit survives the death of the process, with `FULL` also a power failure.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

APPLICATION_ID = 0x41435053
"""`ACPS`, in the header of every store."""

VERSION = 3
"""`PRAGMA user_version` of the stores that this version writes."""

OLDEST = 1
"""The oldest version that is read; `sessions.migrate` makes the present one of it."""

BUSY_MILLISECONDS = 100
"""How long a write waits for another process. Nobody else writes a store while its lease is held."""

TABLES = """
-- What is known of the session itself; one row.
CREATE TABLE session (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL,
    cwd TEXT NOT NULL,
    additional_directories TEXT NOT NULL,   -- JSON array of paths
    client TEXT,                            -- name of the client that created it
    title TEXT,
    created_at TEXT NOT NULL,               -- all times: RFC 3339, UTC, milliseconds
    updated_at TEXT NOT NULL,
    outcome TEXT,                           -- of the last load, as in sessions.report; NULL before the first
    reason TEXT,
    head INTEGER NOT NULL DEFAULT 0,        -- the last turn of the line that the session is on, 0 before the first
    primer INTEGER REFERENCES primer (id)   -- what the live conversation was primed with, NULL if it was not
) STRICT;

-- Small values that must outlive the process, such as permission rules.
CREATE TABLE memory (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL                     -- JSON
) STRICT, WITHOUT ROWID;

-- Transcripts that a rebuilt conversation was given in its system instructions.
CREATE TABLE primer (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    turns INTEGER NOT NULL,                 -- user turns that the text carries
    text TEXT NOT NULL
) STRICT;

-- The user turns. A number is never used twice: going back to an earlier turn begins another line, and the turns
-- that were left stay. ended_at is NULL until a turn's end is known.
CREATE TABLE turn (
    turn INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,                -- the turn before it on its line, 0 before the first
    depth INTEGER NOT NULL,                 -- its place on its line, counted from 1
    started_at TEXT NOT NULL,
    ended_at TEXT,
    stop_reason TEXT,
    prompt_excerpt TEXT NOT NULL,
    input_tokens INTEGER,                   -- what the model counted; NULL if it did not say
    output_tokens INTEGER
) STRICT;

-- At most a few turns are open; whoever ends them must not look at all.
CREATE INDEX open_turn ON turn (turn) WHERE ended_at IS NULL;

-- What the client was shown, one row a message or tool call, in the order in which each began.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    turn INTEGER NOT NULL,                  -- 0 before the first turn
    kind TEXT NOT NULL,
    key BLOB NOT NULL,                      -- UTF-8, but it may have lone surrogates; text too
    payload TEXT NOT NULL,                  -- JSON object
    text BLOB NOT NULL,
    began_at TEXT,                          -- of what is updated in place, as far as it was seen
    ended_at TEXT
) STRICT;

CREATE INDEX entry_turn ON entry (turn);

-- A tool call is updated in place; a message with the id of an older one is a new entry.
CREATE UNIQUE INDEX tool_call ON entry (key) WHERE kind = 'tool_call';

-- Pieces of the message that is being streamed, not yet part of its entry's text.
CREATE TABLE delta (
    id INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL REFERENCES entry (seq),
    text BLOB NOT NULL
) STRICT;

-- Copies of the harness's database, each as what changed since the one before.
CREATE TABLE checkpoint (
    seq INTEGER PRIMARY KEY,
    base INTEGER NOT NULL,                  -- the checkpoint that holds every row; this one builds on it
    turn INTEGER NOT NULL,                  -- the turn it was taken after
    depth INTEGER NOT NULL,                 -- that turn's place on its line
    primer INTEGER REFERENCES primer (id),  -- what the conversation was primed with
    steps INTEGER NOT NULL,                 -- rows in the harness's steps table
    visible INTEGER NOT NULL,               -- steps that the harness surely shows of them
    user_turns INTEGER NOT NULL,
    summarised_turns INTEGER NOT NULL,      -- of these, the ones that the model gets only in a summary
    executions INTEGER NOT NULL,            -- rows in the harness's executor_metadata table
    at TEXT NOT NULL,
    page_size INTEGER NOT NULL,             -- of the harness's database
    user_version INTEGER NOT NULL,
    digest BLOB NOT NULL                    -- the end of the one before, and a SHA-256 over that and all of this
) STRICT;

-- A row of the harness's database as it was from checkpoint seq on; NULL if it was gone from then on.
CREATE TABLE checkpoint_row (
    table_name TEXT NOT NULL,
    row_id INTEGER NOT NULL,
    seq INTEGER NOT NULL REFERENCES checkpoint (seq),
    digest BLOB CHECK ((digest IS NULL) = (content IS NULL)),   -- SHA-256 of the row
    content BLOB                            -- the row as sessions.rows encodes it, compressed
) STRICT;

-- Holds the digest too: comparing with the last checkpoint must not read the contents.
CREATE INDEX checkpoint_row_version ON checkpoint_row (table_name, row_id, seq, digest);

-- What happened to the session beside its turns, for people who look back.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    at TEXT,                                -- NULL if an older version did not say
    kind TEXT NOT NULL,                     -- as in sessions.events
    turn INTEGER NOT NULL,                  -- the last turn of the session's line when it was recorded
    detail TEXT NOT NULL                    -- JSON object
) STRICT;
"""


class NotAStore(Exception):
    """The file is no store of this program, or is damaged; the text says what was found."""


class NewerStore(Exception):
    """The store was written by a newer version of this program."""

    def __init__(self, found: int) -> None:
        super().__init__(f"schema version {found}")
        self.found = found


def create(path: Path) -> sqlite3.Connection:
    """Make the tables in an empty file."""
    db = _connect_store(path, "mode=rw")
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(
            f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        )
    except BaseException:
        db.close()
        raise
    return db


def open_readonly(path: Path, *, thorough: bool = False) -> sqlite3.Connection:
    """Open a store of this version or an older one (`version`) to look at it, without changing a byte of it.

    A store that nobody has open is read as it lies. One with a write-ahead log is open elsewhere or was left by a
    process that was killed; only SQLite's shared-memory file beside it may be written then.

    Args:
        path: the store.
        thorough: whether to look at every page of it first.

    Raises:
        NotAStore, NewerStore: see there.
    """
    if not path.is_file():
        raise NotAStore(f"{path.name} is missing")
    if not path.stat().st_size:
        # SQLite, even if it only reads, removes the log beside an empty file.
        raise NotAStore(f"{path.name} is empty")
    try:
        db = _connect_store(path, quiet_mode(path))
    except sqlite3.Error as error:
        raise NotAStore(str(error)) from error
    try:
        _check(db, thorough=thorough)
    except (sqlite3.Error, ValueError) as error:  # what SQLite says of damage may name it, and be no UTF-8
        db.close()
        raise NotAStore(str(error)) from error
    except BaseException:
        db.close()
        raise
    return db


def open_writable(path: Path) -> sqlite3.Connection:
    """Open a store of this version, which was looked at before, to write to it.

    Raises:
        sqlite3.Error: it cannot be opened, or may not be written now.
    """
    # SQLite opens a file that may not be written to be read, and keeps to that; the files that it makes beside it
    # could then never be written either.
    if not os.access(path, os.W_OK):
        raise sqlite3.OperationalError(f"{path.name} may not be written")
    return _connect_store(path, "mode=rw")


def version(db: sqlite3.Connection) -> int:
    """The version of an open store."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def quiet_mode(path: Path) -> str:
    """The URI parameter with which a database can be read and no file is made beside it.

    `immutable` ignores a write-ahead log, so it is right only where there is none; `mode=ro` makes one.
    """
    try:
        return "mode=ro" if path.with_name(f"{path.name}-wal").stat().st_size else "immutable=1"
    except FileNotFoundError:
        return "immutable=1"


def connect(path: Path, parameter: str) -> sqlite3.Connection:
    """Open any database, whatever characters its path has, with a URI parameter such as `mode=ro`.

    Transactions are begun and ended by hand, in any thread.
    """
    uri = f"file:{quote(os.fsencode(path.absolute()))}?{parameter}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA fullfsync = ON")  # macOS: what is synced is on the disk, not in its cache
    return db


def _check(db: sqlite3.Connection, *, thorough: bool) -> None:
    if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise NotAStore("it is not a store of this program")
    found = version(db)
    if found > VERSION:
        raise NewerStore(found)
    if found < OLDEST:
        raise NotAStore(f"its schema version is {found}")
    if thorough and (problem := db.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
        raise NotAStore(problem[0])


def _connect_store(path: Path, parameter: str) -> sqlite3.Connection:
    db = connect(path, parameter)
    db.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    db.execute("PRAGMA foreign_keys = ON")
    return db
