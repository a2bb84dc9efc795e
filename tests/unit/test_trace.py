"""What a trace records of what crosses the pipes, and what it says of what it does not record."""

from __future__ import annotations

import json
import resource
import stat
from pathlib import Path

import pytest
from pydantic import JsonValue

from acp_agent.redaction import HIDDEN, Redactor
from acp_agent.wire import trace as tracing
from acp_agent.wire.trace import Trace

Json = dict[str, JsonValue]
SECRET = "s3cr3t-of-the-weather-station"
NEW: Json = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "session/new",
    "params": {"cwd": "/w", "mcpServers": [{"name": "w", "env": [{"name": "KEY", "value": SECRET}]}]},
}


def made(path: Path, *, content: bool = True) -> Trace:
    return Trace(path, content=content, redactor=Redactor())


def recorded(path: Path) -> list[Json]:
    """The records of a trace without what differs from run to run; every line must be whole."""
    found: list[Json] = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        assert record.pop("time").endswith("Z")
        assert record.pop("at") >= 0
        assert record.pop("pid") > 0
        found.append(record)
    return found


def line(message: JsonValue) -> bytes:
    return json.dumps(message).encode()


def test_messages_are_recorded_in_order_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "traces" / "t.jsonl"
    trace = made(path)
    trace.received(line(NEW))
    trace.sent(line({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s"}}) + b"\n")
    update: Json = {"sessionId": "s", "update": {"text": f"It said {SECRET}.", "data": "QUJD" * 1000}}
    trace.sent(line({"jsonrpc": "2.0", "method": "session/update", "params": update}) + b"\n")
    trace.received(b'{"method": "session/new", "params": {"mcpServers": [{"env": {"K": "another-secret')
    trace.received(b"\xff\x00 GET / HTTP/1.1\r")
    trace.received(None)
    trace.flush(10)
    first, new, answer, said, broken, garbage, long = recorded(path)
    assert (first["trace"], first["content"]) == (1, "text")
    assert {name: new[name] for name in ("from", "id", "method", "bytes")} == {
        "from": "client",
        "id": 1,
        "method": "session/new",
        "bytes": len(line(NEW)),
    }
    assert answer["message"] == {"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s"}}
    assert said["session"] == "s"
    message = said["message"]
    assert isinstance(message, dict)
    assert message["params"] == {
        "sessionId": "s",
        "update": {"text": f"It said {HIDDEN}.", "data": "[4,000 characters of base64]"},
    }
    assert broken["unreadable"] == '{"method": "session/new", "params": {"mcpServers": [{' + HIDDEN
    assert garbage["unreadable"] == "\ufffd\x00 GET / HTTP/1.1\r"
    assert long == {"from": "client", "unreadable": "a line of more than 67,108,864 bytes"}
    assert SECRET not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_content_no_text_is_left_that_somebody_wrote(tmp_path: Path) -> None:
    trace = made(tmp_path / "t", content=False)
    said: Json = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "written"}}
    call: Json = {
        "sessionUpdate": "tool_call",
        "toolCallId": "c",
        "title": "written",
        "rawInput": {"a": ["written"]},
    }
    for update in (said, call):
        trace.sent(line({"method": "session/update", "params": {"sessionId": "s", "update": update}}))
    trace.received(
        line({"id": 1, "error": {"code": 1, "message": "No.", "data": {"reason": "r", "details": "written"}}})
    )
    trace.received(b"written")
    trace.flush(10)
    text = (tmp_path / "t").read_text()
    assert "written" not in text
    for kept in (
        "agent_message_chunk",
        "tool_call",
        '"toolCallId": "c"',
        "No.",
        '"reason": "r"',
        "[7 characters]",
    ):
        assert kept in text


def test_what_does_not_fit_is_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = made(tmp_path / "t")
    monkeypatch.setattr(tracing, "QUEUE_MESSAGES", 2)
    # The thread that writes cannot begin with a message while its queue is held.
    with trace._changed:
        for number in range(5):
            trace.sent(line({"id": number, "result": {}}))
    trace.flush(10)
    trace.sent(line({"id": 5, "result": {}}))
    trace.flush(10)
    _, *rest = recorded(tmp_path / "t")
    assert [record.get("id", record.get("dropped")) for record in rest] == [3, 0, 1, 5]


def test_a_disk_that_refuses_is_told_and_what_is_missing_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t"
    trace = made(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system takes ten more bytes and then refuses, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        for number in range(3):
            trace.sent(line({"id": number, "result": {}}))
        trace.flush(10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    trace.sent(line({"id": 3, "result": {}}))
    trace.flush(10)
    _, torn, *rest = path.read_text().splitlines()
    assert len(torn) == 10
    assert [json.loads(each).get("id", json.loads(each).get("dropped")) for each in rest] == [3, 3]
    assert [record.getMessage() for record in caplog.records if "cannot be written" in record.getMessage()] == [
        "the trace cannot be written: File too large; what is missing is counted in it"
    ]


def test_a_trace_ends_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "FILE_LIMIT", 400)
    trace = made(tmp_path / "t")
    for number in range(50):
        trace.sent(line({"id": number, "result": {}}))
    trace.flush(10)
    found = recorded(tmp_path / "t")
    assert found[-1] == {"stopped": "the file has more than 400 bytes"}
    assert [record.get("id") for record in found[1:-1]] == list(range(len(found) - 2))
    assert (tmp_path / "t").stat().st_size < 800


def test_another_process_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "t"
    made(path).flush(10)
    with path.open("a") as file:
        file.write('{"time": "2026')  # killed while it wrote
    made(path).flush(10)
    first, torn, second = path.read_text().splitlines()
    assert json.loads(first)["trace"] == json.loads(second)["trace"] == 1
    assert torn == '{"time": "2026'
