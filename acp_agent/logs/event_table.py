"""The table of events for the documentation, made from the events.

`python -m acp_agent.logs.event_table` prints it; `docs/logs.md` holds the same text between two comments, and a
test compares them, so that neither can change alone.
"""

from __future__ import annotations

import sys
from logging import getLevelName

from acp_agent.logs.events import Event

BEGIN = "<!-- begin: python -m acp_agent.logs.event_table -->"
END = "<!-- end: python -m acp_agent.logs.event_table -->"


def markdown() -> str:
    """The table as Markdown, in the order in which the events are defined; ends with a line break."""
    rows = [f"| `{event.title}` | {getLevelName(event.level).lower()} | {event.meaning} |" for event in Event]
    return "\n".join(["| event | level | meaning and facts |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
