"""The fixed script: it holds with the real agent and its offline model, and fails with agents that do worse."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from acp_agent.chat.fields import JsonObject
from acp_agent.chat.screen import Screen
from acp_agent.chat.script import play
from tests.chat.conftest import Book, MakeBook, Output, Step


def test_the_proof_holds_for_the_real_agent(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    finished = subprocess.run(
        (sys.executable, "-m", "tests.chat.checked_chat", "chat", "--offline"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "HOME": str(home), "TMPDIR": str(temporary)},
    )
    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.splitlines()[-1] == (
        "PROOF HOLDS: after the kill the model sees 5 messages, "
        "the 4 turns that the report promised and the new one."
    )
    assert "killed by SIGKILL" in finished.stdout
    assert "Resumed, interrupted: all 4 turns are in the model's context." in finished.stdout
    assert [path.name for path in temporary.iterdir() if path.name.startswith("acp-agent-chat-")] == []


QUESTION: JsonObject = {
    "sessionId": "s-1",
    "toolCall": {"toolCallId": "c"},
    "options": [{"optionId": "yes", "name": "Allow", "kind": "allow_once"}],
}
REPORT: JsonObject = {
    "outcome": "resumed",
    "reason": "interrupted",
    "summary": "",
    "turns": 4,
    "turnsInContext": 4,
    "turnsLost": 0,
}
TURN: tuple[Step, ...] = (("await", "session/prompt"), ("result", {"stopReason": "end_turn"}))
OPEN: tuple[Step, ...] = (("await", "session/new"), ("result", {"sessionId": "s-1"}), *TURN, *TURN)
EDIT: tuple[Step, ...] = (
    ("await", "session/prompt"),
    ("request", "session/request_permission", QUESTION),
    ("await", "answer"),
    ("raw", '{"jsonrpc": "2.0", "id": 5, "result": {"stopReason": "end_turn"}}\n'),
)


def says(text: str) -> Step:
    return ("update", {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})


def played(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[Path]]:
    """Play the script with a scripted agent; returns the last line and what was kept."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    output = Output()
    assert asyncio.run(play(book.command, Screen(Console(file=output, width=100)))) == 1
    return output.getvalue().splitlines()[-1], list(temporary.iterdir())


def test_an_agent_that_forgets_fails(book: MakeBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = book(
        *OPEN,
        *EDIT,
        ("await", "session/prompt"),
        *[says("word ")] * 5,
        more_lives=(
            (
                ("await", "session/load"),
                ("result", {"_meta": {"acp-agent/resume": REPORT}}),
                ("await", "session/prompt"),
                says("I can see 1 of your messages."),
                ("result", {"stopReason": "end_turn"}),
            ),
        ),
    )
    line, kept = played(forgetful, tmp_path, monkeypatch)
    assert line == (
        "PROOF FAILS: the edited file: expected 'status: final\\nowner: nobody\\n', seen "
        "'status: draft\\nowner: nobody\\n'; the replay: expected what was shown, seen item 1 (user message) is "
        "missing; item 2 (user message) is missing; item 3 (user message) is missing; item 4 (user message) is "
        "missing; item 5 (agent message) is missing; messages that the model sees: expected 5, seen 1"
    )
    assert (kept[0] / "workspace" / "notes.txt").exists()


@pytest.mark.parametrize(
    ("steps", "says_why"),
    [
        ((*OPEN, *EDIT, *TURN), "the turn that was to be cut ended by itself"),
        ((*OPEN, ("exit", 3)), "The agent process ended (exit status 3)."),
        ((*OPEN[:3], ("error", {"code": 1, "message": "The model failed."})), "The model failed."),
        ((OPEN[0], ("result", {})), "“sessionId” is missing"),
        ((OPEN[0],), "a step took more than 1 seconds"),
    ],
)
def test_a_script_that_cannot_be_played_to_its_end_fails(
    book: MakeBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[Step, ...], says_why: str
) -> None:
    if steps == (OPEN[0],):
        monkeypatch.setattr("acp_agent.chat.script._STEP_SECONDS", 1.0)
    line, kept = played(book(*steps), tmp_path, monkeypatch)
    assert line == f"PROOF FAILS: the script could not be played to its end: {says_why}"
    assert len(kept) == 1


def test_an_agent_that_does_not_start_fails(
    book: MakeBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = book()
    missing.command = (str(tmp_path / "no-such-program"),)
    line, _ = played(missing, tmp_path, monkeypatch)
    assert line.startswith(
        "PROOF FAILS: the script could not be played to its end: The agent could not be started"
    )
