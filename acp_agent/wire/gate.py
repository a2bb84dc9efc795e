"""Which requests may reach the agent, in what form, and which of them are still unanswered. No I/O.

The SDK serves whatever arrives: before `initialize`, twice, under an id that is in use (acp-facts 3.3, items 3
and 10). The rules that belong to the connection and to no method are kept here:

- `initialize` comes first and succeeds once (acp-facts 1.6). It is answered here, by what the gate was made with:
  the SDK, which takes long to import, never sees it.
- An id names one unanswered request at a time; `$/cancel_request` withdraws it.
- `_meta` never becomes a parameter. The SDK passes the members of `params._meta` to a handler as keyword
  arguments, over the real ones (acp-facts 3.3, item 3). So `_meta` goes in as `{"meta": <what the client sent>}`,
  and a handler that takes `meta=None` receives it there. Extension methods get their parameters in one piece and
  keep `_meta` as it was sent.
- Every answer that goes out is complete and tells no secret (`errors.completed`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from acp_agent import redaction
from acp_agent.redaction import Redactor
from acp_agent.wire.errors import INTERNAL, INVALID_PARAMS, INVALID_REQUEST, AgentError, JsonObject, completed
from acp_agent.wire.framing import ID_LIMIT, Notification, Request, RequestId
from acp_agent.wire.requests import Serving

if TYPE_CHECKING:
    from pydantic import JsonValue

Introduce = Callable[[JsonObject], JsonObject]
"""Makes the result of `initialize` of its parameters, or raises `AgentError`."""


class Gate:
    """The state of one connection: initialized or not, the unanswered requests. `redactor` learns its secrets.

    `client_params` are the params of `initialize` as they came, members included that the SDK does not know; empty
    until then.
    """

    def __init__(self, introduce: Introduce, redactor: Redactor = redaction.process) -> None:
        self.client_params: JsonObject = {}
        self.initialized = False
        self._introduce = introduce
        self._unanswered: dict[RequestId, Serving] = {}
        self._redactor = redactor

    @property
    def unanswered(self) -> int:
        """How many requests were let in and not answered yet."""
        return len(self._unanswered)

    def initialize(self, request: Request) -> JsonObject:
        """Answer `initialize`: return its response, or raise the `AgentError` that answers it."""
        session_id = _session_id(request.params)
        self._check_id(request.id, session_id)
        if self.initialized:
            raise _refused("The connection is already initialized", "already_initialized", session_id)
        _guarded(request.method, request.params, session_id)
        result = self._introduce(request.params)
        self.initialized = True
        self.client_params = request.params
        return {"jsonrpc": "2.0", "id": request.id, "result": result}

    def request(self, request: Request) -> tuple[JsonObject, Serving]:
        """Let a request in: return the message for the SDK, or raise the `AgentError` that answers it."""
        session_id = _session_id(request.params)
        self._check_id(request.id, session_id)
        if not self.initialized:
            raise _refused("Send initialize first", "not_initialized", session_id)
        params = _guarded(request.method, request.params, session_id)
        # What the client keeps secret is in the environments and headers of MCP servers.
        self._redactor.learn(redaction.secrets_in(request.params.get("mcpServers")))
        serving = self._unanswered[request.id] = Serving(request.method, session_id, request.params)
        return {"jsonrpc": "2.0", "id": request.id, "method": request.method, "params": params}, serving

    def notification(self, notification: Notification) -> JsonObject | None:
        """Let a notification in: return the message for the SDK, or `None` if it goes no further.

        `$/cancel_request` is done here; everything else under `$/` may be ignored by whoever does not know it.
        """
        if notification.method == "$/cancel_request":
            self._withdraw(notification.params.get("requestId"))
        if not self.initialized or notification.method.startswith("$/"):
            return None
        try:
            params = _guarded(notification.method, notification.params, None)
        except AgentError:
            return None
        return {"jsonrpc": "2.0", "method": notification.method, "params": params}

    def asked(self, request_id: JsonValue) -> Serving | None:
        """The unanswered request with this id."""
        return self._unanswered.get(request_id) if isinstance(request_id, str | int | float | None) else None

    def response(self, message: Mapping[str, JsonValue]) -> JsonObject:
        """Let an answer out: return it as the client may see it, and count its request as answered."""
        request_id = message.get("id")
        assert request_id is None or isinstance(request_id, str | int | float)
        request = self._unanswered.pop(request_id, None)
        error = message.get("error")
        if error is None:
            return dict(message)
        session_id = request.session_id if request is not None else None
        stated = error if isinstance(error, dict) else {}
        return {**message, "error": completed(stated, session_id=session_id, redactor=self._redactor)}

    def _check_id(self, request_id: RequestId, session_id: str | None) -> None:
        if request_id in self._unanswered:
            raise _refused("The request id is already in use", "id_in_use", session_id)

    def _withdraw(self, request_id: JsonValue) -> None:
        """Withdraw a request; one that is answered already, or never was sent, is nothing to withdraw."""
        if serving := self.asked(request_id):
            serving.withdraw()


def unsayable(request_id: JsonValue, why: Exception) -> JsonObject:
    """The answer to a request whose real answer cannot be written; without one the client waits for ever."""
    assert request_id is None or isinstance(request_id, str | int | float)
    if isinstance(why, AgentError):
        return why.response(request_id)
    return AgentError(
        INTERNAL,
        "The answer could not be written as JSON",
        reason="internal_error",
        details=f"The agent made an answer that JSON cannot express ({type(why).__name__}).",
    ).response(request_id)


def _guarded(method: str, params: JsonObject, session_id: str | None) -> JsonObject:
    meta = params.get("_meta")
    if meta is None:
        return params
    if not isinstance(meta, dict):
        raise AgentError(
            INVALID_PARAMS,
            "Invalid params",
            reason="invalid_params",
            details="_meta must be an object or null.",
            session_id=session_id,
        )
    return params if method.startswith("_") else {**params, "_meta": {"meta": meta}}


def _session_id(params: JsonObject) -> str | None:
    session_id = params.get("sessionId")
    # Errors repeat it, and an error may not be as long as what a client can send.
    return session_id if isinstance(session_id, str) and len(session_id) <= ID_LIMIT else None


def _refused(message: str, reason: str, session_id: str | None) -> AgentError:
    details = {
        "id_in_use": "An earlier request with this id has no answer yet; its answer will follow.",
        "already_initialized": "initialize is sent once on a connection.",
        "not_initialized": "No other request is served before initialize.",
    }[reason]
    return AgentError(INVALID_REQUEST, message, reason=reason, details=details, session_id=session_id)
