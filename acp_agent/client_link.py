"""What is sent to the client of this connection: updates, permission questions, and words for the person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Sequence
from itertools import count
from typing import Any, Protocol, TypeVar

from acp import schema
from pydantic import JsonValue, ValidationError

from acp_agent.logs import Event, say
from acp_agent.toolcalls import Json
from acp_agent.wire.errors import AgentError
from acp_agent.wire.outgoing import ClientRefused
from acp_agent.wire.transport import StdioTransport

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Client(Protocol):
    """What a conversation needs of the client it talks to."""

    async def update(self, session_id: str, update: Json) -> None:
        """Send a `session/update`."""

    async def ask(self, session_id: str, tool_call: Json, options: Sequence[Json]) -> str | None:
        """Send a `session/request_permission`; the chosen option's id, None if the question was cancelled."""

    @property
    def takes_forms(self) -> bool:
        """Whether it can be sent forms."""

    async def fill_in(self, session_id: str, tool_call_id: str, message: str, schema: Json) -> JsonValue:
        """Send an `elicitation/create` with a form; what the client answers, None if it does not answer."""

    async def tell(self, session_id: str, severity: str, title: str, text: str, meta: Json) -> None:
        """Tell the person something that is not part of the transcript: a notice, else a message."""

    @property
    def takes_compactions(self) -> bool:
        """Whether it knows updates that say that older messages are summarised."""


async def unless(
    cancelled: asyncio.Event, asking: Awaitable[Answer], settled: asyncio.Future[Any] | None = None
) -> Answer | None:
    """What the client answers; None if the turn is cancelled, the question settled first, or the client gone.

    A question that is not waited for any more is withdrawn.

    Args:
        cancelled: set when the turn is cancelled.
        asking: the question, as `Client` asks it.
        settled: done when the question need not be answered any more.
    """
    answer = asyncio.ensure_future(asking)
    giving_up = asyncio.ensure_future(cancelled.wait())
    others: set[asyncio.Future[Any]] = {giving_up} if settled is None else {giving_up, settled}
    try:
        await asyncio.wait({answer, *others}, return_when=asyncio.FIRST_COMPLETED)
        return None if cancelled.is_set() or (settled is not None and settled.done()) else answer.result()
    except ConnectionError:
        return None
    finally:
        answer.cancel()
        giving_up.cancel()


class ClientLink:
    """Sends updates as the JSON objects they were journalled as, so that live and replay cannot differ.

    The SDK's own `session_update` would need a model for each, drops nulls, and knows no notices.
    """

    def __init__(self, transport: StdioTransport) -> None:
        self._transport = transport
        self._told = count(1)
        self._later: set[asyncio.Task[None]] = set()

    async def update(self, session_id: str, update: Json) -> None:
        """Send a `session/update`."""
        params: Json = {"sessionId": session_id, "update": update}
        await self._transport.send({"jsonrpc": "2.0", "method": "session/update", "params": params})

    async def ask(self, session_id: str, tool_call: Json, options: Sequence[Json]) -> str | None:
        """Send a `session/request_permission`; the chosen option's id, None if the question was cancelled.

        Cancelled while it waits, it withdraws the question.
        """
        params: Json = {"sessionId": session_id, "toolCall": tool_call, "options": [*options]}
        try:
            answer = await self._transport.request("session/request_permission", params)
            outcome = schema.RequestPermissionResponse.model_validate(answer).outcome
        except (ClientRefused, ValidationError, AgentError) as error:
            words = f"the client did not answer a permission question: {error}"
            say(log, Event.CLIENT_REFUSED, words, what="permission", error=type(error).__name__)
            return None
        return outcome.option_id if isinstance(outcome, schema.AllowedOutcome) else None

    @property
    def takes_forms(self) -> bool:
        """Whether the client has said that it shows forms."""
        return self._advertises("elicitation", "form")

    async def fill_in(self, session_id: str, tool_call_id: str, message: str, schema: Json) -> JsonValue:
        """Send an `elicitation/create`; what the client answers. Cancelled while it waits, it withdraws it."""
        params: Json = {
            "mode": "form",
            "sessionId": session_id,
            "toolCallId": tool_call_id,
            "message": message,
            "requestedSchema": schema,
        }
        try:
            return await self._transport.request("elicitation/create", params)
        except ClientRefused as error:
            words = f"the client did not show a form: {error}"
            say(log, Event.CLIENT_REFUSED, words, what="form", error=type(error).__name__)
            return None

    async def tell(self, session_id: str, severity: str, title: str, text: str, meta: Json) -> None:
        """Tell the person something: by a notice if the client takes them, else by a short agent message."""
        if self._advertises("session", "notices"):
            update: Json = {
                "sessionUpdate": "notice",
                "severity": severity,
                "title": title,
                "description": text,
                "_meta": meta,
            }
        else:
            update = {
                "sessionUpdate": "agent_message_chunk",
                "messageId": f"notice-{next(self._told)}",
                "content": {"type": "text", "text": f"[{title}: {text}]\n\n"},
                "_meta": meta,
            }
        await self.update(session_id, update)

    def after_response(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something once the response of the running request has been sent."""
        # The SDK sends a handler's result in the step of the event loop in which the handler returns; a task made
        # now runs after that (acp-facts 3.3, item 7).
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    @property
    def takes_compactions(self) -> bool:
        """Whether the client has said that it knows updates about older messages being summarised."""
        return self._advertises("session", "compaction")

    def _advertises(self, section: str, name: str) -> bool:
        capabilities = self._transport.client_params.get("clientCapabilities")
        found = capabilities.get(section) if isinstance(capabilities, dict) else None
        return isinstance(found, dict) and found.get(name) is not None
