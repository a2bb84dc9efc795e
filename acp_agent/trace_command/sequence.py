"""Rows for people: answers paired with their requests, streams folded, what is missing said. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

from acp_agent.trace_command import gist
from acp_agent.trace_command.records import KNOWN_VERSION, Record

if TYPE_CHECKING:
    from pydantic import JsonValue

TO_AGENT: Final = "→"
TO_CLIENT: Final = "←"
ASIDE: Final = "·"
"""What is no message: the beginning of a process, and what is missing."""

UNANSWERED_SHOWN: Final = 50
"""Requests without an answer that are named at the end; a trace that was cut in the middle may have more."""

_FOLDED: Final = ("tool_call_update", "usage_update")

Tone = Literal["plain", "error", "aside"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `ms` is how long a request took, in the row of its answer; `count` messages are folded into it.

    `kind` is the method, or the kind of an update; `stream` is equal in rows that may be folded, None in others.
    """

    at: float
    pid: int
    arrow: str
    kind: str
    gist: str
    method: str = ""
    time: str = ""
    id: str | None = None
    session: str | None = None
    turn: int | None = None
    size: int = 0
    count: int = 1
    ms: float | None = None
    tone: Tone = "plain"
    stream: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are shown: of a session, by an end of its id; of methods or kinds, by patterns."""

    session: str | None = None
    methods: tuple[str, ...] = ()

    def passes(self, row: Row) -> bool:
        """Whether a row is shown. What is no message always is."""
        if row.arrow == ASIDE and row.session is None:
            return True
        if self.session is not None:
            of = row.session or ""
            if not (of.startswith(self.session) or of.endswith(self.session)):
                return False
        return not self.methods or any(
            fnmatchcase(name, pattern) for pattern in self.methods for name in (row.method, row.kind)
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    session: str | None
    at: float
    row: Row


class Sequence:
    """Makes rows of records, which are given in their order."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, str, str], _Asked] = {}
        self._pid: int | None = None

    def rows(self, record: Record) -> Iterator[Row]:
        """The rows of one record."""
        if record.version is not None:
            # An id of a process can come again; what the earlier one was asked is not answered any more.
            yield from self._unanswered(record.pid)
            self._pid = record.pid
            newer = record.version > KNOWN_VERSION
            more = " (a newer form: what is not known here is left out)" if newer else ""
            yield _aside(record, f"{record.program} begins{more}")
        elif record.pid != self._pid:
            self._pid = record.pid
            yield _aside(record, "goes on")
        if record.dropped:
            yield replace(_aside(record, f"{record.dropped:,} messages were not recorded"), tone="error")
        if record.stopped is not None:
            yield replace(_aside(record, f"nothing more was recorded: {record.stopped}"), tone="error")
        if record.sender:
            yield self._message(record)

    def end(self) -> Iterator[Row]:
        """The rows for what was never answered, once there are no more records."""
        for pid in dict.fromkeys(pid for pid, _, _ in self._asked):
            yield from self._unanswered(pid)

    def _message(self, record: Record) -> Row:
        from_client, message = record.sender == "client", record.message
        arrow = TO_AGENT if from_client else TO_CLIENT
        row = Row(record.at, record.pid, arrow, "", "", time=record.time, turn=record.turn, size=record.size)
        if record.unreadable is not None:
            return replace(row, kind="(no message)", gist=gist.bounded(record.unreadable), tone="error")
        method, params = message.get("method"), message.get("params")
        if not isinstance(method, str):
            return self._answer(record, row)
        params = params if isinstance(params, dict) else {}
        session = params.get("sessionId")
        row = replace(
            row,
            method=gist.bounded(method),
            kind=gist.bounded(gist.update_kind(params) if method == "session/update" else method),
            gist=gist.of_params(method, params),
            session=gist.bounded(session) if isinstance(session, str) else None,
        )
        if "id" in message:
            row = replace(row, id=_id(message["id"]))
            self._asked[record.pid, record.sender, json.dumps(message["id"])] = _Asked(
                method, row.session, record.at, row
            )
        elif row.kind.endswith("_chunk") or row.kind in _FOLDED:
            update = params.get("update")
            which = [update.get(name) for name in ("messageId", "toolCallId")] if isinstance(update, dict) else []
            row = replace(row, stream=f"{row.pid} {row.session} {row.kind} {which}")
        return row

    def _answer(self, record: Record, row: Row) -> Row:
        message, asker = record.message, "agent" if record.sender == "client" else "client"
        row = replace(row, id=_id(message.get("id")))
        asked = self._asked.pop((record.pid, asker, json.dumps(message.get("id"))), None)
        error = message.get("error")
        if asked is None:
            said = gist.of_error(error) if error is not None else "an answer to a request that is not in the trace"
            return replace(row, kind="(answer)", gist=said, tone="error" if error is not None else "plain")
        result = message.get("result")
        new = result.get("sessionId") if isinstance(result, dict) else None
        return replace(
            row,
            method=asked.row.method,
            kind=asked.row.method,
            session=asked.session or (gist.bounded(new) if isinstance(new, str) else None),
            gist=gist.of_error(error) if error is not None else gist.of_result(asked.method, result),
            turn=gist.turn_of(result) or row.turn,
            ms=round((record.at - asked.at) * 1000, 1),
            tone="error" if error is not None else "plain",
        )

    def _unanswered(self, pid: int) -> Iterator[Row]:
        mine = [key for key in self._asked if key[0] == pid]
        for place, key in enumerate(mine):
            asked = self._asked.pop(key)
            if place < UNANSWERED_SHOWN:
                said = f"was not answered in process {pid}: {asked.row.gist}"
                yield replace(asked.row, arrow=ASIDE, gist=said.removesuffix(": "), tone="error")


class Folding:
    """Makes one row of the rows of a stream that follow each other."""

    def __init__(self) -> None:
        self._open: Row | None = None

    def rows(self, row: Row) -> Iterator[Row]:
        """Take the next row; the rows that are complete by that."""
        last = self._open
        if last is not None and row.stream is not None and row.stream == last.stream:
            self._open = replace(
                last, count=last.count + 1, size=last.size + row.size, gist=_joined(last, row), turn=row.turn
            )
            return
        self._open = row
        if last is not None:
            yield last

    def end(self) -> Iterator[Row]:
        """The last row, once there are no more for now."""
        last, self._open = self._open, None
        if last is not None:
            yield last


def _joined(last: Row, row: Row) -> str:
    if not row.kind.endswith("_chunk"):
        return row.gist  # the newest state says it all
    beginning, piece = last.gist.removesuffix("”"), row.gist.removeprefix("“").removesuffix("”")
    return gist.bounded(f"{beginning}{piece}”") if len(beginning) < gist.LIMIT - 1 else last.gist


def _aside(record: Record, words: str) -> Row:
    kind = f"process {record.pid}"
    return Row(record.at, record.pid, ASIDE, kind, gist.bounded(words), time=record.time, tone="aside")


def _id(value: JsonValue) -> str:
    return gist.bounded(f"{value}")[:40]
