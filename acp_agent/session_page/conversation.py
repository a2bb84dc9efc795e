"""The conversation: what was shown in each turn, read from the journal as it is gone through.

It is bounded: by what is shown of one message (`content`), of one turn and of all turns. The newest turns are
worth as much as the oldest, so each has the same share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup
from pydantic import JsonValue

from acp_agent.session_page import content, turns, words
from acp_agent.session_page.content import Diff, Json
from acp_agent.session_page.turns import ContextView
from sessions.events import Kind
from sessions.journal import Entry
from sessions.life import Life, TurnLife, between
from sessions.session import StoreDamaged

CHARACTERS = 12_000_000
"""Characters of messages, outputs and diffs that the whole page shows."""

LEAST = 12_000
"""Characters that every turn may show of these, however many turns there are."""

ENTRIES = 400
"""Entries that one turn shows."""

_STATUS = {
    "completed": ("✓", "completed", "good"),
    "failed": ("✕", "failed", "bad"),
    "in_progress": ("…", "not finished", "warn"),
    "pending": ("?", "not begun", "warn"),
}


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


def conversation(life: Life) -> Iterator[TurnView]:
    """The turns of all lines, in the order in which they began."""
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
            facts=tuple(turns.facts(turn)),
            context=turns.context(turn),
            notes=notes.get(record.turn, ()),
            items=items,
            left_out=" ".join(filter(None, (damage, room.words()))),
        )


def _notes(life: Life) -> dict[int, tuple[str, ...]]:
    """The notes for the model that went with each turn's prompt, as far as they are recorded."""
    found: dict[int, tuple[str, ...]] = {}
    waiting: list[str] = []
    for moment in life.moments:
        if isinstance(moment, TurnLife):
            if waiting:
                found[moment.record.turn] = tuple(waiting)
                waiting = []
            continue
        if moment.kind is Kind.RESTORED:
            waiting = []  # its note, if it has one, takes the place of those that were not delivered
        if isinstance(note := moment.detail.get("note"), str) and note:
            shown = content.line(note, 2_000)
            # Every load tells anew what was not delivered yet; it is delivered once.
            if not any(shown in before for before in waiting):
                waiting.append(shown)
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


def _string(values: Mapping[str, JsonValue], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
