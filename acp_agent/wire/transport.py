"""The transport that the SDK's connection runs on: messages in, messages out, over two file descriptors.

It stands in for the SDK's own, which dies at `[]`, answers no malformed line and hangs when the client is gone
(acp-facts 3.3, items 1, 2, 5, 12 and 13). `framing` knows what a message is, `gate` which may pass, `pipes` how
bytes move; this module puts them together and knows when it is over.

The end comes in one of three ways. The client closes the input: requests that came before are given `SETTLE`
seconds to be answered (`printf '…' | acp-agent` gets its answer), then `receive` returns `None`. The client stops
taking output (a write fails, or it lets `UNREAD_LIMIT` bytes of answers pile up): at once. `request_shutdown` is
called: at once. From then on no sender waits: what the client still takes is written, anything else is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from acp_agent.logs import Event, ms_since, say, scope
from acp_agent.wire import requests
from acp_agent.wire.errors import FAULTS, AgentError, JsonObject
from acp_agent.wire.framing import Ignored, Message, Notification, Rejected, Request, RequestId, Response, encode
from acp_agent.wire.gate import Gate, Introduce, unsayable
from acp_agent.wire.outgoing import Outgoing
from acp_agent.wire.pipes import LineInput, LineOutput

if TYPE_CHECKING:
    from pydantic import JsonValue

    from acp_agent.wire.trace import Trace

SETTLE: Final = 0.3
"""Seconds that requests have to be answered after the client closed the input."""

UNREAD_LIMIT: Final = 64 * 1024 * 1024
"""Unwritten bytes above which a client that goes on sending what must be refused counts as gone."""

_log = logging.getLogger(__name__)


class StdioTransport:
    """Implements the SDK's `Transport` over `read_fd` and `write_fd`, of any kind; neither is ever closed here.

    Must be made inside the running event loop that it is used on. Reading starts at once. `introduce` answers
    `initialize`; `trace` records what crosses.
    """

    def __init__(self, read_fd: int, write_fd: int, introduce: Introduce, trace: Trace | None = None) -> None:
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._gate = Gate(introduce)
        self._outgoing = Outgoing(self.send, self._post)
        self._inbox: deque[Message] = deque()
        self._arrival = asyncio.Event()
        self._answered = asyncio.Event()
        self._stopped = asyncio.Event()
        self.why_over: str | None = None
        """Why nothing is served any more, None while something is."""
        self._input_over = False
        self._end_seen = False
        self._end_callbacks: list[Callable[[], None]] = []
        self._output = LineOutput(
            write_fd,
            self._loop,
            on_sight_of_end=self._sight_of_end,
            on_broken=self._stop,
            on_line=trace.sent if trace else None,
        )
        self._input = LineInput(
            read_fd,
            self._loop,
            on_message=self._on_message,
            on_sight_of_end=self._sight_of_end,
            on_end=self._on_input_end,
            on_line=trace.received if trace else None,
        )

    @property
    def client_params(self) -> JsonObject:
        """The params of `initialize` exactly as the client sent them; empty before it and after it failed.

        The SDK drops capabilities that it does not know, such as `clientCapabilities.session.notices`
        (acp-facts 3.3, item 4).
        """
        return self._gate.client_params

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` at the first sign that the connection ends.

        It is called on any thread, even while the event loop is blocked, and possibly more than once.
        """
        self._end_callbacks.append(callback)
        if self._end_seen:
            callback()

    def request_shutdown(self, why: str = "shutdown was requested") -> None:
        """End the connection: `receive` returns `None` from now on. May be called on any thread, and again."""
        self._sight_of_end()
        with contextlib.suppress(RuntimeError):  # the loop is closed, so the connection is over
            self._loop.call_soon_threadsafe(self._stop, why)

    async def greeted(self) -> bool:
        """Answer until `initialize` has succeeded; whether it did before the end."""
        while not self._gate.initialized and (message := await self._next()) is not None:
            # Nothing is admitted before that.
            self._admit(message)
        return self._gate.initialized

    async def receive(self) -> JsonObject | None:
        """Return the next message for the agent, or `None` at the end; refusals are answered on the way.

        What the calling task does next, and the tasks that it starts, belong to that message (`requests.current`).
        """
        # To wait for the next message is nothing that is done for the last one's session.
        scope.enter(None)
        while (message := await self._next()) is not None:
            if (admitted := self._admit(message)) is not None:
                return admitted
        return None

    async def request(self, method: str, params: JsonObject) -> JsonValue:
        """Send a request to the client and wait for the answer; see `Outgoing.request`."""
        return await self._outgoing.request(method, params)

    def refuse_all(self, error: AgentError) -> None:
        """Answer every request that has come with an error, and end the connection: nothing can be served."""
        while self._inbox:
            message = self._inbox.popleft()
            if isinstance(message, Request):
                self._refuse(message.id, error)
        self._stop("nothing can be served")

    async def send(self, message: JsonObject) -> None:
        """Queue a message and wait while the client is behind in reading.

        A message whose sender is cancelled in that wait is still sent whole. An answer that JSON cannot express or
        that is too long is replaced by an error, an answer that nobody can read any more is dropped. For a request
        or a notification the same raises `TypeError` or `ValueError`, `AgentError`, and `ConnectionError`.
        """
        if "method" in message:
            self._output.put(encode(message))
            await self._output.room()
            return
        asked = self._gate.asked(message.get("id"))
        answer = self._gate.response(message)
        self._answered.set()
        if asked is not None:
            _say_answered(asked, answer.get("error"))
        try:
            line = encode(answer)
        except (AgentError, TypeError, ValueError, RecursionError) as error:
            say(_log, Event.ANSWER_UNSAYABLE, "an answer could not be written", None, error)
            line = encode(unsayable(answer.get("id"), error))
        try:
            self._output.put(line)
            await self._output.room()
        except ConnectionError:
            say(_log, Event.ANSWER_DROPPED, "an answer was dropped: the client is gone")

    async def close(self) -> None:
        """End the connection, as the SDK asks; answers of handlers that it cancels next can still be sent."""
        self._stop("the connection was closed")

    async def wait_stopped(self) -> None:
        """Wait until `receive` has no more messages."""
        await self._stopped.wait()

    async def flush(self, seconds: float) -> None:
        """Wait until everything is written, for `seconds` at most, and as long again for the trace."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._output.flush(), seconds)
        if self._trace is not None:
            # Nothing else is left to be done, so it does not matter that this blocks.
            self._trace.flush(seconds)

    async def _next(self) -> Message | None:
        while not self._stopped.is_set():
            if self._inbox:
                self._input.taken()
                return self._inbox.popleft()
            if self._input_over:
                await self._settle()
                self._stop("the client closed the input")
            else:
                self._arrival.clear()
                await self._arrival.wait()
        return None

    def _admit(self, message: Message) -> JsonObject | None:
        match message:
            case Request():
                try:
                    if message.method == "initialize":
                        self._post(self._gate.initialize(message))
                        _say_connected(self.client_params)
                        return None
                    admitted, serving = self._gate.request(message)
                except AgentError as error:
                    self._refuse(message.id, error)
                    return None
                requests.enter(serving)
                return admitted
            case Notification():
                passed = self._gate.notification(message)
                if passed is None and not message.method.startswith("$/"):
                    method = message.method[:100]
                    say(_log, Event.NOTIFICATION_DROPPED, f"a notification was dropped: {method!r}", method=method)
                return passed
            case Response():
                self._outgoing.answered(message.message)
            case Rejected():
                self._refuse(message.id, message.error)
            case Ignored():
                say(_log, Event.MESSAGE_DROPPED, f"a message was dropped: {message.why}", why=message.why)
        return None

    def _refuse(self, request_id: RequestId, error: AgentError) -> None:
        """Answer without waiting: a client that does not read must not keep its own end from being seen."""
        words = f"a message was refused ({error.code}): {error}"
        say(_log, Event.MESSAGE_REFUSED, words, code=error.code, reason=str(error.data.get("reason")))
        if self._output.backlog > UNREAD_LIMIT:
            self._sight_of_end()
            self._stop("the client does not read its answers")
            return
        self._post(error.response(request_id))

    def _post(self, message: JsonObject) -> None:
        with contextlib.suppress(ConnectionError):  # the output's own thread reports that
            self._output.put(encode(message))

    async def _settle(self) -> None:
        async def all_answered() -> None:
            while self._gate.unanswered and not self._stopped.is_set():
                self._answered.clear()
                await self._answered.wait()

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(all_answered(), SETTLE)

    def _on_message(self, message: Message) -> None:
        self._inbox.append(message)
        self._arrival.set()

    def _on_input_end(self, why: str) -> None:
        say(_log, Event.INPUT_ENDED, f"the input ended: {why}", why=why)
        self._input_over = True
        self._arrival.set()

    def _sight_of_end(self) -> None:
        self._end_seen = True
        for callback in list(self._end_callbacks):
            callback()

    def _stop(self, why: str) -> None:
        if self._stopped.is_set():
            return
        self.why_over = why
        say(_log, Event.CONNECTION_OVER, f"the connection is over: {why}", why=why)
        self._stopped.set()
        self._arrival.set()
        self._answered.set()
        self._output.release()
        self._outgoing.end()


def _say_answered(asked: requests.Serving, error: JsonValue) -> None:
    ms = ms_since(asked.began)
    if not isinstance(error, dict):
        say(_log, Event.REQUEST_ANSWERED, method=asked.method, ms=ms)
        return
    code, data = error.get("code"), error.get("data")
    code = code if isinstance(code, int) else None
    reason = data.get("reason") if isinstance(data, dict) else None
    event = Event.REQUEST_FAILED if code in FAULTS else Event.REQUEST_REFUSED
    words = f"{asked.method} was refused ({code}): {error.get('message')}"
    say(_log, event, words, method=asked.method, code=code, reason=str(reason), ms=ms)


def _say_connected(params: JsonObject) -> None:
    info, can = params.get("clientInfo"), params.get("clientCapabilities")
    about = info if isinstance(info, dict) else {}
    name, version = (str(about[key])[:100] if about.get(key) else None for key in ("name", "version"))
    names = ",".join(sorted(can))[:200] if isinstance(can, dict) else ""
    say(
        _log,
        Event.CONNECTED,
        client=name,
        client_version=version,
        protocol=str(params.get("protocolVersion")),
        can=names or None,
    )
