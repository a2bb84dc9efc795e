"""What is printed does not depend on how the updates were cut."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.screen import Screen
from acp_agent.chat.transcript import read_tool_call
from acp_agent.chat.view import View
from tests.chat.conftest import Output
from tests.chat.test_blocks import DOCUMENTS


def chunk(text: str, kind: str = "agent_message_chunk") -> JsonObject:
    return {"sessionUpdate": kind, "messageId": "m", "content": {"type": "text", "text": text}}


def call(status: str, call_id: str = "c") -> JsonObject:
    return {"sessionUpdate": "tool_call_update", "toolCallId": call_id, "title": call_id, "status": status}


def printed(updates: Iterable[JsonObject], *, replaying: bool = False, times: Iterable[float] = ()) -> list[str]:
    output = Output()
    screen = Screen(Console(file=output, width=60, highlight=False))
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
    view = View(Screen(Console(file=output)), replaying=False)
    with pytest.raises(FieldError):
        view.update({"sessionUpdate": "agent_message_chunk"})
    view.flush()
    assert output.getvalue() == ""


def plan(*statuses: str) -> JsonObject:
    return {"sessionUpdate": "plan", "entries": [{"content": each, "status": each} for each in statuses]}


def test_a_plan_is_printed_as_it_stands_at_the_end() -> None:
    updates = [plan("pending", "pending"), chunk("Working."), plan("completed", "in_progress")]
    assert printed(updates) == ["Working.", "Plan: 1 of 2 done", "[x] completed", "[>] in_progress"]


def test_what_a_question_has_shown_of_a_call_is_not_shown_again() -> None:
    def edit(status: str, old: str, new: str) -> JsonObject:
        return {**call(status), "content": [{"type": "diff", "path": "/a", "oldText": old, "newText": new}]}

    output = Output()
    view = View(Screen(Console(file=output, width=60)), replaying=True)
    view.asked(read_tool_call("c", edit("pending", "old", "new")))
    view.update(edit("completed", "one\nold\ntwo", "one\nnew\ntwo"))
    assert output.getvalue().strip() == "✓ c (other) · completed"
    view.update(edit("failed", "one\nold\ntwo", "one\nother\ntwo"))
    assert "+other" in output.getvalue()
