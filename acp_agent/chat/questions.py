"""Permission questions that wait for the user, answered in the order in which they were asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from acp_agent.chat.agent import PermissionQuestion


class Questions:
    """The open questions; `on_asked` is called when there is a new one."""

    def __init__(self, on_asked: Callable[[], None]) -> None:
        self._on_asked = on_asked
        self._closed = False
        self._open: deque[tuple[PermissionQuestion, asyncio.Future[str | None]]] = deque()

    @property
    def first(self) -> PermissionQuestion | None:
        """The question to answer now."""
        self._forget_settled()
        return self._open[0][0] if self._open else None

    async def ask(self, question: PermissionQuestion) -> str | None:
        """Wait for the answer: an option's id, or None to cancel."""
        if self._closed:
            return rejection(question)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._open.append((question, answer))
        self._on_asked()
        return await answer

    def answer(self, line: str) -> str | None:
        """Answer the first question by the number of an option; an empty line rejects.

        Returns the answer in words; None, with the question still open, when the line is neither.
        """
        self._forget_settled()
        question, answer = self._open[0]
        names = {option.option_id: option.name for option in question.options}
        if not line:
            chosen = rejection(question)
        elif line.isascii() and line.isdigit() and 1 <= int(line) <= len(question.options):
            chosen = question.options[int(line) - 1].option_id
        else:
            return None
        answer.set_result(chosen)
        return "cancelled" if chosen is None else names[chosen]

    def cancel_all(self) -> None:
        """Answer every question with `cancelled`, as the protocol wants it when the turn is cancelled."""
        for _, answer in self._open:
            if not answer.done():
                answer.set_result(None)

    def reject_all(self) -> None:
        """Reject every question, now and from now on: the input has ended."""
        self._closed = True
        for question, answer in self._open:
            if not answer.done():
                answer.set_result(rejection(question))

    def _forget_settled(self) -> None:
        while self._open and self._open[0][1].done():
            self._open.popleft()


def rejection(question: PermissionQuestion) -> str | None:
    """The mildest rejection on offer; None, which cancels, when there is none."""
    return question.first_of("reject_once", "reject_always")
