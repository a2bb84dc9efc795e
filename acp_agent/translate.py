"""From the harness's steps to what the client is shown, and from the journal to what it is shown again. Pure.

A `Translator` lives for one turn. Each of its methods takes something that happened and returns what is to
be shown, in order; the caller journals each item before it sends it. Replay is built from journal entries
alone: a client that joins the chunks of a message and merges the updates of a tool call sees the same twice.

Ids count within the session (`message-3-1` is the first message of turn 3), never by the harness's step
numbers: those come again after a restore to an earlier turn, and an id must not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from pydantic import JsonValue

from acp_agent import toolcalls
from acp_agent.steps import Source, Status, Step, ToolUse
from acp_agent.toolcalls import Json, Subject
from sessions.journal import Entry

MessageKind = Literal["agent_message", "agent_thought"]


@dataclass(frozen=True, slots=True)
class MessageShown:
    """More text of a message or thought."""

    kind: MessageKind
    key: str
    delta: str

    def update(self) -> Json:
        """The `session/update` body for this."""
        return _chunk(self.kind, self.key, {"type": "text", "text": self.delta})


@dataclass(frozen=True, slots=True)
class ToolShown:
    """A tool call: `payload` is all of it as it now is, `changed` what is new since it was last shown."""

    key: str
    payload: Json
    changed: Json
    first: bool

    def update(self) -> Json:
        """The `session/update` body for this."""
        if self.first:
            return {"sessionUpdate": "tool_call", "toolCallId": self.key, **self.payload}
        return {"sessionUpdate": "tool_call_update", "toolCallId": self.key, **self.changed}


Shown = MessageShown | ToolShown


def user_message(turn: int) -> str:
    """The message id of a turn's prompt."""
    return f"prompt-{turn}"


def replay(entry: Entry) -> list[Json]:
    """The updates that show a journal entry again.

    A tool call that never ended is shown as failed, since a client would let it spin for ever. The journal keeps
    it as it was: it is what tells later what was cut.
    """
    if entry.kind == "tool_call":
        return [{"sessionUpdate": "tool_call", "toolCallId": entry.key, **_as_ended(entry.payload)}]
    if entry.kind == "user_message":
        blocks = entry.payload["content"]
        assert isinstance(blocks, list)
        return [_chunk("user_message", entry.key, block) for block in blocks]
    return [_chunk(entry.kind, entry.key, {"type": "text", "text": entry.text})] if entry.text else []


def _as_ended(payload: Json) -> Json:
    if payload.get("status") not in ("pending", "in_progress"):
        return payload
    content = payload.get("content")
    kept: list[JsonValue] = list(content) if isinstance(content, list) else []
    note = toolcalls.text_content("Interrupted: the agent was stopped before this ended.")
    return {**payload, "status": "failed", "content": [*kept, note]}


class Translator:
    """What one turn shows. `cwd` shortens the paths in titles."""

    def __init__(self, turn: int, cwd: PurePath) -> None:
        self._turn = turn
        self._cwd = cwd
        self._messages = 0
        self._tools = 0
        self._sent: dict[tuple[MessageKind, int], tuple[str, str]] = {}
        self._by_step: dict[tuple[str, int], str] = {}
        self._calls: dict[str, Json] = {}
        self._asked: list[tuple[str, Subject]] = []
        self._created: set[str] = set()
        self._held_error: Step | None = None
        self._shown_errors: set[int] = set()

    def step(self, step: Step) -> list[Shown]:
        """What a step's new state shows.

        The user's steps show nothing. Of a sub-agent's steps only those do that answer a permission question,
        which the client has seen.
        """
        if step.source is Source.USER:
            return []
        if step.subagent:
            return self._subagent_step(step)
        if step.index in self._shown_errors:
            return []
        # A step is sent several times in the same state: only another one shows that the turn goes on.
        held = self._held_error
        shown = self._release_error() if held is not None and held.index != step.index else []
        if step.tool is not None:
            return shown + self._tool_step(step, step.tool)
        if step.status is Status.ERROR:
            return shown + self._error_step(step)
        if step.source is Source.MODEL:
            shown += self._message("agent_thought", step.index, step.thinking)
            shown += self._message("agent_message", step.index, step.content)
        return shown

    def question(self, tool: ToolUse, existing: str | None) -> ToolShown:
        """The tool call that a permission question is about, shown as pending.

        Args:
            tool: the call as the model wrote it.
            existing: the text of the file it would change, None if there is none.
        """
        payload = toolcalls.opening(tool, status="pending", cwd=self._cwd)
        if diff := toolcalls.proposed_diff(tool, existing):
            payload["content"] = diff
        shown = self._show_tool(None, payload)
        self._asked.append((shown.key, toolcalls.subject(tool)))
        if toolcalls.is_edit(tool) and existing is None:
            self._created.add(shown.key)
        return shown

    def refused(self, key: str, words: str) -> ToolShown:
        """A call may not run; `words` say why. If the turn has ended meanwhile, the call stays as it is."""
        self._asked = [(other, subject) for other, subject in self._asked if other != key]
        if not self._is_open(key):
            return ToolShown(key, self._calls[key], {}, first=False)
        return self._close(key, words)

    def finish(self, how: Literal["ended", "cancelled", "failed"]) -> list[Shown]:
        """The end of the turn: whatever is still open is closed."""
        shown = self._release_error() if how == "ended" else []
        words = {
            "ended": "Ended without a result.",
            "cancelled": "Cancelled.",
            "failed": "Stopped: the turn failed.",
        }
        return shown + [self._close(key, words[how]) for key in self._calls if self._is_open(key)]

    def _message(self, kind: MessageKind, index: int, text: str) -> list[Shown]:
        key, sent = self._sent.get((kind, index), ("", ""))
        if not text.startswith(sent):
            # The harness replaced text that was already shown; what is on the client's screen cannot be taken
            # back, so the new text follows as a message of its own.
            key, sent = "", ""
        delta = text[len(sent) :]
        if not delta:
            return []
        if not key:
            self._messages += 1
            key = f"{'thought' if kind == 'agent_thought' else 'message'}-{self._turn}-{self._messages}"
        self._sent[kind, index] = (key, text)
        return [MessageShown(kind, key, delta)]

    def _tool_step(self, step: Step, tool: ToolUse) -> list[Shown]:
        place = (step.subagent, step.index)
        key = self._by_step.get(place)
        if key is not None:
            return self._tool_result(key, step, tool)
        key = self._answer_to(toolcalls.subject(tool))
        if key is None:
            first = self._show_tool(None, toolcalls.opening(tool, status="in_progress", cwd=self._cwd))
        else:
            first = self._show_tool(key, {"status": "in_progress"})
        self._by_step[place] = first.key
        return [first, *self._tool_result(first.key, step, tool)]

    def _subagent_step(self, step: Step) -> list[Shown]:
        if step.tool is None:
            return []
        asked = any(subject == toolcalls.subject(step.tool) for _, subject in self._asked)
        known = (step.subagent, step.index) in self._by_step
        return self._tool_step(step, step.tool) if asked or known else []

    def _tool_result(self, key: str, step: Step, tool: ToolUse) -> list[Shown]:
        if not self._is_open(key) or not step.status.ended:
            return []
        if step.status is Status.ERROR:
            return [self._close(key, step.error or "Failed.")]
        if step.status is Status.CANCELED:
            return [self._close(key, "Cancelled.")]
        changed: Json = {"status": "completed", "rawOutput": toolcalls.raw_output(tool)}
        if toolcalls.is_edit(tool):
            changed["content"] = toolcalls.made_diff(tool, created=key in self._created)
            changed["locations"] = toolcalls.locations(tool)
        elif tool.name == "run_command" and tool.server is None:
            changed["content"] = toolcalls.command_output(tool)
        return [self._show_tool(key, changed)]

    def _error_step(self, step: Step) -> list[Shown]:
        if step.source is Source.MODEL:
            # The harness reports a refused or cancelled question as an error step of the model; the tool call
            # that the question opened says so already.
            return []
        # An error of the system is shown only if the turn goes on after it: the last one is the turn's own
        # failure and is answered as an error of the prompt.
        self._held_error = step
        return []

    def _release_error(self) -> list[Shown]:
        step, self._held_error = self._held_error, None
        if step is None:
            return []
        self._shown_errors.add(step.index)
        opening: Json = {"title": "Invalid tool call", "kind": "other", "status": "failed"}
        opening["content"] = [toolcalls.text_content(step.error)]
        return [self._show_tool(None, opening)]

    def _answer_to(self, subject: Subject) -> str | None:
        for number, (key, asked) in enumerate(self._asked):
            if asked == subject:
                del self._asked[number]
                return key
        return None

    def _close(self, key: str, words: str) -> ToolShown:
        content = self._calls[key].get("content")
        kept: list[JsonValue] = list(content) if isinstance(content, list) else []
        return self._show_tool(key, {"status": "failed", "content": [*kept, toolcalls.text_content(words)]})

    def _is_open(self, key: str) -> bool:
        return self._calls[key]["status"] in ("pending", "in_progress")

    def _show_tool(self, key: str | None, changed: Json) -> ToolShown:
        first = key is None
        if key is None:
            self._tools += 1
            key = f"call-{self._turn}-{self._tools}"
        payload: Json = {**self._calls.get(key, {}), **changed}
        self._calls[key] = payload
        return ToolShown(key, payload, changed, first)


def _chunk(kind: str, key: str, block: JsonValue) -> Json:
    return {"sessionUpdate": f"{kind}_chunk", "messageId": key, "content": block}
