"""Requests to the client: a question, and the answer to it or its withdrawal.

The SDK's connection could send them, and cannot withdraw one: a client that is not told goes on showing a question
that nobody waits for. Ids are strings with a word of their own, which the SDK, which counts, never uses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING

from acp_agent.wire.errors import JsonObject

if TYPE_CHECKING:
    from pydantic import JsonValue


class ClientRefused(Exception):
    """The client answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class Outgoing:
    """The requests of one connection that the client has not answered yet.

    Args:
        send: sends a message, waits while the client is behind in reading.
        post: sends a message without waiting.
    """

    def __init__(self, send: Callable[[JsonObject], Awaitable[None]], post: Callable[[JsonObject], None]) -> None:
        self._send = send
        self._post = post
        self._ids = count(1)
        self._waiting: dict[str, asyncio.Future[JsonValue]] = {}
        self._over = False

    async def request(self, method: str, params: JsonObject) -> JsonValue:
        """Send a request and wait for its answer. Cancelled while it waits, it withdraws the request.

        Raises:
            ClientRefused: the client answered with an error.
            ConnectionError: the client is gone.
        """
        if self._over:
            raise ConnectionError("The client is gone.")
        request_id = f"agent-{next(self._ids)}"
        answer: asyncio.Future[JsonValue] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            await self._send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
            return await answer
        except asyncio.CancelledError:
            with contextlib.suppress(ConnectionError):
                self._post({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": request_id}})
            raise
        finally:
            del self._waiting[request_id]

    def answered(self, response: JsonObject) -> None:
        """Take an answer of the client. One to a request that was withdrawn, or never sent, means nothing."""
        request_id = response.get("id")
        answer = self._waiting.get(request_id) if isinstance(request_id, str) else None
        if answer is None or answer.done():
            return
        error = response.get("error")
        if isinstance(error, dict):
            code, message = error.get("code"), error.get("message")
            assert isinstance(code, int)
            answer.set_exception(ClientRefused(code, str(message)))
        else:
            answer.set_result(response.get("result"))

    def end(self) -> None:
        """No answer will come any more."""
        self._over = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("The client is gone."))
