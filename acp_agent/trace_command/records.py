"""The lines of a trace as values. Unknown fields are passed over, so that newer traces can be read. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from pydantic import JsonValue

    JsonObject: TypeAlias = dict[str, JsonValue]

KNOWN_VERSION: Final = 1

_LARGEST: Final = 1 << 62
"""No number in a trace comes near it, and what is larger cannot be shown."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line. `at` is in seconds since the first line of its process; `sender` is `client`, `agent` or empty.

    `version` and `program` are there in the first line of a process, `dropped` and `stopped` where messages are
    missing; `unreadable` stands for a message that was no JSON.
    """

    time: str
    at: float
    pid: int
    sender: str = ""
    size: int = 0
    turn: int | None = None
    message: JsonObject = field(default_factory=dict)
    unreadable: str | None = None
    version: int | None = None
    program: str = ""
    dropped: int = 0
    stopped: str | None = None


def read(line: str) -> Record | None:
    """The record in a line, None if it holds none: it was cut, or is something else."""
    try:
        value: JsonValue = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    at, pid, message = value.get("at"), value.get("pid"), value.get("message")
    if not isinstance(at, int | float) or not abs(at) < _LARGEST or (pid := _number(pid)) is None:
        return None
    return Record(
        time=_text(value.get("time")),
        at=float(at),
        pid=pid,
        sender=_text(value.get("from")),
        size=_number(value.get("bytes")) or 0,
        turn=_number(value.get("turn")),
        message=message if isinstance(message, dict) else {},
        unreadable=_text(value["unreadable"]) if "unreadable" in value else None,
        version=_number(value.get("trace")),
        program=_text(value.get("program")),
        dropped=_number(value.get("dropped")) or 0,
        stopped=_text(value["stopped"]) if "stopped" in value else None,
    )


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def _number(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else None
