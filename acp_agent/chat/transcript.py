"""Folds `session/update` notifications into the conversation that they describe. Pure: no I/O, no clock.

A stream of updates and its replay tell the same conversation in different pieces: live text arrives in many
chunks, a replay may send it in one; a tool call arrives as one announcement and several changes, a replay may
send only its last state. `Transcript` folds both to the same items, so they can be shown and compared:

- chunks of one message are joined by role and `messageId`; chunks without an id join the item directly before
  them when that is a message of the same role without an id (ACP v1: "a changed messageId indicates a new
  message", acp-facts 1.5);
- a tool call is one item for its `toolCallId`; a change replaces the fields that it names, a list as a whole;
- a plan is one item a session, replaced as a whole; every notice is an item of its own;
- session info, commands, usage, modes and config options are state of the session, not items.

Items keep the order in which they first appeared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from acp_agent.chat.fields import (
    JsonObject,
    integer_or_none,
    object_,
    objects,
    text,
    text_or_none,
)
from acp_agent.chat.settings import Settings


class Role(StrEnum):
    """Who speaks in a message; the values are the update kinds of its chunks."""

    USER = "user_message_chunk"
    AGENT = "agent_message_chunk"
    THOUGHT = "agent_thought_chunk"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Neighbouring text blocks that differ in nothing but their text are one block here."""

    role: Role
    message_id: str | None
    content: tuple[JsonObject, ...]

    @property
    def text(self) -> str:
        """The whole message as text; blocks that are not text are named in square brackets."""
        return "".join(block_text(block) for block in self.content)


@dataclass(frozen=True, slots=True)
class Diff:
    """A change to one file; `old_text` is None for a new file."""

    path: str
    old_text: str | None
    new_text: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a tool put out, as text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call as it now stands; `fields` holds all that was ever said about it but its id."""

    tool_call_id: str
    title: str
    kind: str
    status: str
    content: tuple[Diff | Output, ...]
    fields: JsonObject

    @property
    def finished(self) -> bool:
        """Whether the call has reached an end."""
        return self.status in {"completed", "failed"}


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One line of a plan."""

    content: str
    status: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The session's plan, as last sent."""

    entries: tuple[PlanEntry, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """A note to the user about the session; live only, never part of a replay (acp-facts 2.1)."""

    severity: str
    title: str
    description: str | None
    meta: JsonObject


@dataclass(frozen=True, slots=True)
class Unknown:
    """An update of a kind that this client does not know."""

    kind: str


Item: TypeAlias = Message | ToolCall | Plan | Notice | Unknown


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the updates said about the session besides its conversation; `commands` maps names to meanings."""

    title: str | None = None
    updated_at: str | None = None
    meta: JsonObject = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    tokens_used: int | None = None
    tokens_size: int | None = None
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, slots=True)
class Change:
    """The item that an update created or changed: its place in `Transcript.items`.

    For a message also its role and the text that was added to it, so that a long stream need not be put
    together anew for each of its pieces.
    """

    index: int
    role: Role | None = None
    added: str = ""


_STATE = frozenset(
    {
        "session_info_update",
        "available_commands_update",
        "usage_update",
        "current_mode_update",
        "config_option_update",
    }
)


def block_text(block: JsonObject) -> str:
    """A content block as text: the text itself, or the block's type and name in square brackets."""
    kind = text(block, "type")
    if kind == "text":
        return text(block, "text")
    resource = object_(block, "resource")
    name = text_or_none(block, "uri") or text_or_none(resource, "uri") or text_or_none(block, "mimeType")
    return f"[{kind} {name}]" if name else f"[{kind}]"


class Transcript:
    """The conversation and state of one session, built from its updates in the order in which they came."""

    def __init__(self, updates: Iterable[JsonObject] = ()) -> None:
        self._items: list[_MessageParts | ToolCall | Plan | Notice | Unknown] = []
        self._places: dict[tuple[str, str], int] = {}
        self.state = SessionState()
        for update in updates:
            self.apply(update)

    @property
    def items(self) -> tuple[Item, ...]:
        """All items in the order of their first appearance."""
        return tuple(self.item(index) for index in range(len(self._items)))

    @property
    def conversation(self) -> tuple[Message | ToolCall | Plan, ...]:
        """The items that a replay repeats."""
        return tuple(item for item in self.items if isinstance(item, Message | ToolCall | Plan))

    def item(self, index: int) -> Item:
        """The item at `index` as it now stands; raises `IndexError`."""
        entry = self._items[index]
        return entry.message() if isinstance(entry, _MessageParts) else entry

    def prompted(self, prompt: str) -> Change:
        """Record what the user asked, as it was typed; agents do not send a live prompt back (client-facts 5)."""
        return self._open(Role.USER, None, {"type": "text", "text": prompt}, prompt)

    def set(self, settings: Settings) -> None:
        """Record what the session is set to, as an answer of the agent tells it."""
        self.state = replace(self.state, settings=settings)

    def apply(self, update: JsonObject) -> Change | None:
        """Fold one update in; returns what changed, or None when only the session's state did.

        Raises `FieldError`, having changed nothing, when the update lacks what its kind needs.
        """
        kind = text(update, "sessionUpdate")
        if kind in set(Role):
            return self._chunk(Role(kind), text_or_none(update, "messageId"), object_(update, "content"))
        if kind in {"tool_call", "tool_call_update"}:
            return self._tool_call(update)
        if kind == "plan":
            entries = tuple(
                PlanEntry(text(entry, "content"), text_or_none(entry, "status") or "pending")
                for entry in objects(update, "entries")
            )
            return self._put(("plan", ""), Plan(entries))
        if kind == "notice":
            return self._append(
                Notice(
                    severity=text_or_none(update, "severity") or "info",
                    title=text(update, "title"),
                    description=text_or_none(update, "description"),
                    meta=object_(update, "_meta"),
                )
            )
        if self._is_state(kind, update):
            return None
        return self._append(Unknown(kind))

    def _chunk(self, role: Role, message_id: str | None, block: JsonObject) -> Change:
        added = block_text(block)
        index = len(self._items) - 1 if message_id is None else self._places.get((role, message_id), -1)
        open_message = self._items[index] if index >= 0 else None
        if isinstance(open_message, _MessageParts) and open_message.accepts(role, message_id):
            open_message.add(block)
            return Change(index, role, added)
        if message_id is not None:
            self._places[role, message_id] = len(self._items)
        return self._open(role, message_id, block, added)

    def _open(self, role: Role, message_id: str | None, block: JsonObject, added: str) -> Change:
        self._items.append(_MessageParts(role, message_id, block))
        return Change(len(self._items) - 1, role, added)

    def _tool_call(self, update: JsonObject) -> Change:
        call_id = text(update, "toolCallId")
        place = ("tool_call", call_id)
        known = self._items[self._places[place]] if place in self._places else None
        fields = dict(known.fields) if isinstance(known, ToolCall) else {}
        fields.update(
            (key, value)
            for key, value in update.items()
            if value is not None and key not in {"sessionUpdate", "toolCallId"}
        )
        return self._put(place, read_tool_call(call_id, fields))

    def _is_state(self, kind: str, update: JsonObject) -> bool:
        if kind == "session_info_update":
            self.state = replace(
                self.state,
                title=text_or_none(update, "title") if "title" in update else self.state.title,
                updated_at=text_or_none(update, "updatedAt") or self.state.updated_at,
                meta={**self.state.meta, **object_(update, "_meta")},
            )
        elif kind == "available_commands_update":
            commands = {
                text(entry, "name"): text_or_none(entry, "description") or ""
                for entry in objects(update, "availableCommands")
            }
            self.state = replace(self.state, commands=commands)
        elif kind == "usage_update":
            self.state = replace(
                self.state,
                tokens_used=integer_or_none(update, "used"),
                tokens_size=integer_or_none(update, "size"),
            )
        elif kind == "current_mode_update":
            self.set(self.state.settings.with_mode(text(update, "currentModeId")))
        elif kind == "config_option_update":
            self.set(self.state.settings.with_answer({"configOptions": update.get("configOptions")}))
        return kind in _STATE

    def _put(self, place: tuple[str, str], item: ToolCall | Plan) -> Change:
        if place in self._places:
            self._items[self._places[place]] = item
            return Change(self._places[place])
        self._places[place] = len(self._items)
        return self._append(item)

    def _append(self, entry: ToolCall | Plan | Notice | Unknown) -> Change:
        self._items.append(entry)
        return Change(len(self._items) - 1)


class _MessageParts:
    """A message that may still grow; its text is kept in pieces so that a long stream costs linear time."""

    def __init__(self, role: Role, message_id: str | None, block: JsonObject) -> None:
        self.role = role
        self.message_id = message_id
        self._blocks: list[tuple[JsonObject, list[str]]] = []
        self.add(block)

    def accepts(self, role: Role, message_id: str | None) -> bool:
        return (self.role, self.message_id) == (role, message_id)

    def add(self, block: JsonObject) -> None:
        frame = {key: value for key, value in block.items() if key != "text"}
        piece = text_or_none(block, "text")
        if self._blocks and piece is not None and self._blocks[-1][1] and self._blocks[-1][0] == frame:
            self._blocks[-1][1].append(piece)
        else:
            self._blocks.append((frame, [] if piece is None else [piece]))

    def message(self) -> Message:
        content = tuple({**frame, "text": "".join(pieces)} if pieces else frame for frame, pieces in self._blocks)
        return Message(self.role, self.message_id, content)


def read_tool_call(call_id: str, fields: JsonObject) -> ToolCall:
    """A tool call from the fields said about it, with the protocol's defaults; raises `FieldError`."""
    return ToolCall(
        tool_call_id=call_id,
        title=text_or_none(fields, "title") or "",
        kind=text_or_none(fields, "kind") or "other",
        status=text_or_none(fields, "status") or "pending",
        content=tuple(_tool_content(entry) for entry in objects(fields, "content")),
        fields=fields,
    )


def _tool_content(entry: JsonObject) -> Diff | Output:
    kind = text(entry, "type")
    if kind == "diff":
        return Diff(text(entry, "path"), text_or_none(entry, "oldText"), text_or_none(entry, "newText") or "")
    if kind == "content":
        return Output(block_text(object_(entry, "content")))
    return Output(f"[{kind}]")
