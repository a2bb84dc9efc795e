"""What the model had with a turn's prompt, and what is said of a turn beside its words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from acp_agent.session_page import content, words
from acp_agent.sessions_command.output import size
from sessions.context import Context
from sessions.life import TurnLife

RUNS = 48
"""Parts that a context's strip is drawn in; one of more parts shows their sums."""

_BASIS = {
    "checkpoint": "",
    "before": "It has no checkpoint of its own; this follows from the state before it.",
    "report": "It has no checkpoint of its own; this is what the load before it reported.",
    "compacted": "Later in the turn the harness put a summary in the place of the turns before.",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a context's strip: how the model had these turns, a letter for it, and how many they are."""

    kind: str
    letter: str
    weight: int


@dataclass(frozen=True, slots=True)
class ContextView:
    """What the model had: in words, as a strip, and whether that is known from the turn's own checkpoint."""

    text: str
    runs: tuple[Run, ...]
    basis: str
    numbers: tuple[str, str, str, str]


def context(turn: TurnLife) -> ContextView | None:
    """What the model had, None if nothing is known of it."""
    found = turn.context
    if found is None or turn.basis is None:
        return None
    counts = (found.whole, found.summarised, found.primed, found.lost)
    numbers = tuple(str(count) if count else "-" for count in counts)
    assert len(numbers) == 4
    return ContextView(words.had(found), tuple(_runs(found)), _BASIS[turn.basis], numbers)


def _runs(found: Context) -> Iterator[Run]:
    known = found.turns
    letters = {"whole": "F", "summarised": "S", "primed": "T", "lost": "L"}
    sums = {"primed": found.primed, "summarised": found.summarised, "whole": found.whole, "lost": found.lost}
    if known is not None:
        kinds = {
            turn: kind
            for kind, turns in (
                ("lost", known.lost),
                ("primed", known.primed),
                ("summarised", known.summarised),
                ("whole", known.whole),
            )
            for turn in turns
        }
        runs: list[list[str]] = []
        for turn in sorted(kinds):
            if not runs or runs[-1][0] != kinds[turn]:
                runs.append([])
            runs[-1].append(kinds[turn])
        if len(runs) <= RUNS:
            yield from (Run(run[0], letters[run[0]], len(run)) for run in runs)
            return
    yield from (Run(kind, letters[kind], count) for kind, count in sums.items() if count)


def facts(turn: TurnLife) -> Iterator[str]:
    """How long a turn took, how it ended, its tokens and its checkpoint."""
    record = turn.record
    if turn.seconds is not None:
        yield words.duration(turn.seconds)
    if turn.cut:
        yield "its end was never stored"
    elif record.ended_at is None:
        yield "running, or its end is not stored yet"
    elif record.stop_reason not in (None, "end_turn"):
        yield f"ended: {content.line(str(record.stop_reason), 40).replace('_', ' ')}"
    if record.input_tokens is not None or record.output_tokens is not None:
        inside, out = (
            "-" if count is None else f"{count:,}" for count in (record.input_tokens, record.output_tokens)
        )
        yield f"{inside} tokens in, {out} out"
    if turn.saved:
        newest = turn.saved[-1]
        known = newest.context.turns if newest.context else None
        without = " without this turn" if known and record.turn in known.lost else ""
        yield f"checkpoint {newest.checkpoint.seq}{without}, {size(newest.size)}"
    else:
        yield "no checkpoint"
