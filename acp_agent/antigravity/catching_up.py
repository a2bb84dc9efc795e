"""Completes the journal with what the harness finished after it was last journalled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from acp_agent.steps import Source, Step
from acp_agent.translate import ToolShown, Translator
from sessions.journal import Journal

RESULTS = ("status", "content", "rawOutput", "locations")
"""The fields of a tool call that its end changes."""


def complete(journal: Journal, turn: int, history: Sequence[Step], cwd: PurePath) -> None:
    """Add to a turn what the harness's history holds of it, which is the history's last turn."""
    begun = max(place for place, step in enumerate(history) if step.source is Source.USER)
    translator = Translator(turn, cwd)
    shown = [item for step in history[begun + 1 :] for item in translator.step(step)]
    known = {entry.key: entry for entry in journal.entries() if entry.turn == turn}
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
