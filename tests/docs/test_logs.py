"""What docs/logs.md says is so: its events and figures are the code's, and every event is logged."""

from __future__ import annotations

import re
from pathlib import Path

from acp_agent.logs import event_table, line
from acp_agent.logs.events import Event
from acp_agent.logs.file import KEPT, ROTATE_BYTES
from acp_agent.wire import trace

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")


def test_the_table_of_events_is_the_code_s() -> None:
    written = PAGE.split(f"{event_table.BEGIN}\n")[1].split(event_table.END)[0]
    assert written == event_table.markdown(), "run: python -m acp_agent.logs.event_table"


def test_every_event_is_logged_and_nothing_else_is() -> None:
    sources = [
        path for path in (ROOT / "acp_agent").rglob("*.py") if path.name not in ("events.py", "event_table.py")
    ]
    source = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert set(re.findall(r"\bEvent\.([A-Z_]+)", source)) == set(Event.__members__)
    assert len({event.title for event in Event}) == len(Event)
    assert not re.findall(r"\b_?log\.(?:debug|info|warning|error|exception|critical)\(", source), "use say()"


def test_the_figures_are_those_that_hold() -> None:
    assert f"At {ROTATE_BYTES >> 20} MiB" in PAGE
    assert f"a log takes {(KEPT + 1) * ROTATE_BYTES >> 20} MiB at most" in PAGE
    assert (KEPT, "three such files are kept" in PAGE) == (3, True)
    assert f"{line.VALUE_LIMIT} characters at most, a line {line.LINE_LIMIT:,}" in PAGE
    assert f"({trace.QUEUE_BYTES >> 20} MiB, {trace.QUEUE_MESSAGES:,} messages)" in PAGE
    assert f"ends at {trace.FILE_LIMIT >> 30} GiB" in PAGE
    assert f"cut at {trace.TEXT_LIMIT:,} characters" in PAGE


def test_the_example_of_a_line_can_be_read() -> None:
    (example,) = re.findall(r"^time=.*$", PAGE, re.MULTILINE)
    assert line.read(example)["event"] == Event.PROMPT_ENDED.title
