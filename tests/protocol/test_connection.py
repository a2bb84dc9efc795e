"""What an agent must not write is caught, and named."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from tests.protocol.connection import LONGEST_MESSAGE, Connection, InvalidMessage
from tests.protocol.shapes import Json

TEXT: Json = {"type": "text", "text": "hi"}
CALL: Json = {"toolCallId": "c", "title": "Edit", "kind": "edit", "status": "pending", "rawInput": {"any": [None]}}
OPTION: Json = {"optionId": "y", "name": "Yes", "kind": "allow_once"}
ERROR: Json = {"code": -31001, "message": "Busy.", "data": {"reason": "busy", "details": "Wait."}}
EVERYTHING: Json = {
    "fs": {"readTextFile": True},
    "session": {"notices": {}, "configOptions": {"boolean": {}}},
    "elicitation": {"form": {}},
}
READ: Json = {"method": "fs/read_text_file", "params": {"sessionId": "s", "path": "/a"}, "id": "a"}
FORM: Json = {
    "id": "a",
    "method": "elicitation/create",
    "params": {
        "sessionId": "s",
        "mode": "form",
        "message": "Which?",
        "requestedSchema": {"type": "object", "properties": {"x": {"type": "string"}}},
    },
}
SWITCH: Json = {"id": "x", "name": "X", "type": "boolean", "currentValue": True}


def update(of: str, /, **members: JsonValue) -> Json:
    return {"method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": of, **members}}}


def connection(capabilities: Json | None = None) -> Connection:
    """A connection on which `initialize` is done, and 1 `session/new`, "2" `session/prompt`, 3 `_x` are asked."""
    found = Connection()
    asked: list[Json] = [
        {
            "id": 0,
            "method": "initialize",
            "params": {"protocolVersion": 1, "clientCapabilities": capabilities or {}},
        },
        {"id": 1, "method": "session/new", "params": {"cwd": "/", "mcpServers": []}},
        {"id": "2", "method": "session/prompt", "params": {"sessionId": "s", "prompt": [TEXT]}},
        {"id": 3, "method": "_x"},
    ]
    data = b"".join(json.dumps(message).encode() + b"\n" for message in asked)
    found.sent(data[:50])
    found.sent(data[50:] + b"no JSON\n[1]\n")
    found.received(b'{"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": 1}}\n')
    return found


def line(message: Json) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


VALID: list[Json] = [
    {"id": 1, "result": {"sessionId": "new", "_meta": {"x": {"y": 1}}}},
    {"id": "2", "result": {"stopReason": "end_turn"}},
    {"id": 3, "result": [1]},
    {"id": 3, "error": ERROR},
    {"id": None, "error": {**ERROR, "code": -32700}},
    update("agent_message_chunk", content=TEXT, messageId="m"),
    update("tool_call", **CALL),
    update("tool_call_update", toolCallId="c", content=[{"type": "diff", "path": "/a", "newText": ""}]),
    {"method": "_x/y", "params": {"x": 1}},
    {
        "id": "a",
        "method": "session/request_permission",
        "params": {"sessionId": "s", "toolCall": CALL, "options": [OPTION]},
    },
]


@pytest.mark.parametrize("message", VALID, ids=lambda message: json.dumps(message)[:60])
def test_what_is_valid_passes(message: Json) -> None:
    checked = connection()
    checked.received(line(message))
    checked.check()


GATED: list[Json] = [
    READ,
    FORM,
    update("notice", severity="info", title="t"),
    update("config_option_update", configOptions=[SWITCH]),
]


@pytest.mark.parametrize("message", GATED, ids=["file", "form", "notice", "switch"])
def test_what_the_client_must_have_advertised(message: Json) -> None:
    able, unable = connection(EVERYTHING), connection()
    able.received(line(message))
    able.check()
    unable.received(line(message))
    (fault,) = unable.faults
    assert "the client" in fault


INVALID: list[tuple[str, bytes]] = [
    ("not a line of JSON", b"Traceback (most recent call last):\n"),
    ("not a line of JSON in UTF-8", b'{"jsonrpc": "2.0", "method": "_x", "params": {"x": "\xff"}}\n'),
    ("not an object", b"[]\n"),
    ('no "jsonrpc"', b'{"method": "_x"}\n'),
    ("more than", line({"method": "_x", "params": {"x": "x" * LONGEST_MESSAGE}})),
    ("'extra' is no member", line({"method": "_x", "extra": 1})),
    ("either a result or an error", line({"id": 1})),
    ("either a result or an error", line({"id": 1, "result": {}, "error": ERROR})),
    ("which was not asked", line({"id": "1", "result": {"sessionId": "x"}})),
    ("'sessionId' is missing", line({"id": 1, "result": {}})),
    ("None is not of type object", line({"id": 1, "result": None})),
    ("no member 'extra'", line({"id": 1, "result": {"sessionId": "x", "extra": 1}})),
    ("PromptResponse.stopReason", line({"id": "2", "result": {"stopReason": "error"}})),
    ("'code' is missing", line({"id": 1, "error": {"message": "x", "data": ERROR["data"]}})),
    ("is reserved", line({"id": 1, "error": {**ERROR, "code": -32042}})),
    ("one short line", line({"id": 1, "error": {**ERROR, "message": "a\nb"}})),
    ("a reason and details", line({"id": 1, "error": {**ERROR, "data": {"reason": "x"}}})),
    ("nothing that an agent may send", line({"method": "session/cancel", "params": {"sessionId": "s"}})),
    ("nothing that an agent may send", line({"id": 9, "method": "session/update", "params": {}})),
    ("null or was used before", line({"id": None, "method": "_x"})),
    ("never sent", line({"method": "$/cancel_request", "params": {"requestId": "x"}})),
    ("no session that the client knows", line(update("plan", entries=[])).replace(b'"s"', b'"t"')),
    ("none of the", line(update("agent_message"))),
    ("'content' is missing", line(update("agent_message_chunk"))),
    ("no member 'message_id'", line(update("agent_message_chunk", content=TEXT, message_id="m"))),
    ("kind", line(update("tool_call", **{**CALL, "kind": "write"}))),
    ("no member 'extra'", line(update("tool_call", **CALL, locations=[{"path": "/a", "extra": 1}]))),
    ("is less than 0", line(update("usage_update", used=-1, size=1))),
]


@pytest.mark.parametrize(("fault", "data"), INVALID, ids=[fault for fault, _ in INVALID])
def test_what_is_invalid_is_named(fault: str, data: bytes) -> None:
    checked = connection()
    checked.received(data)
    with pytest.raises(InvalidMessage) as caught:
        checked.check()
    assert fault in str(caught.value)


def test_an_id_is_answered_once() -> None:
    checked = connection()
    answer = line({"id": 1, "result": {"sessionId": "x"}})
    checked.received(answer)
    checked.check()
    checked.received(answer)
    with pytest.raises(InvalidMessage, match="answered before"):
        checked.check()
