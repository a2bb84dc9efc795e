"""What the page shows, as plain values for its template. Pure, but for entries that are read as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from acp_agent.session_page import content, timeline, turns, words
from acp_agent.session_page.conversation import TurnView, conversation
from acp_agent.session_page.timeline import Row
from acp_agent.session_page.turns import ContextView
from acp_agent.sessions_command.output import size
from sessions.events import Kind
from sessions.life import Life, Saved, TurnLife


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that says something of the whole session."""

    name: str
    value: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a part, and its share of the largest, in per cent."""

    name: str
    value: str
    share: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """All of the page. `turns` is gone through once."""

    title: str
    session_id: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]
    branches: int
    contexts: tuple[tuple[int, ContextView | None], ...]
    parts: tuple[Size, ...]
    aside: tuple[Size, ...]
    checkpoints: tuple[tuple[str, ...], ...]
    slowest: tuple[Size, ...]
    history: str
    read_at: str
    turns: Iterator[TurnView] = field(compare=False)


def page(life: Life) -> Page:
    """The page of a session's life, which must still be open for reading while `turns` is gone through."""
    info = life.info
    cuts = sum(turn.cut for turn in life.turns)
    loads = [event for event in life.events if event.kind is Kind.LOADED]
    reopened = sum(bool(event.detail.get("again")) for event in loads)
    worse = [event for event in loads if event.detail.get("outcome") in ("recovered", "rebuilt", "fresh")]
    on_line = [turn for turn in life.turns if turn.record.on_line]
    spent = [turn.seconds for turn in life.turns if turn.seconds is not None]
    tokens = [turn.record.input_tokens for turn in life.turns if turn.record.input_tokens is not None]
    written = [turn.record.output_tokens for turn in life.turns if turn.record.output_tokens is not None]
    left = len(life.turns) - len(on_line)
    figures = [
        Figure(
            "turns",
            f"{len(on_line):,}",
            f"and {words.counted(left, 'turn')} on lines that were left" if left else "",
        ),
        Figure("checkpoints", f"{len(life.saved):,}"),
        Figure("loads", f"{len(loads) - reopened:,}", "; ".join(_of_loads(life, reopened))),
        Figure("turns cut", f"{cuts:,}", "the process was stopped in the middle" if cuts else ""),
        Figure("recoveries", f"{len(worse):,}", "the live database could not be used" if worse else ""),
        Figure("time in turns", words.duration(sum(spent)) or "-"),
        Figure("tokens", f"{sum(tokens):,} in, {sum(written):,} out" if tokens or written else "not counted"),
        Figure("on disk", size(life.sizes.get("total", 0))),
    ]
    lanes = timeline.lanes_of(life)
    return Page(
        title=content.line(info.title or "A session without a title"),
        session_id=info.id,
        facts=tuple(_facts(life)),
        warnings=tuple(_warnings(life)),
        figures=tuple(figures),
        rows=tuple(timeline.rows(life, lanes)),
        branches=len(set(lanes.values()) - {0}),
        contexts=tuple((turn.record.turn, turns.context(turn)) for turn in life.turns),
        parts=tuple(_sizes({name: count for name, count in life.sizes.items() if name != "total"})),
        aside=tuple(_sizes(life.aside)),
        checkpoints=tuple(_checkpoint(saved) for saved in life.saved),
        slowest=tuple(_slowest(life.turns)),
        history=_history(life),
        read_at=f"{words.moment(life.read_at)} UTC",
        turns=conversation(life),
    )


def _of_loads(life: Life, reopened: int) -> Iterator[str]:
    if not life.complete:
        yield "since they are recorded"
    if reopened:
        yield f"and {words.counted(reopened, 'time')} only reopened"


def _facts(life: Life) -> Iterator[tuple[str, str]]:
    info = life.info
    yield "Session", info.id
    yield "Folder", content.line(info.cwd, 500) or "not known"
    if info.additional_directories:
        yield "More folders", content.line(", ".join(info.additional_directories), 500)
    yield "Made for", content.line(info.client or "not said")
    yield "Created", f"{words.moment(info.created_at)} UTC"
    yield "Last used", f"{words.moment(info.updated_at)} UTC"
    if info.outcome is not None and info.reason is not None:
        yield "Last load", f"{info.outcome.value} ({info.reason.value})"
    if life.open_in is not None:
        holder = life.open_in.holder
        by = f"process {holder.pid} ({content.line(holder.client, 60)})" if holder else "another process"
        yield "Open in", f"{by}; this page shows what is stored at this moment"
    if life.note:
        yield "Next note", f"The model will be told with the next prompt: “{content.line(life.note, 600)}”"


def _warnings(life: Life) -> Iterator[str]:
    if (saved := life.salvaged) is not None:
        yield (
            f"The store is damaged ({content.line(saved.detail, 300)}). This page shows what could be read of it:"
            f" {words.counted(saved.turns, 'turn')}, {saved.entries:,} entries,"
            f" {words.counted(saved.checkpoints, 'checkpoint')}. Nothing was changed."
        )
    for sentence in life.unread:
        yield content.line(sentence, 500)
    if life.restoring:
        yield "A restore was cut before it was done. The next load finishes it."


def _history(life: Life) -> str:
    if life.complete:
        return ""
    return (
        "This session is older than the record of what happens to sessions, or its record was damaged. Loads,"
        " restores and forks from before are not known, and are not shown; turns that were cut are, since they"
        " were left without an end."
    )


def _sizes(counts: Mapping[str, int]) -> Iterator[Size]:
    largest = max(counts.values(), default=0) or 1
    for name, count in counts.items():
        yield Size(content.line(name, 80), size(count), round(100 * count / largest, 1))


def _checkpoint(saved: Saved) -> tuple[str, ...]:
    taken = saved.checkpoint
    return (
        str(taken.seq),
        str(taken.turn),
        words.moment(taken.at),
        f"{taken.steps:,}",
        size(saved.size),
        "all rows" if taken.base == taken.seq else f"what changed since {taken.seq - 1}",
        words.had(saved.context) if saved.context else "not known",
    )


def _slowest(turns: Sequence[TurnLife], count: int = 10) -> Iterator[Size]:
    timed = sorted(((turn.seconds or 0, turn) for turn in turns), key=lambda pair: -pair[0])[:count]
    longest = timed[0][0] if timed else 0
    for seconds, turn in timed:
        if seconds > 0:
            record = turn.record
            share = round(100 * seconds / longest, 1)
            yield Size(
                f"Turn {record.turn}", words.duration(seconds), share, content.line(record.prompt_excerpt, 60)
            )
