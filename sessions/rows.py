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
from contextlib import closing, contextmanager
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
class Table:
    """A table: the columns that hold values of their own, and the name by which its rowid can be asked for.

    A table without one (`WITHOUT ROWID`) has the rows that its content says: there, the number of a row is taken
    from its values, so that a changed row is another row.
    """

    name: str
    columns: tuple[str, ...]
    rowid: str | None

    def all(self, db: sqlite3.Connection) -> Iterator[Row]:
        """Its rows; in the order of their rowids, if it has any."""
        if self.rowid is not None:
            yield from self._rows(db, "ORDER BY 1")
            return
        for values in db.execute(f"SELECT {self._values} FROM {_quoted(self.name)}"):  # noqa: S608
            encoded = encode(values)
            yield row(self.name, _number(encoded), encoded)

    def between(self, db: sqlite3.Connection, low: int, high: int) -> Iterator[Row]:
        """Its rows with these rowids, both included. It must have rowids."""
        yield from self._rows(db, f"WHERE {self.rowid} BETWEEN ? AND ? ORDER BY 1", low, high)

    def has(self, db: sqlite3.Connection, row_id: int) -> bool:
        """Whether there is a row with this rowid. It must have rowids."""
        found = db.execute(f"SELECT 1 FROM {_quoted(self.name)} WHERE {self.rowid} = ?", (row_id,))  # noqa: S608
        return found.fetchone() is not None

    @property
    def _values(self) -> str:
        return ", ".join(map(_quoted, self.columns))

    def _rows(self, db: sqlite3.Connection, which: str, *values: int) -> Iterator[Row]:
        found = db.execute(f"SELECT {self.rowid}, {self._values} FROM {_quoted(self.name)} {which}", values)  # noqa: S608
        for row_id, *content in found:
            yield row(self.name, row_id, encode(content))


@dataclass(frozen=True, slots=True)
class Image:
    """Everything that a reader of a database can see."""

    rows: tuple[Row, ...]
    tables: dict[str, Table]
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
    """Everything in a database, as of one moment. What `read_all` says, in a transaction of its own."""
    with transaction(db):
        return read_all(db)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Read a database as of one moment, which the first statement inside fixes."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def read_all(db: sqlite3.Connection) -> Image:
    """Everything in a database, within a transaction.

    SQLite's own tables are left out: it keeps them itself.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    entries = [*_schema_entries(db)]
    rows = [row(SCHEMA, _name_id(entry), encode(entry)) for entry in entries]
    tables = tables_of(db, (name for kind, name, _, sql in entries if kind == "table" and not _is_virtual(sql)))
    for table in tables.values():
        rows += table.all(db)
    (page_size,) = db.execute("PRAGMA page_size").fetchone()
    (user_version,) = db.execute("PRAGMA user_version").fetchone()
    return Image(tuple(rows), tables, page_size, user_version)


def tables_of(db: sqlite3.Connection, names: Iterable[str]) -> dict[str, Table]:
    """These tables."""
    return {name: _table(db, name) for name in names}


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
    except sqlite3.Error as error:
        # What the disk refuses says nothing against the rows.
        if durable.refused(error):
            raise OSError(f"{target.name} could not be made: {error}") from error
        raise
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
        if kind == "table" and not _is_virtual(sql):
            db.execute(str(sql))
    content = sorted((entry for entry in rows if entry.table != SCHEMA), key=lambda entry: entry.table)
    for name, group in groupby(content, key=lambda entry: entry.table):
        table = _table(db, name)
        columns = [*([table.rowid] if table.rowid else []), *map(_quoted, table.columns)]
        marks = ", ".join("?" * len(columns))
        db.executemany(
            f"INSERT INTO {_quoted(name)} ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608
            ((*([entry.row_id] if table.rowid else []), *decode(entry.encoded)) for entry in group),
        )
    # A virtual table would make the tables that it keeps its content in, and they are there already.
    db.execute("PRAGMA writable_schema = ON")
    for entry in entries:
        if entry[0] == "table" and _is_virtual(entry[3]):
            db.execute(
                "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, 0, ?)", entry
            )
    db.execute("PRAGMA writable_schema = OFF")
    # Triggers last: they must not run on rows that were there already.
    for wanted in ("index", "view", "trigger"):
        for kind, _, _, sql in entries:
            if kind == wanted:
                db.execute(str(sql))


def _table(db: sqlite3.Connection, name: str) -> Table:
    # Hidden columns are those of virtual tables, and those that are computed from others.
    found = db.execute(f"PRAGMA table_xinfo({_quoted(name)})").fetchall()
    columns = tuple(column[1] for column in found if not column[6])
    taken = {column[1].lower() for column in found}
    for alias in ("rowid", "_rowid_", "oid"):
        if alias not in taken:
            try:
                db.execute(f"SELECT {alias} FROM {_quoted(name)} LIMIT 0")  # noqa: S608
            except sqlite3.OperationalError:
                break
            return Table(name, columns, alias)
    else:
        raise sqlite3.DataError(f"the rows of table {name} cannot be told apart: its columns hide the rowid")
    return Table(name, columns, None)


def _is_virtual(sql: SqlValue) -> bool:
    # SQLite keeps the text with the first words so (its "Schema Table", section 2).
    return isinstance(sql, str) and sql.startswith("CREATE VIRTUAL TABLE ")


def _schema_entries(db: sqlite3.Connection) -> Iterator[tuple[str, str, str, str]]:
    yield from db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master"
        " WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY rowid"
    )


def _name_id(entry: tuple[str, str, str, str]) -> int:
    # The place in sqlite_master says nothing and changes when a database is written anew; the name stays.
    return _number(encode(entry[:2]))


def _number(encoded: bytes) -> int:
    return int.from_bytes(hashlib.sha256(encoded).digest()[:8], signed=True)


def _quoted(name: SqlValue) -> str:
    return '"' + str(name).replace('"', '""') + '"'
