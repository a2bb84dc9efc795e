"""Time travel: takes a session back to any turn that has a checkpoint, and makes new sessions of them.

Nothing is given up. Turns have numbers that are never used twice; going back ends the session's line with an
earlier one, and the turns that were left stay, with their checkpoints, to be returned to in the same way. What the
live trajectory alone holds is checkpointed first, and its files are moved aside, not deleted.

A restore changes several things that no transaction covers: the session's line, the harness's files. So it is
written down before it is begun, as what is to be true at its end. Every step towards that can be repeated, and a
restore that was cut is finished by whoever opens the session next (`finish_interrupted`). Until it is written down
nothing has changed; the database that is to be opened is made and checked by then, so nothing can fail afterwards
but the disk, and then it is tried again.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sessions import chain, checkpoint, copying, durable, evidence, rows, trajectory
from sessions.checkpoint import Checkpoint, CheckpointError, CheckpointUnusable, Streamed
from sessions.events import Kind
from sessions.journal import INTERRUPTED, Journal, TurnRecord
from sessions.lease import Holder, Lease, SessionBusy
from sessions.resume import Live
from sessions.rows import Row
from sessions.session import Session, StoreDamaged, StoreRefused
from sessions.store import Store, new_session_id
from sessions.trajectory import TrajectoryProblem

NOTE = "note"
"""The key in the session's memory of what the model is told with the next prompt."""

OPTIONS = "options"
"""The key of what the user has set for the session, which its forks begin with."""

INTENT = "restoring.json"
"""The file in the session's folder in which what is to be done is written down until it is done. Not in the store:
a load that comes to nothing must be able to leave the store as it was."""

BACK_NOTE = (
    "The user took this conversation back to this point. What was done in the turns that were left, in files for"
    " instance, is not in this conversation and was not undone."
)
"""What the model is told with the next prompt after a restore."""

CUT_NOTE = "The last turn was cut before it ended. What it had not finished may have been done only in part."
"""What the model is told with the next prompt after a restore of a turn that was cut."""


class NoSuchPoint(Exception):
    """The session cannot be taken to this turn; one sentence says why, and which turns it can be taken to."""


class NotPreserved(Exception):
    """What the session holds now could not be checkpointed, so nothing was changed; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    `turn` is the last turn of the session's line now (0 if there is none), `turns` how many are on it, `left` the
    last turn of the line that was left. `checkpoint` is what was restored, None for an empty conversation, and
    `preserved` what was taken before of the turn that was left, if that was needed. `moved_aside` is the folder
    that the harness's files are in now, None if there were none.
    """

    turn: int
    turns: int
    left: int
    checkpoint: Checkpoint | None
    preserved: Checkpoint | None
    moved_aside: Path | None


@dataclass(frozen=True, slots=True)
class Forked:
    """A new session: its id, the last turn of its line, how many are on it, and the checkpoint it was made of."""

    session_id: str
    turn: int
    turns: int
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class _Intent:
    """What was begun: the last turn from now on, its primer, a note for the model, where files go.

    Without a turn, line and note stay as they are, and only the database and its primer are replaced.
    """

    turn: int | None
    primer: int | None
    note: str | None
    aside: str


_INTENT = TypeAdapter(_Intent)


def restore(session: Session, journal: Journal, *, turn: int, seq: int | None = None) -> Restored:
    """Take a session to the end of a turn, on whatever line; 0 is before the first.

    The lease must be held and the harness must not be running.

    Args:
        session: the session.
        journal: its journal.
        turn: the number of the turn.
        seq: which of the turn's checkpoints; without it, the newest that can be used.

    Raises:
        NoSuchPoint: there is no such turn, or it has no usable checkpoint.
        NotPreserved: what the session holds now cannot be checkpointed.
        StoreDamaged: the store cannot be read.
        JournalError, sqlite3.Error, OSError: the disk refuses. What was begun is finished by `finish_interrupted`.
    """
    finish_interrupted(session, journal)
    candidates = _candidates(session, journal.all_turns(), turn, seq)
    made = made_path(session)
    restored: Checkpoint | None = None
    if turn:
        restored = _make(session, candidates, made)
    else:
        made.unlink(missing_ok=True)
    left = journal.head
    preserved = _preserve(session, journal)
    record = next((each for each in journal.all_turns() if each.turn == turn), None)
    aside = session.new_aside("restored")
    cut = record is not None and record.stop_reason == INTERRUPTED
    intent = _Intent(
        turn=turn,
        primer=restored.primer if restored else None,
        note=" ".join(filter(None, [BACK_NOTE if turn != left else "", CUT_NOTE if cut else ""])) or None,
        aside=aside.name,
    )
    _write_down(session, intent)
    _carry_out(session, journal, intent)
    return Restored(
        turn=turn,
        turns=journal.turn_count,
        left=left,
        checkpoint=restored,
        preserved=preserved,
        moved_aside=aside if aside.exists() else None,
    )


def made_path(session: Session) -> Path:
    """Where the database is made that is to take the place of the live one."""
    return session.trajectory_dir / "restoring.db"


def place(session: Session, journal: Journal, *, primer: int | None, reason: str) -> Path | None:
    """Give the database at `made_path` the place of the live one, with its primer, whatever comes in between.

    Returns the folder that the files are in now that were there, None if there were none. The lease must be held
    and the harness must not be running.

    Raises:
        StoreRefused, OSError: the disk refuses. What was begun is finished by `finish_interrupted`.
    """
    aside = session.new_aside(reason)
    intent = _Intent(turn=None, primer=primer, note=None, aside=aside.name)
    _write_down(session, intent)
    _carry_out(session, journal, intent)
    return aside if aside.exists() else None


def finish_interrupted(session: Session, journal: Journal) -> bool:
    """Finish a restore that was cut, if there is one; whether there was.

    The lease must be held and the harness must not be running. To be called before anything is believed of the
    session's line or of the live trajectory.

    Raises:
        StoreDamaged: the store cannot be read.
        JournalError, StoreRefused, OSError: the disk refuses; it can be tried again.
    """
    try:
        intent = _INTENT.validate_json((session.folder / INTENT).read_bytes())
    except FileNotFoundError:
        return False
    except ValidationError as error:
        raise StoreDamaged(session.id, "what it says of a restore that was cut cannot be understood") from error
    _carry_out(session, journal, intent)
    return True


def fork(store: Store, source: Session, *, turn: int | None = None, session_id: str | None = None) -> Forked:
    """Make a new session that holds what a session held at the end of a turn.

    The source is only read, and only what is stored of it: it may be open elsewhere, in the middle of a turn. The
    new session has the turns up to that one under their numbers, what was shown in them, and one checkpoint. It
    does not have the permissions that the source was given for always: they were given to that session.

    Args:
        store: where the new session goes.
        source: the session.
        turn: the number of the turn, on whatever line, or 0; without it, that of the newest usable checkpoint of
            the source's line.
        session_id: the id of the new session; without it, a new one.

    Raises:
        NoSuchPoint: there is no such turn, or it has no usable checkpoint.
        StoreDamaged: the source's store cannot be read.
        StoreRefused: the disk refuses; nothing was made.
    """
    new_id = session_id or new_session_id()
    # One moment of a store that may be written to meanwhile.
    with source.reading() as db, rows.transaction(db):
        info, turns = source.info, Journal(source).all_turns()
        branch = _branch(source, db, turns, turn)
        line = _line_to(turns, branch.turn)
        held = copying.renamed(branch.rows, source.id, new_id)

        def fill(folder: Path, new: sqlite3.Connection) -> None:
            new.execute("BEGIN")
            copying.turns(db, new, [each.turn for each in line])
            new.execute("UPDATE session SET title = ?, head = ?", (info.title, branch.turn))
            if branch.checkpoint is not None:
                copying.primer(db, new, branch.checkpoint.primer)
                new.execute("UPDATE session SET primer = ?", (branch.checkpoint.primer,))
                changes = {(row.table, row.row_id): row for row in held}
                chain.store(new, replace(branch.checkpoint, base=0), changes)
                copying.write_trajectory(folder, new_id, held, branch.checkpoint)
            kept = db.execute("SELECT key, value FROM memory WHERE key = ?", (OPTIONS,)).fetchall()
            new.executemany("INSERT INTO memory (key, value) VALUES (?, ?)", kept)
            if line and line[-1].stop_reason == INTERRUPTED:
                new.execute("INSERT INTO memory (key, value) VALUES (?, ?)", (NOTE, json.dumps(CUT_NOTE)))
            new.execute("COMMIT")

        store.create(
            new_id,
            cwd=info.cwd,
            additional_directories=info.additional_directories,
            client=info.client,
            fill=fill,
            made={"as": "fork", "from": source.id, "turn": branch.turn},
        ).close()
    return Forked(new_id, branch.turn, len(line), branch.checkpoint)


def record_fork(store: Store, source: Session, forked: Forked, holder: Holder | None) -> bool:
    """Record with a session that a fork was made of it; whether that was done.

    It is not if another process has the session open, which alone may write to it, or if the disk refuses: the
    fork itself knows where it came from.

    Args:
        store: where the session is.
        source: the session.
        forked: the fork.
        holder: who asks for its lease, None if the caller holds it.
    """
    try:
        lease = Lease.acquire(store.folder(source.id), holder) if holder is not None else None
        try:
            source.record(Kind.FORKED, {"session": forked.session_id, "turn": forked.turn})
        finally:
            if lease is not None:
                lease.release()
    except (SessionBusy, StoreRefused, OSError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Branch:
    """Where a new session begins: a turn, and what its checkpoint holds; no checkpoint before the first turn."""

    turn: int
    checkpoint: Checkpoint | None
    rows: list[Row]


def _branch(source: Session, db: sqlite3.Connection, turns: Sequence[TurnRecord], turn: int | None) -> _Branch:
    if turn is None:
        candidates = checkpoint.newest_first(source)
        if not any(each.on_line for each in turns):
            turn = 0
    else:
        candidates = _candidates(source, turns, turn, None)
    if turn == 0:
        return _Branch(0, None, [])
    problem = f"Session {source.id} has no checkpoint that it could be forked at."
    for candidate in candidates:
        try:
            return _Branch(candidate.turn, candidate, chain.verified_rows(db, candidate))
        except (sqlite3.Error, zlib.error, ValueError) as error:
            problem = str(CheckpointUnusable(candidate, str(error)))
    raise NoSuchPoint(problem)


def _candidates(session: Session, turns: Sequence[TurnRecord], turn: int, seq: int | None) -> list[Checkpoint]:
    """The checkpoints that were taken after a turn, newest first; none of turn 0."""
    if turn == 0:
        return []
    if not any(each.turn == turn for each in turns):
        known = ranges([each.turn for each in turns])
        raise NoSuchPoint(f"Session {session.id} has no turn {turn}; it has {known or 'none yet'}.")
    stored = checkpoint.every(session)
    found = [each for each in reversed(stored) if each.turn == turn and seq in (None, each.seq)]
    if not found:
        which = f"checkpoint {seq}" if seq is not None else "checkpoint"
        known = ranges(sorted({each.turn for each in stored if each.turn}))
        raise NoSuchPoint(f"Turn {turn} has no {which}; turns with one: {known or 'none'}.")
    return found


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in ascending order in words, such as `1-3, 5`."""
    groups = (
        [number for _, number in group]
        for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    )
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)


def _line_to(turns: Sequence[TurnRecord], last: int) -> list[TurnRecord]:
    """The turns from the first of a line to this one."""
    known = {each.turn: each for each in turns}
    line: list[TurnRecord] = []
    while last in known:
        line.append(known[last])
        last = known[last].parent
    return line[::-1]


def _make(session: Session, candidates: Sequence[Checkpoint], target: Path) -> Checkpoint:
    """Make a database of the first of these checkpoints that can be used."""
    problem: Exception | None = None
    for candidate in candidates:
        try:
            checkpoint.restore(session, candidate, target)
            trajectory.read(target, conversation_id=session.id, live=False)
        except CheckpointUnusable as unusable:
            problem = unusable
        except TrajectoryProblem as found:
            problem = CheckpointUnusable(candidate, found.detail)
        else:
            return candidate
    raise NoSuchPoint(str(problem)) from problem


def _preserve(session: Session, journal: Journal) -> Checkpoint | None:
    """Checkpoint what only the live trajectory holds, on a base of its own; None if there is nothing."""
    found = evidence.gather(session, journal)
    if found.live not in (Live.COMPLETE, Live.CUT) or not journal.head:
        return None
    try:
        return checkpoint.take(
            session,
            journal,
            turn=journal.head,
            stop_reason="end_turn" if found.live is Live.COMPLETE else INTERRUPTED,
            streamed=Streamed(visible=0, user_turns=found.live_user_turns),
            new_base=True,
        )
    except CheckpointError as error:
        raise NotPreserved(f"What session {session.id} holds now cannot be kept: {error}") from error


def _write_down(session: Session, intent: _Intent) -> None:
    durable.write_file(session.folder / INTENT, _INTENT.dump_json(intent))


def _carry_out(session: Session, journal: Journal, intent: _Intent) -> None:
    """Make true what a restore is to make true, whatever of it is true already."""
    made = made_path(session)
    aside = session.aside_dir / intent.aside
    if intent.turn is not None:
        journal.rewind(intent.turn, primer=intent.primer, aside=intent.aside, note=intent.note)
        session.remember(NOTE, intent.note)
    elif intent.primer != session.primer_id:
        session.use_primer(intent.primer)
    # Once the database that was made has its name, it is the live one, and must stay.
    if made.exists() or intent.turn == 0:
        session.move_aside("restored", into=aside)
    if made.exists():
        durable.replace_file(made, session.trajectory_path)
    with suppress(OSError):  # it stays if there is something in it
        aside.rmdir()
    (session.folder / INTENT).unlink()
    durable.sync_folder(session.folder)
