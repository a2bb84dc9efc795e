"""The checkpoints as they are stored: which rows each holds, and the seals by which damage is noticed.

A checkpoint's rows are those that were stored from its base on up to it, the newest of each. Its seal is the
SHA-256 over its facts, the rows that it stored, and the seal of the checkpoint before it. `digest` holds both
seals, first the one before: so a checkpoint can be verified from its base on, whatever became of older ones, and a
chain that was cut or rearranged is noticed all the same.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace

from sessions import rows
from sessions.report import CheckpointRef
from sessions.rows import Row

Key = tuple[str, int]
"""A table's name and a row's number in it."""

SEAL_SIZE = hashlib.sha256().digest_size
NO_SEAL = bytes(SEAL_SIZE)
"""Takes the place of the seal before the first."""

_COMPRESSION = 1
"""Half the time of zlib's usual level for about a tenth more bytes, measured with rows of the harness."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stored checkpoint, numbered by `seq` and taken after `turn`, which is at place `depth` of its line.

    It holds what changed since the one before it, back to `base`, which holds every row. `primer` is the id of the
    transcript that the conversation was primed with, if it was.

    `steps` counts the rows of the harness's steps, `visible` those that it surely shows, `user_turns` the user's
    messages among them, `summarised_turns` those of these that a compaction left to the model only as a summary,
    and `executions` the recorded ends of executions. `at` is an RFC 3339 time. `digest` is the seal of the
    checkpoint before and its own.
    """

    seq: int
    base: int
    turn: int
    depth: int
    primer: int | None
    steps: int
    visible: int
    user_turns: int
    summarised_turns: int
    executions: int
    at: str
    page_size: int
    user_version: int
    digest: bytes

    @property
    def ref(self) -> CheckpointRef:
        """How reports name it."""
        return CheckpointRef(turn=self.turn, steps=self.steps, at=self.at)

    @property
    def seal(self) -> bytes:
        """Its own seal."""
        return self.digest[SEAL_SIZE:]

    @property
    def seal_before(self) -> bytes:
        """The seal of the checkpoint before it."""
        return self.digest[:SEAL_SIZE]


_COLUMNS = ", ".join(field.name for field in fields(Checkpoint))


def sealed(unsealed: Checkpoint, changes: Mapping[Key, bytes | None]) -> Checkpoint:
    """A checkpoint with its digest.

    Args:
        unsealed: the checkpoint, still with the digest of the one before it, empty if there is none.
        changes: the digests of the rows that it stored, None for one that was gone.
    """
    before = unsealed.seal or NO_SEAL
    seal = hashlib.sha256(rows.encode(astuple(replace(unsealed, digest=before))))
    for (table, row_id), digest in sorted(changes.items()):
        seal.update(rows.encode((table, row_id, digest)))
    return replace(unsealed, digest=before + seal.digest())


def all_checkpoints(db: sqlite3.Connection) -> list[Checkpoint]:
    """Every checkpoint that is stored, oldest first."""
    return [Checkpoint(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM checkpoint ORDER BY seq")]  # noqa: S608


def of_line(db: sqlite3.Connection) -> list[Checkpoint]:
    """The checkpoints of the turns on the line that the session is on, oldest first."""
    found = db.execute(
        "WITH RECURSIVE line (turn) AS ("  # noqa: S608
        "SELECT head FROM session UNION SELECT parent FROM turn JOIN line USING (turn)"
        f") SELECT {_COLUMNS} FROM checkpoint WHERE turn IN line ORDER BY seq"
    )
    return [Checkpoint(*row) for row in found]


def latest(db: sqlite3.Connection) -> Checkpoint | None:
    """The checkpoint that was stored last, on whatever line."""
    found = db.execute(f"SELECT {_COLUMNS} FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()  # noqa: S608
    return Checkpoint(*found) if found else None


def leads_to(db: sqlite3.Connection, checkpoint: Checkpoint, turn: int) -> bool:
    """Whether a checkpoint was taken on the line that ends with this turn."""
    while turn > checkpoint.turn:
        found = db.execute("SELECT parent FROM turn WHERE turn = ?", (turn,)).fetchone()
        turn = found[0] if found else checkpoint.turn
    return turn == checkpoint.turn


def store(db: sqlite3.Connection, checkpoint: Checkpoint, changed: Mapping[Key, Row | None]) -> Checkpoint:
    """Store a checkpoint as the next one, with the rows that changed, None for one that is gone.

    Its `seq` and `digest` are set; so is its `base`, if that is 0, to say that it holds every row.
    """
    before = latest(db)
    seq = before.seq + 1 if before else 1
    changes = {key: row.digest if row else None for key, row in changed.items()}
    unsealed = replace(checkpoint, seq=seq, base=checkpoint.base or seq, digest=before.digest if before else b"")
    stored = sealed(unsealed, changes)
    values = astuple(stored)
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO checkpoint ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608
    db.executemany(
        "INSERT INTO checkpoint_row (table_name, row_id, seq, digest, content) VALUES (?, ?, ?, ?, ?)",
        (
            (*key, seq, row.digest, zlib.compress(row.encoded, _COMPRESSION)) if row else (*key, seq, None, None)
            for key, row in changed.items()
        ),
    )
    return stored


class Held:
    """The digests of the rows that a checkpoint holds; of one that holds none if there is no checkpoint."""

    def __init__(self, db: sqlite3.Connection, checkpoint: Checkpoint | None) -> None:
        self._db = db
        self._span = (checkpoint.base, checkpoint.seq) if checkpoint else (0, -1)

    def all(self) -> dict[Key, bytes]:
        """Every row."""
        # SQLite takes the columns beside max() from the row that has the maximum.
        found = self._db.execute(
            "SELECT table_name, row_id, digest, max(seq) FROM checkpoint_row WHERE seq BETWEEN ? AND ?"
            " GROUP BY table_name, row_id",
            self._span,
        )
        return {(table, row_id): digest for table, row_id, digest, _ in found if digest is not None}

    def of_table(self, table: str) -> dict[int, bytes]:
        """The rows of a table."""
        return self.between(table, -(1 << 63), (1 << 63) - 1)

    def between(self, table: str, low: int, high: int) -> dict[int, bytes]:
        """The rows of a table with these numbers, both included."""
        found = self._db.execute(
            "SELECT row_id, digest, max(seq) FROM checkpoint_row"
            " WHERE table_name = ? AND row_id BETWEEN ? AND ? AND seq BETWEEN ? AND ? GROUP BY row_id",
            (table, low, high, *self._span),
        )
        return {row_id: digest for row_id, digest, _ in found if digest is not None}

    def below(self, table: str, row_id: int) -> Iterator[int]:
        """The numbers of the rows of a table below this one, descending."""
        yield from self._beside(table, row_id, "<", "DESC")

    def above(self, table: str, row_id: int) -> Iterator[int]:
        """The numbers of the rows of a table above this one, ascending."""
        yield from self._beside(table, row_id, ">", "ASC")

    def _beside(self, table: str, row_id: int, side: str, order: str) -> Iterator[int]:
        found = self._db.execute(
            f"SELECT row_id, digest, max(seq) FROM checkpoint_row WHERE table_name = ? AND row_id {side} ?"  # noqa: S608
            f" AND seq BETWEEN ? AND ? GROUP BY row_id ORDER BY row_id {order}",
            (table, row_id, *self._span),
        )
        yield from (number for number, digest, _ in found if digest is not None)


def verified_rows(db: sqlite3.Connection, checkpoint: Checkpoint) -> list[Row]:
    """The rows that a checkpoint holds.

    Raises:
        ValueError, zlib.error: it, or one from its base on, is not what was stored.
    """
    verify_links(db, checkpoint)
    found = db.execute(
        "SELECT table_name, row_id, digest, content, max(seq) FROM checkpoint_row WHERE seq BETWEEN ? AND ?"
        " GROUP BY table_name, row_id",
        (checkpoint.base, checkpoint.seq),
    )
    return [
        content_of(table, row_id, digest, content)
        for table, row_id, digest, content, _ in found
        if content is not None
    ]


def content_of(table: str, row_id: int, digest: bytes, content: bytes) -> Row:
    """A stored row.

    Raises:
        ValueError, zlib.error: it is not what was stored.
    """
    row = rows.row(table, row_id, zlib.decompress(content))
    if row.digest != digest:
        raise ValueError(f"row {row_id} of {table} is not what was stored")
    return row


def verify_links(db: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    """Check the seals of a checkpoint and of those before it back to its base.

    Raises:
        ValueError: one of them is not what was stored.
    """
    stored = {each.seq: each for each in all_checkpoints(db) if checkpoint.base <= each.seq <= checkpoint.seq}
    if stored.get(checkpoint.seq) != checkpoint:
        raise ValueError("it is not stored")
    changes = changes_between(db, checkpoint.base, checkpoint.seq)
    before: Checkpoint | None = None
    for seq in range(checkpoint.base, checkpoint.seq + 1):
        if (problem := broken_link(stored.get(seq), before, changes.get(seq, {}), seq=seq)) is not None:
            raise ValueError(problem)
        before = stored[seq]
        if before.base != checkpoint.base:
            raise ValueError(f"checkpoint {seq} is not of the same base")


def broken_link(
    checkpoint: Checkpoint | None, before: Checkpoint | None, changes: Mapping[Key, bytes | None], *, seq: int
) -> str | None:
    """What is wrong with checkpoint `seq`, given the one before it if that is to be looked at; None if nothing."""
    if checkpoint is None:
        return f"checkpoint {seq} is not stored"
    if sealed(replace(checkpoint, digest=NO_SEAL + checkpoint.seal_before), changes) != checkpoint:
        return f"checkpoint {seq} is not what was stored"
    if before is not None and before.seal != checkpoint.seal_before:
        return f"checkpoint {seq} does not follow checkpoint {before.seq}"
    return None


def changes_between(db: sqlite3.Connection, first: int, last: int) -> dict[int, dict[Key, bytes | None]]:
    """By checkpoint, the digests of the rows that it stored, None for one that was gone."""
    found: dict[int, dict[Key, bytes | None]] = {}
    for table, row_id, seq, digest in db.execute(
        "SELECT table_name, row_id, seq, digest FROM checkpoint_row WHERE seq BETWEEN ? AND ?", (first, last)
    ):
        found.setdefault(seq, {})[table, row_id] = digest
    return found
