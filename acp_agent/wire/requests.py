"""The request that a handler is working on, and whether its client still wants the answer.

A client withdraws a request by `$/cancel_request`; it must then get a valid answer or error -32800 (acp-facts
1.5). Nothing is torn apart for it: a handler that is in the middle of repairing a session on the disk must not be
stopped there. So a withdrawal is a flag, which a handler looks at where it can stop (`stop_if_withdrawn`), or a
call that a handler asked for (`when_withdrawn`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

from acp_agent.logs import scope
from acp_agent.wire.errors import CANCELLED, AgentError, JsonObject


class Serving:
    """One request that has no answer yet. `params` are as they came, `began` is when (`perf_counter`)."""

    def __init__(self, method: str, session_id: str | None, params: JsonObject) -> None:
        self.began = time.perf_counter()
        self.method = method
        self.params = params
        self.session_id = session_id
        self._withdrawn = False
        self._callbacks: list[Callable[[], None]] = []

    def withdraw(self) -> None:
        """The client does not want the answer any more."""
        if not self._withdrawn:
            self._withdrawn = True
            for callback in self._callbacks:
                callback()

    def when_withdrawn(self, callback: Callable[[], None]) -> None:
        """Call something when the request is withdrawn, at once if it is already."""
        self._callbacks.append(callback)
        if self._withdrawn:
            callback()

    def stop_if_withdrawn(self) -> None:
        """Raise the error that answers the request, if the client has withdrawn it."""
        if self._withdrawn:
            raise AgentError(
                CANCELLED,
                "The request was cancelled.",
                reason="cancelled",
                details=f"The client withdrew {self.method} by $/cancel_request.",
                session_id=self.session_id,
            )


_current: ContextVar[Serving] = ContextVar("serving")


def enter(serving: Serving) -> None:
    """What this task and the tasks that it starts do from now on is done for this request and its session."""
    _current.set(serving)
    scope.enter(serving.session_id)


def current() -> Serving:
    """The request that is being served by this task; one that nobody can withdraw, if it serves none."""
    return _current.get(_NOBODYS)


_NOBODYS = Serving("", None, {})
