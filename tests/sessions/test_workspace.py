"""The folder in a harness's database: read, moved in a copy, and left alone where it is not understood."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions import protobuf, workspace

paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40).map(
    "/project/{}".format
)


def database(path: Path, *records: bytes) -> Path:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE trajectory_metadata_blob (id TEXT PRIMARY KEY, data BLOB)")
        db.executemany("INSERT INTO trajectory_metadata_blob VALUES (?, ?)", enumerate(records))
    return path


def record(folder: str) -> bytes:
    """As the harness writes it, with a number and a text around the address."""
    address = ("file://" + quote(folder)).encode()
    around = b"\x08\x96\x01", b"\x12\x02hi"
    return around[0] + protobuf.replaced(b"\x3a\x00", 7, [address]) + around[1]


@given(before=paths, after=paths)
def test_a_moved_copy_names_the_new_folder_and_nothing_else_changes(
    tmp_path_factory: pytest.TempPathFactory, before: str, after: str
) -> None:
    root = tmp_path_factory.mktemp("db")
    source, target = database(root / "a.db", record(before)), root / "b.db"
    assert workspace.folders_of(source) == [before]
    workspace.copy(source, target)
    workspace.move(target, [after, "/more"])
    assert workspace.folders_of(target) == [after, "/more"]
    assert workspace.folders_of(source) == [before]
    with closing(sqlite3.connect(target)) as db:
        (data,) = db.execute("SELECT data FROM trajectory_metadata_blob").fetchone()
    found = protobuf.fields(data)
    assert found is not None
    assert [field for field in found if field[0] != 7] == [(1, 150), (2, b"hi")]


@pytest.mark.parametrize(
    "records",
    [(), (b"",), (record("/a"), record("/b")), (b"\x3a\x05ab",), (b"\x38\x05",)],
    ids=["no row", "no field", "two rows", "a record that is cut", "a number instead"],
)
def test_what_is_not_understood_names_no_folder(tmp_path: Path, records: tuple[bytes, ...]) -> None:
    assert workspace.folders_of(database(tmp_path / "a.db", *records)) == []


def test_all_folders_are_named_and_replaced(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", record("/a") + record("/b"))
    assert workspace.folders_of(path) == ["/a", "/b"]
    workspace.copy(path, tmp_path / "b.db")
    workspace.move(tmp_path / "b.db", ["/c"])
    assert workspace.folders_of(tmp_path / "b.db") == ["/c"]


@given(st.lists(st.tuples(st.integers(1, 500), st.binary(max_size=300))))
def test_fields_are_read_as_they_were_written(written: list[tuple[int, bytes]]) -> None:
    encoded = b"".join(protobuf.replaced(_empty(number), number, [value]) for number, value in written)
    assert protobuf.fields(encoded) == written


@given(st.binary(max_size=60))
def test_garbage_is_read_or_refused_but_never_fails(data: bytes) -> None:
    found = protobuf.fields(data)
    assert found is None or isinstance(found, list)


def _empty(number: int) -> bytes:
    """A field without content."""
    tag = number << 3 | 2
    encoded = bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return encoded + b"\x00"
