"""The rules of one connection."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import JsonValue

from acp_agent.wire.errors import AUTH_REQUIRED, INVALID_PARAMS, INVALID_REQUEST, AgentError, JsonObject
from acp_agent.wire.framing import Notification, Request, RequestId
from acp_agent.wire.gate import Gate

ids = st.sampled_from([None, 0, 1, "0", "1", 1.5])


class GateMachine(RuleBasedStateMachine):
    """Any order of requests and answers, against a model of them: the open ids, and whether it is initialized."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self.open: dict[RequestId, str] = {}
        self.initialized = False

    @rule(request_id=ids, method=st.sampled_from(["initialize", "session/new"]))
    def request(self, request_id: RequestId, method: str) -> None:
        admitted = request_id not in self.open and (method == "initialize") != self.initialized
        try:
            message = self.gate.request(Request(request_id, method, {"sessionId": "s"}))
        except AgentError as error:
            assert not admitted
            assert error.code == INVALID_REQUEST
            assert error.data is not None
            assert error.data["sessionId"] == "s"
        else:
            assert admitted
            assert message == {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {"sessionId": "s"}}
            self.open[request_id] = method
            self.initialized = True

    @rule(request_id=ids, fails=st.booleans())
    def answer(self, request_id: RequestId, fails: bool) -> None:
        if request_id not in self.open:
            return
        outcome: JsonObject = {"error": {"code": AUTH_REQUIRED, "message": "m"}} if fails else {"result": {}}
        answer = self.gate.response({"jsonrpc": "2.0", "id": request_id, **outcome})
        if fails:
            details = {"reason": "auth_required", "details": "m", "sessionId": "s"}
            assert answer["error"] == {"code": AUTH_REQUIRED, "message": "m", "data": details}
        if self.open.pop(request_id) == "initialize" and fails:
            self.initialized = False

    @rule(method=st.sampled_from(["session/cancel", "$/cancel_request", "$/unknown"]))
    def notification(self, method: str) -> None:
        admitted = self.gate.notification(Notification(method, {}))
        assert (admitted is not None) == (self.initialized and not method.startswith("$/"))

    @invariant()
    def counts(self) -> None:
        assert self.gate.unanswered == len(self.open)
        assert bool(self.gate.client_params) == self.initialized


TestGateMachine = GateMachine.TestCase


@pytest.mark.parametrize("meta", ["x", 1, [{}], True])
def test_meta_that_is_no_object_is_refused_and_its_notification_dropped(meta: JsonValue) -> None:
    gate = Gate()
    gate.request(Request(1, "initialize", {}))
    with pytest.raises(AgentError) as refused:
        gate.request(Request(2, "session/new", {"_meta": meta, "sessionId": "s"}))
    assert refused.value.code == INVALID_PARAMS
    assert refused.value.data is not None
    assert refused.value.data["sessionId"] == "s"
    assert gate.notification(Notification("session/cancel", {"_meta": meta})) is None
    assert gate.unanswered == 1
