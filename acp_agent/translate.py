"""From the harness's steps to what the client is shown. Pure.

A `Translator` lives for one turn. Each of its methods takes something that happened and returns what is to
be shown, in order; the caller journals each item before it sends it. Replay is built from journal entries
alone (`showing.replay`).

Ids count within the session (`message-3-1` is the first message of turn 3), never by the harness's step
numbers: those come again after a restore to an earlier turn, and an id must not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Literal

from pydantic import JsonValue

from acp_agent import plans, questions, shortening, toolcalls
from acp_agent.showing import CompactionShown, MessageKind, MessageShown, PlanShown, Shown, Told, ToolShown
from acp_agent.steps import Question, QuestionAnswer, Source, Status, Step, ToolUse
from acp_agent.subagents import Helpers
from acp_agent.toolcalls import Json, Subject

PARENT = "acp-agent/parent"
"""The key in the `_meta` of a sub-agent's tool call that holds the id of the call it works for."""

_RETRYABLE = "Encountered retryable error from model provider"
_PROVIDER_SAID = re.compile(r"Message: (.*?), Status: ", re.DOTALL)
_OPEN = ("pending", "in_progress")
_NO_RESULT = "Ended without a result."


_ASKING = ToolUse("ask_question", {})


def _may_ask(tool: ToolUse) -> bool:
    """Whether a call asks the user something; while it waits for that, its name need not be known."""
    return tool.server is None and tool.name in ("", _ASKING.name)


class Translator:
    """What one turn shows. `cwd` shortens the paths in titles."""

    def __init__(self, turn: int, cwd: PurePath) -> None:
        self._turn = turn
        self._cwd = cwd
        self._messages = 0
        self._tools = 0
        self._compacted = 0
        self._compactions: dict[int, str] = {}
        self._retries = 0
        self._sent: dict[tuple[MessageKind, int], tuple[str, str]] = {}
        self._by_step: dict[tuple[str, int], tuple[str, ToolUse]] = {}
        self._calls: dict[str, Json] = {}
        self._asked: list[tuple[str, Subject]] = []
        self._created: set[str] = set()
        self._held_error: Step | None = None
        self._shown_errors: set[int] = set()
        self._helpers = Helpers()
        self._delegated: set[str] = set()

    def step(self, step: Step) -> list[Shown]:
        """What a step's new state shows.

        The user's steps show nothing. Of a sub-agent's steps its tool calls do, below the call that it works for.
        """
        if step.subagent:
            return self._subagent_step(step)
        if step.source is Source.USER or step.index in self._shown_errors:
            return []
        # A step is sent several times in the same state: only another one shows that the turn goes on.
        held = self._held_error
        shown = self._release_error() if held is not None and held.index != step.index else []
        if step.compaction:
            return shown + self._compaction(step)
        known = self._by_step.get(("", step.index))
        if tool := step.tool or (known[1] if known else None):
            return shown + self._tool_step(step, tool)
        if step.status is Status.ERROR:
            return shown + self._error_step(step)
        if step.source is Source.MODEL:
            self._retries = 0
            shown += self._message("agent_thought", step.index, step.thinking)
            shown += self._message("agent_message", step.index, step.content)
        elif step.source is Source.SYSTEM:
            shown += self._idle(step.content)
        return shown

    def question(self, tool: ToolUse, existing: str | None) -> ToolShown:
        """The tool call that a permission question is about, shown as pending.

        Args:
            tool: the call as the model wrote it.
            existing: the text of the file it would change, None if there is none.
        """
        payload = toolcalls.opening(tool, status="pending", cwd=self._cwd)
        if content := toolcalls.proposed(tool, existing):
            payload["content"] = content
        shown = self._show_tool(None, payload)
        self._asked.append((shown.key, toolcalls.subject(tool)))
        if toolcalls.is_edit(tool) and existing is None:
            self._created.add(shown.key)
        return shown

    def asks(self, asked: Sequence[Question]) -> ToolShown:
        """A call that asks the user something, shown as pending."""
        payload: Json = {
            "title": questions.title(asked),
            "kind": "other",
            "status": "pending",
            "content": [toolcalls.text_content(questions.transcript(asked, None))],
        }
        # The step of the call comes before the question or after it.
        waiting = [key for key, tool in self._by_step.values() if _may_ask(tool) and self._is_open(key)]
        if waiting:
            return self._show_tool(waiting[-1], payload)
        shown = self._show_tool(None, payload)
        self._asked.append((shown.key, toolcalls.subject(_ASKING)))
        return shown

    def answered(self, key: str, asked: Sequence[Question], answers: Sequence[QuestionAnswer]) -> ToolShown:
        """The user has answered, or skipped; if the turn has ended meanwhile, the call stays as it is."""
        if not self._is_open(key):
            return ToolShown(key, self._calls[key], {}, first=False)
        text = questions.transcript(asked, answers)
        return self._show_tool(key, {"status": "completed", "content": [toolcalls.text_content(text)]})

    def refused(self, key: str, words: str) -> ToolShown:
        """A call may not run; `words` say why. If the turn has ended meanwhile, the call stays as it is."""
        self._asked = [(other, subject) for other, subject in self._asked if other != key]
        if not self._is_open(key):
            return ToolShown(key, self._calls[key], {}, first=False)
        return self._close(key, words)

    def finish(self, how: Literal["ended", "cancelled", "failed"]) -> list[Shown]:
        """The end of the turn: whatever is still open is closed."""
        shown = self._release_error() if how == "ended" else []
        words = {"ended": _NO_RESULT, "cancelled": "Cancelled.", "failed": "Stopped: the turn failed."}
        for key in self._calls:
            if not self._is_open(key):
                continue
            if how == "ended" and key in self._delegated:
                shown.append(self._delegation_ended(key))
            else:
                shown.append(self._close(key, words[how]))
        shown += [CompactionShown(key, {"status": "cancelled"}, None) for key in self._compactions.values()]
        self._compactions.clear()
        return shown

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

    def _tool_step(self, step: Step, tool: ToolUse, meta: Json | None = None, prefix: str = "") -> list[Shown]:
        place = (step.subagent, step.index)
        known = self._by_step.get(place)
        if known is not None:
            self._by_step[place] = (known[0], tool)
            return self._tool_result(known[0], step, tool)
        key = self._answer_to(toolcalls.subject(_ASKING if _may_ask(tool) else tool))
        if key is None:
            changed = toolcalls.opening(tool, status="in_progress", cwd=self._cwd, summary=step.content)
        else:
            changed = {"status": "in_progress"}
        if prefix:
            # That a question came from a sub-agent is not known before its answer.
            changed["title"] = f"{prefix}{(changed if key is None else self._calls[key])['title']}"
        if meta:
            changed["_meta"] = meta
        first = self._show_tool(key, changed)
        self._by_step[place] = (first.key, tool)
        return [first, *self._tool_result(first.key, step, tool)]

    def _subagent_step(self, step: Step) -> list[Shown]:
        helper = self._helpers.began(
            step.subagent, step.parent, step.content if step.source is Source.SYSTEM else ""
        )
        known = self._by_step.get((step.subagent, step.index))
        tool = step.tool or (known[1] if known else None)
        if tool is None:
            if step.source is Source.MODEL and step.content:
                helper.said = step.content
            return self._idle(step.content) if step.source is Source.SYSTEM else []
        return self._tool_step(step, tool, {PARENT: helper.call} if helper.call else None, f"{helper.role}: ")

    def _idle(self, told: str) -> list[Shown]:
        call = self._helpers.told(told)
        return [self._delegation_ended(call)] if call is not None and self._is_open(call) else []

    def _delegation_ended(self, key: str) -> ToolShown:
        summary = [(role, said) for role, said in self._helpers.summary(key) if said]
        content = [toolcalls.text_content(f"**{role}**\n\n{said}") for role, said in summary]
        return self._show_tool(key, {"status": "completed", **({"content": [*content]} if content else {})})

    def _tool_result(self, key: str, step: Step, tool: ToolUse) -> list[Shown]:
        if not self._is_open(key):
            return []
        if toolcalls.is_subagents(tool):
            self._helpers.invoked(key, step.subagent, tool.args)
        if not step.status.ended:
            return self._progress(key, tool)
        if step.status is Status.ERROR:
            return [self._close(key, step.error or "Failed.")]
        if step.status is Status.CANCELED:
            return [self._close(key, "Cancelled.")]
        if toolcalls.is_subagents(tool):
            # Its sub-agents have only begun.
            self._delegated.add(key)
            return []
        changed: Json = {"status": "completed", "rawOutput": toolcalls.raw_output(step, tool)}
        if toolcalls.is_edit(tool):
            changed["content"] = toolcalls.made_diff(tool, created=key in self._created)
        elif content := toolcalls.result(step, tool):
            changed["content"] = content
        if places := toolcalls.locations(tool):
            changed["locations"] = places
        return [self._show_tool(key, changed), *self._plan(step, tool)]

    def _progress(self, key: str, tool: ToolUse) -> list[Shown]:
        """What has changed of a call that goes on."""
        changed: Json = {}
        if toolcalls.is_command(tool) and (content := toolcalls.command_so_far(tool)):
            changed["content"] = content
        shown = self._calls[key]
        bounded = shortening.tool_call(changed)
        same = all(shown.get(field) == value for field, value in bounded.items())
        return [] if same else [self._show_tool(key, changed)]

    def _plan(self, step: Step, tool: ToolUse) -> list[Shown]:
        if step.artifact is None:
            return []
        entries = plans.read(PurePath(str(tool.args.get("file_path", ""))).name, step.artifact)
        return [PlanShown(f"plan-{self._turn}", {"entries": entries})] if entries else []

    def _compaction(self, step: Step) -> list[Shown]:
        key = self._compactions.get(step.index)
        if step.status.ended:
            if key is None:
                return []
            del self._compactions[step.index]
            status = "completed" if step.status is Status.DONE else "failed"
            return [CompactionShown(key, {"status": status}, None)]
        if key is not None:
            return []
        self._compacted += 1
        key = self._compactions[step.index] = f"compaction-{self._turn}-{self._compacted}"
        words = "The conversation has become long. From here on the model gets its older part as a summary."
        told = Told("info", "Older messages are summarised", words, {"acp-agent/compaction": True})
        return [CompactionShown(key, {"status": "in_progress"}, told)]

    def _error_step(self, step: Step) -> list[Shown]:
        if step.source is Source.MODEL:
            # The harness reports a refused or cancelled question as an error step of the model; the tool call
            # that the question opened says so already.
            return []
        if step.error.startswith(_RETRYABLE):
            return self._retry(step)
        # An error of the system is shown only if the turn goes on after it: the last one is the turn's own
        # failure and is answered as an error of the prompt.
        self._held_error = step
        return []

    def _retry(self, step: Step) -> list[Shown]:
        self._shown_errors.add(step.index)
        self._retries += 1
        said = _PROVIDER_SAID.search(step.error)
        answer = f"answered {step.http_code}" if step.http_code >= 400 else "broke off"
        reason = f" ({' '.join(said[1].split())})" if said and said[1].strip() else ""
        text = (
            f"The model's endpoint {answer}{reason}. That was attempt {self._retries}; the harness tries a limited"
            " number of times, with longer and longer pauses."
        )
        meta: Json = {"acp-agent/retry": {"attempt": self._retries, "httpCode": step.http_code or None}}
        return [Told("warning", "The model does not answer", shortening.text(text, 2048), meta)]

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
        return self._calls[key]["status"] in _OPEN

    def _show_tool(self, key: str | None, changed: Json) -> ToolShown:
        changed = shortening.tool_call(changed)
        first = key is None
        if key is None:
            self._tools += 1
            key = f"call-{self._turn}-{self._tools}"
        payload: Json = {**self._calls.get(key, {}), **changed}
        self._calls[key] = payload
        return ToolShown(key, payload, changed, first)
