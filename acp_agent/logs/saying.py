"""Logs events, and makes the lines that are read: one for a person after a crash, one for the log file."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from acp_agent.logs import line, scope
from acp_agent.logs.events import Event
from acp_agent.logs.line import Fact
from acp_agent.redaction import Redactor

WORDS_LIMIT: Final = 2000
"""Characters of a message's words, or of an exception with its traceback, in the log file."""

_EVENT: Final = "acp_event"
_FACTS: Final = "acp_facts"


def say(
    logger: logging.Logger,
    event: Event,
    words: str | None = None,
    level: int | None = None,
    cause: BaseException | None = None,
    /,
    **facts: Fact,
) -> None:
    """Log an event.

    Args:
        logger: the module's.
        event: what happened.
        words: a sentence for standard error, instead of the facts. It may quote what failed, so the log file has
            it only at *debug*.
        level: instead of the event's.
        cause: an exception whose traceback tells more.
        facts: what else is known. `session` and `turn` are added from the scope.
    """
    level = event.level if level is None else level
    if logger.isEnabledFor(level):
        logger.log(level, words or "", exc_info=cause, extra={_EVENT: event, _FACTS: facts})


def ms_since(began: float) -> float:
    """The milliseconds since a moment of `time.perf_counter`."""
    return (time.perf_counter() - began) * 1000


def is_event(record: logging.LogRecord) -> bool:
    """Whether a record is an event of this program, and not a library's."""
    return hasattr(record, _EVENT)


class ForPeople(logging.Formatter):
    """`LEVEL module: words`, without secrets, and without anything that a terminal would act upon.

    Further lines, such as a traceback's, are indented, so that no words can pass for a line of their own.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Part of `logging.Formatter`."""
        event = getattr(record, _EVENT, None)
        if isinstance(event, Event) and not record.msg:
            # Another handler must find it as it was.
            record = logging.makeLogRecord(record.__dict__)
            record.msg = f"{event.title} {line.made(_said(record))}".rstrip()
        lines = self._redactor.text(super().format(record)).split("\n")
        return "\n    ".join(map(line.escaped, lines))


class ForTheFile(logging.Formatter):
    """A line of `acp_agent.logs.line`: time, level, event, session, turn, pid, facts."""

    def __init__(self, redactor: Redactor, *, detailed: bool) -> None:
        super().__init__()
        self._redactor = redactor
        self._detailed = detailed

    def format(self, record: logging.LogRecord) -> str:
        """Part of `logging.Formatter`."""
        facts = ((name, self._shown(fact)) for name, fact in self._facts(record))
        return line.made(facts, limit=WORDS_LIMIT if self._detailed else line.VALUE_LIMIT)

    def _shown(self, fact: Fact) -> Fact:
        return self._redactor.text(fact, WORDS_LIMIT) if isinstance(fact, str) else fact

    def _facts(self, record: logging.LogRecord) -> Iterator[tuple[str, Fact]]:
        event = getattr(record, _EVENT, Event.OTHER)
        said = dict(_said(record))
        yield "time", datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        yield "level", record.levelname.lower()
        yield "event", event.title
        for name in ("session", "turn"):
            yield name, said.pop(name, None)
        yield "pid", os.getpid()
        if event is Event.OTHER:
            yield "logger", record.name
            yield "at", f"{record.module}:{record.lineno}"
        yield from said.items()
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            yield "exception", kind.__name__
            yield "raised", _where(trace)
        if self._detailed:
            yield "words", record.getMessage() or None
            if record.exc_info and record.exc_info[0] is not None:
                yield "traceback", self.formatException(record.exc_info)[-WORDS_LIMIT:]


def _said(record: logging.LogRecord) -> Iterator[tuple[str, Fact]]:
    """The session and the turn, and the facts of an event; a fact of the event wins."""
    facts: dict[str, Fact] = getattr(record, _FACTS, {})
    here = scope.current()
    named = facts.get("session")
    if here is not None and named in (None, here.session):
        facts = {"session": here.session, "turn": here.turn, **facts}
    return iter(facts.items())


def _where(trace: TracebackType | None) -> str:
    """Where an exception was raised: the files and functions, innermost first, without any value."""
    frames = traceback.extract_tb(trace)[-6:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
