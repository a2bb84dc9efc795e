"""What is shown of a turn, as values, and the updates that show each; live and, from the journal, again. Pure.

A client that joins the chunks of a message, merges the updates of a tool call and replaces a plan by the next sees
the same twice. What concerns the moment only (`Told`) is neither journalled nor shown again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from acp_agent import shortening, toolcalls
from acp_agent.toolcalls import Json
from sessions.journal import Entry

MessageKind = Literal["agent_message", "agent_thought"]


@dataclass(frozen=True, slots=True)
class MessageShown:
    """More text of a message or thought."""

    kind: MessageKind
    key: str
    delta: str

    def updates(self) -> list[Json]:
        """The `session/update` bodies for this."""
        return _text_chunks(self.kind, self.key, self.delta)


@dataclass(frozen=True, slots=True)
class ToolShown:
    """A tool call: `payload` is all of it as it now is, `changed` what is new since it was last shown."""

    key: str
    payload: Json
    changed: Json
    first: bool

    def updates(self) -> list[Json]:
        """The `session/update` bodies for this."""
        if self.first:
            return [{"sessionUpdate": "tool_call", "toolCallId": self.key, **self.payload}]
        return [{"sessionUpdate": "tool_call_update", "toolCallId": self.key, **self.changed}]


@dataclass(frozen=True, slots=True)
class PlanShown:
    """The plan of a turn, all of it, as it now is."""

    key: str
    payload: Json

    def updates(self) -> list[Json]:
        """The `session/update` bodies for this."""
        return [{"sessionUpdate": "plan", **self.payload}]


@dataclass(frozen=True, slots=True)
class CompactionShown:
    """The harness is putting a summary in the place of older messages, or has done so.

    Clients that do not know this get `words` at its beginning, like what is told.
    """

    key: str
    payload: Json
    words: Told | None

    def updates(self) -> list[Json]:
        """The `session/update` bodies for this, for clients that take them."""
        return [{"sessionUpdate": "compaction_update", "compactionId": self.key, **self.payload}]


@dataclass(frozen=True, slots=True)
class Told:
    """Something for the person, about this moment."""

    severity: Literal["info", "warning"]
    title: str
    text: str
    meta: Json


Shown = MessageShown | ToolShown | PlanShown | CompactionShown | Told


def user_message(turn: int) -> str:
    """The message id of a turn's prompt."""
    return f"prompt-{turn}"


def replay(entry: Entry) -> list[Json]:
    """The updates that show a journal entry again; a compaction is for clients that take those.

    What never ended is shown as failed, since a client would let it spin for ever. The journal keeps it as it was:
    it is what tells later what was cut.
    """
    if entry.kind == "tool_call":
        return [{"sessionUpdate": "tool_call", "toolCallId": entry.key, **_as_ended(entry.payload)}]
    if entry.kind == "plan":
        return PlanShown(entry.key, entry.payload).updates()
    if entry.kind == "compaction":
        ended = entry.payload.get("status") != "in_progress"
        payload = entry.payload if ended else {**entry.payload, "status": "cancelled"}
        return CompactionShown(entry.key, payload, None).updates()
    if entry.kind == "user_message":
        blocks = entry.payload["content"]
        assert isinstance(blocks, list)
        pieces = [piece for block in blocks for piece in shortening.replayed_blocks(block)]
        return [_chunk("user_message", entry.key, piece) for piece in pieces]
    return _text_chunks(entry.kind, entry.key, entry.text)


def _as_ended(payload: Json) -> Json:
    # Stores of earlier versions hold tool calls of any size.
    payload = shortening.tool_call(payload)
    if payload.get("status") not in ("pending", "in_progress"):
        return payload
    content = payload.get("content")
    kept: list[JsonValue] = list(content) if isinstance(content, list) else []
    note = toolcalls.text_content("Interrupted: the agent was stopped before this ended.")
    return {**payload, "status": "failed", "content": [*kept, note]}


def _text_chunks(kind: str, key: str, text: str) -> list[Json]:
    return [_chunk(kind, key, {"type": "text", "text": piece}) for piece in shortening.pieces(text)]


def _chunk(kind: str, key: str, block: JsonValue) -> Json:
    return {"sessionUpdate": f"{kind}_chunk", "messageId": key, "content": block}
