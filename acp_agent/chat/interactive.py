"""The interactive client: one loop over events, from the keyboard, the agent and the work in hand.

At most one piece of work (a turn, a load, a new session) runs at a time, as a task; the keyboard is read all
the while. What is typed meanwhile waits its turn, except the commands in `_AT_ONCE` and the answer to a
question. Everything that happens arrives on one queue and is handled in `_handle`, so no two handlers overlap.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rich.text import Text

from acp_agent.chat import render, words
from acp_agent.chat.agent import AgentDied, ListedSession
from acp_agent.chat.client import Client, NoSession
from acp_agent.chat.editor import EndOfInput, Submitted
from acp_agent.chat.fields import FieldError
from acp_agent.chat.keyboard import Keyboard
from acp_agent.chat.process import AgentStartError, Ending
from acp_agent.chat.questions import Questions
from acp_agent.chat.rpc import RpcError
from acp_agent.chat.screen import InputLine, Screen
from acp_agent.chat.words import Told, Tone

COMMANDS = {
    "/kill": "SIGKILL to the agent's process group, also in the middle of a turn",
    "/load [SESSION_ID]": "load this or that session in a new agent; takes a number of /sessions",
    "/new": "begin a new session",
    "/sessions": "list the sessions of this folder",
    "/cancel": "cancel the running turn, like Ctrl-C",
    "/quit": "end the agent in good order and leave; so does Ctrl-D",
    "/help": "this list",
}
"""The client's own commands, and what they do."""

_AT_ONCE = frozenset({"/kill", "/cancel", "/quit", "/help"})


class _Interrupt:
    """Ctrl-C."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is being done: the task, what it is called, and whether it is a turn."""

    task: asyncio.Task[None]
    name: str
    is_turn: bool


_Event: TypeAlias = Submitted | EndOfInput | _Interrupt | _Work | Ending


class Interactive:
    """The loop and what it knows: the work in hand, the lines that wait, the questions that are open.

    `fd` and `keys` are as for `Keyboard`; `command` and `cwd` start the agent.
    """

    def __init__(self, command: tuple[str, ...], cwd: Path, screen: Screen, *, fd: int, keys: bool) -> None:
        self._screen = screen
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._keyboard = Keyboard(
            fd, keys=keys, out=screen.console.file, on_event=self._events.put_nowait, on_edit=self._draw
        )
        self._questions = Questions(on_asked=self._draw)
        self._client = Client(
            command,
            cwd,
            screen,
            ask=self._questions.ask,
            on_gone=self._events.put_nowait,
        )
        self._work: _Work | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._waiting: deque[str] = deque()
        self._listed: tuple[ListedSession, ...] = ()
        self._last_session: str | None = None
        self._killed = False
        self._ending: Ending | None = None
        self._interrupted = False
        self._input_ended = False
        self._leaving = False

    async def run(self, session_id: str | None) -> int:
        """Open a session, or load this one, and run until the user leaves; returns the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._events.put_nowait, _Interrupt())
        for ending in (signal.SIGTERM, signal.SIGHUP):
            # The terminal must get its own mode back, and the agent its orderly end.
            loop.add_signal_handler(ending, self._events.put_nowait, Submitted("/quit"))
        try:
            with self._screen, self._keyboard:
                self._say("acp-agent chat: /help lists the commands.")
                if session_id is None:
                    self._begin("opening a session", self._new())
                else:
                    self._begin("loading", self._load(session_id))
                while not self._leaving:
                    self._handle(await self._events.get())
                    self._draw()
                await self._leave()
        finally:
            for handled in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(handled)
        return 0 if self._last_session is not None else 1

    def _handle(self, event: _Event) -> None:
        match event:
            case Submitted(text=text):
                self._interrupted = False
                self._take_line(text.strip())
            case EndOfInput():
                self._input_ended = True
                self._questions.reject_all()
                self._leaving = self._work is None
            case _Interrupt():
                self._interrupt()
            case Ending():
                self._ending = event
                if self._work is None:  # else what the work has to show comes first
                    self._tell_ending()
            case _Work():
                self._finish(event)

    def _take_line(self, line: str) -> None:
        word, _, argument = line.partition(" ")
        if word in _AT_ONCE:
            self._obey(word, argument.strip())
        elif self._questions.first is not None:
            answer = self._questions.answer(line)
            self._say(
                "Answer with the number of an option; Enter alone rejects." if answer is None else f"> {answer}"
            )
        elif self._work is not None:
            if line:
                self._waiting.append(line)
                self._say(f"(waits until {self._work.name} is done) {line}")
        elif line.startswith("/") and word.removeprefix("/") not in self._client.view.transcript.state.commands:
            self._obey(word, argument.strip())
        elif line:
            self._begin("the turn", self._turn(line), is_turn=True)

    def _obey(self, word: str, argument: str) -> None:
        self._say(f"> {word} {argument}".rstrip())
        match word:
            case "/kill":
                self._kill()
            case "/cancel":
                self._cancel()
            case "/quit":
                self._leaving = True
            case "/help":
                self._help()
            case "/new":
                self._begin("opening a session", self._new())
            case "/sessions":
                self._begin("listing the sessions", self._list())
            case "/load":
                self._load_named(argument)
            case _:
                self._fail(f"Neither this client nor the agent has a command {word}. /help lists them.")

    def _begin(self, name: str, work: Coroutine[None, None, None], *, is_turn: bool = False) -> None:
        task = asyncio.create_task(work)
        self._work = begun = _Work(task, name, is_turn)
        task.add_done_callback(lambda _task: self._events.put_nowait(begun))
        hints = "Ctrl-C cancels · /kill kills the agent" if is_turn else "/kill kills the agent"
        self._screen.set_status(f"{name} … · {hints}")

    def _finish(self, work: _Work) -> None:
        """Tell how the work failed, if it did, and take up what was typed meanwhile."""
        self._work = self._cancelling = None
        self._interrupted = False
        self._screen.set_status("")
        try:
            work.task.result()
        except RpcError as refusal:
            self._client.tell(words.refusal_in_words(work.name, refusal))
        except (AgentStartError, NoSession) as fault:
            self._fail(str(fault))
        except FieldError as fault:
            self._fail(f"The agent's answer cannot be read: {fault}.")
        except AgentDied as death:
            self._ending = death.ending
        self._tell_ending()
        if self._waiting:
            self._take_line(self._waiting.popleft())
        elif self._input_ended:
            self._leaving = True

    def _tell_ending(self) -> None:
        """Tell of the agent's end, if it is news; what was typed for that agent is not sent to another one."""
        ending, self._ending = self._ending, None
        if ending is None:
            return
        self._client.tell(words.ending_in_words(ending, self._last_session, killed_here=self._killed))
        self._killed = False
        while self._waiting:
            self._say(f"(not sent) {self._waiting.popleft()}")

    async def _new(self) -> None:
        self._last_session = await self._client.new_session()
        self._say(f"session {self._last_session}")

    async def _load(self, session_id: str) -> None:
        await self._client.load(session_id)
        self._last_session = session_id

    async def _turn(self, prompt: str) -> None:
        await self._client.prompt(prompt)

    async def _list(self) -> None:
        self._listed = await self._client.sessions()
        self._screen.show(render.sessions(self._listed, self._client.session_id))

    def _load_named(self, name: str) -> None:
        if name.isascii() and name.isdigit() and 1 <= int(name) <= len(self._listed):
            name = self._listed[int(name) - 1].session_id
        session_id = name or self._last_session
        if session_id is None:
            self._fail("There is no session yet. /load SESSION_ID names one, /sessions lists them.")
        else:
            self._begin("loading", self._load(session_id))

    def _kill(self) -> None:
        try:
            agent = self._client.agent
        except NoSession as fault:
            self._fail(str(fault))
        else:
            self._killed = True
            agent.kill()

    def _cancel(self) -> None:
        if self._work is None or not self._work.is_turn:
            self._fail("No turn is running.")
        elif self._cancelling is None:
            self._questions.cancel_all()
            self._cancelling = asyncio.create_task(self._client.cancel())
            self._screen.set_status("cancelling the turn … · Ctrl-C again leaves")

    def _interrupt(self) -> None:
        if self._interrupted or self._cancelling is not None:
            self._leaving = True
        elif self._work is not None and self._work.is_turn:
            self._cancel()
        elif self._keyboard.editor.text:
            self._keyboard.editor.clear()
        else:
            self._interrupted = True
            self._say("Ctrl-C again leaves; so do /quit and Ctrl-D.")

    async def _leave(self) -> None:
        self._screen.set_status("ending the agent …")
        work = self._work
        await self._client.stop()
        if work is not None:
            work.task.cancel()
            await asyncio.wait({work.task})
        if self._last_session is not None:
            self._say(f"Session {self._last_session} is kept; /load {self._last_session} brings it back.")

    def _help(self) -> None:
        own = tuple(f"{name:20} {what}" for name, what in COMMANDS.items())
        agents = self._client.view.transcript.state.commands
        theirs = tuple(f"{'/' + name:20} {what} (the agent's)" for name, what in agents.items())
        self._client.tell(Told(Tone.QUIET, own + theirs))

    def _fail(self, sentence: str) -> None:
        self._client.tell(Told(Tone.ERROR, (sentence,)))

    def _say(self, line: str) -> None:
        self._screen.show(Text(render.plain(line), style="dim"))

    def _draw(self) -> None:
        question = self._questions.first
        label = "> " if question is None else f"1-{len(question.options)}, Enter rejects: "
        editor = self._keyboard.editor
        self._screen.set_input(InputLine(label, editor.text, editor.cursor))
