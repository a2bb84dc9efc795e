"""From the pages of a database that were written to the rowids whose rows can have changed.

Reads pages as SQLite's "Database File Format" describes them (sections 1.5 and 1.6), and only as far as needed:
the first and last rowid of a table's leaf, where the overflow pages of its cells are, and the list of free pages.
Why these rowids are enough is said in docs/checkpoints.md. What is not understood is said to be; nothing is
guessed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

PageReader = Callable[[int], bytes]

_TABLE_LEAF = 0x0D
_NO_ROWS = frozenset({0x02, 0x05, 0x0A})
"""Pages of indices, and those of tables that only point to others."""

_FILE_HEADER = 100
_LEAF_HEADER = 8
_RESERVED_AT = 20
_FIRST_TRUNK_AT = 32
_MOST_PAGES = 1 << 24
"""Below this, an overflow page begins with a zero byte, so that it cannot be taken for another kind of page."""

_SHORT = struct.Struct(">H")
_NUMBER = struct.Struct(">I")


class NotUnderstood(Exception):
    """A written page may hold a changed row whose rowid cannot be told; the text says what was found."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Rowids from `low` to `high`, both included."""

    low: int
    high: int


def intervals(written: Iterable[int], page: PageReader, *, count: int) -> list[Interval]:
    """Intervals that hold every rowid of the written leaves, ascending and apart from each other.

    Args:
        written: the numbers of the pages that were written.
        page: reads a page as it is now.
        count: how many pages the database has.

    Raises:
        NotUnderstood: a row may have changed that is on none of these leaves.
    """
    if count >= _MOST_PAGES:
        raise NotUnderstood("the database is too large")
    reader = _Reader(page, count)
    leaves: dict[int, Interval] = {}
    unexplained: set[int] = set()
    for number in written:
        # The first page is the root of the schema, whose changes are counted elsewhere.
        if number == 1:
            continue
        if number > count:
            raise NotUnderstood(f"page {number} was cut off")
        content = reader.page(number)
        if content[0] == _TABLE_LEAF and (found := reader.range(content)) is not None:
            leaves[number] = found
        elif content[0] not in _NO_ROWS:
            unexplained.add(number)
    if unexplained:
        free = reader.free_pages()
        unexplained -= free
        for number in leaves.keys() - free:
            unexplained -= reader.overflow_pages(number)
    if unexplained:
        raise NotUnderstood(f"page {min(unexplained)} is part of a row that is not known")
    return _merged(leaves.values())


class _Reader:
    """Reads pages that may hold anything."""

    def __init__(self, page: PageReader, count: int) -> None:
        self.page = page
        self._count = count

    def range(self, leaf: bytes) -> Interval | None:
        """The lowest and highest rowid on a leaf, None if it has none."""
        cells = _SHORT.unpack_from(leaf, 3)[0]
        if not cells:
            return None
        low, high = (_cell(leaf, number)[1] for number in (0, cells - 1))
        if low > high:
            raise NotUnderstood("the rows of a leaf are in no order")
        return Interval(low, high)

    def overflow_pages(self, number: int) -> set[int]:
        """The pages on which rows of a leaf go on."""
        leaf = self.page(number)
        usable = len(leaf) - self.page(1)[_RESERVED_AT]
        found: set[int] = set()
        for place in range(_SHORT.unpack_from(leaf, 3)[0]):
            found.update(self._chain(_first_overflow(leaf, place, usable)))
        return found

    def free_pages(self) -> set[int]:
        """The pages that nothing is on."""
        (first,) = _NUMBER.unpack_from(self.page(1), _FIRST_TRUNK_AT)
        found: set[int] = set()
        for trunk in self._chain(first):
            content = self.page(trunk)
            (leaves,) = _NUMBER.unpack_from(content, 4)
            if leaves > len(content) // 4 - 2:
                raise NotUnderstood("the list of free pages is damaged")
            found.add(trunk)
            found.update(struct.unpack_from(f">{leaves}I", content, 8))
        return found

    def _chain(self, first: int) -> Iterator[int]:
        seen: set[int] = set()
        while first:
            if first in seen or not 1 < first <= self._count:
                raise NotUnderstood("a chain of pages is damaged")
            seen.add(first)
            yield first
            (first,) = _NUMBER.unpack_from(self.page(first))


def _cell(leaf: bytes, number: int) -> tuple[int, int, int]:
    """The size of a row, its rowid, and where on the leaf its content begins."""
    try:
        (at,) = _SHORT.unpack_from(leaf, _LEAF_HEADER + 2 * number)
        size, at = _varint(leaf, at)
        row_id, at = _varint(leaf, at)
    except (struct.error, IndexError) as error:
        raise NotUnderstood("a leaf is damaged") from error
    return size, row_id - (row_id >> 63 << 64), at


def _first_overflow(leaf: bytes, number: int, usable: int) -> int:
    """The page on which a row goes on, 0 if the leaf holds all of it (section 1.6)."""
    size, _, at = _cell(leaf, number)
    most, least = usable - 35, (usable - 12) * 32 // 255 - 23
    if size <= most:
        return 0
    local = least + (size - least) % (usable - 4)
    try:
        (first,) = _NUMBER.unpack_from(leaf, at + (local if local <= most else least))
    except struct.error as error:
        raise NotUnderstood("a leaf is damaged") from error
    return int(first)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in up to 9 bytes, the most significant bits first (section 1.6), and where it ends."""
    value = 0
    for place in range(at, at + 8):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def _merged(found: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for interval in sorted(found, key=lambda each: each.low):
        if merged and interval.low <= merged[-1].high:
            merged[-1] = Interval(merged[-1].low, max(merged[-1].high, interval.high))
        else:
            merged.append(interval)
    return merged
