"""What happened to a session beside its turns: where it came from, each time it was brought back, restores, forks.

Kept in the store in the order in which it happened, for people who look back (`sessions.life`); nothing is decided
by it. An event is worth less than what it tells of: it is stored in the same transaction if there is one, and what
it tells of does not fail because of it. What a store of version 2 knew, the outcome of its last load, is an event
without a time; of everything before, nothing is known.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from sessions.report import Outcome, Reason, ResumeReport

Detail = dict[str, JsonValue]

TEXT = 1_000
"""Characters that are kept of a text in an event."""

ITEMS = 20
"""Items that are kept of a list in an event."""

_LEFT_OUT = "leftOut"


class Kind(StrEnum):
    """What happened."""

    MADE = "made"
    """The session was made: `as` is `new` or `fork`; a fork has the session it was made `from` and its `turn`."""
    IMPORTED = "imported"
    """It came in a file: the id that it had there (`from`), and when the file was made (`exportedAt`)."""
    LOADED = "loaded"
    """It was brought back: see `loaded`."""
    RESTORED = "restored"
    """It was taken from one turn to another (`from`, `to`); `aside` names the folder of the files it had."""
    FORKED = "forked"
    """A fork was made of it: its `session`, and the `turn` it was made at."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, numbered in order. `at` is None if it is not known when.

    `turn` is the last turn of the session's line when it was recorded, 0 before the first.
    """

    id: int
    at: str | None
    kind: Kind
    turn: int
    detail: Detail


def add(db: sqlite3.Connection, at: str, kind: Kind, detail: Mapping[str, JsonValue]) -> None:
    """Record an event, as part of a transaction of the caller. Raises sqlite3.Error."""
    db.execute(
        "INSERT INTO event (at, kind, turn, detail) SELECT ?, ?, coalesce(max(head), 0), ? FROM session",
        (at, kind.value, json.dumps(bounded(dict(detail)))),
    )


def restored(db: sqlite3.Connection, at: str, *, before: int, turn: int, aside: str, note: str | None) -> None:
    """Record a restore, unless it is recorded: one that was cut is done again under the same name of a folder.

    Raises sqlite3.Error.
    """
    # A damaged one is no reason to refuse a restore.
    same = (
        "SELECT 1 FROM event WHERE kind = ?"
        " AND CASE WHEN json_valid(detail) THEN json_extract(detail, '$.aside') END = ?"
    )
    if db.execute(same, (Kind.RESTORED.value, aside)).fetchone() is None:
        add(db, at, Kind.RESTORED, {"from": before, "to": turn, "aside": aside, "note": note})


def loaded(report: ResumeReport, *, client: str, again: bool, note: str | None) -> Detail:
    """What is recorded of a load.

    Of a harness that was only opened anew in a process that had the session open (`again`), and found as it was
    left, no report is kept: that happens with every pause. Of processes that were left, no command lines are kept.

    Args:
        report: how the session was brought back.
        client: whose process did it.
        again: whether that process had the session open before.
        note: what the model is told of it with the next prompt.
    """
    detail: Detail = {"outcome": report.outcome.value, "reason": report.reason.value, "client": client}
    if again:
        detail["again"] = True
        if report.outcome is Outcome.RESUMED and report.reason is Reason.VERIFIED:
            return detail
    told = report.wire()
    # A process that was left may be an MCP server that was started with a key among its arguments.
    told["orphans"] = [{"pid": each.pid, "since": each.since, "ended": each.ended} for each in report.orphans]
    return {**detail, "report": told, "note": note}


def read(db: sqlite3.Connection) -> list[Event]:
    """All events in order.

    Raises:
        sqlite3.Error, TypeError, ValueError: they cannot be read.
    """
    found: list[Event] = []
    for number, at, kind, turn, detail in db.execute("SELECT id, at, kind, turn, detail FROM event ORDER BY id"):
        if not valid(kind, detail):
            raise ValueError(f"event {number} is none")
        found.append(Event(number, at, Kind(kind), turn, json.loads(detail)))
    return found


def valid(kind: object, detail: object) -> bool:
    """Whether these can be the kind of an event and its JSON."""
    try:
        return kind in list(Kind) and isinstance(detail, str) and isinstance(json.loads(detail), dict)
    except (ValueError, RecursionError):
        return False


def bounded(value: JsonValue) -> JsonValue:
    """A value with its texts and lists shortened, so that an event stays small; a list says what is left out."""
    if isinstance(value, str):
        return value if len(value) <= TEXT else value[: TEXT - 1] + "…"
    if isinstance(value, list):
        kept = [bounded(each) for each in value[:ITEMS]]
        return [*kept, {_LEFT_OUT: len(value) - ITEMS}] if len(value) > ITEMS else kept
    if isinstance(value, dict):
        return {key: bounded(each) for key, each in value.items()}
    return value
