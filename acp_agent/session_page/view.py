"""What the page shows, as plain values for its template. Pure, but for entries that are read as they come.

The page is bounded: by what is shown of one message (`content`), of one turn and of all turns. The newest turns
are worth as much as the oldest, so each has the same share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from pydantic import JsonValue

from acp_agent.session_page import content, words
from acp_agent.session_page.content import Diff, Json
from acp_agent.sessions_command.output import size
from sessions.context import Context
from sessions.events import Event, Kind
from sessions.journal import Entry
from sessions.life import Life, Saved, TurnLife, between
from sessions.session import StoreDamaged

CHARACTERS = 12_000_000
"""Characters of messages, outputs and diffs that the whole page shows."""

LEAST = 12_000
"""Characters that every turn may show of these, however many turns there are."""

ENTRIES = 400
"""Entries that one turn shows."""

LANES = 6
"""Lines that are drawn beside each other; more share the last place."""

RUNS = 48
"""Parts that a context's strip is drawn in; one of more parts shows their sums."""

_STATUS = {
    "completed": ("✓", "completed", "good"),
    "failed": ("✕", "failed", "bad"),
    "in_progress": ("…", "not finished", "warn"),
    "pending": ("?", "not begun", "warn"),
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


@dataclass(frozen=True, slots=True)
class Item:
    """Something that was shown in a turn. Which of these are set follows from `kind`."""

    kind: str
    label: str
    html: Markup | None = None
    missing: int = 0
    sign: str = ""
    status: str = ""
    tone: str = ""
    tool_kind: str = ""
    duration: str = ""
    diffs: tuple[Diff, ...] = ()
    outputs: tuple[Markup, ...] = ()
    arguments: str = ""
    steps: tuple[tuple[str, str, str], ...] = ()
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn of the conversation."""

    number: int
    title: str
    on_line: bool
    cut: bool
    tone: str
    at: str
    when: str
    facts: tuple[str, ...]
    context: ContextView | None
    notes: tuple[str, ...]
    items: tuple[Item, ...]
    left_out: str


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
    contexts: tuple[tuple[int, ContextView], ...]
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
        Figure("loads", f"{len(loads):,}", "" if life.complete else "since they are recorded"),
        Figure("turns cut", f"{cuts:,}", "a process was stopped in them" if cuts else ""),
        Figure("recoveries", f"{len(worse):,}", "loads that could not use the live database" if worse else ""),
        Figure("time in turns", words.duration(sum(spent)) or "-"),
        Figure("tokens", f"{sum(tokens):,} in, {sum(written):,} out" if tokens or written else "not counted"),
        Figure("on disk", size(life.sizes.get("total", 0))),
    ]
    lanes = _lanes(life)
    return Page(
        title=content.line(info.title or "A session without a title"),
        session_id=info.id,
        facts=tuple(_facts(life)),
        warnings=tuple(_warnings(life)),
        figures=tuple(figures),
        rows=tuple(_rows(life, lanes)),
        branches=len(set(lanes.values()) - {0}),
        contexts=tuple((turn.record.turn, shown) for turn in life.turns if (shown := _context(turn)) is not None),
        parts=tuple(_sizes({name: count for name, count in life.sizes.items() if name != "total"})),
        aside=tuple(_sizes(life.aside)),
        checkpoints=tuple(_checkpoint(saved) for saved in life.saved),
        slowest=tuple(_slowest(life.turns)),
        history=_history(life),
        read_at=f"{words.moment(life.read_at)} UTC",
        turns=_turns(life),
    )


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


# --- The timeline -------------------------------------------------------------------------------------------


def _lanes(life: Life) -> dict[int, int]:
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


def _rows(life: Life, lanes: Mapping[int, int]) -> Iterator[Row]:
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
    facts = [*_turn_facts(turn)]
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
        context=_context(turn),
    )


_SIGNS = {Kind.MADE: "*", Kind.IMPORTED: "⇥", Kind.RESTORED: "↩", Kind.FORKED: "⎇"}
_LOAD_SIGNS = {"good": "✓", "warn": "!", "bad": "✕", "plain": "✓"}


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


# --- What the model had -------------------------------------------------------------------------------------

_BASIS = {
    "checkpoint": "",
    "before": "It has no checkpoint of its own; this follows from the state before it.",
    "report": "It has no checkpoint of its own; this is what the load before it reported.",
}


def _context(turn: TurnLife) -> ContextView | None:
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


# --- The conversation ---------------------------------------------------------------------------------------


def _turns(life: Life) -> Iterator[TurnView]:
    share = max(LEAST, CHARACTERS // max(len(life.turns), 1))
    notes = _notes(life)
    before = _Room(share)
    try:
        first = tuple(_items(life.entries(0), before))
    except StoreDamaged:
        first = ()
    if first:
        yield TurnView(
            0, "Before the first turn", True, False, "plain", "", "", (), None, (), first, before.words()
        )
    for turn in life.turns:
        record = turn.record
        room = _Room(share)
        items: tuple[Item, ...] = ()
        damage = ""
        try:
            items = tuple(_items(life.entries(record.turn), room))
        except StoreDamaged as damaged:
            damage = f"What was shown in this turn cannot be read: {content.line(damaged.detail, 200)}."
        yield TurnView(
            number=record.turn,
            title=content.line(record.prompt_excerpt, 160) or "a prompt without text",
            on_line=record.on_line,
            cut=turn.cut,
            tone="bad" if turn.cut else "plain",
            at=record.started_at,
            when=words.moment(record.started_at),
            facts=tuple(_turn_facts(turn)),
            context=_context(turn),
            notes=notes.get(record.turn, ()),
            items=items,
            left_out=" ".join(filter(None, (damage, room.words()))),
        )


def _turn_facts(turn: TurnLife) -> Iterator[str]:
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


def _notes(life: Life) -> dict[int, tuple[str, ...]]:
    """The notes for the model that went with each turn's prompt, as far as they are recorded."""
    found: dict[int, tuple[str, ...]] = {}
    waiting: list[str] = []
    for moment in life.moments:
        if isinstance(moment, TurnLife):
            if waiting:
                found[moment.record.turn] = tuple(waiting)
                waiting = []
        elif isinstance(note := moment.detail.get("note"), str) and note:
            waiting.append(content.line(note, 2_000))
    return found


class _Room:
    """How much one turn may still show, and what it does not show."""

    def __init__(self, characters: int) -> None:
        self._left = characters
        self._entries = 0
        self._characters = 0

    def take(self, text: str) -> tuple[str, int]:
        """As much of a text as there is room for, and how many characters are missing."""
        shown, missing = content.cut(text, min(content.TEXT, max(self._left, 200)))
        self._left -= len(shown)
        self._characters += missing
        return shown, missing

    def take_whole(self, text: str) -> bool:
        """Whether there is room for all of something."""
        if len(text) > self._left:
            return False
        self._left -= len(text)
        return True

    def full(self) -> bool:
        """Whether an entry has to be left out; it is counted then."""
        if self._left > 0:
            return False
        self._entries += 1
        return True

    def leave_out(self) -> None:
        """An entry is left out."""
        self._entries += 1

    def words(self) -> str:
        """A sentence about what is not shown, empty if all is."""
        said = []
        if self._entries:
            said.append(f"{self._entries:,} more {'entry' if self._entries == 1 else 'entries'}")
        if self._characters:
            said.append(f"{self._characters:,} characters of what is shown")
        return f"Left out of this page: {' and '.join(said)}." if said else ""


def _items(entries: Iterable[Entry], room: _Room) -> Iterator[Item]:
    for number, entry in enumerate(entries):
        if number >= ENTRIES:
            room.leave_out()
        elif not room.full():
            yield _item(entry, room)


def _item(entry: Entry, room: _Room) -> Item:
    if entry.kind == "user_message":
        return _prompt(entry, room)
    if entry.kind == "tool_call":
        return _tool(entry, room)
    if entry.kind == "plan":
        return Item("plan", "Plan", steps=tuple(_steps(entry.payload.get("entries"))))
    if entry.kind == "compaction":
        text = "The harness put a summary in the place of older messages."
        ended = entry.payload.get("status") not in ("in_progress", None)
        unfinished = "" if ended else " It had not finished."
        return Item("compaction", "Compaction", html=content.plain(text + unfinished))
    shown, missing = room.take(entry.text)
    if entry.kind == "agent_thought":
        return Item("thought", "Thought", html=content.markdown(shown), missing=missing)
    return Item("answer", "Answer", html=content.markdown(shown), missing=missing)


def _prompt(entry: Entry, room: _Room) -> Item:
    said: list[str] = []
    images: list[str] = []
    blocks = entry.payload.get("content")
    for block in blocks if isinstance(blocks, list) else []:
        if not isinstance(block, dict):
            continue
        resource = block.get("resource")
        kind = block.get("type")
        if kind == "text":
            said.append(_string(block, "text"))
        elif kind == "resource_link":
            said.append(f"[{_string(block, 'name')}: {_string(block, 'uri')}]")
        elif isinstance(resource, dict):
            said.append(f"[{_string(resource, 'uri')}]\n{_string(resource, 'text')}")
        elif kind == "image" and len(images) < 8 and (address := content.image(block)):
            if room.take_whole(address):
                images.append(address)
            else:
                said.append("[an image that there is no room for]")
        else:
            said.append(f"[{_string(block, 'type')}: {_string(block, 'mimeType')}]")
    shown, missing = room.take("\n".join(said))
    return Item("prompt", "Prompt", html=content.plain(shown), missing=missing, images=tuple(images))


def _tool(entry: Entry, room: _Room) -> Item:
    payload = entry.payload
    sign, status, tone = _STATUS.get(_string(payload, "status"), ("?", "status not known", "plain"))
    diffs: list[Diff] = []
    outputs: list[Markup] = []
    missing = 0
    found = payload.get("content")
    for item in found if isinstance(found, list) else []:
        if not isinstance(item, dict):
            continue
        if item.get("type") == "diff":
            shown: Json = {**item}
            for key in ("oldText", "newText"):
                if isinstance(text := item.get(key), str):
                    # A file that is only partly there would look like a change.
                    shown[key], lost = room.take(text) if len(text) > content.TEXT else (text, 0)
                    missing += lost
            diffs.append(content.diff(shown))
        elif isinstance(block := item.get("content"), dict):
            text, lost = room.take(_string(block, "text") or f"[{_string(block, 'type')} {_string(block, 'uri')}]")
            missing += lost
            outputs.append(content.markdown(text))
    arguments, lost = content.as_json(payload.get("rawInput")) if payload.get("rawInput") else ("", 0)
    return Item(
        "tool",
        content.line(_string(payload, "title"), 300) or "A tool",
        missing=missing + lost,
        sign=sign,
        status=status,
        tone=tone,
        tool_kind=content.line(_string(payload, "kind"), 30),
        duration=words.duration(between(entry.began_at, entry.ended_at)),
        diffs=tuple(diffs),
        outputs=tuple(outputs),
        arguments=arguments,
    )


def _steps(entries: JsonValue) -> Iterator[tuple[str, str, str]]:
    signs = {"completed": ("✓", "done"), "in_progress": ("▸", "begun")}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            sign, word = signs.get(_string(entry, "status"), ("○", "to do"))
            yield sign, word, content.line(_string(entry, "content"), 500)


# --- Sizes and times ----------------------------------------------------------------------------------------


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


def _string(values: Mapping[str, JsonValue], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
