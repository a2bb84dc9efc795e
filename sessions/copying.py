"""Takes parts of one session into another: its turns with what was shown in them, and what a checkpoint holds.

A harness's database names its conversation in one table. With the names changed it is another conversation's with
the same history (facts, section 4).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from sessions import rows
from sessions.chain import Checkpoint
from sessions.rows import Row

NAMES = "trajectory_meta"
"""The table in which a harness's database names its conversation."""

_LINE = "turn IN (SELECT value FROM json_each(?))"

_OF_LINE = "entry IN (SELECT seq FROM entry WHERE turn IN (SELECT value FROM json_each(?)))"


def turns(source: sqlite3.Connection, target: sqlite3.Connection, line: Sequence[int]) -> None:
    """Copy turns, under their numbers, and what was shown before and in them.

    Raises:
        sqlite3.Error: the one cannot be read, or the other not written.
    """
    shown = json.dumps([0, *line])
    table(source, target, "turn", _LINE, json.dumps(line))
    table(source, target, "entry", _LINE, shown)
    table(source, target, "delta", _OF_LINE, shown)


def primer(source: sqlite3.Connection, target: sqlite3.Connection, primer_id: int | None) -> None:
    """Copy a primer, under its number. Raises sqlite3.Error."""
    table(source, target, "primer", "id = ?", primer_id)


def table(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    name: str,
    where: str = "true",
    *values: str | int | None,
) -> None:
    """Copy rows of a table that both stores have. Raises sqlite3.Error."""
    columns = [row[1] for row in target.execute(f"PRAGMA table_info({name})")]
    found = source.execute(f"SELECT {', '.join(columns)} FROM {name} WHERE {where}", values)  # noqa: S608
    marks = ", ".join("?" * len(columns))
    target.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", found)  # noqa: S608


def renamed(held: Iterable[Row], old: str, new: str) -> list[Row]:
    """The rows of a harness's database as those of another conversation."""
    return [_renamed(row, old, new) if row.table == NAMES else row for row in held]


def _renamed(row: Row, old: str, new: str) -> Row:
    values = (new if value == old else value for value in rows.decode(row.encoded))
    return rows.row(row.table, row.row_id, rows.encode(values))


def write_trajectory(folder: Path, session_id: str, held: Sequence[Row], checkpoint: Checkpoint) -> None:
    """Make the harness's database in a session's folder of what a checkpoint holds.

    Raises:
        ValueError, sqlite3.Error: the rows do not make a database.
        OSError: the disk refused.
    """
    target = folder / "trajectory" / f"{session_id}.db"
    rows.write(target, held, page_size=checkpoint.page_size, user_version=checkpoint.user_version)
