"""The agent's questions, permissions and forms, that wait for the user; answered in the order in which they came.

A question is shown when its turn to be answered has come, and a form field by field, so that what was shown last
is always what is to be answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pydantic import JsonValue
from rich.console import RenderableType

from acp_agent.chat import render
from acp_agent.chat.agent import PermissionQuestion
from acp_agent.chat.fields import JsonObject
from acp_agent.chat.forms import Declined, Field, Form, NoAnswer


class _Open(Protocol):
    """A question that is not answered yet."""

    @property
    def settled(self) -> bool:
        """Whether nobody waits for an answer any more."""

    @property
    def label(self) -> str:
        """How it is answered."""

    @property
    def shown(self) -> RenderableType:
        """What is to be answered now."""

    def take(self, line: str) -> str:
        """Answer by this line; returns the answer in words. Raises `NoAnswer`."""

    def reject(self) -> None:
        """Answer that the user says no."""

    def cancel(self) -> None:
        """Answer that the turn is cancelled."""


class Questions:
    """The open questions.

    `show` shows what is to be answered now; `on_answered` learns an answer in words, before the next question is
    shown; `on_changed` learns when another is to be answered.
    """

    def __init__(
        self,
        show: Callable[[RenderableType], None],
        on_answered: Callable[[str], None],
        on_changed: Callable[[], None],
    ) -> None:
        self._show = show
        self._on_answered = on_answered
        self._on_changed = on_changed
        self._closed = False
        self._open: deque[_Open] = deque()
        self._at: tuple[_Open, str] | None = None

    @property
    def label(self) -> str | None:
        """How the question that is to be answered now is answered; None if there is none."""
        while self._open and self._open[0].settled:
            self._open.popleft()
        return self._open[0].label if self._open else None

    async def ask(self, question: PermissionQuestion) -> str | None:
        """Wait for the answer: an option's id, or None to cancel."""
        asked = _Permission(question)
        await self._wait(asked, asked.answer)
        return asked.answer.result()

    async def fill_in(self, form: Form) -> JsonObject:
        """Wait for the form to be filled in: the answer to an `elicitation/create`."""
        asked = _Filling(form)
        await self._wait(asked, asked.answer)
        return asked.answer.result()

    def answer(self, line: str) -> None:
        """Answer what is to be answered now.

        Raises `NoAnswer`, with the question still open, when the line does not answer it.
        """
        assert self.label is not None
        self._on_answered(self._open[0].take(line))
        self._advance()

    def cancel_all(self) -> None:
        """Answer every question with `cancelled`, as the protocol wants it when the turn is cancelled."""
        for question in self._open:
            question.cancel()
        self._advance()

    def reject_all(self) -> None:
        """Reject every question, now and from now on: the input has ended."""
        self._closed = True
        for question in self._open:
            question.reject()
        self._advance()

    async def _wait(self, asked: _Open, answer: asyncio.Future[str | None] | asyncio.Future[JsonObject]) -> None:
        self._open.append(asked)
        self._advance()
        if self._closed:
            asked.reject()
        try:
            await asyncio.wait([answer])
        finally:
            answer.cancel()  # withdrawn by the agent, if it was not answered
            self._advance()

    def _advance(self) -> None:
        """Show what is to be answered now, if that is another."""
        label = self.label
        now = (self._open[0], label) if label is not None else None
        if now == self._at:
            return
        self._at = now
        if now is not None:
            self._show(now[0].shown)
        self._on_changed()


class _Permission:
    """A tool call that may run or not."""

    def __init__(self, question: PermissionQuestion) -> None:
        self.answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._question = question

    @property
    def settled(self) -> bool:
        return self.answer.done()

    @property
    def label(self) -> str:
        return f"1-{len(self._question.options)}, Enter rejects"

    @property
    def shown(self) -> RenderableType:
        return render.question(self._question)

    def take(self, line: str) -> str:
        options = self._question.options
        if not line:
            chosen = rejection(self._question)
        elif line.isascii() and line.isdigit() and 1 <= int(line) <= len(options):
            chosen = options[int(line) - 1].option_id
        else:
            raise NoAnswer("Answer with the number of an option; Enter alone rejects.")
        self.answer.set_result(chosen)
        return next((option.name for option in options if option.option_id == chosen), "cancelled")

    def reject(self) -> None:
        if not self.answer.done():
            self.answer.set_result(rejection(self._question))

    def cancel(self) -> None:
        if not self.answer.done():
            self.answer.set_result(None)


class _Filling:
    """A form, and what has been filled in of it."""

    def __init__(self, form: Form) -> None:
        self.answer: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._form = form
        self._content: dict[str, JsonValue] = {}
        self._place = 0
        self._accept_if_full()

    @property
    def settled(self) -> bool:
        return self.answer.done()

    @property
    def label(self) -> str:
        of = f" [{self._place + 1}/{len(self._form.fields)}]" if len(self._form.fields) > 1 else ""
        return f"{self._field.hint}{of}"

    @property
    def shown(self) -> RenderableType:
        return render.field(self._form if self._place == 0 else None, self._field)

    def take(self, line: str) -> str:
        field = self._field
        try:
            value = field.read(line)
        except Declined:
            self.reject()
            return "declined"
        if value is not None:
            self._content[field.name] = value
        self._place += 1
        self._accept_if_full()
        return field.said(value)

    def reject(self) -> None:
        if not self.answer.done():
            self.answer.set_result({"action": "decline"})

    def cancel(self) -> None:
        if not self.answer.done():
            self.answer.set_result({"action": "cancel"})

    @property
    def _field(self) -> Field:
        return self._form.fields[self._place]

    def _accept_if_full(self) -> None:
        if self._place == len(self._form.fields):
            self.answer.set_result({"action": "accept", "content": self._content})


def rejection(question: PermissionQuestion) -> str | None:
    """The mildest rejection on offer; None, which cancels, when there is none."""
    return question.first_of("reject_once", "reject_always")
