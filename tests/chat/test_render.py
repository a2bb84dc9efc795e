"""How items look, without colour and at a fixed width, and that nothing from the agent is obeyed by a terminal."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat import render
from acp_agent.chat.agent import ListedSession, PermissionOption, PermissionQuestion
from acp_agent.chat.transcript import (
    Diff,
    Item,
    Message,
    Notice,
    Output,
    Plan,
    PlanEntry,
    Role,
    ToolCall,
    Unknown,
)
from acp_agent.chat.words import Told, Tone


def message(role: Role, text: str) -> Message:
    return Message(role, "m", ({"type": "text", "text": text},))


def call(kind: str, title: str, status: str, *content: Diff | Output) -> ToolCall:
    return ToolCall("call-1", title, kind, status, content, {})


def drawn(renderable: RenderableType, width: int = 60) -> str:
    console = Console(file=StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


EDIT = call(
    "edit", "Edit notes.txt", "completed", Diff("/w/notes.txt", "one\ntwo\nthree\n", "one\n2\nthree\nfour\n")
)
ITEMS: dict[str, Item] = {
    "user": message(Role.USER, "How many [bold]birds[/bold]\nare there?"),
    "agent": message(
        Role.AGENT, "# Birds\n\nThere are **many**:\n\n- heron\n- wren\n\n```python\ncount = 2\n```\n"
    ),
    "thought": message(Role.THOUGHT, "They ask for birds.\nI know birds."),
    "edit": EDIT,
    "new file": call("edit", "Create a", "completed", Diff("/w/a", None, "first\n")),
    "no change": call("edit", "Touch a", "completed", Diff("/w/a", "same\n", "same\n")),
    "command": call("execute", "ls\n -l", "failed", Output("ls: no such file\nexit status 2\n")),
    "running": call("read", "", "in_progress"),
    "of a sub-agent": replace(
        call("execute", "Reader: `ls`", "completed", Output("a\n")),
        fields={"_meta": {"acp-agent/parent": "call-0"}},
    ),
    "odd status": call("of_the_future", "Do", "half_done"),
    "plan": Plan((PlanEntry("Look", "completed"), PlanEntry("Leap", "in_progress"), PlanEntry("Land", "pending"))),
    "notice": Notice("warning", "This turn is not saved", "The disk is full.", {}),
    "odd notice": Notice("_mine", "Hello", None, {}),
    "unknown": Unknown("compaction_update"),
}


@pytest.mark.parametrize("name", ITEMS)
def test_items(name: str, snapshot: SnapshotAssertion) -> None:
    assert drawn(render.item(ITEMS[name])) == snapshot


@pytest.mark.parametrize("name", ["agent", "edit", "command", "notice"])
def test_items_in_a_narrow_terminal(name: str, snapshot: SnapshotAssertion) -> None:
    assert drawn(render.item(ITEMS[name]), width=18) == snapshot


def test_a_question(snapshot: SnapshotAssertion) -> None:
    options = (
        PermissionOption("a", "Allow", "allow_once"),
        PermissionOption("r", "Reject", "reject_once"),
    )
    assert drawn(render.question(PermissionQuestion("s", EDIT, options))) == snapshot


def test_sessions(snapshot: SnapshotAssertion) -> None:
    listed = (
        ListedSession("s-1", "/w", "Herons", "2026-11-22T10:00:00Z", 3, "recovered", "corrupt", "Zed (process 7)"),
        ListedSession("s-2", "/w", None, "2026-11-22T11:59:00Z", 1, "resumed", "interrupted"),
        ListedSession("s-3", "/w"),
    )
    assert drawn(render.sessions(listed, "s-3", NOW), width=80) == snapshot
    assert drawn(render.sessions((), None, NOW)) == "No sessions in this folder."


def test_tones_differ_without_colour() -> None:
    shown = {tone: drawn(render.told(Told(tone, ("It is so.",)))) for tone in Tone}
    assert shown == {
        Tone.INFO: "It is so.",
        Tone.QUIET: "It is so.",
        Tone.WARNING: "Warning: It is so.",
        Tone.ERROR: "Error: It is so.",
    }


def test_of_a_long_diff_the_beginning_is_shown_and_of_long_output_the_end() -> None:
    diff = drawn(render.diff(Diff("/w/a", "a\n" * 150, "b\n" * 150))).split("\n")
    assert (len(diff), diff[0], diff[-1]) == (render.DIFF_LINES + 1, "--- /w/a", "(103 more lines)")
    output = drawn(render.output(Output("\n".join(map(str, range(1, 101)))))).split("\n")
    assert (len(output), output[0], output[-1]) == (render.OUTPUT_LINES + 1, "(40 earlier lines)", "100")


def test_how_long_a_tool_took_is_shown_when_it_is_known() -> None:
    assert drawn(render.tool_line(EDIT, 1.26)) == "✓ Edit notes.txt (edit) · completed · 1.3 s"
    assert drawn(render.tool_line(EDIT, 0.0126)) == "✓ Edit notes.txt (edit) · completed · 13 ms"
    assert drawn(render.tool_line(EDIT, None)) == "✓ Edit notes.txt (edit) · completed"


NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTILE = st.text(
    st.sampled_from("a\x1b[];?m0128Hl\x07\x9b\x08\r\x00\\\n\t<`*_ ") | st.characters(categories=["Cc"]),
    max_size=40,
)


@given(HOSTILE)
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    items: list[Item] = [message(role, text) for role in Role]
    items += [
        call(text, text, text, Diff(text, text, text), Output(text)),
        Plan((PlanEntry(text, text),)),
        Notice(text, text, text, {}),
        Unknown(text),
    ]
    options = (PermissionOption(text, text, text),)
    shown = [render.item(item) for item in items]
    shown.append(render.question(PermissionQuestion(text, call(text, text, text), options)))
    shown.append(render.sessions((ListedSession(text, text, text, text, 1, text, text, text),), None, NOW))
    shown.append(render.told(Told(Tone.ERROR, (text, text))))
    for renderable in shown:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", drawn(renderable))


def test_colours_of_a_command_leave_no_trace() -> None:
    assert render.plain("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07\r\n") == "red link\n"


def test_an_answer_has_no_spaces_at_the_ends_of_its_lines() -> None:
    """Else a terminal that gets narrower breaks every line there."""
    console = Console(file=StringIO(), width=60, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(render.item(ITEMS["agent"]))
        console.print(render.item(message(Role.AGENT, "| a | b |\n|---|---|\n| 1 | 2 |\n\n> said")))
    lines = captured.get().splitlines()
    assert "▌ said" in lines
    assert [line for line in lines if line != line.rstrip()] == []


def test_what_is_to_be_permitted_cannot_look_like_something_else() -> None:
    edit = call("edit", "Edit a\u202etxt.exe", "pending", Diff("/w/a", "one\n", "\u2066if admin\u2069\n"))
    shown = drawn(render.question(PermissionQuestion("s-1", edit, ())))
    assert "Edit a[U+202E]txt.exe (edit)" in shown
    assert "+[U+2066]if admin[U+2069]" in shown
