"""A database as a set of rows: reads one, encodes rows, and writes one anew.

What a reader of a database can see is its tables, their rows, its page size and its user version. A database
written from these is the same database to its readers, whatever its pages look like. Nothing here knows what the
tables mean, so a harness that adds a table or a column is copied as well (facts, section 10).
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sessions import durable, schema

SqlValue = None | int | float | str | bytes

SCHEMA = "sqlite_master"
"""The table name under which the `CREATE` statements are rows, each as (type, name, tbl_name, sql)."""

_INTEGER = struct.Struct(">q")
_REAL = struct.Struct(">d")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its table, its rowid, its values as `encode` writes them, and the SHA-256 of these."""

    table: str
    row_id: int
    encoded: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """Everything that a reader of a database can see. `columns` names each table's columns in order."""

    rows: tuple[Row, ...]
    columns: dict[str, tuple[str, ...]]
    page_size: int
    user_version: int


def row(table: str, row_id: int, encoded: bytes) -> Row:
    """A row with its digest."""
    return Row(table, row_id, encoded, hashlib.sha256(encoded).digest())


def encode(values: Iterable[SqlValue]) -> bytes:
    """The values, each with its type and length, so that different values never encode alike."""
    parts: list[bytes] = []
    for value in values:
        match value:
            case None:
                parts.append(b"n")
            case int():
                parts += (b"i", _INTEGER.pack(value))
            case float():
                parts += (b"r", _REAL.pack(value))
            case str():
                data = value.encode()
                parts += (b"t", _LENGTH.pack(len(data)), data)
            case bytes():
                parts += (b"b", _LENGTH.pack(len(value)), value)
    return b"".join(parts)


def decode(encoded: bytes) -> tuple[SqlValue, ...]:
    """The values that `encode` was given.

    Raises:
        ValueError: it was not written by `encode`.
    """
    values: list[SqlValue] = []
    at = 0
    try:
        while at < len(encoded):
            kind, at = encoded[at : at + 1], at + 1
            match kind:
                case b"n":
                    values.append(None)
                case b"i":
                    values.append(_INTEGER.unpack_from(encoded, at)[0])
                    at += _INTEGER.size
                case b"r":
                    values.append(_REAL.unpack_from(encoded, at)[0])
                    at += _REAL.size
                case b"t" | b"b":
                    (length,) = _LENGTH.unpack_from(encoded, at)
                    at += _LENGTH.size
                    data, at = encoded[at : at + length], at + length
                    if at > len(encoded):
                        raise ValueError("a value is cut")
                    values.append(data.decode() if kind == b"t" else data)
                case _:
                    raise ValueError(f"no type {kind!r}")
    except struct.error as error:
        raise ValueError("a value is cut") from error
    return tuple(values)


def read(db: sqlite3.Connection) -> Image:
    """Everything in a database, as of one moment.

    SQLite's own tables are left out: it keeps them itself.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    db.execute("BEGIN")
    try:
        columns: dict[str, tuple[str, ...]] = {}
        rows = [row(SCHEMA, _name_id(entry), encode(entry)) for entry in _schema_entries(db)]
        for kind, name, *_ in _schema_entries(db):
            if kind == "table":
                cursor = db.execute(f"SELECT rowid, * FROM {_quoted(name)} ORDER BY rowid")  # noqa: S608
                columns[name] = tuple(column[0] for column in cursor.description[1:])
                rows += (row(name, row_id, encode(values)) for row_id, *values in cursor)
        (page_size,) = db.execute("PRAGMA page_size").fetchone()
        (user_version,) = db.execute("PRAGMA user_version").fetchone()
    finally:
        db.execute("ROLLBACK")
    return Image(tuple(rows), columns, page_size, user_version)


def write(target: Path, rows: Sequence[Row], *, page_size: int, user_version: int) -> None:
    """Make a database with these rows, in WAL mode as the harness keeps its own, durably and in one step.

    It is made under another name, read again, and only then named. What had the name before is replaced.

    Args:
        target: the database's name.
        rows: the rows of its tables, and of `SCHEMA`.
        page_size: in bytes.
        user_version: what `PRAGMA user_version` is to say.

    Raises:
        ValueError, sqlite3.Error: the rows do not make a database.
        FileExistsError: a write-ahead log lies beside the target and would become part of it.
        OSError: the disk refused.
    """
    if os.path.lexists(target.with_name(f"{target.name}-wal")):
        raise FileExistsError(f"{target.name}-wal is in the way")
    unfinished = target.with_name(f"{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        _make(unfinished, rows, page_size=page_size, user_version=user_version)
        _check(unfinished, rows, page_size=page_size, user_version=user_version)
        durable.replace_file(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _make(path: Path, rows: Sequence[Row], *, page_size: int, user_version: int) -> None:
    durable.make_file(path)
    with closing(schema.connect(path, "mode=rw")) as db:
        db.execute(f"PRAGMA page_size = {page_size}")
        # The file is nobody's until it is synced and renamed, so a crash before that needs no journal.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        _fill(db, rows)
        db.execute(f"PRAGMA user_version = {user_version}")
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
    durable.sync_file(path)


def _check(path: Path, rows: Sequence[Row], *, page_size: int, user_version: int) -> None:
    with closing(schema.connect(path, "immutable=1")) as db:
        sound = db.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
        image = read(db)
    same = {(row.table, row.row_id, row.digest) for row in image.rows} == {
        (row.table, row.row_id, row.digest) for row in rows
    }
    if not (sound and same and (image.page_size, image.user_version) == (page_size, user_version)):
        raise ValueError("a database made of these rows holds something else")


def _fill(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    entries = [decode(entry.encoded) for entry in rows if entry.table == SCHEMA]
    for kind, _, _, sql in entries:
        if kind == "table":
            db.execute(str(sql))
    content = sorted((entry for entry in rows if entry.table != SCHEMA), key=lambda entry: entry.table)
    for table, group in groupby(content, key=lambda entry: entry.table):
        names = [column[0] for column in db.execute(f"SELECT * FROM {_quoted(table)} LIMIT 0").description]  # noqa: S608
        into = ", ".join(["rowid", *map(_quoted, names)])
        marks = ", ".join("?" * (len(names) + 1))
        db.executemany(
            f"INSERT INTO {_quoted(table)} ({into}) VALUES ({marks})",  # noqa: S608
            ((entry.row_id, *decode(entry.encoded)) for entry in group),
        )
    # Triggers last: they must not run on rows that were there already.
    for wanted in ("index", "view", "trigger"):
        for kind, _, _, sql in entries:
            if kind == wanted:
                db.execute(str(sql))


def _schema_entries(db: sqlite3.Connection) -> Iterator[tuple[str, str, str, str]]:
    yield from db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master"
        " WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY rowid"
    )


def _name_id(entry: tuple[str, str, str, str]) -> int:
    # The place in sqlite_master says nothing and changes when a database is written anew; the name stays.
    named = hashlib.sha256(encode(entry[:2])).digest()
    return int.from_bytes(named[:8], signed=True)


def _quoted(name: SqlValue) -> str:
    return '"' + str(name).replace('"', '""') + '"'
