"""JSON-RPC 2.0 over a pair of byte streams, one message a line, as ACP's stdio transport has it.

A thin peer of its own rather than the SDK's: the SDK's models drop updates that they do not know, `notice`
among them, and this client must show whatever the agent says (acp-facts, timeline). Both sides may send
requests. Messages are handled in the order in which they arrive: every notification that came before an
answer has been delivered when the answer is.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import count
from typing import Protocol

from pydantic import JsonValue

from acp_agent.chat.fields import FieldError, JsonObject, integer_or_none, object_, text_or_none

LINE_LIMIT = 64 * 1024 * 1024
"""The longest line that is read, in bytes; a longer one is reported and skipped."""

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REQUEST_CANCELLED = -32800


class RpcError(Exception):
    """An error answer, received or to be sent."""

    def __init__(self, code: int, message: str, data: JsonValue = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class PeerGone(Exception):
    """The other side closed the connection before it answered."""


class Handler(Protocol):
    """What the owner of a connection does with the peer's messages."""

    def notified(self, method: str, params: JsonObject) -> None:
        """Take in a notification; a `FieldError` raised here is reported as a garbled line."""

    async def requested(self, method: str, params: JsonObject) -> JsonObject:
        """Answer a request of the peer; raises `RpcError` to answer with an error."""

    def garbled(self, line: str, fault: str) -> None:
        """Learn of a line that is no message of this protocol; nothing else is lost with it."""


class Peer:
    """One connection. `serve` must run for answers to arrive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[JsonValue]] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._withdrawn: set[asyncio.Task[None] | None] = set()
        self._gone = False

    async def request(self, method: str, params: JsonObject) -> JsonValue:
        """Send a request and return the result; raises `RpcError` for an error answer and `PeerGone`."""
        _, answer = await self.begin(method, params)
        return await answer

    async def begin(self, method: str, params: JsonObject) -> tuple[int, asyncio.Future[JsonValue]]:
        """Send a request; its id, by which it can be withdrawn, and what its answer will be. Raises `PeerGone`."""
        request_id = next(self._ids)
        answer: asyncio.Future[JsonValue] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            await self._send({"id": request_id, "method": method, "params": params})
        except PeerGone:
            self._waiting.pop(request_id, None)
            raise
        return request_id, answer

    async def withdraw(self, request_id: int) -> None:
        """Tell the peer that the answer to a request is not wanted any more; it answers all the same."""
        await self.notify("$/cancel_request", {"requestId": request_id})

    async def notify(self, method: str, params: JsonObject) -> None:
        """Send a notification; raises `PeerGone`."""
        await self._send({"method": method, "params": params})

    async def serve(self) -> None:
        """Handle what the peer sends until it closes the connection.

        On return every unanswered request has failed with `PeerGone`, and answers still being worked out for
        the peer are cancelled.
        """
        try:
            async with asyncio.TaskGroup() as answers:
                while (line := await self._next_line()) is not None:
                    request = self._take(line)
                    if request is not None:
                        self._answering[json.dumps(request[0])] = answers.create_task(self._answer(*request))
                for task in list(self._answering.values()):
                    task.cancel()
        finally:
            self._gone = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(PeerGone())
            self._waiting.clear()

    async def _next_line(self) -> bytes | None:
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                self._handler.garbled("", f"a line of more than {LINE_LIMIT} bytes")
                continue
            except ConnectionError:
                return None
            if not line:
                return None
            if line.strip():
                return line

    def _take(self, line: bytes) -> tuple[JsonValue, str, JsonObject] | None:
        """Handle one line; returns the request that it is, if it is one."""
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise FieldError("not an object")
            method = text_or_none(message, "method")
            if method is None:
                self._settle(message)
            elif method == "$/cancel_request":
                self._withdraw(json.dumps(object_(message, "params").get("requestId")))
            elif "id" in message:
                return message["id"], method, object_(message, "params")
            else:
                self._handler.notified(method, object_(message, "params"))
        except (ValueError, RecursionError) as fault:
            self._handler.garbled(line.decode(errors="replace").rstrip("\r\n"), str(fault))
        return None

    def _settle(self, message: JsonObject) -> None:
        request_id = integer_or_none(message, "id")
        answer = self._waiting.pop(request_id, None) if request_id is not None else None
        if answer is None:
            raise FieldError("an answer to nothing that was asked")
        if answer.done():  # the one who asked was cancelled meanwhile
            return
        if message.get("error") is not None:
            answer.set_exception(_read_error(message["error"]))
        else:
            answer.set_result(message.get("result"))

    def _withdraw(self, request_id: str) -> None:
        task = self._answering.get(request_id)
        if task is not None:
            self._withdrawn.add(task)
            task.cancel()

    async def _answer(self, request_id: JsonValue, method: str, params: JsonObject) -> None:
        reply: JsonObject
        try:
            reply = {"result": await self._handler.requested(method, params)}
        except RpcError as refusal:
            reply = {"error": {"code": refusal.code, "message": refusal.message, "data": refusal.data}}
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) not in self._withdrawn:
                raise
            self._withdrawn.discard(task)
            reply = {"error": {"code": REQUEST_CANCELLED, "message": "The question was withdrawn."}}
        finally:
            self._answering.pop(json.dumps(request_id), None)
        with suppress(PeerGone):  # whoever asked is no longer there; `serve` is about to end and say so
            await self._send({"id": request_id, **reply})

    async def _send(self, message: JsonObject) -> None:
        if self._gone:
            raise PeerGone
        line = json.dumps({"jsonrpc": "2.0", **message})
        try:
            self._writer.write(line.encode() + b"\n")
            await self._writer.drain()
        except ConnectionError as broken:
            raise PeerGone from broken


def _read_error(error: JsonValue) -> RpcError:
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        if isinstance(code, int) and isinstance(message, str):
            return RpcError(code, message, error.get("data"))
    return RpcError(INTERNAL_ERROR, f"the other side answered with an error of no known form: {error!r:.200}")
