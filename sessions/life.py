"""The whole life of a session, for people who look back: turns of all lines, checkpoints, loads, restores, forks.

It is only read, at one moment of a store that may be written to meanwhile. A part that cannot be read is named,
and the rest is there. What was not recorded is not there: a store that was made by an older version knows nothing
of what happened before, and a process that was killed wrote nothing of it; it is told by the turn that it left
without an end, and by the next load.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import JsonValue

from sessions import chain, context, events, housekeeping, lease, primer, rows, timeline
from sessions.chain import Checkpoint, Held
from sessions.context import Context, Facts
from sessions.events import Event, Kind
from sessions.journal import INTERRUPTED, Entry, Journal, JournalError, TurnRecord
from sessions.lease import SessionBusy
from sessions.session import Salvaged, Session, SessionInfo, StoreDamaged

Result = TypeVar("Result")

Basis = Literal["checkpoint", "before", "report", "compacted"]
"""What a turn's context is known from: its own checkpoint, the state before it, or only what a load reported.

`compacted` is the state before it too: its own checkpoint knows only what a compaction in its middle left.
"""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint, the bytes that it added to the store, and what the model had at it, None if not known."""

    checkpoint: Checkpoint
    size: int
    context: Context | None


@dataclass(frozen=True, slots=True)
class TurnLife:
    """A turn with its checkpoints in order, and what the model had with its prompt.

    `cut` says that its end was never stored and that nobody is in it any more; of a turn that runs it is not said.
    """

    record: TurnRecord
    saved: tuple[Saved, ...]
    context: Context | None
    basis: Basis | None
    cut: bool

    @property
    def seconds(self) -> float | None:
        """How long it took, None if its end is not known. The end of a turn that was cut is when that was seen."""
        return (
            None
            if self.record.stop_reason == INTERRUPTED
            else between(self.record.started_at, self.record.ended_at)
        )


@dataclass(frozen=True, slots=True)
class Life:
    """A session's life. `moments` has its turns and events in the order of time.

    `complete` says whether all that happened to it was recorded: not if an older version made it, or if its store
    was damaged. `note` is what the model will be told with the next prompt. `unread` are sentences about what
    could not be read. `entries` gives what was shown in a turn, and may raise `StoreDamaged`.
    """

    info: SessionInfo
    turns: tuple[TurnLife, ...]
    events: tuple[Event, ...]
    moments: tuple[TurnLife | Event, ...]
    complete: bool
    saved: tuple[Saved, ...]
    head: int
    note: str | None
    restoring: bool
    open_in: SessionBusy | None
    sizes: Mapping[str, int]
    aside: Mapping[str, int]
    salvaged: Salvaged | None
    unread: tuple[str, ...]
    read_at: str
    entries: Callable[[int], Iterable[Entry]] = field(compare=False)


@contextmanager
def reading(session: Session) -> Iterator[Life]:
    """A session's life, as it is at this moment for as long as the block is not left.

    Raises:
        StoreDamaged: not even the session's own facts can be read.
    """
    with session.reading() as db, rows.transaction(db):
        yield _gather(session, db)


def between(began: str | None, ended: str | None) -> float | None:
    """The seconds between two stored times, None if one of them is not known or makes no sense."""
    if began is None or ended is None:
        return None
    try:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds >= 0 else None


def _gather(session: Session, db: sqlite3.Connection) -> Life:
    unread: list[str] = []

    def part(name: str, read: Callable[[], Result], otherwise: Result) -> Result:
        try:
            return read()
        except (sqlite3.Error, StoreDamaged, JournalError, ValueError, TypeError, OSError) as error:
            detail = error.detail if isinstance(error, StoreDamaged) else str(error)
            unread.append(f"{name} could not be read: {detail}.")
            return otherwise

    journal = Journal(session)
    no_checkpoints: list[Checkpoint] = []
    no_events: list[Event] = []
    no_sizes: dict[int, int] = {}
    no_contexts: dict[int, Context] = {}
    folders: dict[str, int] = {}
    no_turns: tuple[TurnRecord, ...] = ()
    nowhere: frozenset[int] = frozenset()
    records = part("The turns", journal.all_turns, no_turns)
    stored = part("The checkpoints", lambda: chain.all_checkpoints(db), no_checkpoints)
    happened = part("What happened to the session", lambda: events.read(db), no_events)
    sizes = part("The sizes of the checkpoints", lambda: _sizes(db), no_sizes)
    facts = part("The primers", lambda: _facts(session, db, records, stored), None)
    contexts = no_contexts
    if facts is not None:
        contexts = part("What the model had", lambda: context.of_checkpoints(facts), no_contexts)
    saved = tuple(Saved(each, sizes.get(each.seq, 0), contexts.get(each.seq)) for each in stored)
    compacted = part("The compactions", lambda: _compacted(db), nowhere)
    busy = part("The lease", lambda: lease.refusal(session.folder), None)
    head = journal.head
    turns = tuple(_turns(records, saved, happened, compacted, head=head, running=busy is not None))
    note = part("The note for the model", lambda: session.recall(timeline.NOTE), None)
    return Life(
        info=session.info,
        turns=turns,
        events=tuple(happened),
        moments=tuple(_in_order(turns, happened)),
        complete=any(event.kind is Kind.MADE for event in happened) and happened[-1].id == len(happened),
        saved=saved,
        head=head,
        note=note if isinstance(note, str) else None,
        restoring=(session.folder / timeline.INTENT).exists(),
        open_in=busy,
        sizes=part("The sizes", lambda: housekeeping.sizes(session), folders),
        aside=part("The files that were moved aside", lambda: housekeeping.aside(session), folders),
        salvaged=session.salvaged,
        unread=tuple(unread),
        read_at=session.now(),
        entries=journal.entries,
    )


def _sizes(db: sqlite3.Connection) -> dict[int, int]:
    return dict(
        db.execute(
            "SELECT seq, sum(coalesce(length(content), 0) + coalesce(length(digest), 0)) FROM checkpoint_row"
            " GROUP BY seq"
        )
    )


def _compacted(db: sqlite3.Connection) -> frozenset[int]:
    """The turns whose first compaction came after something of the model: the prompt was sent before it."""
    return frozenset(
        turn
        for (turn,) in db.execute(
            "SELECT turn FROM entry WHERE turn IN (SELECT turn FROM entry WHERE kind = 'compaction') GROUP BY turn"
            " HAVING min(CASE WHEN kind = 'compaction' THEN seq END)"
            " > min(CASE WHEN kind NOT IN ('compaction', 'user_message') THEN seq END)"
        )
    )


def _facts(
    session: Session, db: sqlite3.Connection, records: Sequence[TurnRecord], stored: Sequence[Checkpoint]
) -> Facts:
    primers: dict[int, tuple[int, ...]] = {}
    for number in {each.primer for each in stored if each.primer is not None}:
        if made := session.stored_primer(number):
            primers[number] = primer.carried_numbers(made.text)

    def origin(of: Checkpoint) -> int | None:
        for row_id, digest in sorted(Held(db, of).of_table("steps").items(), reverse=True):
            (seq,) = db.execute(
                "SELECT min(seq) FROM checkpoint_row"
                " WHERE table_name = 'steps' AND row_id = ? AND digest = ? AND seq < ?",
                (row_id, digest, of.seq),
            ).fetchone()
            if seq is not None:
                return int(seq)
        return None

    return Facts(records, stored, primers, origin)


def _turns(
    records: Sequence[TurnRecord],
    saved: Sequence[Saved],
    happened: Sequence[Event],
    compacted: frozenset[int],
    *,
    head: int,
    running: bool,
) -> Iterator[TurnLife]:
    known = {record.turn: record for record in records}
    of_turn: dict[int, list[Saved]] = {}
    for each in saved:
        of_turn.setdefault(each.checkpoint.turn, []).append(each)
    loads = [event for event in happened if event.kind is Kind.LOADED and event.at is not None]
    for record in records:
        taken = of_turn.get(record.turn, [])
        own = next((each.context for each in taken if each.context and _has(each.context, record.turn)), None)
        basis: Basis | None = "checkpoint" if own is not None else None
        if own is None or record.turn in compacted:
            own, basis = _before(record, known, of_turn, loads)
        if own is not None and record.turn in compacted:
            basis = "compacted"
        open_now = running and record.turn == head
        cut = record.stop_reason == INTERRUPTED or (record.ended_at is None and not open_now)
        yield TurnLife(record, tuple(taken), own, basis, cut)


def _has(found: Context, turn: int) -> bool:
    return found.turns is not None and turn in (*found.turns.whole, *found.turns.summarised)


def _before(
    record: TurnRecord,
    known: Mapping[int, TurnRecord],
    of_turn: Mapping[int, Sequence[Saved]],
    loads: Sequence[Event],
) -> tuple[Context | None, Basis | None]:
    """What a turn without a checkpoint of its own began with, as far as anything tells it."""
    began = record.started_at
    state: Context | None = context.NOTHING if record.parent == 0 else None
    since = ""
    for turn in reversed(context.line_to(known, record.parent)):
        if of_turn.get(turn):
            earlier = [each for each in of_turn[turn] if each.checkpoint.at <= began]
            if earlier and turn == record.parent:
                state, since = earlier[-1].context, earlier[-1].checkpoint.at
            break
    # A load in between may have found something else, and says so.
    for event in reversed(loads):
        report = event.detail.get("report")
        if since < (event.at or "") <= began and event.turn == record.parent and isinstance(report, dict):
            reported = _reported(report)
            if reported is not None and (state is None or _numbers(state) != _numbers(reported)):
                return context.with_prompt(reported, record.turn), "report"
            break
    return (context.with_prompt(state, record.turn), "before") if state is not None else (None, None)


def _reported(report: Mapping[str, JsonValue]) -> Context | None:
    names = ("turnsInContext", "turnsPrimed", "turnsSummarised", "turnsLost")
    counts = [value for name in names if isinstance(value := report.get(name), int)]
    if len(counts) != len(names):
        return None
    inside, primed, summarised, lost = counts
    return Context(inside - primed, summarised, primed, lost, None)


def _numbers(found: Context) -> tuple[int, ...]:
    return found.whole, found.summarised, found.primed, found.lost


def _in_order(turns: Sequence[TurnLife], happened: Sequence[Event]) -> Iterator[TurnLife | Event]:
    """Turns and events by their times, each in its own order; an event without a time is older than all others."""
    waiting = list(turns)[::-1]
    for event in happened:
        while event.at is not None and waiting and waiting[-1].record.started_at < event.at:
            yield waiting.pop()
        yield event
    yield from reversed(waiting)
