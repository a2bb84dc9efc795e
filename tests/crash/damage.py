"""Ways to damage the live trajectory of a session whose agent is dead. All of them must be noticed or harmless."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sessions.trajectory import PENDING

Damage = Callable[[Path], None]


def remove(database: Path) -> None:
    """The database and its log are gone."""
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def remove_database(database: Path) -> None:
    """Only the database is gone; its log is still there."""
    database.unlink(missing_ok=True)


def drop_log(database: Path) -> None:
    """The log is gone, with what was only in it."""
    database.with_name(f"{database.name}-wal").unlink(missing_ok=True)


def cut_log(database: Path) -> None:
    """The log is cut in half, which SQLite takes for an older state."""
    log = database.with_name(f"{database.name}-wal")
    if log.exists():
        os.truncate(log, log.stat().st_size // 2)


def empty(database: Path) -> None:
    """The database has no content."""
    if database.exists():
        database.write_bytes(b"")


def garbage(database: Path) -> None:
    """The database is no database, and there is no log."""
    remove(database)
    database.write_bytes(b"no database at all " * 5000)


def drop_last_step(database: Path) -> None:
    """The last step is gone, with the log folded in."""
    _change(database, "DELETE FROM steps WHERE idx = (SELECT max(idx) FROM steps)")


def gap(database: Path) -> None:
    """A step in the middle is gone, with the log folded in."""
    _change(database, "DELETE FROM steps WHERE idx = (SELECT max(idx) / 2 FROM steps)")


def make_pending(database: Path) -> None:
    """The last step is one that was allowed and has not begun. That is no damage, but chance."""
    _change(database, "UPDATE steps SET status = ? WHERE idx = (SELECT max(idx) FROM steps)", PENDING)


DAMAGES: tuple[Damage, ...] = (remove, remove_database, drop_log, cut_log, empty, garbage, drop_last_step, gap)


def _change(database: Path, statement: str, *values: int) -> None:
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database, isolation_level=None)) as db:
            db.execute(statement, values)
    except sqlite3.Error:
        garbage(database)  # it was cut while it was made, and is none
