"""What of the log goes where: standard error for a person after a crash, the log file for a whole life."""

from __future__ import annotations

import logging
from pathlib import Path

from acp_agent import appending, redaction
from acp_agent.logs.file import LogFile
from acp_agent.logs.saying import ForPeople, ForTheFile, is_event
from acp_agent.logs.standard_error import StandardError


def configure(level: int, log_file: Path | None) -> None:
    """Log to standard error from a level on, and to a file from *info* on, or from `level` if that is more.

    Raises:
        CannotAppend: the file cannot be written.
    """
    people = StandardError()
    people.setFormatter(ForPeople(redaction.process))
    people.setLevel(level)
    handlers: list[logging.Handler] = [people]
    if log_file is not None:
        appending.prepare(log_file)
        file = LogFile(log_file)
        file.setFormatter(ForTheFile(redaction.process, detailed=level <= logging.DEBUG))
        file.setLevel(min(level, logging.INFO))
        if level > logging.DEBUG:
            file.addFilter(_is_ours_or_serious)
        handlers.append(file)
    logging.basicConfig(level=min(handler.level for handler in handlers), handlers=handlers)


def _is_ours_or_serious(record: logging.LogRecord) -> bool:
    """Not what libraries tell of their doings: it is not known what that holds."""
    return is_event(record) or record.levelno >= logging.WARNING
