"""The rules of one connection."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import JsonValue

from acp_agent.redaction import Redactor
from acp_agent.wire.errors import AUTH_REQUIRED, CANCELLED, INVALID_PARAMS, INVALID_REQUEST, AgentError, JsonObject
from acp_agent.wire.framing import Notification, Request, RequestId
from acp_agent.wire.gate import Gate
from acp_agent.wire.requests import Serving

ids = st.sampled_from([None, 0, 1, "0", "1", 1.5])


def introduce(params: JsonObject) -> JsonObject:
    if params.get("fails"):
        raise AgentError(INVALID_PARAMS, "No", reason="invalid_params", details="d")
    return {"protocolVersion": 1}


class GateMachine(RuleBasedStateMachine):
    """Any order of requests and answers, against a model of them: the open ids, and whether it is initialized."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(introduce, Redactor())
        self.open: dict[RequestId, Serving] = {}
        self.withdrawn: list[RequestId] = []
        self.initialized = False

    @rule(request_id=ids, fails=st.booleans())
    def initialize(self, request_id: RequestId, fails: bool) -> None:
        admitted = request_id not in self.open and not self.initialized
        try:
            answer = self.gate.initialize(Request(request_id, "initialize", {"fails": fails}))
        except AgentError as error:
            assert not admitted or fails
            assert error.code == (INVALID_PARAMS if admitted else INVALID_REQUEST)
        else:
            assert admitted
            assert answer == {"jsonrpc": "2.0", "id": request_id, "result": {"protocolVersion": 1}}
            self.initialized = True

    @rule(request_id=ids)
    def request(self, request_id: RequestId) -> None:
        admitted = request_id not in self.open and self.initialized
        try:
            message, serving = self.gate.request(Request(request_id, "session/new", {"sessionId": "s"}))
        except AgentError as error:
            assert not admitted
            assert error.code == INVALID_REQUEST
            assert error.data["sessionId"] == "s"
        else:
            assert admitted
            params = {"sessionId": "s"}
            assert message == {"jsonrpc": "2.0", "id": request_id, "method": "session/new", "params": params}
            self.open[request_id] = serving
            serving.when_withdrawn(lambda: self.withdrawn.append(request_id))

    @rule(request_id=ids, fails=st.booleans())
    def answer(self, request_id: RequestId, fails: bool) -> None:
        if request_id not in self.open:
            return
        outcome: JsonObject = {"error": {"code": AUTH_REQUIRED, "message": "m"}} if fails else {"result": {}}
        answer = self.gate.response({"jsonrpc": "2.0", "id": request_id, **outcome})
        if fails:
            details = {"reason": "auth_required", "details": "m", "sessionId": "s"}
            assert answer["error"] == {"code": AUTH_REQUIRED, "message": "m", "data": details}
        del self.open[request_id]
        self.withdrawn = [other for other in self.withdrawn if other != request_id]

    @rule(method=st.sampled_from(["session/cancel", "$/unknown"]))
    def notification(self, method: str) -> None:
        admitted = self.gate.notification(Notification(method, {}))
        assert (admitted is not None) == (self.initialized and not method.startswith("$/"))

    @rule(request_id=st.one_of(ids, st.sampled_from([True, [], {}])))
    def withdraw(self, request_id: JsonValue) -> None:
        assert self.gate.notification(Notification("$/cancel_request", {"requestId": request_id})) is None
        for open_id, serving in self.open.items():
            asked = open_id == request_id and not isinstance(request_id, bool)
            if asked or open_id in self.withdrawn:
                assert self.withdrawn.count(open_id) == 1
                with pytest.raises(AgentError) as cancelled:
                    serving.stop_if_withdrawn()
                assert cancelled.value.code == CANCELLED
            else:
                serving.stop_if_withdrawn()

    @invariant()
    def counts(self) -> None:
        assert self.gate.unanswered == len(self.open)
        assert bool(self.gate.client_params) == self.initialized


TestGateMachine = GateMachine.TestCase


@pytest.mark.parametrize("meta", ["x", 1, [{}], True])
def test_meta_that_is_no_object_is_refused_and_its_notification_dropped(meta: JsonValue) -> None:
    gate = Gate(introduce, Redactor())
    gate.initialize(Request(1, "initialize", {"fails": False}))
    gate.request(Request(1, "session/list", {}))
    with pytest.raises(AgentError) as refused:
        gate.request(Request(2, "session/new", {"_meta": meta, "sessionId": "s"}))
    assert refused.value.code == INVALID_PARAMS
    assert refused.value.data["sessionId"] == "s"
    assert gate.notification(Notification("session/cancel", {"_meta": meta})) is None
    assert gate.unanswered == 1
