"""The plan in a document that the model wrote for the user. Pure.

The harness has no plans of its own. It tells the model to write documents beside the workspace: in plan mode a
proposal (`implementation_plan.md`), and for longer work a list of tasks (`task.md`) that it marks as it goes on:
`[ ]` to do, `[/]` begun, `[x]` done (measured with 0.1.22). A list of tasks is a plan; of a proposal without one,
its headings are.
"""

from __future__ import annotations

import re

from pydantic import JsonValue

Json = dict[str, JsonValue]

ENTRIES = 200
"""How many entries a plan may have."""

ENTRY_LENGTH = 500
"""How many characters an entry may have."""

_PROPOSAL = "implementation_plan.md"
_TASK = re.compile(r"\s*[-*+] \[([ xX/])\]\s+(.+)")
_HEADING = re.compile(r"#{2,4}\s+(.+?)\s*#*")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_STATUSES = {"x": "completed", "X": "completed", "/": "in_progress", " ": "pending"}


def read(name: str, document: str) -> list[JsonValue]:
    """The entries of an ACP plan, none if the document is no plan.

    Args:
        name: the document's file name.
        document: its text.
    """
    tasks: list[Json] = []
    headings: list[Json] = []
    fenced = False
    for line in document.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        elif fenced:
            continue
        elif task := _TASK.fullmatch(line):
            tasks.append(_entry(task[2], _STATUSES[task[1]]))
        elif heading := _HEADING.fullmatch(line):
            headings.append(_entry(heading[1], "pending"))
    found = tasks or (headings if name == _PROPOSAL else [])
    return [*found[:ENTRIES]]


def _entry(words: str, status: str) -> Json:
    content = re.sub(r"\s*<!--.*?-->", "", words).strip()
    shown = content if len(content) <= ENTRY_LENGTH else content[: ENTRY_LENGTH - 1] + "…"
    return {"content": shown, "priority": "medium", "status": status}
