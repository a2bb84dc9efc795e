"""What became of a cut turn's edits and commands: the disk and the processes are believed, not the last word."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from sessions.aftermath import READ_BYTES, Aftermath, of_turn, state_of
from sessions.journal import Entry, Payload
from sessions.report import CommandState, EditState, FileChange, Orphan, Unfinished

APPLIED, NOT_APPLIED, CHANGED, UNKNOWN = EditState

Diff = tuple[str | None, str]


def edit(path: Path | str, *diffs: Diff, status: str = "in_progress", whole: str = "") -> Entry:
    """An edit as the agent journals it; a write has the whole text among its arguments."""
    content: list[JsonValue] = []
    for old, new in diffs:
        diff: Payload = {"type": "diff", "path": str(path), "newText": new}
        content.append(diff if old is None else {**diff, "oldText": old})
    arguments: Payload = {"TargetFile": str(path)}
    if whole:
        arguments["CodeContent"] = whole
    payload: Payload = {
        "title": f"Edit {Path(path).name}",
        "kind": "edit",
        "status": status,
        "rawInput": arguments,
        "content": content,
    }
    return Entry(0, 1, "", "tool_call", payload, "")


def command(line: str, status: str = "in_progress") -> Entry:
    payload: Payload = {
        "title": f"`{line}`",
        "kind": "execute",
        "status": status,
        "rawInput": {"CommandLine": line},
    }
    return Entry(0, 1, "", "tool_call", payload, "")


# name: what the file holds (None: there is none), the diffs, whether they are all of the file, the state
EDITS: dict[str, tuple[str | None, Sequence[Diff], bool, EditState]] = {
    "made": ("new\n", [(None, "new")], True, APPLIED),
    "to be made, not there": (None, [(None, "new")], True, NOT_APPLIED),
    "to be made, cut in the middle": ("ne", [(None, "new")], True, CHANGED),
    "written over": ("new", [("old", "new")], True, APPLIED),
    "not written over": ("old", [("old", "new")], True, NOT_APPLIED),
    "written over by somebody else": ("old and new", [("old", "new")], True, CHANGED),
    "the file is gone": (None, [("old", "new")], True, CHANGED),
    "other line ends": ("a\r\nnew\r\n", [("a\nold", "a\nnew")], True, APPLIED),
    "a large file written over": ("third", [("", "new")], True, CHANGED),
    "made, as its finished edit shows it": ("first\nnew\nlast", [(None, "new")], False, APPLIED),
    "replaced": ("a new b", [("old", "new")], False, APPLIED),
    "not replaced": ("a old b", [("old", "new")], False, NOT_APPLIED),
    "neither": ("a b", [("old", "new")], False, CHANGED),
    "both": ("old new", [("old", "new")], False, UNKNOWN),
    "inserted": ("a\nb\nc", [("a\nc", "a\nb\nc")], False, APPLIED),
    "inserted, the old text being a part of the new": ("a b", [("a", "a b")], False, APPLIED),
    "not inserted": ("a", [("a", "a b")], False, NOT_APPLIED),
    "taken away": ("a", [("a b", "a")], False, APPLIED),
    "not taken away": ("a b", [("a b", "a")], False, NOT_APPLIED),
    "deleted": ("rest", [("old", "")], False, APPLIED),
    "not deleted": ("rest old", [("old", "")], False, NOT_APPLIED),
    "two parts, both": ("x2 y2", [("x1", "x2"), ("y1", "y2")], False, APPLIED),
    "two parts, one": ("x2 y1", [("x1", "x2"), ("y1", "y2")], False, CHANGED),
    "two parts, none": ("x1 y1", [("x1", "x2"), ("y1", "y2")], False, NOT_APPLIED),
    "nothing is known of it": ("old", [], False, UNKNOWN),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_told_by_what_the_file_holds(name: str, tmp_path: Path) -> None:
    held, diffs, whole, expected = EDITS[name]
    path = tmp_path / "file.txt"
    if held is not None:
        path.write_bytes(held.encode())
    assert state_of(str(path), diffs, whole=whole) is expected
    # A journal entry says the same.
    entry = edit(path, *diffs, whole=diffs[0][1] if whole else "")
    (item,) = of_turn([entry]).unfinished
    assert item == Unfinished(kind="edit", title="Edit file.txt", state=expected, detail=str(path))


@given(st.text(min_size=1), st.text(min_size=1), st.text(), st.text())
def test_an_edit_that_was_made_is_never_called_otherwise(
    tmp_path_factory: pytest.TempPathFactory, old: str, new: str, before: str, after: str
) -> None:
    path = tmp_path_factory.mktemp("edit") / "file.txt"
    path.write_bytes((before + new + after).encode())
    assert state_of(str(path), [(before + old + after, before + new + after)], whole=True) is APPLIED
    assert state_of(str(path), [(old, new)], whole=False) in (APPLIED, UNKNOWN, NOT_APPLIED)
    if old not in before + new + after:
        assert state_of(str(path), [(old, new)], whole=False) is APPLIED


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "large", "relative", "null", "unreadable"])
def test_only_regular_files_of_a_size_are_read(kind: str, tmp_path: Path) -> None:
    path, outside = tmp_path / "file.txt", tmp_path / "secret.txt"
    outside.write_text("new")
    named = str(path)
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        path.write_bytes(b"x" * READ_BYTES + b"new")
    elif kind == "relative":
        named = os.path.relpath(outside)
    elif kind == "null":
        named += "\0"
    elif kind == "unreadable":
        named = f"{tmp_path}/{'n' * 300}"  # too long a name; permissions would not stop root
    assert state_of(named, [("old", "new")], whole=False) is UNKNOWN


def test_the_files_of_a_turn_are_those_of_all_its_edits(tmp_path: Path) -> None:
    def held(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    finished, open_, twice = held("finished", "new"), held("open", "old"), held("twice", "b")
    refused, refused_after = held("refused", "old"), held("after", "b")
    entries = [
        Entry(0, 1, "", "user_message", {"content": []}, ""),
        edit(finished, ("old", "new"), status="completed"),
        edit(twice, ("a", "b"), status="completed"),
        edit(twice, ("b", "c")),
        edit(refused, ("old", "new"), status="failed"),
        edit(refused_after, ("a", "b"), status="completed"),
        edit(refused_after, ("b", "c"), status="failed"),
        edit(held("done", "new"), ("old", "new"), status="failed"),
        edit(open_, ("old", "new")),
        command("make"),
    ]
    found = of_turn(entries)
    assert found.files == tuple(
        FileChange(path=str(path), state=state)
        for path, state in [
            (finished, APPLIED),
            (twice, APPLIED),
            (refused_after, APPLIED),
            (tmp_path / "done", APPLIED),
            (open_, NOT_APPLIED),
        ]
    )
    assert [item.title for item in found.unfinished] == ["Edit twice", "Edit open", "`make`"]


AT = "2026-11-22T10:00:00.000Z"
BEGAN = 1795341600.0  # the same moment


def orphan(line: str, pid: int = 7, *, ended: bool = True, since: str = AT) -> Orphan:
    return Orphan(pid=pid, command=line, since=since, ended=ended)


# name: the turn's calls, what was left, the state and detail of the last call
COMMANDS: dict[str, tuple[list[Entry], list[Orphan], CommandState, str | None]] = {
    "nothing is left": ([command("make")], [], CommandState.GONE, None),
    "the shell was ended": ([command("make all")], [orphan("bash -c make all")], CommandState.ENDED, "process 7"),
    "the shell became the command": (
        [command("make all")],
        [orphan("make  all")],
        CommandState.ENDED,
        "process 7",
    ),
    "a child of another name was ended": ([command("make")], [orphan("cc1 -O2")], CommandState.ENDED, "process 7"),
    "still running": ([command("make")], [orphan("make", ended=False)], CommandState.RUNNING, "process 7"),
    "one survived": (
        [command("make")],
        [orphan("make"), orphan("make", 8, ended=False)],
        CommandState.RUNNING,
        "process 8",
    ),
    "both ended": (
        [command("make")],
        [orphan("make"), orphan("make", 8)],
        CommandState.ENDED,
        "processes 7, 8",
    ),
    "what is left is another command's": (
        [command("serve", "completed"), command("make")],
        [orphan("serve")],
        CommandState.GONE,
        None,
    ),
    "it had not been allowed": ([command("make", "pending")], [orphan("cc1")], CommandState.GONE, None),
    "a part of a word is not it": ([command("x"), command("ls")], [orphan("tools")], CommandState.GONE, None),
    "that of an earlier turn is not it": (
        [command("make")],
        [orphan("make", ended=False, since="2026-11-22T09:59:00.000Z")],
        CommandState.GONE,
        None,
    ),
    "a very long one": (
        [command("x" * 900), command("y" * 900)],
        [orphan("bash -c " + "y" * 450)],
        CommandState.ENDED,
        "process 7",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_told_by_what_is_left_of_it(name: str) -> None:
    calls, left, state, detail = COMMANDS[name]
    item = of_turn(calls, left, began=BEGAN).unfinished[-1]
    assert (item.kind, item.state, item.detail) == ("execute", state, detail)


def test_an_answer_and_other_calls_have_no_state() -> None:
    read: Payload = {"title": "Read a.txt", "kind": "read", "status": "in_progress"}
    entries = [
        Entry(0, 1, "", "tool_call", read, ""),
        Entry(0, 1, "", "tool_call", {**read, "status": "completed"}, ""),
        Entry(0, 1, "", "agent_message", {}, "I will now\n" + "go on " * 40),
    ]
    found = of_turn(entries)
    assert found.unfinished[0] == Unfinished(kind="read", title="Read a.txt")
    answer = found.unfinished[1]
    assert (answer.kind, answer.state, len(found.unfinished)) == ("message", None, 2)
    assert answer.title.startswith("I will now go on")
    assert len(answer.title) == 80
    assert of_turn([]) == Aftermath((), ())
