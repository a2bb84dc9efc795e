"""Encoding rows, and making a database of them."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions import rows
from sessions.rows import SqlValue
from tests.sessions import harness_db

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)


@given(st.lists(VALUES))
def test_values_survive_encoding_with_their_types(values: list[SqlValue]) -> None:
    decoded = rows.decode(rows.encode(values))
    assert [(type(value), value) for value in decoded] == [(type(value), value) for value in values]


@given(st.lists(VALUES), st.lists(VALUES))
def test_different_values_never_encode_alike(one: list[SqlValue], other: list[SqlValue]) -> None:
    same = [(type(value), repr(value)) for value in one] == [(type(value), repr(value)) for value in other]
    assert (rows.encode(one) == rows.encode(other)) == same


@given(st.lists(VALUES, min_size=1), st.data())
def test_damaged_encodings_are_refused_or_decode_to_something_else(
    values: list[SqlValue], data: st.DataObject
) -> None:
    encoded = rows.encode(values)
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with contextlib.suppress(ValueError):
        assert len(rows.decode(cut)) < len(values)


@given(st.binary())
def test_garbage_is_refused_as_garbage(garbage: bytes) -> None:
    try:
        decoded = rows.decode(garbage)
    except ValueError:
        return
    assert rows.encode(decoded) == garbage


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), max_size=20), st.sampled_from([512, 4096, 32768]), st.integers(0, 9))
def test_a_database_made_of_rows_is_the_same_to_its_readers(
    content: list[tuple[SqlValue, SqlValue]], page_size: int, user_version: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.db", Path(folder) / "target.db"
        db = sqlite3.connect(source, isolation_level=None)
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute(f"PRAGMA user_version = {user_version}")
        db.executescript(
            'CREATE TABLE "odd ""name" (a, b NUMERIC, "from" REAL DEFAULT 1.5);'
            'CREATE TABLE keyed (a text PRIMARY KEY, b); CREATE INDEX by_b ON "odd ""name" (b);'
            'CREATE VIEW seen AS SELECT a FROM "odd ""name";'
            'CREATE TRIGGER copied AFTER INSERT ON keyed BEGIN INSERT INTO "odd ""name" (a) VALUES (new.a); END;'
            "PRAGMA journal_mode = WAL;"
        )
        db.executemany('INSERT INTO "odd ""name" (a, b) VALUES (?, ?)', content)
        db.execute("INSERT INTO keyed (rowid, a, b) VALUES (7, 'x', 1)")
        image = rows.read(db)
        db.close()
        rows.write(target, image.rows, page_size=image.page_size, user_version=image.user_version)
        assert sorted(path.name for path in Path(folder).iterdir()) == ["source.db", "target.db"]
        assert _odd_contents(target) == _odd_contents(source)


def _odd_contents(path: Path) -> list[object]:
    db = sqlite3.connect(path)
    try:
        names = ('"odd ""name"', "keyed", "seen")
        tables = [db.execute(f"SELECT rowid, * FROM {name}").fetchall() for name in names[:2]]  # noqa: S608
        schema = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        pragmas = [
            db.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "user_version", "journal_mode")
        ]
        return [repr(tables), schema, pragmas]
    finally:
        db.close()


def test_a_database_that_would_join_a_log_is_not_made(tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    (tmp_path / "target.db-wal").write_bytes(b"log")
    with pytest.raises(FileExistsError):
        rows.write(target, [], page_size=4096, user_version=1)
    assert not target.exists()


def test_rows_that_make_another_database_are_not_given_the_name(tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    target.write_bytes(b"what was there")
    table = rows.row(rows.SCHEMA, 1, rows.encode(("table", "t", "t", "CREATE TABLE t (a TEXT)")))
    # A text column turns the number into text, so the row is not what it was.
    number = rows.row("t", 1, rows.encode((5,)))
    with pytest.raises(ValueError, match="something else"):
        rows.write(target, [table, number], page_size=4096, user_version=1)
    assert harness_db.fingerprint(tmp_path).keys() == {"target.db"}
    assert target.read_bytes() == b"what was there"


def test_tables_of_every_kind_are_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    db = sqlite3.connect(source, isolation_level=None)
    db.executescript(
        "CREATE TABLE keyed (a TEXT, b, PRIMARY KEY (a)) WITHOUT ROWID;"
        "CREATE TABLE computed (a, b AS (a + 1), c AS (a * 2) STORED);"
        "CREATE TABLE named (rowid TEXT, b);"
        "CREATE VIRTUAL TABLE words USING fts5 (word);"
        "INSERT INTO keyed VALUES ('x', 1), ('y', NULL);"
        "INSERT INTO computed (a) VALUES (1), (5);"
        "INSERT INTO named VALUES ('not a number', 1);"
        "INSERT INTO words VALUES ('trajectory'), ('checkpoint');"
        "PRAGMA journal_mode = WAL;"
    )
    image = rows.read(db)
    rows.write(target, image.rows, page_size=image.page_size, user_version=image.user_version)
    copy = sqlite3.connect(target)
    for query in (
        "SELECT * FROM keyed",
        "SELECT * FROM computed",
        "SELECT rowid, b, _rowid_ FROM named",
        "SELECT word FROM words WHERE words MATCH 'checkpoint'",
        "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
    ):
        found = db.execute(query).fetchall()
        assert found
        assert copy.execute(query).fetchall() == found
    db.close()
    copy.close()


def test_a_table_whose_rows_cannot_be_told_apart_is_refused() -> None:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("CREATE TABLE hidden (rowid TEXT, _rowid_ TEXT, oid TEXT)")
        with pytest.raises(sqlite3.DataError, match="hidden"):
            rows.read(db)
