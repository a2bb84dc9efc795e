"""The interactive client: one loop over events, from the keyboard, the agent and the work in hand.

At most one piece of work (a turn, a load, a new session) runs at a time, as a task; the keyboard is read all the
while. What is typed meanwhile waits its turn, except the commands that are obeyed at once and the answer to a
question. What takes no turn (setting a mode, cancelling) is done beside the work. Everything that happens arrives
on one queue and is handled in `_handle`, so no two handlers overlap.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TypeAlias

from rich.text import Text

from acp_agent.chat import attachments, render, words
from acp_agent.chat.agent import AgentDied, ListedSession
from acp_agent.chat.attachments import BadAttachment
from acp_agent.chat.client import Client, NoSession
from acp_agent.chat.commands import AT_ONCE, all_commands, help_rows, ours
from acp_agent.chat.completion import Vocabulary
from acp_agent.chat.events import EndOfInput, InputEvent, Interrupt, NextMode, Picked, Submitted
from acp_agent.chat.fields import FieldError
from acp_agent.chat.forms import NoAnswer
from acp_agent.chat.front import Bars, Front, Source
from acp_agent.chat.picker import Picker
from acp_agent.chat.process import AgentStartError, Ending
from acp_agent.chat.questions import Questions
from acp_agent.chat.rpc import RpcError
from acp_agent.chat.setting_command import SettingCommand
from acp_agent.chat.status import NO_SESSION, Doing, activity, session_status
from acp_agent.chat.words import Told, Tone
from acp_agent.system import signals


@dataclass(frozen=True, slots=True)
class _Work:
    """What is being done: the task, what it is called, whether it is a turn, and when it began, in seconds."""

    task: asyncio.Task[None]
    name: str
    is_turn: bool = False
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class _Aside:
    """What is done beside the work."""

    task: asyncio.Task[None]
    name: str


class Start(Enum):
    """What a client begins with."""

    NEW = auto()
    """A new session."""
    PICK = auto()
    """A session that the user picks; a new one if there is none, or none is picked."""
    LAST = auto()
    """The session that was used last in this folder; a new one if there is none."""


_Event: TypeAlias = InputEvent | _Work | _Aside | Ending


class Interactive:
    """The loop and what it knows: the work in hand, the lines that wait, the questions that are open.

    `command` and `cwd` start the agent; `clock` gives seconds.
    """

    def __init__(
        self, command: tuple[str, ...], cwd: Path, front: Front, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._front = front
        self._screen = front.screen
        self._cwd = cwd
        self._clock = clock
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._questions = Questions(
            show=lambda question: self._screen.show(question, gap=True),
            on_answered=lambda answer: self._say(f"> {answer}"),
            on_changed=lambda: front.ask(self._questions.label),
        )
        self._client = Client(command, cwd, self._screen, answers=self._questions, on_gone=self._events.put_nowait)
        self._setting = SettingCommand(self._client, self._screen, pick=self._pick, beside=self._beside)
        front.connect(Source(self._events.put_nowait, self._bars, self._words, self._sessions_to_complete))
        self._work: _Work | None = None
        self._asides: set[asyncio.Task[None]] = set()
        self._cancelling = False
        self._waiting: deque[str] = deque()
        self._picking: Callable[[str | None], None] | None = None
        self._listed: tuple[ListedSession, ...] = ()
        self._completed: tuple[ListedSession, ...] | None = None
        self._last_session: str | None = None
        self._killed = False
        self._ending: Ending | None = None
        self._interrupted = False
        self._input_ended = False
        self._leaving = False

    async def run(self, start: str | Start) -> int:
        """Load this session, or begin as told, and run until the user leaves; returns the exit status."""
        interrupt = partial(self._events.put_nowait, Interrupt())
        # Told to end, the terminal must get its own mode back, and the agent its orderly end.
        end = partial(self._events.put_nowait, Submitted("/quit"))
        with signals.in_terminal(asyncio.get_running_loop(), interrupt=interrupt, end=end):
            self._say("acp-agent chat: /help lists the commands.")
            async with self._front:
                match start:
                    case Start.NEW:
                        self._begin("opening a session", self._new())
                    case Start.PICK:
                        self._begin("listing the sessions", self._list(opening=True))
                    case Start.LAST:
                        self._begin("loading", self._load_last())
                    case session_id:
                        self._begin("loading", self._load(session_id))
                while not self._leaving and not self._screen.gone:
                    self._handle(await self._events.get())
                    self._screen.redraw_soon()
                await self._leave()
        return 0 if self._last_session is not None else 1

    def _handle(self, event: _Event) -> None:
        match event:
            case Submitted(text=text):
                self._interrupted = False
                self._take_line(text.strip())
            case EndOfInput():
                self._input_ended = True
                self._questions.reject_all()
                self._go_on()
            case Interrupt():
                self._interrupt()
            case Picked(key=key):
                picking, self._picking = self._picking, None
                if picking is not None:
                    picking(key)
                self._go_on()
            case NextMode():
                self._setting.next_mode()
            case _Aside():
                self._asides.discard(event.task)
                self._tell_failure(event.task, event.name)
            case Ending():
                self._ending = event
                if self._work is None:  # else what the work has to show comes first
                    self._tell_ending()
            case _Work():
                self._finish(event)

    def _take_line(self, line: str) -> None:
        self._completed = None
        word, _, argument = line.partition(" ")
        agents = self._client.view.transcript.state.commands
        own = ours(word[1:], agents, self._client.settings) if word.startswith("/") else None
        if own in AT_ONCE and not (own == "set" and self._is_opening):
            self._obey(word, own, argument.strip())
        elif self._questions.label is not None:
            try:
                self._questions.answer(line)
            except NoAnswer as fault:
                self._say(str(fault))
        elif self._work is not None:
            if line:
                self._waiting.append(line)
                self._say(f"(waits until {self._work.name} is done) {line}")
        elif own is not None and own != "image":
            self._obey(word, own, argument.strip())
        elif own is None and line.startswith("/") and re.fullmatch(r"/[\w-]*", word) and word[1:] not in agents:
            self._say(f"> {line}")
            self._fail(f"Neither this client nor the agent has a command {word}. /help lists them.")
        elif line:
            self._begin("the turn", self._turn(line), is_turn=True)

    def _obey(self, word: str, name: str, argument: str) -> None:
        self._say(f"> {word} {argument}".rstrip())
        match name:
            case "kill":
                self._kill()
            case "cancel":
                self._cancel()
            case "quit":
                self._leaving = True
            case "help":
                state = self._client.view.transcript.state
                self._screen.show(render.listed(help_rows(state.commands, self._client.settings)))
            case "new":
                self._begin("opening a session", self._new())
            case "sessions":
                self._begin("listing the sessions", self._list())
            case "load":
                self._load_named(argument)
            case "set":
                self._setting.obey(argument if word == "/set" else f"{word[1:]} {argument}".rstrip())

    def _begin(self, name: str, work: Coroutine[None, None, None], *, is_turn: bool = False) -> None:
        task = asyncio.create_task(work)
        self._work = begun = _Work(task, name, is_turn, self._clock())
        task.add_done_callback(lambda _task: self._events.put_nowait(begun))

    def _beside(self, name: str, aside: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(aside)
        self._asides.add(task)
        task.add_done_callback(lambda _task: self._events.put_nowait(_Aside(task, name)))

    def _finish(self, work: _Work) -> None:
        """Tell how the work failed, if it did, and go on."""
        self._work = None
        self._cancelling = self._interrupted = False
        self._tell_failure(work.task, work.name)
        self._tell_ending()
        self._go_on()

    def _go_on(self) -> None:
        """Take up what was typed meanwhile, until something is done or picked; leave after the last of it."""
        while self._waiting and self._work is None and self._picking is None and not self._leaving:
            self._take_line(self._waiting.popleft())
        if self._input_ended and self._work is None:
            self._leaving = True

    def _tell_failure(self, task: asyncio.Task[None], name: str) -> None:
        try:
            task.result()
        except RpcError as refusal:
            self._client.tell(words.refusal_in_words(name, refusal))
        except (AgentStartError, NoSession) as fault:
            self._fail(str(fault))
        except FieldError as fault:
            self._fail(f"The agent's answer cannot be read: {fault}.")
        except AgentDied as death:
            self._ending = death.ending

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

    async def _load_last(self) -> None:
        listed = await self._client.sessions()
        if listed:
            await self._load(listed[0].session_id)
        else:
            self._say("There is no session in this folder yet.")
            await self._new()

    async def _turn(self, prompt: str) -> None:
        try:
            agent, _ = self._client.ready()
            content = await asyncio.to_thread(attachments.read, prompt, self._cwd, agent.takes)
        except (BadAttachment, NoSession) as fault:
            self._say(f"> {prompt}")
            kept = self._front.put_back(prompt)
            self._fail(f"{fault} The prompt was not sent{'; it is back for another try' if kept else ''}.")
            return
        if content.unknown:
            self._say(f"(sent as text, since there is no such file: {', '.join(content.unknown)})")
        await self._client.prompt(prompt, content)

    async def _list(self, *, opening: bool = False) -> None:
        """Have one of the sessions picked, or show them; `opening` says that one must be open then."""
        self._listed = await self._client.sessions()
        current, now = self._client.session_id, datetime.now(UTC)

        def picked(key: str | None) -> None:
            if key is not None:
                self._begin("loading", self._load(key))
            elif opening:
                self._begin("opening a session", self._new())

        choices = tuple(render.session_choice(entry, current, now) for entry in self._listed)
        hints = ("Enter loads", "Esc begins a new one" if opening else "Esc leaves", "typing filters")
        if not choices or not self._pick(Picker(hints, choices), picked):
            self._screen.show(render.sessions(self._listed, current, now))
            if opening:
                await self._new()

    def _pick(self, picker: Picker, then: Callable[[str | None], None]) -> bool:
        # Not in the place of a question, which could not be answered then.
        shown = self._questions.label is None and self._front.pick(picker)
        self._picking = then if shown else None
        return shown

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
        elif not self._cancelling:
            self._cancelling = True
            self._questions.cancel_all()
            self._beside("cancelling the turn", self._client.cancel())

    def _interrupt(self) -> None:
        if self._cancelling:
            self._leaving = True
        elif self._work is not None and self._work.is_turn:
            self._cancel()
        elif self._front.drop_typed():
            self._interrupted = False
        elif self._interrupted:
            self._leaving = True
        else:
            self._interrupted = True
            self._say("Ctrl-C again leaves; so do /quit and Ctrl-D.")

    async def _leave(self) -> None:
        work = self._work
        await self._client.stop()
        if work is not None:
            work.task.cancel()
            await asyncio.wait({work.task})
        for aside in self._asides:
            aside.cancel()
        if self._last_session is not None:
            last = self._last_session
            self._say(f"Session {last} is kept; the option --load {last} brings it back.")

    @property
    def _is_opening(self) -> bool:
        """Whether there will be a session to set, but there is none yet."""
        return self._work is not None and self._client.session_id is None

    def _bars(self) -> Bars:
        """What is drawn around the input now."""
        doing = None
        if self._work is not None:
            seconds = self._clock() - self._work.began
            doing = Doing(
                self._work.name,
                seconds,
                is_turn=self._work.is_turn,
                cancelling=self._cancelling,
                waiting=len(self._waiting),
                then_leaving=self._input_ended,
            )
        shown = self._client.session_id is not None
        return Bars(
            activity(doing, leaving=self._leaving),
            session_status(self._client.view.transcript.state) if shown else NO_SESSION,
        )

    def _words(self) -> Vocabulary:
        state = self._client.view.transcript.state
        return Vocabulary(all_commands(state.commands, self._client.settings), self._client.settings, self._cwd)

    async def _sessions_to_complete(self) -> tuple[ListedSession, ...]:
        """The sessions of this folder, asked for once a line; none while the agent cannot be asked."""
        if self._completed is None:
            try:
                # Not `sessions` of the client, which would start an agent.
                self._completed = await self._client.agent.list_sessions(self._cwd)
            except (RpcError, AgentDied, FieldError, NoSession):
                return ()
        return self._completed

    def _fail(self, sentence: str) -> None:
        self._client.tell(Told(Tone.ERROR, (sentence,)))

    def _say(self, line: str) -> None:
        self._screen.show(Text(render.plain(line), style="dim"))
