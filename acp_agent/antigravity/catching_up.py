"""Completes the journal with what the harness holds and the journal does not: what ended unseen, or was lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from pydantic import JsonValue

from acp_agent import prompts, showing
from acp_agent.showing import CompactionShown, MessageShown, PlanShown, ToolShown
from acp_agent.steps import Source, Step
from acp_agent.translate import PARENT, Translator
from sessions.journal import Entry, Journal

RESULTS = ("status", "content", "rawOutput", "locations")
"""The fields of a tool call that its end changes."""

_NOTE = re.compile(r"\A<acp-agent-note>\n.*?\n</acp-agent-note>\n", re.DOTALL)


def complete(journal: Journal, history: Sequence[Step], cwd: PurePath, *, turns: int, whole: bool) -> None:
    """Add to the journal what the harness's history holds of the newest turns.

    Args:
        journal: the journal of the session.
        history: the steps that the harness reopened with.
        cwd: the session's folder.
        turns: how many turns the session has; the journal may know fewer, if it was damaged.
        whole: whether the last turn of the history has ended.
    """
    begins = [place for place, step in enumerate(history) if step.source is Source.USER]
    unknown = min(turns - journal.turn_count, len(begins))
    if unknown > 0:
        segments = [*zip(begins, [*begins[1:], len(history)], strict=True)][-unknown:]
        for begin, end in segments:
            block: prompts.Block = {"type": "text", "text": _NOTE.sub("", history[begin].content)}
            turn = journal.begin_turn(prompts.excerpt([block]))
            journal.append("user_message", showing.user_message(turn), {"content": [block]})
            _add(journal, turn, history[begin + 1 : end], cwd)
            if whole or end < len(history):
                journal.end_turn(turn, "end_turn")
    elif whole and begins and journal.open_turn is not None:
        _add(journal, journal.open_turn, history[begins[-1] + 1 :], cwd)


def _add(journal: Journal, turn: int, steps: Sequence[Step], cwd: PurePath) -> None:
    translator = Translator(turn, cwd)
    shown = [item for step in steps for item in translator.step(step)]
    known = {entry.key: entry for entry in journal.entries(turn)}
    calls = _Calls(turn, [entry for entry in known.values() if entry.kind == "tool_call"])
    for item in [*shown, *translator.finish("ended")]:
        match item:
            case ToolShown():
                key, payload = calls.journalled(item)
                results = {name: item.payload[name] for name in RESULTS if name in item.payload}
                journal.put("tool_call", key, {**item.payload, **payload, **results}, live=False)
            case PlanShown():
                journal.put("plan", item.key, item.payload, live=False)
            case CompactionShown():
                journal.put("compaction", item.key, item.payload, live=False)
            case MessageShown():
                entry = known.get(item.key)
                if entry is None:
                    journal.append(item.kind, item.key, {}, item.delta)
                elif item.delta != entry.text and item.delta.startswith(entry.text):
                    journal.stream(item.kind, item.key, item.delta[len(entry.text) :])


class _Calls:
    """Finds the tool calls of the harness's history in the journal.

    They need not have the same numbers there: the journal also has the calls of sub-agents, and those that were
    refused, of which the history holds nothing.
    """

    def __init__(self, turn: int, entries: Sequence[Entry]) -> None:
        self._turn = turn
        self._count = len(entries)
        self._free = [
            entry for entry in entries if not _is_of_subagent(entry.payload) and not _is_refused(entry.payload)
        ]
        self._found: dict[str, tuple[str, dict[str, JsonValue]]] = {}

    def journalled(self, shown: ToolShown) -> tuple[str, dict[str, JsonValue]]:
        """The key that a call has in the journal, a new one if it is not there, and what is there."""
        if shown.key not in self._found:
            same = (entry for entry in self._free if _identity(entry.payload) == _identity(shown.payload))
            entry = next(same, None)
            if entry is None:
                self._count += 1
                self._found[shown.key] = (f"call-{self._turn}-{self._count}", {})
            else:
                self._free.remove(entry)
                self._found[shown.key] = (entry.key, entry.payload)
        return self._found[shown.key]


def _identity(payload: dict[str, JsonValue]) -> tuple[JsonValue, JsonValue]:
    """What is the same of a call whoever tells of it: a question calls an edit by another name than a step."""
    places = payload.get("locations")
    place = places[0] if isinstance(places, list) and places else None
    path = place.get("path") if isinstance(place, dict) else None
    return payload.get("kind"), path or payload.get("title")


def _is_of_subagent(payload: dict[str, JsonValue]) -> bool:
    meta = payload.get("_meta")
    return isinstance(meta, dict) and PARENT in meta


def _is_refused(payload: dict[str, JsonValue]) -> bool:
    content = payload.get("content")
    last = content[-1] if payload.get("status") == "failed" and isinstance(content, list) and content else None
    block = last.get("content") if isinstance(last, dict) else None
    said = block.get("text") if isinstance(block, dict) else None
    return isinstance(said, str) and said.startswith(("Rejected: ", "Refused: "))
