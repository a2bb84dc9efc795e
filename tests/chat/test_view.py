"""What is printed does not depend on how the updates were cut, and the region never outgrows the terminal."""

import asyncio
import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.screen import InputLine, Screen
from acp_agent.chat.view import View
from tests.chat.conftest import Output
from tests.chat.test_blocks import DOCUMENTS


def chunk(text: str, kind: str = "agent_message_chunk") -> JsonObject:
    return {"sessionUpdate": kind, "messageId": "m", "content": {"type": "text", "text": text}}


def call(status: str, call_id: str = "c") -> JsonObject:
    return {"sessionUpdate": "tool_call_update", "toolCallId": call_id, "title": call_id, "status": status}


def printed(updates: Iterable[JsonObject], *, replaying: bool = False, times: Iterable[float] = ()) -> list[str]:
    output = Output()
    screen = Screen(Console(file=output, width=60, highlight=False), region=False)
    view = View(screen, replaying=replaying, clock=iter(times).__next__)
    for update in updates:
        view.update(update)
    view.flush()
    return [line.rstrip() for line in output.getvalue().splitlines() if line.strip()]


@given(DOCUMENTS, st.lists(st.integers(0, 80), max_size=10), st.sampled_from(["agent_message", "agent_thought"]))
def test_a_message_looks_the_same_however_it_is_cut(document: str, cuts: list[int], role: str) -> None:
    kind = f"{role}_chunk"
    places = sorted({0, len(document), *(cut for cut in cuts if cut < len(document))})
    pieces = [chunk(document[start:end], kind) for start, end in pairwise(places)]
    assert printed(pieces) == printed([chunk(document, kind)])


def test_a_message_that_goes_on_after_a_tool_call_is_not_printed_twice() -> None:
    updates = [chunk("First "), call("completed"), chunk("second.")]
    assert printed(updates, replaying=True) == ["First", "✓ c (other) · completed", "second."]


def test_calls_that_run_side_by_side_are_printed_as_they_end_and_unended_ones_at_last() -> None:
    updates = [
        call("pending", "a"),
        call("pending", "b"),
        call("pending", "c"),
        call("failed", "b"),
        call("completed", "a"),
    ]
    assert printed(updates) == ["✗ b (other) · failed", "✓ a (other) · completed", "· c (other) · pending"]


def test_the_time_of_a_call_is_the_time_that_it_ran() -> None:
    updates = [call("pending"), call("in_progress"), call("in_progress"), call("completed"), call("completed")]
    assert printed(updates, times=[100, 102.5]) == ["✓ c (other) · completed · 2.5 s"]
    assert printed(updates, times=[100, 102.5], replaying=True) == ["✓ c (other) · completed"]


def test_a_call_that_changes_after_its_end_is_printed_again() -> None:
    assert printed([call("completed"), call("failed")]) == ["✓ c (other) · completed", "✗ c (other) · failed"]


def test_the_report_is_not_told_twice_during_a_load() -> None:
    notice: JsonObject = {
        "sessionUpdate": "notice",
        "severity": "warning",
        "title": "Session resumed",
        "_meta": {"acp-agent/resume": {}},
    }
    assert printed([notice], replaying=True) == []
    assert printed([notice]) == ["Warning: Session resumed"]
    assert printed([{**notice, "_meta": {}}], replaying=True) == ["Warning: Session resumed"]


def test_an_unreadable_update_shows_nothing() -> None:
    output = Output()
    view = View(Screen(Console(file=output), region=False), replaying=False)
    with pytest.raises(FieldError):
        view.update({"sessionUpdate": "agent_message_chunk"})
    view.flush()
    assert output.getvalue() == ""


@given(st.integers(2, 30), st.integers(0, 60), st.integers(0, 200), st.booleans())
def test_the_region_is_never_higher_than_the_terminal(height: int, tail: int, typed: int, busy: bool) -> None:
    async def draw() -> list[str]:
        output = Output()
        console = Console(file=output, width=20, height=height, force_terminal=True, color_system=None)
        with Screen(console, region=True) as screen:
            screen.set_tail(lambda: [Text(f"line {number}") for number in range(tail)])
            screen.set_status("busy" if busy else "")
            before = len(output.getvalue())
            screen.set_input(InputLine("> ", "x" * typed, typed))
            return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", output.getvalue()[before:]).split("\n")

    drawn = asyncio.run(draw())
    assert len(drawn) < height or len(drawn) == 1
    assert drawn[-1].startswith((">", "x")) or drawn[-1].isspace()
    typed_lines = -(-(typed + 3) // 20) + 1
    if tail and height > typed_lines + 3:
        assert f"line {tail - 1}" in drawn


def test_what_is_finished_is_printed_above_the_region_once() -> None:
    async def draw() -> str:
        output = Output()
        console = Console(file=output, width=20, height=10, force_terminal=True, color_system=None)
        with Screen(console, region=True) as screen:
            view = View(screen, replaying=False)
            view.update(chunk("done\n\nto come"))
            view.update(chunk("\n\n"))
            view.flush()
            screen.redraw()
        return output.getvalue()

    assert asyncio.run(draw()).count("done") == 1
