"""The journal of a turn that was cut is completed with what the harness holds, each call in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from acp_agent.antigravity import catching_up
from acp_agent.showing import MessageShown, PlanShown, Shown, ToolShown, user_message
from acp_agent.steps import Source, Status, Step, ToolUse
from acp_agent.translate import Translator
from sessions.journal import Journal
from sessions.store import Store, new_session_id

CWD = PurePosixPath("/project")
HELPER = "abcdef0123456789" * 2
WRITE = ToolUse("create_file", {"TargetFile": "/project/a", "CodeContent": "x\n"})
WRITTEN = ToolUse("edit_file", {"file_path": "/project/a", "diff_block": []})
HELP = ToolUse("invoke_subagent", {"Subagents": [{"Role": "Reader", "Prompt": "Read."}]})
VIEW = ToolUse("view_file", {"file_path": "/project/a", "start_line": 0, "end_line": 2})
COMMAND = ToolUse("run_command", {"command_line": "make", "working_dir": "/project"})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Store(tmp_path).create(new_session_id(), cwd="/project") as session:
        yield Journal(session)


def put(journal: Journal, shown: Shown) -> None:
    match shown:
        case MessageShown():
            journal.stream(shown.kind, shown.key, shown.delta)
        case ToolShown():
            journal.put("tool_call", shown.key, shown.payload)
        case PlanShown():
            journal.put("plan", shown.key, shown.payload)


def test_each_call_gets_its_own_end_although_the_history_knows_fewer(journal: Journal) -> None:
    turn = journal.begin_turn("Do it.")
    journal.append("user_message", user_message(turn), {"content": [{"type": "text", "text": "Do it."}]})
    translator = Translator(turn, CWD)
    refused = translator.question(WRITE, None)
    seen: list[Shown] = [refused, translator.refused(refused.key, "Rejected: permission was not given.")]
    for step in (
        Step(2, Source.MODEL, Status.ACTIVE, tool=HELP),
        Step(0, Source.SYSTEM, Status.DONE, content="content=Read.", subagent=HELPER),
        Step(1, Source.MODEL, Status.DONE, tool=VIEW, subagent=HELPER),
    ):
        seen += translator.step(step)
    seen.append(translator.question(WRITE, None))
    seen += translator.step(Step(3, Source.MODEL, Status.ACTIVE, tool=WRITTEN))
    for shown in seen:
        put(journal, shown)
    before = {entry.key: entry.payload for entry in journal.entries(turn) if entry.kind == "tool_call"}

    history = [
        Step(0, Source.USER, Status.DONE, content="Do it."),
        Step(1, Source.MODEL, Status.ERROR, error="denied by policy"),
        Step(2, Source.MODEL, Status.DONE, tool=HELP),
        Step(3, Source.MODEL, Status.DONE, tool=WRITTEN, artifact="- [x] Write\n"),
        Step(4, Source.MODEL, Status.DONE, tool=COMMAND),
        Step(5, Source.MODEL, Status.DONE, content="Done."),
    ]
    for _ in range(2):  # the second time nothing is new
        catching_up.complete(journal, history, CWD, turns=1, whole=True)
        entries = list(journal.entries(turn))
        calls = {
            entry.key: (entry.payload["title"], entry.payload["status"])
            for entry in entries
            if entry.kind == "tool_call"
        }
        assert calls == {
            "call-1-1": ("Write a", "failed"),
            "call-1-2": ("Sub-agent: Reader", "completed"),
            "call-1-3": ("Reader: Read a", "completed"),
            "call-1-4": ("Write a", "completed"),
            "call-1-5": ("`make`", "completed"),
        }
        payloads = {entry.key: entry.payload for entry in entries}
        assert payloads["call-1-1"] == before["call-1-1"]
        assert payloads["call-1-3"] == before["call-1-3"]
        assert [entry.text for entry in entries if entry.kind == "agent_message"] == ["Done."]
        assert sum(entry.kind == "plan" for entry in entries) == 1
