"""What a turn shows, live and again on replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from acp_agent.showing import (
    CompactionShown,
    MessageShown,
    PlanShown,
    Shown,
    Told,
    ToolShown,
    replay,
    user_message,
)
from acp_agent.steps import Source, Status, Step, ToolUse
from acp_agent.toolcalls import Json
from acp_agent.translate import Translator
from sessions.journal import Entry, Kind

CWD = PurePosixPath("/project")
OPEN = ("pending", "in_progress")
End = Literal["ended", "cancelled", "failed"]
ENDS: tuple[End, ...] = ("ended", "cancelled", "failed")


# --- Two readers of what is sent -----------------------------------------------------


def folded(updates: Iterable[Json]) -> dict[str, Json]:
    """What a client has on its screen: chunks joined by message id, tool calls merged by tool call id."""
    screen: dict[str, Json] = {}
    for update in updates:
        body = dict(update)
        kind = body.pop("sessionUpdate")
        if kind == "tool_call":
            key = str(body.pop("toolCallId"))
            assert key not in screen, f"{key} is opened twice"
            screen[key] = body
        elif kind == "tool_call_update":
            call = screen[str(body.pop("toolCallId"))]
            assert call["status"] in OPEN or not body, "what has ended changes no more"
            call.update(body)
        elif kind == "plan":
            screen["plan"] = body
        elif kind == "compaction_update":
            screen[str(body.pop("compactionId"))] = {"compaction": body["status"]}
        else:
            content = body["content"]
            assert isinstance(content, dict)
            message = screen.setdefault(str(body["messageId"]), {"kind": kind, "text": ""})
            assert message["kind"] == kind
            message["text"] = f"{message['text']}{content['text']}"
    return screen


def journalled(shown: Sequence[Shown]) -> list[Entry]:
    """The entries that the journal holds after these were given to its `stream` and `put`."""
    entries: list[Entry] = []
    places: dict[str, int] = {}
    kinds: dict[type, Kind] = {ToolShown: "tool_call", PlanShown: "plan", CompactionShown: "compaction"}
    streaming: tuple[str, str] | None = None
    for item in shown:
        if isinstance(item, Told):
            continue
        if isinstance(item, MessageShown):
            if streaming == (item.kind, item.key):
                entries[-1] = replace(entries[-1], text=entries[-1].text + item.delta)
            else:
                entries.append(Entry(len(entries), 1, item.key, item.kind, {}, item.delta))
            streaming = (item.kind, item.key)
        elif item.key in places:
            place = places[item.key]
            entries[place] = replace(entries[place], payload=item.payload)
        else:
            places[item.key] = len(entries)
            entries.append(Entry(len(entries), 1, item.key, kinds[type(item)], item.payload, ""))
            streaming = None
    return entries


def replayed(shown: Sequence[Shown]) -> dict[str, Json]:
    return folded(update for entry in journalled(shown) for update in replay(entry))


def live(shown: Sequence[Shown]) -> dict[str, Json]:
    return folded(update for item in shown if not isinstance(item, Told) for update in item.updates())


# --- Any turn ------------------------------------------------------------------------

Move = Callable[[Translator], Sequence[Shown]]


@dataclass
class Lane:
    """One thing that happens in a turn: the moves it consists of, and what must be on the screen in the end."""

    moves: list[Move] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    calls: int = 0
    errors: int = 0

    def send(self, step: Step) -> None:
        self.moves.append(lambda translator: translator.step(step))


@st.composite
def text_lanes(draw: st.DrawFn, index: int) -> Lane:
    lane = Lane()
    thinking, content = "", ""
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            thinking += draw(st.text(max_size=4))
        else:
            content += draw(st.text(max_size=4))
        lane.send(Step(index, Source.MODEL, Status.ACTIVE, content=content, thinking=thinking))
    if draw(st.booleans()):
        lane.send(Step(index, Source.MODEL, Status.DONE, content=content, thinking=thinking))
    lane.texts = [text for text in (thinking, content) if text]
    return lane


GUARDED = {
    "write": (
        ToolUse("create_file", {"TargetFile": "/project/a", "CodeContent": "x\n"}),
        ToolUse("edit_file", {"file_path": "/project/a"}),
    ),
    "edit": (
        ToolUse("edit_file", {"TargetFile": "/project/a", "TargetContent": "x", "ReplacementContent": "y"}),
        ToolUse("edit_file", {"file_path": "/project/a"}),
    ),
    "command": (
        ToolUse("run_command", {"CommandLine": "ls", "Cwd": "/project"}),
        ToolUse("run_command", {"command_line": "ls", "working_dir": "/project"}),
    ),
    "mcp": (ToolUse("deploy", {"to": "x"}, server="ops"), ToolUse("deploy", {"to": "x"}, server="ops")),
}
FREE = {
    "view": ToolUse("view_file", {"file_path": "/project/a", "start_line": 0, "end_line": 799}),
    "list": ToolUse("list_directory", {"directory_path": "/project"}),
    "search": ToolUse("search_directory", {"query": "x"}),
}


@st.composite
def tool_lanes(draw: st.DrawFn, index: int) -> Lane:
    lane = Lane(calls=1)
    name = draw(st.sampled_from([*GUARDED, *FREE]))
    tool = FREE[name] if name in FREE else GUARDED[name][1]
    if name in GUARDED:
        question = GUARDED[name][0]
        existing = draw(st.none() | st.text(max_size=3))
        asked: list[ToolShown] = []

        def ask(translator: Translator) -> Sequence[Shown]:
            asked.append(translator.question(question, existing))
            return asked

        lane.moves.append(ask)
        answer = draw(st.sampled_from(["allowed", "allowed", "refused", "none"]))
        if answer == "refused":
            lane.moves.append(
                lambda translator: [translator.refused(asked[0].key, "Rejected: permission was not given.")]
            )
            lane.send(Step(index, Source.MODEL, Status.ERROR, error="denied"))
        if answer != "allowed":
            return lane
    for _ in range(draw(st.integers(1, 2))):
        lane.send(Step(index, Source.MODEL, Status.ACTIVE, tool=tool, content="a summary"))
    end = draw(st.sampled_from([None, Status.DONE, Status.ERROR, Status.CANCELED]))
    for _ in range(draw(st.integers(1, 2)) if end else 0):
        results: Json = {"exit_code": 1, "combined_output": "no\r\n", "diff_block": [], "end_line": 3}
        done = replace(tool, args={**tool.args, **results})
        lane.send(Step(index, Source.MODEL, end or Status.DONE, tool=done, error="broken"))
    return lane


@st.composite
def error_lanes(draw: st.DrawFn, index: int) -> Lane:
    lane = Lane(errors=1)
    for _ in range(draw(st.integers(1, 2))):
        lane.send(Step(index, Source.SYSTEM, Status.ERROR, error="The tool call is invalid."))
    return lane


@st.composite
def silent_lanes(draw: st.DrawFn, index: int) -> Lane:
    lane = Lane()
    if draw(st.booleans()):
        lane.send(Step(index, Source.USER, Status.DONE, content="the prompt"))
    else:
        retry = f"Encountered retryable error from model provider: {draw(st.text(max_size=4))}"
        lane.send(Step(index, Source.SYSTEM, Status.ERROR, error=retry, http_code=503))
    return lane


@st.composite
def subagent_lanes(draw: st.DrawFn, index: int) -> Lane:
    lane = Lane(calls=2)
    helper = "abcdef0123456789" * 2
    call = ToolUse(
        "invoke_subagent", {"Subagents": [{"Role": "Reader", "Prompt": "Read."}]} if draw(st.booleans()) else {}
    )
    lane.send(Step(index, Source.MODEL, Status.ACTIVE, tool=call, content="A helper"))
    lane.send(Step(0, Source.SYSTEM, Status.DONE, content="[Message] content=Read.", subagent=helper))
    done = Step(index, Source.MODEL, Status.DONE, tool=call)
    tool = Step(
        1, Source.MODEL, draw(st.sampled_from([Status.ACTIVE, Status.DONE])), tool=FREE["view"], subagent=helper
    )
    for step in draw(st.permutations([done, tool])):
        lane.send(step)
    lane.send(Step(2, Source.MODEL, Status.DONE, content="I have read it.", subagent=helper))
    if draw(st.booleans()):
        idle = f"Subagent {helper} has gone idle. This was the subagent's most recent response: I have read it."
        lane.send(Step(index + 100, Source.SYSTEM, Status.DONE, content=idle))
    return lane


@st.composite
def compaction_lanes(draw: st.DrawFn, index: int) -> Lane:
    lane = Lane()
    for status in draw(st.sampled_from([(Status.ACTIVE,), (Status.ACTIVE, Status.ACTIVE, Status.DONE)])):
        lane.send(Step(index, Source.SYSTEM, status, content="Context compaction", compaction=True))
    return lane


@st.composite
def plan_lanes(draw: st.DrawFn, index: int) -> Lane:
    lane = Lane(calls=1)
    tool = ToolUse("edit_file", {"file_path": "/brain/task.md"})
    marks = draw(st.lists(st.sampled_from(" /x"), max_size=3))
    document = "".join(f"- [{mark}] Task\n" for mark in marks)
    lane.send(Step(index, Source.MODEL, Status.DONE, tool=tool, artifact=document))
    return lane


@st.composite
def turns(draw: st.DrawFn) -> tuple[list[Lane], list[Move]]:
    """Lanes, and their moves in any order that keeps the order within each."""
    kinds = [text_lanes, text_lanes, tool_lanes, tool_lanes, tool_lanes, error_lanes, silent_lanes]
    chosen = draw(st.lists(st.sampled_from([*kinds, compaction_lanes, plan_lanes]), min_size=1, max_size=6))
    if draw(st.booleans()):
        chosen.append(subagent_lanes)
    lanes = [draw(kind(index)) for index, kind in enumerate(chosen)]
    order = draw(st.permutations([number for number, lane in enumerate(lanes) for _ in lane.moves]))
    left = [list(lane.moves) for lane in lanes]
    return lanes, [left[number].pop(0) for number in order]


def ended(bodies: dict[str, Json]) -> dict[str, Json]:
    """Messages, and what has ended of the rest."""
    return {
        key: body
        for key, body in bodies.items()
        if body.get("status") not in OPEN
        and "Interrupted: the agent was stopped" not in str(body.get("content"))
        and body.get("compaction") not in ("in_progress", "cancelled")
    }


@given(turns(), st.sampled_from(ENDS))
def test_live_and_replay_show_the_same_and_nothing_is_lost_doubled_or_left_open(
    turn: tuple[list[Lane], list[Move]], how: End
) -> None:
    lanes, moves = turn
    translator = Translator(1, CWD)
    shown: list[Shown] = []
    for move in moves:
        shown += move(translator)
        # What is still open is closed in a replay; everything else is the same at any moment.
        assert ended(live(shown)) == ended(replayed(shown))
    shown += translator.finish(how)

    screen = live(shown)
    assert screen == replayed(shown)
    assert list(screen) == list(replayed(shown)), "in the same order"

    calls = [body for body in screen.values() if "status" in body]
    assert not [body for body in calls if body["status"] in OPEN]
    texts = [body["text"] for body in screen.values() if "text" in body]
    assert sorted(map(str, texts)) == sorted(text for lane in lanes for text in lane.texts)
    assert all(item.delta for item in shown if isinstance(item, MessageShown)), "an empty chunk is none"

    expected, errors = sum(lane.calls for lane in lanes), sum(lane.errors for lane in lanes)
    invalid = sum(body["title"] == "Invalid tool call" for body in calls)
    assert len(calls) - invalid == expected
    # An error that nothing follows is the turn's own and is answered as an error of the prompt.
    assert invalid == errors if how == "ended" else errors - 1 <= invalid <= errors

    assert translator.finish(how) == [], "once closed, nothing is closed again"


def test_the_order_of_a_turn_is_the_order_on_the_screen() -> None:
    translator = Translator(3, CWD)
    shown = [
        *translator.step(Step(1, Source.MODEL, Status.ACTIVE, thinking="Hm")),
        *translator.step(Step(1, Source.MODEL, Status.ACTIVE, thinking="Hmm.", content="I rea")),
        *translator.step(Step(2, Source.MODEL, Status.ACTIVE, tool=FREE["view"])),
        *translator.step(Step(1, Source.MODEL, Status.DONE, thinking="Hmm.", content="I read it.")),
        *translator.step(Step(3, Source.MODEL, Status.DONE, content="Done.")),
    ]
    assert list(live(shown)) == ["thought-3-1", "message-3-2", "call-3-1", "message-3-3"]


def test_text_that_the_harness_replaces_follows_as_a_message_of_its_own() -> None:
    translator = Translator(1, CWD)
    shown = [
        item
        for content in ("One", "One, two", "", "Three", "Three, four")
        for item in translator.step(Step(1, Source.MODEL, Status.ACTIVE, content=content))
    ]
    assert [body["text"] for body in live(shown).values()] == ["One, two", "Three, four"]


# --- Turns in the order and the shapes of the SDK --------------------------------------------

FILE = "/project/notes.txt"


def line(text: str, action: str) -> JsonValue:
    return {"text": text, "action": f"LINE_ACTION_{action}"}


def block(start: int, end: int, *lines: JsonValue) -> JsonValue:
    return {"start_line": start, "end_line": end, "lines": list(lines)}


def tool_step(status: Status, tool: ToolUse, index: int = 4, error: str = "") -> Step:
    return Step(index, Source.MODEL, status, content="the model's own summary", tool=tool, error=error)


WRITE = ToolUse(
    "create_file", {"CodeContent": "one\ntwo\n", "Description": "A list", "Overwrite": True, "TargetFile": FILE}
)
WRITING = ToolUse("edit_file", {"file_path": FILE})
WRITTEN = ToolUse(
    "edit_file",
    {
        "file_path": FILE,
        "diff_block": [block(0, 0, line("one", "INSERT"), line("two", "INSERT"), line("", "INSERT"))],
    },
)
EDIT = ToolUse(
    "edit_file",
    {"TargetFile": FILE, "TargetContent": "two", "ReplacementContent": "three", "StartLine": 2, "EndLine": 2},
)
EDITED = ToolUse(
    "edit_file",
    {
        "file_path": FILE,
        "diff_block": [
            block(0, 3, line("one", "NONE"), line("two", "DELETE"), line("three", "INSERT"), line("", "NONE"))
        ],
    },
)
COMMAND = ToolUse(
    "run_command", {"CommandLine": "echo hi; echo there", "Cwd": "/project", "WaitMsBeforeAsync": 500}
)
RUNNING = ToolUse("run_command", {"command_line": "echo hi; echo there", "working_dir": "/project"})
RAN = replace(RUNNING, args={**RUNNING.args, "exit_code": 0, "combined_output": "hi\r\nthere\r\n"})
LEFT_RUNNING = replace(RUNNING, args={**RUNNING.args, "combined_output": "hi\r\n"})
EDITED_TWICE = ToolUse(
    "edit_file",
    {
        "file_path": FILE,
        "diff_block": [
            block(0, 1, line("one", "DELETE"), line("1", "INSERT")),
            block(7, 8, line("eight", "NONE"), line("nine", "INSERT")),
        ],
    },
)
EMPTIED = ToolUse(
    "edit_file", {"file_path": FILE, "diff_block": [block(0, 2, line("one", "DELETE"), line("two", "DELETE"))]}
)
LISTED = ToolUse(
    "list_directory",
    {
        "directory_path": "/project",
        "results": [{"name": "notes.txt", "file_size": "12"}, {"name": "sub", "is_directory": True}],
    },
)
SEARCHING = ToolUse("search_directory", {"directory_path": "/project/sub", "query": "two", "num_results": 0})
SEARCHED = replace(SEARCHING, args={**SEARCHING.args, "num_results": 1})
FOUND = ToolUse(
    "find_file",
    {"directory_path": "/project", "query": "*.txt", "output": "\n".join(f"{n}.txt" for n in range(60))},
)
WEB = ToolUse("search_web", {"query": "steam", "domain": "", "summary": "It is water."})
PAGE = ToolUse(
    "read_url_content", {"url": "http://steam/", "title": "Steam", "summary": "", "content_path": "/c.md"}
)
IMAGE = ToolUse("generate_image", {"prompt": "a cat", "image_name": "cat", "output_path": "/brain/cat.png"})
WORKFLOW = ToolUse(
    "run_workflow", {"script": "print(1)", "script_path": "", "description": "Count", "output": "Output:\n1"}
)
FINISH = ToolUse("finish", {"output_string": '{"answer": 42}'})
VIEWING = ToolUse("view_file", {"file_path": FILE, "start_line": 0, "end_line": 799})
VIEWED = ToolUse("view_file", {"file_path": FILE, "start_line": 0, "end_line": 2})
INVALID = Step(5, Source.SYSTEM, Status.ERROR, error="invalid arguments: TargetFile is missing")
AFTERWARDS = Step(6, Source.MODEL, Status.DONE, content="I try again.")


def asked(tool: ToolUse, existing: str | None, *then: Step, allowed: bool = True) -> Move:
    def move(translator: Translator) -> list[Shown]:
        question = translator.question(tool, existing)
        shown: list[Shown] = [question]
        if not allowed:
            shown.append(translator.refused(question.key, "Rejected: permission was not given."))
        return shown + [item for step in then for item in translator.step(step)]

    return move


def streamed(*steps: Step) -> Move:
    return lambda translator: [item for step in steps for item in translator.step(step)]


REAL: dict[str, Move] = {
    "a new file is written": asked(
        WRITE,
        None,
        tool_step(Status.ACTIVE, WRITING),
        tool_step(Status.ACTIVE, WRITING),
        tool_step(Status.DONE, WRITTEN),
        tool_step(Status.DONE, WRITTEN),
    ),
    "a file is edited": asked(
        EDIT, "one\ntwo\n", tool_step(Status.ACTIVE, WRITING), tool_step(Status.DONE, EDITED)
    ),
    "a file is edited in two places": asked(EDIT, "one\ntwo\n", tool_step(Status.DONE, EDITED_TWICE)),
    "a file is emptied": asked(EDIT, "one\ntwo\n", tool_step(Status.DONE, EMPTIED)),
    "a folder is listed": streamed(tool_step(Status.DONE, LISTED)),
    "a folder is searched": streamed(tool_step(Status.ACTIVE, SEARCHING), tool_step(Status.DONE, SEARCHED)),
    "files are found": streamed(tool_step(Status.DONE, FOUND)),
    "the web is searched and read": streamed(tool_step(Status.DONE, WEB), tool_step(Status.DONE, PAGE, index=5)),
    "an image is made": streamed(tool_step(Status.DONE, IMAGE)),
    "a workflow is run": streamed(tool_step(Status.DONE, WORKFLOW)),
    "the turn is finished with a result": streamed(tool_step(Status.DONE, FINISH)),
    "a tool without a form": streamed(
        tool_step(Status.ACTIVE, ToolUse("", {})),
        replace(tool_step(Status.DONE, ToolUse("schedule", {"Prompt": "Wake up."})), result="Finished waiting."),
    ),
    "a tool of which nothing is known fails": streamed(
        tool_step(Status.ACTIVE, ToolUse("", {})), Step(4, Source.MODEL, Status.ERROR, error="no such task")
    ),
    "a command is run": asked(COMMAND, None, tool_step(Status.ACTIVE, RUNNING), tool_step(Status.DONE, RAN)),
    "a command is left running in the background": asked(COMMAND, None, tool_step(Status.DONE, LEFT_RUNNING)),
    "a command is cancelled": asked(
        COMMAND, None, tool_step(Status.ACTIVE, RUNNING), tool_step(Status.CANCELED, RUNNING)
    ),
    "a file is viewed": streamed(tool_step(Status.ACTIVE, VIEWING), tool_step(Status.DONE, VIEWED)),
    "a view fails": streamed(tool_step(Status.ERROR, VIEWING, error="no such file")),
    "a question is refused": asked(
        EDIT,
        "one\ntwo\n",
        Step(4, Source.MODEL, Status.ERROR, error="denied by policy"),
        AFTERWARDS,
        allowed=False,
    ),
    "a tool call is invalid and the turn goes on": streamed(INVALID, INVALID, AFTERWARDS, INVALID),
    "tools of an MCP server that are named like the harness's": asked(
        replace(EDIT, server="ops"),
        "one\ntwo\n",
        tool_step(Status.DONE, replace(EDITED, server="ops")),
        tool_step(Status.DONE, replace(RAN, server="ops"), index=5),
    ),
}


def test_what_such_turns_show(snapshot: SnapshotAssertion) -> None:
    told: dict[str, list[Json]] = {}
    for name, move in REAL.items():
        translator = Translator(2, CWD)
        shown = [*move(translator), *translator.finish("ended")]
        assert live(shown) == replayed(shown)
        told[name] = [update for item in shown if not isinstance(item, Told) for update in item.updates()]
    # As JSON, since that is what is sent, with every character of the texts in sight.
    assert told == snapshot(extension_class=JSONSnapshotExtension)


@pytest.mark.parametrize("how", ENDS)
def test_the_last_error_of_a_failed_turn_is_not_shown_as_a_tool_call(how: End) -> None:
    translator = Translator(1, CWD)
    fatal = Step(5, Source.SYSTEM, Status.ERROR, error="terminated due to error")
    assert [*translator.step(fatal), *translator.step(fatal)] == []
    assert len(translator.finish(how)) == (how == "ended")


def test_a_step_belongs_to_the_first_question_about_its_subject_that_was_not_refused() -> None:
    translator = Translator(1, CWD)
    refused, first, second = (translator.question(EDIT, "one\ntwo\n") for _ in range(3))
    shown: list[Shown] = [
        refused,
        first,
        second,
        translator.refused(refused.key, "Rejected: permission was not given."),
    ]
    shown += translator.step(tool_step(Status.DONE, EDITED, index=4))
    statuses = [body["status"] for body in live(shown).values()]
    assert statuses == ["failed", "completed", "pending"]
    shown += translator.step(tool_step(Status.DONE, EDITED, index=5))
    assert live(shown)[second.key]["status"] == "completed"


def test_an_answer_that_comes_after_the_end_of_the_turn_changes_nothing() -> None:
    translator = Translator(1, CWD)
    question = translator.question(COMMAND, None)
    closed = translator.finish("cancelled")
    late = translator.refused(question.key, "Rejected: permission was not given.")
    assert live([question, *closed, late]) == live([question, *closed]) == replayed([question, *closed, late])


# --- Replay --------------------------------------------------------------------------


def entry(kind: Kind, payload: Json, text: str = "") -> Entry:
    return Entry(7, 2, "key", kind, payload, text)


def test_a_prompt_is_replayed_block_by_block_under_one_id() -> None:
    blocks: list[JsonValue] = [{"type": "text", "text": "Look: "}, {"type": "image", "mimeType": "image/png"}]
    prompt = replace(entry("user_message", {"content": blocks}), key=user_message(2))
    assert replay(prompt) == [
        {"sessionUpdate": "user_message_chunk", "messageId": "prompt-2", "content": block} for block in blocks
    ]


def test_an_empty_message_is_not_replayed() -> None:
    assert replay(entry("agent_message", {})) == []


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "failed"])
def test_what_a_killed_process_left_open_is_closed_with_what_it_had(status: str) -> None:
    content: list[JsonValue] = [{"type": "diff", "path": FILE, "newText": "x"}]
    payload: Json = {"title": "Edit notes.txt", "status": status, "content": content}
    (shown,) = replay(entry("tool_call", payload))
    expected = payload
    if status in OPEN:
        note = "Interrupted: the agent was stopped before this ended."
        added: JsonValue = {"type": "content", "content": {"type": "text", "text": note}}
        expected = {**payload, "status": "failed", "content": [*content, added]}
    assert shown == {"sessionUpdate": "tool_call", "toolCallId": shown["toolCallId"], **expected}
