"""Bytes become messages the same way however they arrive, and whatever they are."""

import itertools
import json
import math
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent.wire.errors import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, AgentError
from acp_agent.wire.framing import (
    DEPTH_LIMIT,
    VALUES_LIMIT,
    Ignored,
    Lines,
    Message,
    Notification,
    Rejected,
    Request,
    Response,
    decode,
    encode,
    read_line,
)

json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
request_ids = st.none() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
requests = st.builds(
    Request,
    request_ids,
    st.text(),
    st.dictionaries(st.text(), json_values, max_size=3),
)
not_messages = st.one_of(
    st.lists(json_values, max_size=2).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [b"1", b"null", b'"x"', b"true", b"{}", b'{"id":7}', b'{"id":[],"method":"m"}', b'{"method":1}']
    ),
    st.sampled_from(
        [
            b"{",
            b"\xff\xfe",
            b'{"id":1,"method":"m","params":{"n":NaN}}',
            b"[" * 100_000,
            b'{"id":1e999,"method":"m"}',
        ]
    ),
    st.sampled_from([b"9" * 5000, b'{"id":true,"method":"m"}', b'{"id":3,"method":"m","params":[]}', b"\x0b"]),
)
blank = st.sampled_from([b"", b" ", b"\r", b"\t \r"])


def as_line(request: Request, *, ascii_only: bool) -> bytes:
    message = {"jsonrpc": "2.0", "id": request.id, "method": request.method, "params": request.params}
    return json.dumps(message, ensure_ascii=ascii_only).encode()


lines = st.lists(
    st.one_of(
        st.tuples(
            st.just("request"), st.builds(lambda r, a: (r, as_line(r, ascii_only=a)), requests, st.booleans())
        ),
        st.tuples(st.just("bad"), not_messages),
        st.tuples(st.just("blank"), blank),
    ),
    max_size=8,
)


def messages(chunks: Iterable[bytes], limit: int | None = None) -> list[Message]:
    """What comes out of the chunks of one stream."""
    reader = Lines() if limit is None else Lines(limit)
    found = [read_line(line) for chunk in chunks for line in reader.feed(chunk)]
    found += [read_line(line) for line in reader.end()]
    return [message for message in found if message is not None]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


@given(lines, st.lists(st.integers(min_value=0)), st.booleans())
def test_every_request_is_delivered_once_and_every_bad_line_answered_once(
    content: list[tuple[str, object]], places: list[int], last_line_is_open: bool
) -> None:
    raw = []
    expected: list[Request | None] = []
    for kind, line in content:
        if isinstance(line, tuple):
            expected.append(line[0])
            raw.append(line[1])
        else:
            assert isinstance(line, bytes)
            raw.append(line)
            expected += [None] if kind == "bad" else []
    data = b"\n".join(raw) + (b"" if last_line_is_open else b"\n")

    found = messages(cut(data, places))

    assert [message if isinstance(message, Request) else None for message in found] == expected
    for message in found:
        assert isinstance(message, Request | Rejected)
        if isinstance(message, Rejected):
            answer = json.loads(encode(message.error.response(message.id)))
            assert answer["error"]["code"] in {PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS}


@given(st.binary(), st.lists(st.integers(min_value=0)))
def test_any_bytes_are_read_the_same_however_they_are_cut(data: bytes, places: list[int]) -> None:
    def summary(found: list[Message]) -> list[str]:
        return [str((m.id, m.error.code, m.error.data)) if isinstance(m, Rejected) else repr(m) for m in found]

    whole = messages([data])
    assert summary(messages(cut(data, places))) == summary(whole)
    assert len(whole) == sum(1 for line in data.split(b"\n") if line.strip(b" \t\r"))


@given(requests, st.data())
def test_a_damaged_line_is_never_read_as_another_request(request: Request, data: st.DataObject) -> None:
    line = bytearray(as_line(request, ascii_only=False))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line)))
        line[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3)).replace(b"\n", b"")
    message = read_line(bytes(line))
    try:
        value = json.loads(line.decode())
    except ValueError:
        assert message is None or (isinstance(message, Rejected) and message.error.code == PARSE_ERROR)
        return
    match message:
        case Request() | Notification():
            assert isinstance(value, dict)
            assert (value["method"], value.get("params") or {}) == (message.method, message.params)
            assert value.get("id") == (message.id if isinstance(message, Request) else None)
        case Rejected() if message.error.code == PARSE_ERROR:
            assert not math.isfinite(sum(_numbers(value)))
        case Rejected():
            assert not isinstance(value, dict) or not _is_request(value)
        case Response() | Ignored():
            assert value.get("method") is None or not isinstance(value.get("params"), dict | None)
        case None:
            raise AssertionError("a line with a value in it is not blank")


def _numbers(value: JsonValue) -> list[float]:
    if isinstance(value, dict):
        return [number for member in value.values() for number in _numbers(member)]
    if isinstance(value, list):
        return [number for member in value for number in _numbers(member)]
    return [value] if isinstance(value, float) else []


def _is_request(value: dict[str, JsonValue]) -> bool:
    request_id, params = value.get("id"), value.get("params")
    id_is_good = isinstance(request_id, str | int | float | None) and not isinstance(request_id, bool)
    return isinstance(value.get("method"), str) and id_is_good and isinstance(params, dict | None)


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=6), st.integers(1, 30))
def test_a_line_over_the_limit_is_skipped_alone(content: list[bytes], limit: int) -> None:
    reader = Lines(limit)
    data = b"".join(line + b"\n" for line in content)
    found = []
    for at in range(len(data)):
        found += list(reader.feed(data[at : at + 1]))
        assert len(reader._line) <= limit
    assert found == [line if len(line) <= limit else None for line in content]
    rejected = read_line(None)
    assert isinstance(rejected, Rejected)
    assert rejected.error.code == INVALID_REQUEST
    assert "64 MiB" in str(rejected.error.data["details"])


@given(st.text(st.characters()))
@example("half \ud83d")
@example("\ud83d\ude00 whole, in halves")
def test_any_text_leaves_as_one_line_of_utf8_and_arrives_as_text(text: str) -> None:
    line = encode({"text": text})
    decoded = json.loads(line.decode("utf-8"))["text"]
    assert line.count(b"\n") == 1
    assert decoded == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    arrived = read_line(json.dumps({"id": 1, "method": "m", "params": {"text": text}}).encode())
    assert isinstance(arrived, Request)
    assert arrived.params["text"] == decoded


def test_what_json_cannot_express_is_not_sent() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"cost": math.nan})


def test_responses_are_made_safe_for_the_sdk_before_it_sees_them() -> None:
    def read(value: JsonValue) -> Message | None:
        return read_line(json.dumps(value).encode())

    unclear: JsonValue = {"code": -32603, "message": "The client sent an error without a message", "data": None}
    assert read({"id": 0, "result": None, "error": None}) == Response({"jsonrpc": "2.0", "id": 0, "result": None})
    malformed: list[JsonValue] = [[1], "x", {}, {"code": "1", "message": 2}]
    for error in malformed:
        assert read({"id": 0, "error": error}) == Response({"jsonrpc": "2.0", "id": 0, "error": unclear})
    refused: JsonValue = {"code": 5, "message": "no", "data": [1]}
    assert read({"id": 0, "result": None, "error": refused}) == Response(
        {"jsonrpc": "2.0", "id": 0, "error": refused}
    )
    assert read({"id": None, "error": refused}) == Ignored("a response without an id")
    assert isinstance(read({"id": {}, "result": 1}), Rejected)
    assert isinstance(read({"id": True, "result": 1}), Rejected)


@given(st.integers(1, 400), st.booleans(), st.text(st.sampled_from('[]{}\\",x')))
@example(DEPTH_LIMIT, False, "")
@example(DEPTH_LIMIT + 1, True, '\\"[')
def test_nesting_is_counted_outside_strings_and_refused_above_the_limit(
    depth: int, objects: bool, beside: str
) -> None:
    value: JsonValue = None
    for _ in range(depth):
        value = {beside: value} if objects else [beside, value]
    line = json.dumps(value).encode()
    if depth <= DEPTH_LIMIT:
        assert decode(line) == value
    else:
        with pytest.raises(AgentError, match="Parse error") as refused:
            decode(line)
        assert str(DEPTH_LIMIT) in str(refused.value.data["details"])


def test_memory_is_bounded_before_anything_is_made_of_a_line() -> None:
    for crowd in (b"[" + b"[]," * VALUES_LIMIT + b"[]]", b'[""' + b'""' * 2 * VALUES_LIMIT + b"]"):
        with pytest.raises(AgentError) as refused:
            decode(crowd)
        assert str(VALUES_LIMIT) in str(refused.value.data["details"])
    text = '[{"\\",' * VALUES_LIMIT
    assert decode(json.dumps([text]).encode()) == [text]
