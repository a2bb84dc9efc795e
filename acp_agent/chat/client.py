"""One session at a time with one agent process at a time, shown on a screen.

Both the interactive client and the fixed script are made of these operations. Errors of the agent are raised to
them, since only they know what can be done next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from acp_agent.chat import render, words
from acp_agent.chat.agent import Agent, ListedSession, Opened, PermissionQuestion, TurnEnd, TurnFailed
from acp_agent.chat.attachments import Content
from acp_agent.chat.fields import JsonObject
from acp_agent.chat.forms import Form
from acp_agent.chat.process import Ending
from acp_agent.chat.screen import Screen
from acp_agent.chat.settings import Setting, Settings
from acp_agent.chat.view import View
from acp_agent.chat.words import Told, Tone
from sessions.report import CheckpointReport, ResumeReport


class NoSession(Exception):
    """There is no open session for what was asked; the message says what to do."""


class Answers(Protocol):
    """Who answers the agent's questions, and shows them."""

    async def ask(self, question: PermissionQuestion) -> str | None:
        """The id of the chosen option; None cancels."""

    async def fill_in(self, form: Form) -> JsonObject:
        """The answer to an `elicitation/create`."""


class Client:
    """The agent, its session and the session's view; a `Listener` of the agent.

    `on_update` learns of every update after it was shown. `on_gone` learns of the end of an agent
    process that was not stopped by `stop` or `load`.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        cwd: Path,
        screen: Screen,
        *,
        answers: Answers,
        on_update: Callable[[JsonObject], None] = lambda _update: None,
        on_gone: Callable[[Ending], None] = lambda _ending: None,
    ) -> None:
        self.view = View(screen, replaying=False)
        self.session_id: str | None = None
        self._command = command
        self._cwd = cwd
        self._screen = screen
        self._answers = answers
        self._on_update = on_update
        self._on_gone = on_gone
        self._agent: Agent | None = None
        self._left: set[str] = set()

    @property
    def agent(self) -> Agent:
        """The running agent; raises `NoSession` when there is none."""
        if self._agent is None:
            raise NoSession("The agent is not running. /load or /new starts one.")
        return self._agent

    async def new_session(self) -> str:
        """Begin a session, in the running agent if there is one; returns its id. Raises as `Agent` does."""
        if self._agent is None:
            await self._start()
        elif self.session_id is not None:
            self._left.add(self.session_id)
            await self._agent.close_session(self.session_id)
        self.session_id = None
        self.view = View(self._screen, replaying=False)
        return self._open(await self.agent.new_session(self._cwd))

    async def load(self, session_id: str) -> ResumeReport | None:
        """Start a new agent process, load the session there, show its replay and the report in plain words.

        Raises as `Agent` does; then no session is open.
        """
        await self.stop()
        await self._start()
        self._left.discard(session_id)
        self.view = View(self._screen, replaying=True)
        opened = await self.agent.load_session(session_id, self._cwd)
        self.view.flush()
        self.view.replaying = False
        self._open(opened)
        if opened.report is None:
            self.tell(words.NO_REPORT)
        else:
            told = words.resume_in_words(opened.report)
            self._screen.show(render.report(told, framed=self._screen.frames), gap=True)
        return opened.report

    def ready(self) -> tuple[Agent, str]:
        """The agent and the session that a prompt goes to; raises `NoSession`."""
        agent = self.agent
        if self.session_id is None:
            raise NoSession("No session is open. /load SESSION_ID or /new opens one.")
        return agent, self.session_id

    async def prompt(self, prompt: str, content: Content | None = None) -> TurnEnd:
        """Play one turn, ending with its stop reason, if it is not the usual one, and its checkpoint.

        `content` is what is sent; the prompt as a text, if left out. Raises `NoSession`, and as `Agent` does.
        """
        agent, session_id = self.ready()
        self.view.prompted(prompt)
        try:
            end = await agent.prompt(session_id, content or Content.of_text(prompt))
        except TurnFailed as failed:
            self.view.flush()
            self._tell_checkpoint(failed.checkpoint)
            raise
        finally:
            self.view.flush()
        if end.stop_reason != "end_turn":
            self.tell(Told(Tone.WARNING, (f"The turn ended early: {end.stop_reason.replace('_', ' ')}.",)))
        self._tell_checkpoint(end.checkpoint)
        return end

    async def cancel(self) -> None:
        """Ask the agent to end the running turn; raises `NoSession`, and as `Agent` does."""
        if self.session_id is not None:
            await self.agent.cancel(self.session_id)

    @property
    def settings(self) -> Settings:
        """What the session is set to; nothing while none is open."""
        return self.view.transcript.state.settings if self.session_id is not None else Settings()

    async def set(self, setting: Setting, value: str) -> None:
        """Set something of the session, also while a turn runs; raises `NoSession`, and as `Agent` does."""
        agent, session_id = self.ready()
        view = self.view
        view.transcript.set(await agent.set(session_id, self.settings, setting, value))

    async def sessions(self) -> tuple[ListedSession, ...]:
        """The sessions of this folder, of a new agent if none runs; raises as `Agent` does."""
        if self._agent is None:
            await self._start()
        return await self.agent.list_sessions(self._cwd)

    async def stop(self) -> None:
        """End the agent in good order, if one runs."""
        agent, self._agent = self._agent, None
        self.session_id = None
        if agent is not None:
            await agent.stop()

    def tell(self, told: Told) -> None:
        """Show something in plain words; what belongs to a turn's end follows it without a gap."""
        self._screen.show(render.told(told), gap=told.tone is not Tone.QUIET)

    def updated(self, session_id: str, update: JsonObject) -> None:
        """Show an update, unless it is a late one of a session that was left."""
        if session_id not in self._left:
            self.view.update(update)
            self._on_update(update)

    async def asked(self, question: PermissionQuestion) -> str | None:
        """Have a permission question answered."""
        self.view.asked(question.call)
        return await self._answers.ask(question)

    async def given(self, form: Form) -> JsonObject:
        """Have a form filled in."""
        return await self._answers.fill_in(form)

    def complained(self, complaint: str) -> None:
        """Show what the agent did wrong."""
        self.tell(Told(Tone.WARNING, (complaint,)))

    def _tell_checkpoint(self, checkpoint: CheckpointReport | None) -> None:
        if checkpoint is not None:
            self.tell(words.checkpoint_in_words(checkpoint))

    def _open(self, opened: Opened) -> str:
        self.session_id = opened.session_id
        self.view.transcript.set(opened.settings)
        return opened.session_id

    async def _start(self) -> None:
        agent = await Agent.start(self._command, self._cwd, self)
        self._agent = agent

        def gone(ending: asyncio.Task[Ending]) -> None:
            if self._agent is agent and not ending.cancelled():
                self._agent = None
                self.session_id = None
                self._on_gone(ending.result())

        agent.ending.add_done_callback(gone)
