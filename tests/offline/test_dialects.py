"""The bytes of both dialects: what a client receives, and how a request that is not one is refused."""

import json
from collections.abc import Callable

import pytest
from pydantic import JsonValue
from syrupy.assertion import SnapshotAssertion

from acp_agent.offline.decide import decide
from acp_agent.offline.dialect import BadRequestError, Dialect
from acp_agent.offline.gemini_dialect import GeminiDialect
from acp_agent.offline.model_request import ModelRequest, ToolCall
from acp_agent.offline.openai_dialect import OpenAiDialect
from acp_agent.offline.reply import Answer
from tests.offline.conversations import PNG, Answered, Entry, Prompt, Said, openai_body, request

CALL = ToolCall("call_1", "view_file", {"AbsolutePath": "/home/user/project/a.txt"})
DIALECTS: dict[str, Dialect] = {"openai": OpenAiDialect(), "gemini": GeminiDialect()}
CONVERSATIONS: dict[str, list[Entry]] = {
    "statement": [Prompt("hello “you”", (PNG,))],
    "thought, text and tool": [Prompt("!think why\n!say because\n!view_file a.txt")],
    "after a tool": [Prompt("!view_file a.txt"), Said("", CALL), Answered(CALL, "alpha")],
    "stream": [Prompt("!stream 3 20")],
    "dropped": [Prompt("!say one\n!fail drop")],
    "stalled": [Prompt("!stall")],
}


def answered(parsed: ModelRequest) -> Answer:
    reply = decide(parsed)
    assert isinstance(reply, Answer)
    return reply


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_streamed_bytes(dialect: str, name: str, snapshot: SnapshotAssertion) -> None:
    parsed = request(dialect, *CONVERSATIONS[name])

    pieces = DIALECTS[dialect].encode(parsed, answered(parsed))

    assert [f"{piece.delay} {piece.data!r}" for piece in pieces] == snapshot


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_unstreamed_bytes(name: str, snapshot: SnapshotAssertion) -> None:
    parsed = OpenAiDialect().parse(openai_body(*CONVERSATIONS[name], stream=False))

    pieces = OpenAiDialect().encode(parsed, answered(parsed))

    assert [f"{piece.delay} {piece.data!r}" for piece in pieces] == snapshot


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [400, 429, 500, 599])
def test_error_bytes(dialect: str, status: int, snapshot: SnapshotAssertion) -> None:
    assert DIALECTS[dialect].error(status, "it “failed”") == snapshot


def _openai(*messages: JsonValue) -> bytes:
    return json.dumps({"model": "m", "messages": list(messages)}).encode()


def _openai_picture(url: str) -> bytes:
    return _openai({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]})


def _openai_call(arguments: str) -> bytes:
    call: JsonValue = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return _openai({"role": "assistant", "tool_calls": [call]})


def _gemini(part: JsonValue) -> bytes:
    return json.dumps({"contents": [{"role": "user", "parts": [part]}]}).encode()


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (DIALECTS["openai"].parse, b""),
        (DIALECTS["openai"].parse, b"{"),
        (DIALECTS["openai"].parse, b"[]"),
        (DIALECTS["openai"].parse, b'{"messages": []}'),
        (DIALECTS["openai"].parse, b"\xff"),
        (DIALECTS["openai"].parse, _openai({"role": "wizard", "content": "x"})),
        (DIALECTS["openai"].parse, _openai({"role": "user", "content": [{"type": "video"}]})),
        (DIALECTS["openai"].parse, _openai_picture("https://example.com/a.png")),
        (DIALECTS["openai"].parse, _openai_picture("data:image/png,raw")),
        (DIALECTS["openai"].parse, _openai_picture("data:image/png;base64")),
        (DIALECTS["openai"].parse, _openai_picture("data:image/png;base64,***")),
        (DIALECTS["openai"].parse, _openai_picture("data:image/png;base64,é")),
        (DIALECTS["openai"].parse, _openai_call("{")),
        (DIALECTS["openai"].parse, _openai_call("[1]")),
        (DIALECTS["gemini"].parse, b"{"),
        (DIALECTS["gemini"].parse, b"{}"),
        (DIALECTS["gemini"].parse, b'{"contents": [{"role": "wizard"}]}'),
        (DIALECTS["gemini"].parse, _gemini({"inlineData": {"mimeType": "image/png", "data": "***"}})),
        (DIALECTS["gemini"].parse, _gemini({"inlineData": {"data": ""}})),
        (DIALECTS["gemini"].parse, _gemini({"functionCall": {"args": {}}})),
    ],
)
def test_a_body_that_is_no_request_is_refused(parse: Callable[[bytes, str], ModelRequest], body: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse(body, "offline")
