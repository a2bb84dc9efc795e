"""A restorable copy of the harness's database after every turn, stored as what changed since the last one.

A checkpoint is taken when the harness is idle: only then is a turn complete on disk (facts, section 5). What was
read is compared with what was streamed before anything is stored, since the harness does not say when a disk
refuses it (facts, section 4). The copy, the turn's end and the checkpoint become durable in one transaction.

Rows are kept as they are, whatever tables and columns there are; a restored database equals the original to the
harness (facts, section 10). Each row has a digest, each checkpoint one over its changes and the checkpoint before
it, so that a copy which was damaged itself is noticed before it is used.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from sessions import durable, rows, trajectory
from sessions.journal import Journal, JournalError
from sessions.report import CheckpointRef
from sessions.rows import Image, Row
from sessions.session import Session, StoreDamaged
from sessions.trajectory import PLANNER_RESPONSE, Trajectory, TrajectoryProblem

_Key = tuple[str, int]


class CheckpointError(Exception):
    """No checkpoint was taken; one sentence says why. The turn stays open; the next checkpoint stores it too."""


class CheckpointUnusable(Exception):
    """A stored checkpoint is not what was stored, or no database can be made of it."""

    def __init__(self, checkpoint: Checkpoint, detail: str) -> None:
        super().__init__(f"The checkpoint after turn {checkpoint.turn} cannot be used: {detail}.")
        self.checkpoint = checkpoint
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stored checkpoint, numbered by `seq` and taken after `turn`, which is at place `depth` of its line.

    It holds what changed since the one before it, back to `base`, which holds every row. `primer` is the id of the
    transcript that the conversation was primed with, if it was.

    `steps` counts the rows of the harness's steps, `visible` those that it surely shows, `user_turns` the user's
    messages among them, `summarised_turns` those of these that a compaction left to the model only as a summary,
    and `executions` the recorded ends of executions. `at` is an RFC 3339 time. The digest is over all of this, the
    rows that changed, and the digest of the checkpoint before.
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


_COLUMNS = ", ".join(field.name for field in fields(Checkpoint))


@dataclass(frozen=True, slots=True)
class Streamed:
    """What the harness showed of the conversation up to now, the part that it was reopened with included.

    `visible` counts steps and `user_turns` the user's messages among them. `last_text` is the text of the turn's
    last message of the model, empty if there is none to look for.
    """

    visible: int
    user_turns: int
    last_text: str = ""


def take(session: Session, journal: Journal, *, turn: int, stop_reason: str, streamed: Streamed) -> Checkpoint:
    """Make the turn that just ended durable: the harness's database, a copy of it, the journal and the turn's end.

    The harness must be idle.

    Args:
        session: the session, whose lease is held.
        journal: its journal.
        turn: the number of the turn.
        stop_reason: how the turn ended; the steps of a `cancelled` turn need not be finished.
        streamed: what the harness's database must hold.

    Raises:
        CheckpointError: it is not durable.
    """
    journal.end_turn(turn, stop_reason)
    try:
        journal.flush()
        image = trajectory.read_image(session.trajectory_path, live=True)
        found = trajectory.of_image(image, session.id)
        if problem := _disagreement(image, found, streamed, cancelled=stop_reason == "cancelled"):
            raise CheckpointError(f"The harness did not store the whole turn: {problem}.")
        _sync_harness(session)
        with session.transaction(durable=True) as db:
            journal.store_ends(db)
            stored = _store(db, image, found, turn=turn, at=session.now())
        # The commit synced the log, but not its name if it is new.
        durable.sync_folder(session.folder)
    except JournalError as error:
        raise CheckpointError(str(error)) from error
    except TrajectoryProblem as problem:
        raise CheckpointError(f"The harness's database cannot be read: {problem.detail}.") from problem
    except (sqlite3.Error, OSError) as error:
        raise CheckpointError(f"The checkpoint could not be written: {error}.") from error
    return stored


def newest_first(session: Session) -> list[Checkpoint]:
    """All checkpoints of the session. Raises `StoreDamaged`."""
    with session.reading() as db:
        return [*reversed(_checkpoints(db))]


def by_seq(session: Session, seq: int) -> Checkpoint:
    """The checkpoint with this number.

    Raises:
        LookupError: there is none.
        StoreDamaged: the store cannot be read.
    """
    for stored in newest_first(session):
        if stored.seq == seq:
            return stored
    raise LookupError(f"session {session.id} has no checkpoint {seq}")


def step_digests(session: Session, checkpoint: Checkpoint) -> tuple[bytes, ...]:
    """The digests of the checkpoint's steps in order, to compare with those of `sessions.trajectory.Step`.

    Raises `StoreDamaged`.
    """
    with session.reading() as db:
        held = _digests(db, checkpoint.seq)
    return tuple(digest for (table, _), digest in sorted(held.items()) if table == "steps")


def restore(session: Session, checkpoint: Checkpoint, target: Path) -> None:
    """Make a database that holds what the checkpoint holds, durably, and give it the name in one step.

    What had the name before is replaced, so a damaged database must be moved aside first.

    Raises:
        CheckpointUnusable: the checkpoint is damaged.
        FileExistsError: a write-ahead log lies beside the target and would become part of it.
        OSError: the disk refused.
    """
    try:
        held = _verified_rows(session, checkpoint)
        rows.write(target, held, page_size=checkpoint.page_size, user_version=checkpoint.user_version)
    except StoreDamaged as error:
        raise CheckpointUnusable(checkpoint, error.detail) from error
    except (sqlite3.Error, zlib.error, ValueError) as error:
        raise CheckpointUnusable(checkpoint, str(error)) from error


def _disagreement(image: Image, found: Trajectory, streamed: Streamed, *, cancelled: bool) -> str | None:
    """What the database lacks of what was streamed, None if nothing."""
    if len(found.steps) < streamed.visible:
        return f"it holds {len(found.steps)} steps, and {streamed.visible} were seen"
    if found.user_turns != streamed.user_turns:
        return f"it holds {found.user_turns} user messages, and there were {streamed.user_turns}"
    if not cancelled and (unfinished := [step.idx for step in found.last_turn if step.unfinished]):
        return f"step {unfinished[0]} is not finished"
    # A harness that records its executions in another way is not taken at its word, nor refused for it.
    known = not found.executions or found.ended_at is not None
    if known and not cancelled and not found.whole:
        return "the end of the turn is not recorded"
    if streamed.last_text and not _holds_text(image, found, streamed.last_text):
        return "the model's last message is not in it"
    return None


def _holds_text(image: Image, found: Trajectory, text: str) -> bool:
    # Texts lie in the rows as they are (facts, section 1).
    messages = {step.digest for step in found.last_turn if step.step_type == PLANNER_RESPONSE}
    needle = text.encode(errors="replace")
    return any(needle in row.encoded for row in image.rows if row.table == "steps" and row.digest in messages)


def _sync_harness(session: Session) -> None:
    """The harness does not sync a turn (facts, section 5)."""
    log = session.trajectory_path.with_name(f"{session.trajectory_path.name}-wal")
    if log.exists():
        durable.sync_file(log)
    durable.sync_file(session.trajectory_path)
    durable.sync_folder(session.trajectory_dir)


def _store(db: sqlite3.Connection, image: Image, found: Trajectory, *, turn: int, at: str) -> Checkpoint:
    latest = db.execute("SELECT seq, base, digest FROM checkpoint ORDER BY seq DESC LIMIT 1").fetchone()
    previous = latest or (0, 1, b"")
    held = _digests(db, previous[0])
    (depth,) = db.execute("SELECT depth FROM turn WHERE turn = ?", (turn,)).fetchone() or (turn,)
    (primer,) = db.execute("SELECT primer FROM session").fetchone()
    present = {(row.table, row.row_id): row for row in image.rows}
    changed = {key: row for key, row in present.items() if held.get(key) != row.digest}
    gone = held.keys() - present.keys()
    changes = {key: row.digest for key, row in changed.items()} | dict.fromkeys(gone)
    unsealed = Checkpoint(
        seq=previous[0] + 1,
        base=previous[1],
        turn=turn,
        depth=depth,
        primer=primer,
        steps=len(found.steps),
        visible=found.surely_shown,
        user_turns=found.user_turns,
        summarised_turns=found.summarised_turns,
        executions=found.executions,
        at=at,
        page_size=image.page_size,
        user_version=image.user_version,
        digest=previous[2],
    )
    stored = replace(unsealed, digest=_seal(unsealed, changes))
    values = astuple(stored)
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO checkpoint ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608
    insert = "INSERT INTO checkpoint_row (table_name, row_id, seq, digest, content) VALUES (?, ?, ?, ?, ?)"
    for key, row in changed.items():
        db.execute(insert, (*key, stored.seq, row.digest, zlib.compress(row.encoded)))
    db.executemany(insert, ((*key, stored.seq, None, None) for key in gone))
    return stored


def _checkpoints(db: sqlite3.Connection) -> list[Checkpoint]:
    return [Checkpoint(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM checkpoint ORDER BY seq")]  # noqa: S608


def _digests(db: sqlite3.Connection, seq: int) -> dict[_Key, bytes]:
    """The digest of each row as of a checkpoint."""
    # SQLite takes the columns beside max() from the row that has the maximum.
    found = db.execute(
        "SELECT table_name, row_id, digest, max(seq) FROM checkpoint_row WHERE seq <= ?"
        " GROUP BY table_name, row_id",
        (seq,),
    )
    return {(table, row_id): digest for table, row_id, digest, _ in found if digest is not None}


def _verified_rows(session: Session, checkpoint: Checkpoint) -> list[Row]:
    with session.reading() as db:
        _verify_chain(db, checkpoint)
        found = db.execute(
            "SELECT table_name, row_id, digest, content, max(seq) FROM checkpoint_row WHERE seq <= ?"
            " GROUP BY table_name, row_id",
            (checkpoint.seq,),
        ).fetchall()
    held: list[Row] = []
    for table, row_id, digest, content, _ in found:
        if content is not None:
            held.append(row := rows.row(table, row_id, zlib.decompress(content)))
            if row.digest != digest:
                raise ValueError(f"row {row_id} of {table} is not what was stored")
    return held


def _verify_chain(db: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    """Raises ValueError if the checkpoint, or one that it builds on, is not what was stored."""
    previous = b""
    for stored in _checkpoints(db):
        found = db.execute("SELECT table_name, row_id, digest FROM checkpoint_row WHERE seq = ?", (stored.seq,))
        changes = {(table, row_id): digest for table, row_id, digest in found}
        if _seal(replace(stored, digest=previous), changes) != stored.digest:
            raise ValueError(f"checkpoint {stored.seq} is not what was stored")
        if stored.seq == checkpoint.seq:
            return
        previous = stored.digest
    raise ValueError("it is not stored")


def _seal(unsealed: Checkpoint, changes: Mapping[_Key, bytes | None]) -> bytes:
    """The digest of a checkpoint that still has the one of the checkpoint before it."""
    seal = hashlib.sha256(rows.encode(astuple(unsealed)))
    for (table, row_id), digest in sorted(changes.items()):
        seal.update(rows.encode((table, row_id, digest)))
    return seal.digest()
