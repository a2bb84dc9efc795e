"""Completes the journal with what the harness holds and the journal does not: what ended unseen, or was lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from acp_agent import prompts, translate
from acp_agent.steps import Source, Step
from acp_agent.translate import ToolShown, Translator
from sessions.journal import Journal

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
            journal.append("user_message", translate.user_message(turn), {"content": [block]})
            _add(journal, turn, history[begin + 1 : end], cwd)
            if whole or end < len(history):
                journal.end_turn(turn, "end_turn")
    elif whole and begins and journal.open_turn is not None:
        _add(journal, journal.open_turn, history[begins[-1] + 1 :], cwd)


def _add(journal: Journal, turn: int, steps: Sequence[Step], cwd: PurePath) -> None:
    translator = Translator(turn, cwd)
    shown = [item for step in steps for item in translator.step(step)]
    known = {entry.key: entry for entry in journal.entries(turn)}
    for item in [*shown, *translator.finish("ended")]:
        entry = known.get(item.key)
        if isinstance(item, ToolShown):
            results = {key: item.payload[key] for key in RESULTS if key in item.payload}
            known_payload = entry.payload if entry else {}
            journal.put("tool_call", item.key, {**item.payload, **known_payload, **results})
        elif entry is None:
            journal.append(item.kind, item.key, {}, item.delta)
        elif item.delta != entry.text and item.delta.startswith(entry.text):
            journal.stream(item.kind, item.key, item.delta[len(entry.text) :])
