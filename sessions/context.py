"""Which of a session's turns the model had, turn by turn: from the checkpoints, as a report's numbers are. Pure.

A checkpoint says how many of the user's turns it holds, how many of them only in a summary, and what the
conversation was primed with; that is what a load's report counts (`sessions.resume`). Which turns they are follows
from the one before: a conversation only grows at its end, or is taken back to what an earlier checkpoint held. The
latter is seen by the steps, since a step that two checkpoints hold is the same. Where that does not tell, the
numbers are all that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sessions.chain import Checkpoint
from sessions.journal import INTERRUPTED, TurnRecord


@dataclass(frozen=True, slots=True)
class Turns:
    """The numbers of turns, by how the model had them: as they were, in a summary, in a transcript, not at all."""

    whole: tuple[int, ...]
    summarised: tuple[int, ...]
    primed: tuple[int, ...]
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """How many turns the model had in each way, and which they were, None if only the numbers are known."""

    whole: int
    summarised: int
    primed: int
    lost: int
    turns: Turns | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known.

    `turns` are those of all lines, `checkpoints` all of them, oldest first, and `primers` the turns that each
    primer carries. `origin` finds the earliest checkpoint that holds the last step which a checkpoint has in
    common with one before it, None if they have none in common.
    """

    turns: Sequence[TurnRecord]
    checkpoints: Sequence[Checkpoint]
    primers: Mapping[int, tuple[int, ...]]
    origin: Callable[[Checkpoint], int | None]


def line_to(turns: Mapping[int, TurnRecord], last: int) -> list[int]:
    """The numbers of the turns from the first of a line to this one."""
    line: list[int] = []
    while last in turns:
        line.append(last)
        last = turns[last].parent
    return line[::-1]


def of_checkpoints(facts: Facts) -> dict[int, Context]:
    """What the model had at each checkpoint, by its number."""
    known = {record.turn: record for record in facts.turns}
    held: dict[int, tuple[int, ...] | None] = {}
    found: dict[int, Context] = {}
    by_seq = {stored.seq: stored for stored in facts.checkpoints}
    before: Checkpoint | None = None
    for stored in facts.checkpoints:
        line = line_to(known, stored.turn)
        if before is not None and _goes_on(stored, before, line):
            grown_from: Checkpoint | None = before
        else:
            seq = facts.origin(stored)
            grown_from = by_seq.get(seq) if seq is not None else None
        held[stored.seq] = _grown(stored, grown_from, held, line, known)
        found[stored.seq] = _context(stored, held[stored.seq], line, facts.primers)
        before = stored
    return found


def with_prompt(context: Context, turn: int) -> Context:
    """What the model had with the prompt of the next turn."""
    known = context.turns
    return Context(
        whole=context.whole + 1,
        summarised=context.summarised,
        primed=context.primed,
        lost=context.lost,
        turns=Turns((*known.whole, turn), known.summarised, known.primed, known.lost) if known else None,
    )


NOTHING = Context(0, 0, 0, 0, Turns((), (), (), ()))
"""What the model has before the first turn."""


def _goes_on(stored: Checkpoint, before: Checkpoint, line: Sequence[int]) -> bool:
    same = (stored.base, stored.primer) == (before.base, before.primer)
    return same and before.turn in line and stored.user_turns >= before.user_turns


def _grown(
    stored: Checkpoint,
    before: Checkpoint | None,
    held: Mapping[int, tuple[int, ...] | None],
    line: Sequence[int],
    known: Mapping[int, TurnRecord],
) -> tuple[int, ...] | None:
    """The turns that a checkpoint's conversation holds, in order, None if that cannot be told."""
    there = held[before.seq] if before is not None else ()
    if there is None or (before is not None and before.turn not in line):
        return None
    new = line if before is None else line[line.index(before.turn) + 1 :]
    more = stored.user_turns - (before.user_turns if before is not None else 0)
    if more == len(new):
        return (*there, *new)
    if more == 0:
        return there
    # The last one is there if it came to its end; of those before it, nothing tells which.
    record = known.get(stored.turn)
    ended = record is not None and record.stop_reason != INTERRUPTED
    return (*there, stored.turn) if more == 1 and new and ended else None


def _context(
    stored: Checkpoint, held: tuple[int, ...] | None, line: Sequence[int], primers: Mapping[int, tuple[int, ...]]
) -> Context:
    primed = primers.get(stored.primer, ()) if stored.primer is not None else ()
    summarised = min(stored.summarised_turns, stored.user_turns)
    whole = stored.user_turns - summarised
    lost = max(stored.depth - stored.user_turns - len(primed), 0)
    turns: Turns | None = None
    if held is not None and len(held) == stored.user_turns:
        missing = _without(line, {*held, *primed})
        if len(missing) == lost:
            turns = Turns(held[summarised:], held[:summarised], primed, missing)
    return Context(whole, summarised, len(primed), lost, turns)


def _without(line: Iterable[int], there: set[int]) -> tuple[int, ...]:
    return tuple(turn for turn in line if turn not in there)
