"""What of a harness's database differs from a checkpoint, read at a cost that follows what was written since.

A `Tracker` knows the pages that were written since the last checkpoint; only rows that can have changed with them
are read and compared. Whenever it cannot be proved that these are all, every row is. docs/checkpoints.md says how,
and why no change is missed.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from sessions import pages, rows, trajectory
from sessions.chain import Checkpoint, Held, Key
from sessions.outline import PLANNER_RESPONSE, Outline, as_byte
from sessions.pages import Interval, NotUnderstood
from sessions.rows import Row, Table
from sessions.synced import Synced
from sessions.wal import Follower, LostTrack, Position

_ATTEMPTS = 4
"""How often the database is read again because it was written to meanwhile."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a database as of a checkpoint, so that it need not be read again.

    `schema` is the number that SQLite gives the tables and columns as they are.
    """

    schema: int
    tables: dict[str, Table]
    outline: Outline


@dataclass(frozen=True, slots=True)
class _Moment:
    """Up to where a tracker knew the commits when it was asked, how often it had looked, and had lost track."""

    position: Position
    polls: int
    losses: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """What was known of the database at a moment."""

    known: _Known
    moment: _Moment


@dataclass(frozen=True, slots=True)
class Reading:
    """What a checkpoint has to store, as of one moment.

    `changed` holds the rows that are new or not as the last checkpoint holds them, None for those that are gone,
    and `outline` the whole trajectory's. `messages` are the model's messages of the last turn, as `sessions.rows`
    encodes them. `full` says why every row was compared, None if that was not needed.
    """

    changed: dict[Key, Row | None]
    outline: Outline
    messages: tuple[bytes, ...]
    page_size: int
    user_version: int
    full: str | None
    mark: _Mark | None


class Tracker:
    """Knows what an open harness has written since the last checkpoint. One an open harness; close it afterwards.

    `poll` is cheap; called with every step of a turn, it sees what SQLite's own checkpoints make hard to find.
    """

    def __init__(self, path: Path) -> None:
        self._follower = Follower(path)
        self._lock = threading.Lock()
        self._losses = 0
        self._known: _Known | None = None
        self._seq: int | None = None
        self.synced = Synced()
        """What is on the disk of the files of the harness and the store."""
        self.poll()

    def poll(self) -> None:
        """Take in what was written meanwhile. If that cannot be known, the next reading compares every row."""
        with self._lock:
            self._poll()

    def close(self) -> None:
        """Release the files. Nobody may be reading the database in this process then."""
        with self._lock:
            self._lose()
            self._follower.close()

    def settle(self, reading: Reading, seq: int) -> None:
        """What was read is stored, durably, as checkpoint `seq`: from now on only what came later is new."""
        with self._lock:
            if reading.mark is None or reading.mark.moment.losses != self._losses:
                self._lose()
                return
            self._follower.forget(reading.mark.moment.polls)
            self._known, self._seq = reading.mark.known, seq

    def moment(self) -> _Moment | None:
        """The present moment, after taking in what was written meanwhile; None if commits cannot be followed."""
        with self._lock:
            self._poll()
            if self._follower.position is None:
                self._poll()  # what was lost stays lost, but what comes now can be followed
            position = self._follower.position
            return _Moment(position, self._follower.polls, self._losses) if position else None

    def known_of(self, checkpoint: Checkpoint | None) -> _Known | None:
        """What is known as of this checkpoint, if everything that was written since then is known too."""
        with self._lock:
            return self._known if checkpoint is not None and checkpoint.seq == self._seq else None

    def written(self) -> list[Interval]:
        """The rowids of the rows that can have changed since the checkpoint that was settled last.

        A transaction that reads the database must be open, as of the present moment.

        Raises:
            NotUnderstood, LostTrack: that cannot be told.
        """
        with self._lock:
            if self._follower.position is None:
                raise LostTrack("commits cannot be followed")
            return pages.intervals(
                self._follower.written, self._follower.page, count=self._follower.position.pages
            )

    def _poll(self) -> None:
        try:
            self._follower.poll()
        except LostTrack:
            self._lose()

    def _lose(self) -> None:
        self._losses += 1
        self._known = self._seq = None


def read(
    path: Path,
    conversation_id: str,
    *,
    since: Checkpoint | None,
    held: Held,
    tracker: Tracker | None,
    everything: bool = False,
) -> Reading:
    """What differs from a checkpoint in the database of a harness that is idle.

    Args:
        path: the harness's database.
        conversation_id: whose it must be.
        since: the checkpoint, None if there is none.
        held: what that holds, or nothing, to have every row.
        tracker: what is known of the database; None to compare every row.
        everything: whether to compare every row in any case.

    Raises:
        TrajectoryProblem: the database is no usable trajectory of this conversation.
        sqlite3.Error: what is held cannot be read.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        before = tracker.moment() if tracker else None
        with trajectory.opened(path, live=True) as db, rows.transaction(db):
            (schema,) = db.execute("PRAGMA schema_version").fetchone()
            source = _Source(db, conversation_id, held, schema)
            # Equal positions before and after the transaction's begin are the position that it reads at.
            now = tracker.moment() if tracker else None
            if tracker is None or before is None or now is None:
                return _read_all(source, why="commits cannot be followed")
            if now.position != before.position:
                if attempt < _ATTEMPTS:
                    continue
                return _read_all(source, why="the database is written to all the time")
            known = tracker.known_of(since)
            if everything or known is None or known.schema != schema:
                why = "every row is wanted" if everything else "what was written is not known"
                return _read_all(source, why=why, moment=now)
            try:
                found = _read_written(source, known, tracker.written(), now)
            except (NotUnderstood, LostTrack) as problem:
                return _read_all(source, why=str(problem), moment=now)
            after = tracker.moment()
            # While the log is the same, the pages of the transaction stay where they are.
            if after is not None and after.position.salts == now.position.salts:
                return found
            if attempt == _ATTEMPTS:
                return _read_all(source, why="the log is begun anew all the time", moment=now)
    raise AssertionError("the last attempt returns")


@dataclass(frozen=True, slots=True)
class _Source:
    """A harness's database in a transaction, whose it must be, what is held of it, and its schema's number."""

    db: sqlite3.Connection
    conversation_id: str
    held: Held
    schema: int


def _read_all(source: _Source, *, why: str, moment: _Moment | None = None) -> Reading:
    image = rows.read_all(source.db)
    found = trajectory.of_image(image, source.conversation_id)
    outline = found.outline
    missing = source.held.all()
    changed: dict[Key, Row | None] = {
        key: row for row in image.rows if missing.pop(key := (row.table, row.row_id), None) != row.digest
    }
    changed.update(dict.fromkeys(missing))
    (auto_vacuum,) = source.db.execute("PRAGMA auto_vacuum").fetchone()
    followable = not auto_vacuum and all(table.rowid for table in image.tables.values())
    messages = {step.digest for step in found.last_turn if step.step_type == PLANNER_RESPONSE}
    return Reading(
        changed=changed,
        outline=outline,
        messages=tuple(row.encoded for row in image.rows if row.table == "steps" and row.digest in messages),
        page_size=image.page_size,
        user_version=image.user_version,
        full=why,
        mark=_Mark(_Known(source.schema, image.tables, outline), moment) if moment and followable else None,
    )


def _read_written(source: _Source, known: _Known, written: list[Interval], moment: _Moment) -> Reading:
    db = source.db
    (page_size,) = db.execute("PRAGMA page_size").fetchone()
    (user_version,) = db.execute("PRAGMA user_version").fetchone()
    trajectory.check_tables(known.tables, user_version)
    names = db.execute("SELECT trajectory_id, cascade_id FROM trajectory_meta")
    trajectory.check_identity(names, source.conversation_id)
    found = _Found({}, set())
    for interval in written:
        for table in known.tables.values():
            _compare(source, table, interval, found)
    outline = _outline(db, known, found)
    steps = known.tables["steps"].between(db, outline.last_turn, len(outline.types) - 1)
    return Reading(
        changed=found.changed,
        outline=outline,
        messages=tuple(row.encoded for row in steps if outline.types[row.row_id] == PLANNER_RESPONSE),
        page_size=page_size,
        user_version=user_version,
        full=None,
        mark=_Mark(_Known(known.schema, known.tables, outline), moment),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows that changed, None for those that are gone; and which of them are new."""

    changed: dict[Key, Row | None]
    new: set[Key]


def _compare(source: _Source, table: Table, interval: Interval, found: _Found) -> None:
    db, held = source.db, source.held
    missing = held.between(table.name, interval.low, interval.high)
    for row in table.between(db, interval.low, interval.high):
        digest = missing.pop(row.row_id, None)
        if digest != row.digest:
            found.changed[table.name, row.row_id] = row
        if digest is None:
            found.new.add((table.name, row.row_id))
    found.changed.update(dict.fromkeys((table.name, row_id) for row_id in missing))
    # A row that was deleted has left no trace on its leaf, but those beside it are on a leaf that was written.
    for beside in (held.below(table.name, interval.low), held.above(table.name, interval.high)):
        for row_id in beside:
            if table.has(db, row_id):
                break
            found.changed[table.name, row_id] = None


def _outline(db: sqlite3.Connection, known: _Known, found: _Found) -> Outline:
    """The outline as it is now.

    Raises:
        NotUnderstood: a step's number is not its rowid, or steps are not numbered from 0 without a gap.
    """
    types, statuses = bytearray(known.outline.types), bytearray(known.outline.statuses)
    steps = {row_id: row for (table, row_id), row in found.changed.items() if table == "steps"}
    for row_id in sorted((row_id for row_id, row in steps.items() if row is None), reverse=True):
        if row_id != len(types) - 1:
            raise NotUnderstood(f"step {row_id} is gone")
        del types[row_id], statuses[row_id]
    places = [known.tables["steps"].columns.index(name) for name in ("idx", "step_type", "status")]
    for row_id, row in sorted(steps.items()):
        if row is None:
            continue
        values = rows.decode(row.encoded)
        match [values[place] for place in places]:
            case [int(idx), int(step_type), int(status)] if idx == row_id and 0 <= idx <= len(types):
                types[idx : idx + 1] = bytes([as_byte(step_type)])
                statuses[idx : idx + 1] = bytes([as_byte(status)])
            case _:
                raise NotUnderstood(f"step {row_id} is not where it was expected")
    ends = known.tables["executor_metadata"]
    gone = sum(table == ends.name and row is None for (table, _), row in found.changed.items())
    newest = db.execute(f"SELECT data FROM {ends.name} ORDER BY {ends.rowid} DESC LIMIT 1").fetchone()  # noqa: S608
    last = trajectory.execution(newest[0] if newest else None)
    return Outline(
        types=bytes(types),
        statuses=bytes(statuses),
        executions=known.outline.executions + sum(table == ends.name for table, _ in found.new) - gone,
        ended_at=last.ended_at,
        halted=last.halted,
    )
