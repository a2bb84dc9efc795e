"""The timeline: turns and what happened between them, drawn as lines beside each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from acp_agent.session_page import content, turns, words
from acp_agent.session_page.turns import ContextView
from sessions.events import Event, Kind
from sessions.life import Life, TurnLife

LANES = 6
"""Lines that are drawn beside each other; more share the last place."""

_SIGNS = {Kind.MADE: "*", Kind.IMPORTED: "⇥", Kind.RESTORED: "↩", Kind.FORKED: "⎇"}
_LOAD_SIGNS = {"good": "✓", "warn": "!", "bad": "✕", "plain": "✓"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the timeline.

    `rails` are the lines that pass it, each with how (`first`, `last`, `only`, or empty in between), `lane` is its
    own, and `joins` the one that this branches off. `note` is what the model was told because of it.
    """

    id: str
    kind: str
    tone: str
    sign: str
    title: str
    excerpt: str
    at: str | None
    when: str
    facts: tuple[str, ...]
    details: tuple[str, ...]
    href: str | None
    lane: int
    rails: tuple[tuple[int, str], ...]
    joins: int | None
    context: ContextView | None = None
    note: str = ""


def lanes_of(life: Life) -> dict[int, int]:
    """The place of each turn's line: 0 for the one that the session is on."""
    lanes: dict[int, int] = {}
    used = 0
    taken: dict[int, int] = {}
    for turn in life.turns:
        record = turn.record
        if record.on_line:
            lanes[record.turn] = 0
        elif record.parent in lanes and lanes[record.parent] and record.parent not in taken:
            lanes[record.turn] = lanes[record.parent]
            taken[record.parent] = record.turn
        else:
            used += 1
            lanes[record.turn] = min(used, LANES - 1)
    return lanes


def rows(life: Life, lanes: Mapping[int, int]) -> Iterator[Row]:
    """The rows of the timeline, oldest first."""
    moments = [*_grouped(life.moments)]
    own = [
        lanes.get(moment.record.turn if isinstance(moment, TurnLife) else moment.turn, 0) for moment, _ in moments
    ]
    spans: dict[int, tuple[int, int]] = {0: (0, len(moments) - 1)}
    for number, lane in enumerate(own):
        begin, end = spans.get(lane, (number, number))
        spans[lane] = (begin, max(end, number))
    for number, (moment, times) in enumerate(moments):
        rails = tuple(
            (lane, _end_of_rail(number, *span))
            for lane, span in sorted(spans.items())
            if span[0] <= number <= span[1]
        )
        if isinstance(moment, TurnLife):
            yield _turn_row(life, moment, lanes, rails)
        else:
            yield _event_row(moment, times, own[number], rails)


def _end_of_rail(number: int, begin: int, end: int) -> str:
    if begin == end:
        return "only"
    return "first" if number == begin else "last" if number == end else ""


def _grouped(moments: Iterable[TurnLife | Event]) -> Iterator[tuple[TurnLife | Event, int]]:
    """The moments, with harnesses that were only opened anew one after the other as one of them."""
    last: tuple[Event, int] | None = None
    for moment in moments:
        quiet = isinstance(moment, Event) and bool(moment.detail.get("again")) and "report" not in moment.detail
        if quiet and isinstance(moment, Event):
            last = (moment, last[1] + 1 if last else 1)
            continue
        if last:
            yield last
            last = None
        yield moment, 1
    if last:
        yield last


def _turn_row(life: Life, turn: TurnLife, lanes: Mapping[int, int], rails: tuple[tuple[int, str], ...]) -> Row:
    record = turn.record
    lane = lanes[record.turn]
    parent_lane = lanes.get(record.parent, 0)
    kind = "cut" if turn.cut else "turn" if record.on_line else "left"
    facts = [*turns.facts(turn)]
    if not record.on_line:
        facts.insert(0, "on a line that was left")
    if record.turn == life.head:
        facts.insert(0, "the session is here")
    if record.parent != record.turn - 1:
        facts.append(f"follows {words.turn(record.parent)}")
    return Row(
        id=f"row-{record.turn}",
        kind=kind,
        tone="bad" if turn.cut else "plain",
        sign="✕" if turn.cut else "●" if record.on_line else "○",
        title=f"Turn {record.turn}" + (" was cut" if turn.cut else ""),
        excerpt=content.line(record.prompt_excerpt, 120),
        at=record.started_at,
        when=words.moment(record.started_at),
        facts=tuple(facts),
        details=(),
        href=f"#turn-{record.turn}",
        lane=lane,
        rails=rails,
        joins=parent_lane if parent_lane != lane and record.parent else None,
        context=turns.context(turn),
    )


def _event_row(event: Event, times: int, lane: int, rails: tuple[tuple[int, str], ...]) -> Row:
    tone = words.tone(event)
    outcome = str(event.detail.get("outcome"))
    recovered = event.kind is Kind.LOADED and outcome in ("recovered", "rebuilt", "fresh")
    sign = "↻" if recovered else _SIGNS.get(event.kind) or _LOAD_SIGNS[tone]
    facts: list[str] = []
    if event.kind is Kind.LOADED:
        facts.append(f"{content.line(outcome, 30)}/{content.line(str(event.detail.get('reason')), 30)}")
        if client := event.detail.get("client"):
            facts.append(f"by {content.line(str(client), 60)}")
    title = words.title(event)
    return Row(
        id=f"event-{event.id}",
        kind=event.kind.value,
        tone=tone,
        sign=sign,
        title=f"{title}, {times} times" if times > 1 else title,
        excerpt="",
        at=event.at,
        when=words.moment(event.at),
        facts=tuple(facts),
        details=tuple(words.sentences(event)),
        href=None,
        lane=lane,
        rails=rails,
        joins=None,
        note=content.line(str(event.detail.get("note") or ""), 2_000),
    )
