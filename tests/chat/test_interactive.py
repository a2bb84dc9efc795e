"""The interactive client against a scripted agent: over pipes in plain lines, and at a terminal key by key."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat.fields import JsonObject
from acp_agent.chat.interactive import Interactive, Start
from acp_agent.chat.lines import Lines
from acp_agent.chat.screen import Screen
from tests.chat.conftest import Book, MakeBook, Output, Step

CHECKPOINT: JsonObject = {"turn": 1, "steps": 2, "at": "2026-11-22T10:00:00Z", "durable": True, "ms": 3.5}
UNSAVED: JsonObject = {**CHECKPOINT, "turn": 2, "durable": False, "reason": "The disk is full"}
NEW: tuple[Step, ...] = (("await", "session/new"), ("result", {"sessionId": "s-1"}))
REPORT: JsonObject = {
    "outcome": "resumed",
    "reason": "interrupted",
    "summary": "",
    "turns": 1,
    "turnsInContext": 1,
    "turnsLost": 0,
    "interrupted": {"turn": 1, "unfinished": []},
}
REOPENED: JsonObject = {
    "sessionUpdate": "notice",
    "severity": "warning",
    "title": "Session reopened",
    "_meta": {"acp-agent/resume": REPORT},
}
QUESTION: JsonObject = {
    "sessionId": "s-1",
    "toolCall": {"toolCallId": "c", "kind": "edit", "title": "Edit notes.txt"},
    "options": [
        {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
        {"optionId": "no", "name": "Reject", "kind": "reject_once"},
    ],
}


def message(text: str, message_id: str = "m-1", kind: str = "agent_message_chunk") -> Step:
    update: JsonObject = {
        "sessionUpdate": kind,
        "messageId": message_id,
        "content": {"type": "text", "text": text},
    }
    return ("update", update)


def done(stop_reason: str = "end_turn", checkpoint: JsonObject = CHECKPOINT) -> Step:
    return ("result", {"stopReason": stop_reason, "_meta": {"acp-agent/checkpoint": checkpoint}})


@dataclass
class Talk:
    """A running client: what it shows, and a hand on its keyboard."""

    output: Output
    keyboard: int
    client: asyncio.Task[int]

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    async def until(self, holds: Callable[[str], bool]) -> None:
        """Wait until `holds` is true of all that was shown; fails if the client ends before."""
        waiting = asyncio.create_task(self.output.until(holds))
        await asyncio.wait({waiting, self.client}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
        else:
            waiting.cancel()
            assert holds(self.output.getvalue()), self.output.getvalue()

    async def shows(self, text: str) -> None:
        """Wait until `text` has been shown."""
        await self.until(lambda shown: text in shown)


@asynccontextmanager
async def piped(book: Book, folder: Path, start: str | Start = Start.NEW) -> AsyncIterator[Talk]:
    output = Output()
    reading, writing = os.pipe()
    front = Lines(Screen(Console(file=output, width=100, highlight=False)), reading)
    client = asyncio.create_task(Interactive(book.command, folder, front).run(start))
    try:
        yield Talk(output, writing, client)
        os.close(writing)
        async with asyncio.timeout(60):
            await client
    finally:
        client.cancel()
        os.close(reading)


def run(
    book: Book,
    folder: Path,
    script: Callable[[Talk], Coroutine[None, None, None]],
    start: str | Start = Start.NEW,
) -> tuple[int, str]:
    """Let `script` use a client over pipes; returns the exit status and all that was shown."""

    async def talk() -> tuple[int, str]:
        async with piped(book, folder, start) as talking:
            await script(talking)
        return talking.client.result(), "\n".join(line.rstrip() for line in talking.output.getvalue().splitlines())

    return asyncio.run(talk())


def test_turns_over_pipes(book: MakeBook, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    agents_book = book(
        *NEW,
        ("await", "session/prompt"),
        message("I think", "t-1", "agent_thought_chunk"),
        message("One **block**.\n\nAnd"),
        message(" another."),
        ("update", {"sessionUpdate": "notice", "severity": "info", "title": "By the way"}),
        done(),
        ("await", "session/prompt"),
        ("request", "session/request_permission", QUESTION),
        ("await", "answer"),
        ("raw", '{"jsonrpc": "2.0", "id": 4, "result": {"stopReason": "end_turn", "_meta": '),
        ("raw", '{"acp-agent/checkpoint": {"turn": 2, "steps": 2, "at": "", "durable": false, "ms": 1, '),
        ("raw", '"reason": "The disk is full"}}}}\n'),
        ("await", "session/prompt"),
        (
            "error",
            {"code": 1, "message": "The model failed.", "data": {"_meta": {"acp-agent/checkpoint": CHECKPOINT}}},
        ),
        ("await", "session/prompt"),
        done("max_tokens"),
    )

    async def script(talk: Talk) -> None:
        await talk.shows("session s-1")
        talk.type("hello\n")
        await talk.shows("turn 1 saved")
        talk.type("edit\n")
        await talk.shows("2. Reject")
        talk.type("perhaps\n")
        await talk.shows("Answer with the number")
        talk.type("1\n")
        await talk.shows("TURN 2 IS NOT SAVED")
        talk.type("fail\nlast\n")

    status, shown = run(agents_book, tmp_path, script)
    assert status == 0
    assert shown == snapshot
    assert {"outcome": {"outcome": "selected", "optionId": "yes"}} in [
        m.get("result") for m in agents_book.received
    ]


@pytest.mark.parametrize("how", ["empty line", "end of input"])
def test_no_answer_is_a_rejection(book: MakeBook, tmp_path: Path, how: str) -> None:
    agents_book = book(
        *NEW,
        ("await", "session/prompt"),
        ("request", "session/request_permission", QUESTION),
        ("await", "answer"),
        ("raw", '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "end_turn"}}\n'),
    )

    async def script(talk: Talk) -> None:
        talk.type("edit\n")
        await talk.shows("2. Reject")
        if how == "empty line":
            talk.type("\n")

    run(agents_book, tmp_path, script)
    assert {"outcome": {"outcome": "selected", "optionId": "no"}} in [
        m.get("result") for m in agents_book.received
    ]


def test_a_kill_in_a_turn_and_the_load_after_it(
    book: MakeBook, tmp_path: Path, snapshot: SnapshotAssertion
) -> None:
    agents_book = book(
        *NEW,
        ("await", "session/prompt"),
        message("Half an ans"),
        ("update", {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "sleep", "kind": "execute"}),
        more_lives=(
            (
                ("await", "session/load"),
                message("hello", "p-1", "user_message_chunk"),
                message("Half an answer"),
                ("result", {"_meta": {"acp-agent/resume": REPORT}}),
                ("await", "session/prompt"),
                ("update", REOPENED),
                done(),
            ),
        ),
    )

    async def script(talk: Talk) -> None:
        await talk.shows("session s-1")
        talk.type("hello\n")
        await talk.shows("Half an ans")
        talk.type("again\n/kill\n")
        await talk.shows("(not sent) again")
        talk.type("again\n")
        await talk.shows("The agent is not running")
        talk.type("/load\n")
        await talk.shows("Turn 1 was cut.")
        talk.type("more\n")
        await talk.shows("turn 1 saved")

    status, shown = run(agents_book, tmp_path, script)
    assert status == 0
    assert shown == snapshot


def test_a_death_is_told_with_its_last_words(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(*NEW, ("await", "session/prompt"), ("stderr", "out of memory\n"), ("exit", 3))

    async def script(talk: Talk) -> None:
        talk.type("hello\n")
        await talk.shows("out of memory")
        talk.type("/kill\n")
        await talk.shows("Error: The agent is not running.")

    _, shown = run(agents_book, tmp_path, script)
    assert "Error: The agent process ended unexpectedly (exit status 3)." in shown
    assert "/load starts a new agent and loads session s-1." in shown
    assert shown.count("ended unexpectedly") == 1


def test_a_death_between_turns_is_told_at_once(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(*NEW, ("stderr", "bye\n"), ("kill-self",))

    async def script(talk: Talk) -> None:
        await talk.shows("ended unexpectedly (killed by SIGKILL)")

    run(agents_book, tmp_path, script)


def test_ctrl_c_cancels_the_turn_and_a_second_one_leaves(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        *NEW,
        ("await", "session/prompt"),
        message("Working"),
        ("request", "session/request_permission", QUESTION),
        ("await", "session/cancel"),
        ("raw", '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "cancelled"}}\n'),
        ("await", "session/prompt"),
        message("Stubborn\n\nas\n\never", "m-2"),
    )

    async def script(talk: Talk) -> None:
        talk.type("hello\n")
        await talk.shows("2. Reject")
        os.kill(os.getpid(), signal.SIGINT)
        await talk.shows("The turn ended early: cancelled.")
        talk.type("again\n")
        await talk.shows("Stubborn")
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        await talk.shows("Session s-1 is kept")

    status, _ = run(agents_book, tmp_path, script)
    assert status == 0
    assert {"outcome": {"outcome": "cancelled"}} in [m.get("result") for m in agents_book.received]


def test_ctrl_c_between_turns_asks_first(book: MakeBook, tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.shows("session s-1")
        talk.type("/cancel\n")
        await talk.shows("No turn is running.")
        os.kill(os.getpid(), signal.SIGINT)
        await talk.shows("Ctrl-C again leaves")
        os.kill(os.getpid(), signal.SIGINT)
        await talk.shows("Session s-1 is kept")

    assert run(book(*NEW), tmp_path, script)[0] == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_client_that_is_ended_ends_its_agent(book: MakeBook, tmp_path: Path, ending: signal.Signals) -> None:
    agents_book = book(*NEW, ("await", "session/prompt"), message("Working\n\nas\n\never"))

    async def script(talk: Talk) -> None:
        talk.type("hello\n")
        await talk.shows("Working")
        os.kill(os.getpid(), ending)
        await talk.shows("Session s-1 is kept")

    assert run(agents_book, tmp_path, script)[0] == 0


def test_commands(book: MakeBook, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    commands = {"sessionUpdate": "available_commands_update", "availableCommands": [{"name": "session"}]}
    agents_book = book(
        NEW[0],
        ("update", commands),
        NEW[1],
        ("await", "session/prompt"),
        message("The session is fine."),
        done(),
        ("await", "session/list"),
        (
            "result",
            {"sessions": [{"sessionId": "s-1", "cwd": "/w", "title": "Herons"}, {"sessionId": "s-2", "cwd": "/"}]},
        ),
        ("await", "session/close"),
        ("result", {}),
        ("await", "session/new"),
        ("update", {"sessionUpdate": "late_update_of_the_old_session"}),
        ("result", {"sessionId": "s-3"}),
        more_lives=((("await", "session/load"), ("error", {"code": -32002, "message": "No such session."})),),
    )

    async def script(talk: Talk) -> None:
        await talk.shows("session s-1")
        talk.type("/session now\n")
        await talk.shows("turn 1 saved")
        talk.type("/unknown\n/help\n/sessions\n")
        await talk.shows("s-2")
        talk.type("/new\n")
        await talk.shows("session s-3")
        talk.type("/load 2\n")
        await talk.shows("No such session.")
        talk.type("hello\n")
        await talk.shows("No session is open.")
        talk.type("/quit\n")
        await talk.shows("is kept")

    status, shown = run(agents_book, tmp_path, script)
    assert status == 0
    assert shown == snapshot
    loads = [m["params"] for m in agents_book.received if m.get("method") == "session/load"]
    assert loads == [{"sessionId": "s-2", "cwd": str(tmp_path), "mcpServers": []}]


def test_an_agent_that_does_not_start_is_status_1(book: MakeBook, tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.shows("could not be started")
        talk.type("/load\n")
        await talk.shows("There is no session yet.")

    missing = book()
    missing.command = (str(tmp_path / "no-such-program"),)
    assert run(missing, tmp_path, script)[0] == 1


def test_a_death_before_the_first_session_is_told_once(book: MakeBook, tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.shows("no key")

    dying = book()
    dying.command = ("sh", "-c", "echo no key >&2; exit 7")
    status, shown = run(dying, tmp_path, script)
    assert status == 1
    assert shown.count("ended unexpectedly (exit status 7)") == 1


def test_an_answer_that_cannot_be_read_is_told(book: MakeBook, tmp_path: Path) -> None:
    async def script(talk: Talk) -> None:
        await talk.shows("Error: The agent's answer cannot be read: “sessionId” is missing.")

    assert run(book(("await", "session/new"), ("result", {})), tmp_path, script)[0] == 1


def test_a_session_named_at_the_start_is_loaded(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(("await", "session/load"), ("result", {}))

    async def script(talk: Talk) -> None:
        await talk.shows("The agent did not say what the model remembers.")

    assert run(agents_book, tmp_path, script, "s-9")[0] == 0


def test_what_waits_is_taken_up_to_the_last_line(book: MakeBook, tmp_path: Path) -> None:
    turn = (("await", "session/prompt"), done())

    async def script(talk: Talk) -> None:
        talk.type("hello\n/unknown\nagain\n/unknown\n")

    _, shown = run(book(*NEW, *turn, *turn), tmp_path, script)
    assert shown.count("has a command /unknown") == shown.count("turn 1 saved") == 2


def test_what_is_set_before_there_is_a_session_is_set_then(book: MakeBook, tmp_path: Path) -> None:
    modes = {
        "currentModeId": "ask",
        "availableModes": [{"id": "ask", "name": "Ask"}, {"id": "plan", "name": "Plan"}],
    }
    agents_book = book(
        ("await", "session/new"),
        ("result", {"sessionId": "s-1", "modes": modes}),
        ("await", "session/set_mode"),
        ("result", {}),
    )

    async def script(talk: Talk) -> None:
        talk.type("/set mode plan\n")
        await talk.shows("Mode: Plan")

    run(agents_book, tmp_path, script)
    assert agents_book.methods[-1] == "session/set_mode"
