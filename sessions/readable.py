"""Reads every row that can still be read of a table in a damaged database.

A table is a tree of pages. SQLite reports a page that is damaged when it comes to it, and stops; the rows before
it were read already, those behind it are found by reading backward from the end, or by asking for a rowid there.
What lies between is halved again and again, widest gap first, until every part was read or found unreadable. Since
rowids of a damaged table may go on to 2^63, the search ends after a number of vain questions.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

Value = None | int | float | bytes
"""Texts are bytes here: a damaged one need not be UTF-8."""

DAMAGE = (sqlite3.Error, ValueError)
"""What is raised for damage; SQLite's own words for it may quote what it found, and be no UTF-8."""

VAIN = 2_000
"""Questions that may meet nothing but damage before the rest of a table is given up."""


def rows(
    db: sqlite3.Connection, table: str, columns: Sequence[str], *, key: str = "rowid"
) -> list[tuple[Value, ...]]:
    """The rows of a table that can be read, in the order of their key, with these columns.

    Args:
        db: a connection whose `text_factory` is `bytes`.
        table: the table.
        columns: its columns.
        key: `rowid`, or the primary key of a table that has none; only the two ends of that are read.
    """
    select = f"SELECT {key}, {', '.join(columns)} FROM {table} NOT INDEXED"  # noqa: S608
    found: dict[Value, tuple[Value, ...]] = {}
    try:
        db.execute(f"EXPLAIN {select}")
    except DAMAGE:
        return []  # the table is not known, or is not what it was
    if not _collect(db, f"{select} ORDER BY {key}", found):
        _collect(db, f"{select} ORDER BY {key} DESC", found)
        if key == "rowid":
            _between(db, select, found)
    return [row for _, row in sorted(found.items(), key=lambda item: (str(type(item[0])), item[0]))]


def _collect(db: sqlite3.Connection, statement: str, found: dict[Value, tuple[Value, ...]]) -> bool:
    """Add the rows that a statement gives; whether it came to its end."""
    try:
        for key, *row in db.execute(statement):
            if key in found:
                return False  # what was read from the other end; or a tree that leads back into itself
            found[key] = tuple(row)
    except DAMAGE:
        return False
    return True


def _between(db: sqlite3.Connection, select: str, found: dict[Value, tuple[Value, ...]]) -> None:
    known = sorted(key for key in found if isinstance(key, int))
    gaps: deque[tuple[int, int]] = deque()
    last = known[-1] if known else 0
    gaps.append((last + 1, last + _end(db)))
    if known:
        gaps.append((1, known[0] - 1))
        gaps += [(one + 1, two - 1) for one, two in pairwise(known) if two - one > 1]
    vain = 0
    while gaps and vain < VAIN:
        first, last = gaps.popleft()
        if first > last:
            continue
        before = len(found)
        whole = _collect(db, f"{select} WHERE rowid BETWEEN {first} AND {last} ORDER BY rowid", found)
        if len(found) == before:
            vain += 1
        else:
            first = max(key for key in found if isinstance(key, int) and first <= key <= last) + 1
        if not whole and first <= last:
            # The row or page at `first` cannot be read; what is behind it is asked for in two halves.
            middle = (first + last) // 2
            gaps += [(middle + 1, last), (first, middle)] if first < last else []


def _end(db: sqlite3.Connection) -> int:
    """A number that the rowids of a table, which are given one after the other, do not reach."""
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(size)
