"""What the running turn shows: into the journal first, then to the audience, one thing after the other.

A turn's steps and the questions of its tools come from different tasks; here they are put in one order.
Questions are shown by whoever decides about the calls, and only while a turn is there that can ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from acp_agent.showing import CompactionShown, MessageShown, PlanShown, Shown, ToolShown
from acp_agent.steps import Question, QuestionAnswer, ToolUse
from acp_agent.translate import Translator
from sessions.journal import Journal
from sessions.report import ResumeReport


class Audience(Protocol):
    """Whoever watches an agent."""

    async def show(self, shown: Shown) -> None:
        """Something more is shown of the turn that runs; it is in the journal already."""

    async def used(self, tokens: int) -> None:
        """The newest request to the model had this many tokens, prompt and answer."""

    async def reopened(self, report: ResumeReport) -> None:
        """The harness had to be opened again, and this is how well that went."""


class Nobody:
    """The audience of an agent that nobody watches."""

    async def show(self, shown: Shown) -> None:
        """Nobody sees it."""

    async def used(self, tokens: int) -> None:
        """Nobody hears of it; it can be asked for."""

    async def reopened(self, report: ResumeReport) -> None:
        """Nobody hears of it; the report can be asked for."""


class Stage:
    """See the module. All methods belong to one event loop."""

    def __init__(self, journal: Journal, audience: Audience) -> None:
        self._journal = journal
        self._audience = audience
        self._translator: Translator | None = None
        self._cancelled = asyncio.Event()
        self._asking = 0
        self._order = asyncio.Lock()

    @contextmanager
    def turn(self, translator: Translator, cancelled: asyncio.Event) -> Iterator[None]:
        """A turn runs, until it is over; once it is cancelled, nothing is asked any more."""
        self._translator, self._cancelled = translator, cancelled
        try:
            yield
        finally:
            self._translator = None

    @property
    def asking(self) -> bool:
        """Whether the user is being asked something."""
        return self._asking > 0

    @contextmanager
    def waiting_for_user(self) -> Iterator[None]:
        """While the user is being asked, a turn may say nothing for as long as that takes."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def show(self, shown: Sequence[Shown]) -> None:
        """Journal and show these."""
        async with self._order:
            for item in shown:
                match item:
                    case MessageShown():
                        self._journal.stream(item.kind, item.key, item.delta)
                    case ToolShown():
                        self._journal.put("tool_call", item.key, item.payload)
                    case PlanShown():
                        self._journal.put("plan", item.key, item.payload)
                    case CompactionShown():
                        self._journal.put("compaction", item.key, item.payload)
                await self._audience.show(item)

    async def question(self, tool: ToolUse, existing: str | None) -> ToolShown | None:
        """Show a tool call that a permission question is about; None if no turn is there to ask.

        Args:
            tool: the call as the model wrote it.
            existing: the text of the file that it would change, None if there is none.
        """
        if self._translator is None or self._cancelled.is_set():
            return None
        shown = self._translator.question(tool, existing)
        await self.show([shown])
        return shown

    async def asks(self, questions: Sequence[Question]) -> ToolShown | None:
        """Show a call that asks the user something; None if no turn is there to ask."""
        if self._translator is None or self._cancelled.is_set():
            return None
        shown = self._translator.asks(questions)
        await self.show([shown])
        return shown

    async def answered(
        self, shown: ToolShown, questions: Sequence[Question], answers: Sequence[QuestionAnswer]
    ) -> None:
        """Show what the user answered."""
        if self._translator is not None:
            await self.show([self._translator.answered(shown.key, questions, answers)])

    async def refused(self, shown: ToolShown, words: str) -> None:
        """Show that a tool call may not run, and why."""
        if self._translator is not None:
            await self.show([self._translator.refused(shown.key, words)])
