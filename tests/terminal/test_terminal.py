"""What a person does in a day: talk, allow an edit, lose the agent in a turn, come back, look at everything."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import psutil
import pytest
from prompt_toolkit.utils import get_cwidth
from syrupy.assertion import SnapshotAssertion

from tests.terminal.conftest import Chat
from tests.terminal.tmux import Tmux

pytestmark = pytest.mark.tmux

EDIT = '!replace_file_content notes.txt "status: draft" "status: final"'
SIZES = pytest.mark.parametrize("size", [(80, 24), (40, 15)], ids=["80x24", "40x15"])
COLOUR = re.compile(r"\x1b\[[0-9;]*?(?:3[0-7]|4[0-7]|9[0-7]|[34]8;)[0-9;]*m")
FORM = {"questions": [{"question": "Which bird?", "options": ["heron", "wren"]}]}


def normal(shown: str) -> str:
    """A screen without ids, times, process ids and the places of a test."""
    for pattern, instead in (
        (r"[0-9a-f]{32}", "(id)"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d", "YYYY-MM-DD HH:MM"),
        (r"\b\d+(\.\d+)? ms\b|\b\d+\.\d s\b", "(ms)"),
        (r"just now|\d+ min ago", "(ago)"),
        (r"word\d+", "word"),
        (r"(word ?\n?)+", "word …"),
        (r"\d+(\.\d+)?k/1\.05M", "(used)"),
    ):
        shown = re.sub(pattern, instead, shown)
    return shown


def fits(terminal: Tmux, width: int) -> None:
    assert all(get_cwidth(line) <= width for line in terminal.screen(scrollback=True).splitlines())


@SIZES
def test_a_day(chat: Chat, workspace: Path, size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    with_colours = size == (80, 24)
    terminal = chat(size=size, **({} if with_colours else {"NO_COLOR": "1"}))
    terminal.shows("session ")
    terminal.say("My favourite bird is the heron.")
    terminal.shows("turn 1 saved")
    terminal.say(EDIT)
    terminal.shows("Enter rejects")
    styled = terminal.screen(styled=True)
    assert bool(COLOUR.search(styled)) == with_colours
    if with_colours:
        assert re.search(r"\x1b\[32m\+status: final", styled)
        assert re.search(r"\x1b\[31m-status: draft", styled)
    terminal.say("1")
    terminal.shows("turn 2 saved")
    assert (workspace / "notes.txt").read_text(encoding="utf-8") == "status: final\nowner: nobody\n"
    terminal.say("!stream 400 20")
    terminal.shows("word3", "the turn", "Ctrl-C cancels")
    terminal.say("/kill")
    terminal.shows("killed by SIGKILL")
    terminal.say("/sessions")
    terminal.shows("Enter loads", "favourite")
    assert normal(terminal.screen().split("> /sessions")[-1]) == snapshot(name="picker")
    terminal.press("Enter")
    terminal.until(lambda shown: "wanted." in shown and "loading" not in shown)
    panel = terminal.screen(scrollback=True).split("> /sessions")[-1].split("╭")[-1].split("╰")[0]
    assert normal(panel) == snapshot(name="panel")
    terminal.say("How many?")
    terminal.until(lambda shown: "I can see 4 of your messages" in " ".join(shown.split()), scrollback=True)
    terminal.shows("turn 4 saved")
    fits(terminal, size[0])
    assert bool(COLOUR.search(terminal.screen(styled=True, scrollback=True))) == with_colours
    terminal.press("C-d")
    assert terminal.ends() == 0
    assert "brings" in terminal.screen()


def test_sessions_are_picked_and_forms_filled_in(chat: Chat) -> None:
    first = chat()
    first.shows("session ")
    first.say("About herons.")
    first.shows("turn 1 saved")
    first.say("/new")
    first.shows("new session")
    first.say("About wrens.")
    first.shows("turn 1 saved", "About wrens. ·")
    first.say(f"!call ask_question {json.dumps(FORM)}")
    first.shows("1-2, Enter skips")
    first.say("2")
    first.shows("a text, Enter skips")
    first.say("for its song")
    first.until(lambda shown: "wren" in shown and "turn 2 saved" in shown)
    assert "for its song" in first.screen(scrollback=True)
    first.say("/quit")
    assert first.ends() == 0

    second = chat("--pick", "--no-color")
    second.shows("About herons.", "About wrens.", "filter:")
    second.type("herons")
    second.shows("1 of 2")
    second.press("Enter")
    second.shows("Resumed, verified: the only turn is in the model's context.", "About herons. ·")
    second.say("/set mode plan")
    second.shows("Mode: Plan", "· Plan ·")
    second.press("BTab")
    second.shows("· Autonomous ·")
    second.type("/set model ")
    second.shows("1,048,576 tokens")
    second.press("C-c")
    second.press("C-c")
    second.shows("Ctrl-C again leaves")
    second.press("C-c")
    assert second.ends() == 0
    assert not COLOUR.search(second.screen(styled=True, scrollback=True))

    last = chat("--last", size=(40, 24), TERM="dumb")
    last.shows("Resumed, verified: both turns are in the model's context.")
    assert "Session loaded" not in last.screen()
    last.say("/sessions")
    last.shows("1. About wrens.", "2. About herons.")
    last.say("/load 2")
    last.shows("the only turn is in the model's context")
    last.say("/quit")
    assert last.ends() == 0


def test_images_plans_and_what_is_typed_while_a_turn_runs(chat: Chat, workspace: Path) -> None:
    terminal = chat("--cwd", str(workspace))
    terminal.shows("session ")
    terminal.say("What is in @bird.pn")
    terminal.shows("sent as text, since there is no such file: bird.pn", "turn 1 saved")
    terminal.say("/image missing.png What is it?")
    terminal.shows("There is no file missing.png.", "/image missing.png What is it?")
    terminal.press("C-e", "C-u")
    terminal.type("What is in @bi")
    terminal.shows("bird.png")
    terminal.press("Tab")
    terminal.press("Enter", "Enter")
    terminal.shows("1 image (image/png", "turn 2 saved")
    terminal.say("!stream 200 20")
    terminal.shows("word3")
    terminal.paste("two\nlines")
    terminal.press("Enter")
    terminal.shows("1 waiting", "(waits until the turn is done)")
    terminal.press("C-c")
    terminal.shows("The turn ended early: cancelled.")
    terminal.shows("turn 4 saved")
    terminal.press("C-r")
    terminal.type("bird.png")
    terminal.press("Enter")
    terminal.until(
        lambda shown: any(line.startswith("> What is in @bird.png") for line in shown.splitlines()[-3:])
    )
    terminal.press("C-e", "C-u")
    terminal.resize(40, 15)
    terminal.say("/help")
    terminal.shows("twice it leaves")
    terminal.say("/quit")
    assert terminal.ends() == 0
    history = workspace.parent / "home" / ".local" / "state" / "acp-agent" / "chat-history"
    assert history.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_an_ended_client_leaves_a_usable_terminal_and_no_process(chat: Chat, how: signal.Signals) -> None:
    terminal = chat()
    terminal.shows("session ")
    terminal.say("!stream 400 20")
    terminal.shows("word3")
    client = psutil.Process(terminal.pid())
    children = client.children(recursive=True)
    assert children
    os.kill(client.pid, how)
    assert terminal.ends() == 0
    assert "is kept" in terminal.screen()
    assert "the turn" not in terminal.screen().splitlines()[-1]
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, gone
