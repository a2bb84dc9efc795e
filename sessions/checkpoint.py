"""A restorable copy of the harness's database after every turn, stored as what changed since the last one.

A checkpoint is taken when the harness is idle: only then is a turn complete on disk (facts, section 5). What was
read is compared with what was streamed before anything is stored, since the harness does not say when a disk
refuses it (facts, section 4). The copy, the turn's end and the checkpoint become durable in one transaction.

Rows are kept as they are, whatever tables and columns there are; a restored database equals the original to the
harness (facts, section 10). `sessions.changes` finds what changed, `sessions.chain` says how it is stored, and
docs/checkpoints.md why it can be relied on.
"""

from __future__ import annotations

import sqlite3
import zlib
from dataclasses import dataclass
from pathlib import Path

from sessions import chain, changes, rows
from sessions.chain import Checkpoint, Held, sealed
from sessions.changes import Reading, Tracker
from sessions.journal import INTERRUPTED, Journal, JournalError
from sessions.session import STORE_NAME, Session, StoreDamaged
from sessions.synced import Synced
from sessions.trajectory import TrajectoryProblem

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointUnusable",
    "NotStored",
    "Streamed",
    "Tracker",
    "by_seq",
    "every",
    "newest_first",
    "restore",
    "sealed",
    "step_digests",
    "take",
]


class CheckpointError(Exception):
    """No checkpoint was taken; one sentence says why. The turn stays open; the next checkpoint stores it too."""


class NotStored(CheckpointError):
    """The harness's database does not hold the turn. When the harness is closed, it may store it still."""


class CheckpointUnusable(Exception):
    """A stored checkpoint is not what was stored, or no database can be made of it."""

    def __init__(self, checkpoint: Checkpoint, detail: str) -> None:
        super().__init__(f"The checkpoint after turn {checkpoint.turn} cannot be used: {detail}.")
        self.checkpoint = checkpoint
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Streamed:
    """What the harness showed of the conversation up to now, the part that it was reopened with included.

    `visible` counts steps and `user_turns` the user's messages among them. `last_text` is the text of the turn's
    last message of the model, empty if there is none to look for.
    """

    visible: int
    user_turns: int
    last_text: str = ""


def take(
    session: Session,
    journal: Journal,
    *,
    turn: int,
    stop_reason: str,
    streamed: Streamed,
    tracker: Tracker | None = None,
    new_base: bool = False,
) -> Checkpoint:
    """Make the turn that just ended durable: the harness's database, a copy of it, the journal and the turn's end.

    The harness must be idle.

    Args:
        session: the session, whose lease is held.
        journal: its journal.
        turn: the number of the turn.
        stop_reason: how the turn ended; the steps of one that was cancelled or cut need not be finished.
        streamed: what the harness's database must hold.
        tracker: what is known of the harness that is open; without one, every row is compared.
        new_base: whether to store every row, so that this checkpoint and later ones need none before it. The first
            one on a line does so in any case.

    Raises:
        NotStored: it is not durable, because the harness did not store it.
        CheckpointError: it is not durable.
    """
    journal.end_turn(turn, stop_reason)
    synced = tracker.synced if tracker else Synced()
    try:
        journal.flush()
        with session.transaction(durable=True) as db:
            with session.reading():
                before = chain.latest(db)
                # What is stored of a line that was left must not be able to damage this one.
                new_base = new_base or (before is not None and not chain.leads_to(db, before, turn))
                reading = changes.read(
                    session.trajectory_path,
                    session.id,
                    since=before,
                    held=Held(db, None if new_base else before),
                    tracker=tracker,
                    everything=new_base,
                )
            if problem := _disagreement(reading, streamed, halted=stop_reason in ("cancelled", INTERRUPTED)):
                raise NotStored(f"The harness did not store the whole turn: {problem}.")
            _sync_harness(session, synced)
            journal.store_ends(db)
            base = 0 if new_base or before is None else before.base
            stored = _store(db, reading, base=base, turn=turn, at=session.now())
        # The commit synced the log, but not its name if it is new.
        store = session.folder / STORE_NAME
        synced.names(session.folder, (store, _log_of(store)))
    except (JournalError, StoreDamaged) as error:
        raise CheckpointError(str(error)) from error
    except TrajectoryProblem as problem:
        raise NotStored(f"The harness's database cannot be read: {problem.detail}.") from problem
    except (sqlite3.Error, OSError) as error:
        raise CheckpointError(f"The checkpoint could not be written: {error}.") from error
    if tracker is not None:
        tracker.settle(reading, stored.seq)
    return stored


def newest_first(session: Session) -> list[Checkpoint]:
    """The checkpoints of the line that the session is on. Raises `StoreDamaged`."""
    with session.reading() as db:
        return [*reversed(chain.of_line(db))]


def every(session: Session) -> list[Checkpoint]:
    """The checkpoints of all lines, oldest first. Raises `StoreDamaged`."""
    with session.reading() as db:
        return chain.all_checkpoints(db)


def by_seq(session: Session, seq: int) -> Checkpoint:
    """The checkpoint with this number, on whatever line.

    Raises:
        LookupError: there is none.
        StoreDamaged: the store cannot be read.
    """
    for stored in every(session):
        if stored.seq == seq:
            return stored
    raise LookupError(f"session {session.id} has no checkpoint {seq}")


def step_digests(session: Session, checkpoint: Checkpoint) -> tuple[bytes, ...]:
    """The digests of the checkpoint's steps in order, to compare with those of `sessions.trajectory.Step`.

    Raises `StoreDamaged`.
    """
    with session.reading() as db:
        held = Held(db, checkpoint).of_table("steps")
    return tuple(digest for _, digest in sorted(held.items()))


def restore(session: Session, checkpoint: Checkpoint, target: Path) -> None:
    """Make a database that holds what the checkpoint holds, durably, and give it the name in one step.

    What had the name before is replaced, so a damaged database must be moved aside first.

    Raises:
        CheckpointUnusable: the checkpoint is damaged.
        FileExistsError: a write-ahead log lies beside the target and would become part of it.
        OSError: the disk refused.
    """
    try:
        with session.reading() as db:
            held = chain.verified_rows(db, checkpoint)
        rows.write(target, held, page_size=checkpoint.page_size, user_version=checkpoint.user_version)
    except StoreDamaged as error:
        raise CheckpointUnusable(checkpoint, error.detail) from error
    except (sqlite3.Error, zlib.error, ValueError) as error:
        raise CheckpointUnusable(checkpoint, str(error)) from error


def _disagreement(reading: Reading, streamed: Streamed, *, halted: bool) -> str | None:
    """What the database lacks of what was streamed, None if nothing."""
    found = reading.outline
    if len(found.types) < streamed.visible:
        return f"it holds {len(found.types)} steps, and {streamed.visible} were seen"
    if found.user_turns != streamed.user_turns:
        return f"it holds {found.user_turns} user messages, and there were {streamed.user_turns}"
    if not halted and (unfinished := found.unfinished) is not None:
        return f"step {unfinished} is not finished"
    # A harness that records its executions in another way is not taken at its word, nor refused for it.
    known = not found.executions or found.ended_at is not None
    if known and not halted and not found.whole:
        return "the end of the turn is not recorded"
    # Texts lie in the rows as they are (facts, section 1).
    needle = streamed.last_text.encode(errors="replace")
    if needle and not any(needle in message for message in reading.messages):
        return "the model's last message is not in it"
    return None


def _sync_harness(session: Session, synced: Synced) -> None:
    """The harness does not sync a turn (facts, section 5)."""
    log = _log_of(session.trajectory_path)
    if log.exists():
        synced.content(log)
    synced.content(session.trajectory_path)
    synced.names(session.trajectory_dir, (session.trajectory_path, log))


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _store(db: sqlite3.Connection, reading: Reading, *, base: int, turn: int, at: str) -> Checkpoint:
    (depth,) = db.execute("SELECT depth FROM turn WHERE turn = ?", (turn,)).fetchone() or (turn,)
    (primer,) = db.execute("SELECT primer FROM session").fetchone()
    found = reading.outline
    made = Checkpoint(
        seq=0,
        base=base,
        turn=turn,
        depth=depth,
        primer=primer,
        steps=len(found.types),
        visible=found.surely_shown,
        user_turns=found.user_turns,
        summarised_turns=found.summarised_turns,
        executions=found.executions,
        at=at,
        page_size=reading.page_size,
        user_version=reading.user_version,
        digest=b"",
    )
    return chain.store(db, made, reading.changed)
