"""The client at a terminal, key by key, against a scripted agent; in colours and drawings it is tests/terminal."""

import asyncio
import os
import re
import signal
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prompt_toolkit.history import History, InMemoryHistory
from rich.console import Console

from acp_agent.chat.fields import JsonObject
from acp_agent.chat.interactive import Interactive, Start
from acp_agent.chat.terminal import Terminal
from tests.chat.conftest import Book, MakeBook, Output, Step
from tests.chat.test_interactive import NEW, QUESTION, Talk, done, message

UP, DOWN, LEFT, DELETE, ESCAPE, SHIFT_TAB = "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[3~", "\x1b", "\x1b[Z"
LISTED: JsonObject = {
    "sessions": [
        {"sessionId": "s-1", "cwd": "/w", "title": "Herons"},
        {"sessionId": "s-2", "cwd": "/w", "title": "Wrens"},
    ]
}
MODES: JsonObject = {
    "currentModeId": "ask",
    "availableModes": [{"id": "ask", "name": "Ask"}, {"id": "plan", "name": "Plan"}],
}


class AtTerminal(Talk):
    """A client at a terminal; what it shows is kept without the sequences that move the cursor."""

    def screen_after(self, mark: int) -> str:
        """The words that were written since, wherever lines were broken."""
        return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.output.getvalue()[mark:]).split())

    @property
    def mark(self) -> int:
        return len(self.output.getvalue())

    async def draws(self, text: str, mark: int = 0) -> None:
        """Wait until this has been drawn since `mark`, however the cursor went."""
        try:
            await self.until(lambda _shown: text in self.screen_after(mark))
        except TimeoutError:
            raise AssertionError(f"{text!r} is not in {self.screen_after(mark)}") from None


@asynccontextmanager
async def at_terminal(
    book: Book, folder: Path, *, start: str | Start = Start.NEW, history: History | None = None
) -> AsyncIterator[AtTerminal]:
    master, fd = os.openpty()
    before = termios.tcgetattr(fd)
    output = Output()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            output.write(os.read(master, 1 << 16).decode())
        except OSError:
            loop.remove_reader(master)

    def read_the_rest(_client: asyncio.Task[int]) -> None:
        os.set_blocking(master, False)
        read()

    loop.add_reader(master, read)
    with os.fdopen(fd, "r", closefd=False) as keyboard, os.fdopen(fd, "w", closefd=False) as display:
        console = Console(
            file=display, width=60, height=20, force_terminal=True, color_system=None, highlight=False
        )
        front = Terminal(console, keyboard, display, history or InMemoryHistory())
        client = asyncio.create_task(Interactive(book.command, folder, front).run(start))
        client.add_done_callback(read_the_rest)
        try:
            yield AtTerminal(output, master, client)
            async with asyncio.timeout(60):
                assert await client == 0
            assert termios.tcgetattr(fd) == before
        finally:
            client.cancel()
            loop.remove_reader(master)
    os.close(fd)
    os.close(master)


def prompts(book: Book) -> list[object]:
    """The texts that the agent was prompted with."""
    found: list[object] = []
    for sent in book.received:
        params = sent.get("params")
        if sent.get("method") == "session/prompt" and isinstance(params, dict):
            found.append(params["prompt"])
    return found


def text(*lines: str) -> list[object]:
    return [[{"type": "text", "text": line}] for line in lines]


TURN: tuple[Step, ...] = (("await", "session/prompt"), message("Fine."), done())


def test_a_line_is_edited_recalled_and_dropped(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(*NEW, *TURN, *TURN)

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type(f"hallo{LEFT}{LEFT}{LEFT}{LEFT}\x7f")
            talk.type(f"h{DELETE}e\r")
            await talk.draws("turn 1 saved")
            mark = talk.mark
            talk.type(UP)
            await talk.draws("hello", mark)
            talk.type(" again\r")
            await talk.until(lambda shown: shown.count("turn 1 saved") == 2)
            mark = talk.mark
            talk.type("typed and then dropped")
            await talk.draws("typed and then dropped", mark)
            talk.type("\x03\x03")
            await talk.draws("Ctrl-C again leaves")  # not by the first, which dropped what was typed
            talk.type("again typed and then dropped\x03\x03")
            await talk.until(lambda _: talk.screen_after(mark).count("Ctrl-C again leaves") == 2)
            talk.type("\x04")
        shown = talk.output.getvalue()
        assert shown.rindex("\x1b[?2004h") < shown.rindex("\x1b[?2004l")  # bracketed paste
        assert shown.rindex("\x1b[?25l") < shown.rindex("\x1b[?25h")  # the cursor

    asyncio.run(talk())
    assert prompts(agents_book) == text("hello", "hello again")


def test_several_lines_are_one_prompt_typed_or_pasted(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(*NEW, *TURN, *TURN)

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("one\x1b\rtwo\x0athree\r")
            await talk.draws("turn 1 saved")
            talk.type("\x1b[200~four\r\nfive\x1b[201~\r")
            await talk.until(lambda shown: shown.count("turn 1 saved") == 2)
            talk.type("\x04")

    asyncio.run(talk())
    assert prompts(agents_book) == text("one\ntwo\nthree", "four\nfive")


def test_what_was_typed_before_is_searched(book: MakeBook, tmp_path: Path) -> None:
    history = InMemoryHistory(["a heron", "a wren"])
    agents_book = book(*NEW, *TURN)

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path, history=history) as talk:
            await talk.draws("session s-1")
            talk.type("\x12her\r")
            await talk.draws("a heron")
            talk.type("\r")
            await talk.draws("turn 1 saved")
            talk.type("\x04")

    asyncio.run(talk())
    assert prompts(agents_book) == text("a heron")


def test_commands_are_completed(book: MakeBook, tmp_path: Path) -> None:
    async def talk() -> None:
        async with at_terminal(book(*NEW), tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("/hel")
            await talk.draws("this list")  # what it means
            talk.type("\t\r\r")
            await talk.draws("Alt-Enter")
            talk.type("/quit\r")

    asyncio.run(talk())


def test_an_answer_is_asked_for_beside_the_line_that_is_being_typed(book: MakeBook, tmp_path: Path) -> None:
    history = InMemoryHistory()
    agents_book = book(
        NEW[0],
        ("result", {"sessionId": "s-1", "modes": MODES}),
        ("await", "session/prompt"),
        message("Working"),
        ("await", "session/set_mode"),  # the other half of a line has been typed
        ("result", {}),
        ("request", "session/request_permission", QUESTION),
        ("await", "answer"),
        ("raw", '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "end_turn"}}\n'),
        *TURN,
    )

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path, history=history) as talk:
            await talk.draws("session s-1")
            talk.type("edit\r")
            await talk.draws("Working")
            talk.type("half a li" + SHIFT_TAB)
            await talk.draws("1-2, Enter rejects")
            mark = talk.mark
            talk.type("1\r")
            await talk.draws("> half a li", mark)
            talk.type("ne\r")
            await talk.draws("turn 1 saved")
            talk.type("\x04")

    asyncio.run(talk())
    assert prompts(agents_book) == text("edit", "half a line")
    assert list(history.get_strings()) == ["edit", "half a line"]
    assert "session/set_mode" in agents_book.methods


def test_a_session_is_picked(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        ("await", "session/list"),
        ("result", LISTED),
        more_lives=((("await", "session/load"), ("result", {}), ("await", "session/list"), ("result", LISTED)),),
    )

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path, start=Start.PICK) as talk:
            await talk.draws("filter:")
            talk.type(DOWN + DOWN + UP + "wr")
            await talk.draws("1 of 2")
            talk.type("\r")
            await talk.draws("The agent did not say what the model remembers.")
            mark = talk.mark
            talk.type("/sessions\r")
            await talk.draws("filter:", mark)
            talk.type(DOWN)
            await talk.draws("this session", mark)
            mark = talk.mark
            talk.type(ESCAPE)
            await talk.draws("> new session", mark)
            talk.type("/quit\r")

    asyncio.run(talk())
    loads = [sent["params"] for sent in agents_book.received if sent.get("method") == "session/load"]
    assert loads == [{"sessionId": "s-2", "cwd": str(tmp_path), "mcpServers": []}]


def test_what_waits_does_not_begin_while_a_session_is_picked(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        *NEW,
        ("await", "session/prompt"),
        message("Working"),
        ("await", "session/cancel"),
        ("raw", '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "cancelled"}}\n'),
        ("await", "session/list"),
        ("result", LISTED),
        more_lives=((("await", "session/load"), ("result", {}), *TURN),),
    )

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("hello\r")
            await talk.draws("Working")
            talk.type("/sessions\rto the picked one\r")
            await talk.draws("2 waiting")
            talk.type("\x03")
            await talk.draws("filter:")
            talk.type(DOWN + "\r")
            await talk.draws("turn 1 saved")
            talk.type("\x04")

    asyncio.run(talk())
    assert agents_book.methods[-3:] == ["initialize", "session/load", "session/prompt"]
    assert prompts(agents_book) == text("hello", "to the picked one")


def test_who_picks_no_session_gets_a_new_one(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(("await", "session/list"), ("result", LISTED), *NEW)

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path, start=Start.PICK) as talk:
            await talk.draws("filter:")
            talk.type("\x03")
            await talk.draws("session s-1")
            talk.type("\x04")

    asyncio.run(talk())


def test_a_prompt_that_cannot_be_sent_comes_back(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(*NEW, *TURN, *TURN)

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("look at ./birds\r")
            await talk.draws("turn 1 saved")
            talk.type("look at @./birds\r")
            await talk.draws("it is back for another try")
            (tmp_path / "birds").write_text("heron\n", encoding="utf-8")
            talk.type("\r")
            await talk.until(lambda shown: shown.count("turn 1 saved") == 2)
            talk.type("\x04")

    asyncio.run(talk())
    link = {"type": "resource_link", "name": "birds", "uri": (tmp_path / "birds").as_uri(), "size": 6}
    assert prompts(agents_book) == [*text("look at ./birds"), [{"type": "text", "text": "look at "}, link]]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_client_that_is_ended_gives_the_terminal_back(
    book: MakeBook, tmp_path: Path, how: signal.Signals
) -> None:
    agents_book = book(*NEW, ("await", "session/prompt"), message("Working\n\nas\n\never"))

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("hello\r")
            await talk.draws("Working")
            os.kill(os.getpid(), how)
            if how is signal.SIGINT:
                await talk.draws("cancelling the turn")
                talk.type("\x03")
            await talk.draws("Session s-1 is kept")

    asyncio.run(talk())


def test_a_terminal_that_is_gone_ends_the_client(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(*NEW, ("await", "session/cancel"))
    master, fd = os.openpty()

    async def talk() -> None:
        display_fd = os.dup(fd)
        keyboard = os.fdopen(fd, "r")
        display = os.fdopen(display_fd, "w")
        console = Console(file=display, width=60, height=20, force_terminal=True, highlight=False)
        front = Terminal(console, keyboard, display, InMemoryHistory())
        chat = Interactive(agents_book.command, tmp_path, front)
        client = asyncio.create_task(chat.run(Start.NEW))
        shown = b""
        while b"session s-1" not in shown:
            shown += await asyncio.to_thread(os.read, master, 1 << 16)
        os.close(master)
        async with asyncio.timeout(60):
            assert await client == 0

    asyncio.run(talk())
    assert agents_book.methods == ["initialize", "session/new"]


def test_completing_starts_no_agent(book: MakeBook, tmp_path: Path) -> None:
    async def talk() -> None:
        async with at_terminal(book(*NEW, ("await", "session/prompt"), ("kill-self",)), tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("hello\r")
            await talk.draws("ended unexpectedly")
            await talk.draws("loads session s-1.")
            mark = talk.mark
            talk.type("/load \t")
            await talk.draws("/load", mark)  # the sign before it may have been drawn already
            talk.type("\x15/help\r")
            await talk.draws("Alt-Enter")
            talk.type("/quit\r")

    asyncio.run(talk())
    assert len(list((tmp_path / "scripted-agent").glob("life-*"))) == 1


def test_a_prompt_that_cannot_be_sent_does_not_take_the_place_of_another(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        *NEW,
        ("await", "session/prompt"),
        message("Working"),
        ("await", "session/cancel"),
        ("raw", '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "cancelled"}}\n'),
    )

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("hello\r")
            await talk.draws("Working")
            talk.type("@./missing\r")
            await talk.draws("(waits until the turn is done) @./missing")
            talk.type("half a line")
            await talk.draws("half a line")
            talk.type("\x03")
            await talk.draws("There is no file ./missing. The prompt was not sent.")
            assert "for another try" not in talk.screen_after(0)
            talk.type("\x03\x03")
            await talk.draws("Ctrl-C again leaves")
            talk.type("\x04")

    asyncio.run(talk())


def test_ctrl_d_in_a_turn_leaves_after_it(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        NEW[0],
        ("result", {"sessionId": "s-1", "modes": MODES}),
        ("await", "session/prompt"),
        message("Working"),
        ("await", "session/set_mode"),
        ("result", {}),
        ("raw", '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "max_tokens"}}\n'),
    )

    async def talk() -> None:
        async with at_terminal(agents_book, tmp_path) as talk:
            await talk.draws("session s-1")
            talk.type("hello\r")
            await talk.draws("Working")
            talk.type("\x04")
            await talk.draws("leaves then")
            talk.type(SHIFT_TAB)
            await talk.draws("The turn ended early: max tokens.")

    asyncio.run(talk())
