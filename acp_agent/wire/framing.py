"""From bytes to messages and back, without any I/O.

ACP's stdio transport is one JSON-RPC 2.0 message a line, UTF-8, no line break inside a message (acp-facts 1.5).
`Lines` cuts the stream at line feeds, however it was split on the way, and keeps no more than `LINE_LIMIT`
bytes; `read_line` makes a message of a line, and nothing that a client sends can make it raise.

Whatever is not a message is `Rejected`, with the answer that JSON-RPC prescribes: -32700 for a line that is not
UTF-8 or not JSON, -32600 for JSON that is not a request, notification or response, -32602 for parameters that are
not an object. Batches are not part of ACP and are answered with one -32600 (acp-facts 1.4).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias, TypeGuard

from acp_agent.wire.errors import (
    INTERNAL,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    AgentError,
    JsonObject,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

LINE_LIMIT: Final = 64 * 1024 * 1024
"""The longest line that is read, in bytes without its line feed; it leaves room for prompts with many images."""

OUTGOING_LIMIT: Final = 8 * 1024 * 1024
"""The longest line that is written, in bytes; clients on the TypeScript SDK drop the connection above 32 MiB."""

DEPTH_LIMIT: Final = 100
"""How deeply the values of a message may be nested; everything behind the border may recurse into them."""

VALUES_LIMIT: Final = 200_000
"""Values in a message, at most: as Python objects, small ones cost a hundred times their bytes on the line."""

ID_LIMIT: Final = 1024
"""Characters in the id of a request, which every answer repeats."""

RequestId: TypeAlias = str | float | None
"""The id of a request; `float` stands for every JSON number."""

_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Request:
    """A call that must be answered exactly once, under its id."""

    id: RequestId
    method: str
    params: JsonObject


@dataclass(frozen=True, slots=True)
class Notification:
    """A call that must not be answered."""

    method: str
    params: JsonObject


@dataclass(frozen=True, slots=True)
class Response:
    """The client's answer to one of the agent's requests, with either a `result` or a well-formed `error`."""

    message: JsonObject


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that must be answered with `error` and go no further."""

    id: RequestId
    error: AgentError


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that must not be answered and means nothing to the agent; `why` is for the log."""

    why: str


Message: TypeAlias = Request | Notification | Response | Rejected | Ignored


class Lines:
    """Cuts a stream of bytes into lines.

    A line of more than `limit` bytes comes out as `None`, once, and costs no more memory than the limit: its bytes
    are dropped up to its line feed, and the next line is read as usual.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._line = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Take the next bytes of the stream; yield the lines that they complete, without their line feeds."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._extend(end)
            yield self._take()
        self._extend(rest)

    def end(self) -> Iterator[bytes | None]:
        """Yield the last line, if the stream stopped without a line feed."""
        if self._line or self._too_long:
            yield self._take()

    def _extend(self, data: bytes) -> None:
        self._too_long = self._too_long or len(self._line) + len(data) > self._limit
        if not self._too_long:
            self._line += data

    def _take(self) -> bytes | None:
        line = None if self._too_long else bytes(self._line)
        self._too_long = False
        self._line.clear()
        return line


def read_line(line: bytes | None) -> Message | None:
    """The message in a line that `Lines` yielded, or `None` for a blank line."""
    if line is None:
        return Rejected(None, _too_long())
    if not line.strip(b" \t\r"):
        return None
    try:
        value = decode(line)
    except AgentError as error:
        return Rejected(None, error)
    return classify(value)


def decode(line: bytes) -> JsonValue:
    """The JSON value in `line`, safe to be written as UTF-8 again.

    Halves of surrogate pairs, which JavaScript clients send when they cut a text in the middle of an emoji, become
    U+FFFD. Raises `AgentError` (-32700) for anything that is not UTF-8 or not JSON as RFC 8259 has it; NaN and
    infinities, numbers too large for this program, more than `VALUES_LIMIT` values and nesting of more than
    `DEPTH_LIMIT` are refused too. The error says where, and never quotes the line.
    """
    _check_shape(line)
    try:
        text = line.decode("utf-8")
        value = _parse(text)
        if _SURROGATE_ESCAPE.search(text):
            value = _parse(_well_formed(json.dumps(value, ensure_ascii=False)))
    except UnicodeDecodeError as error:
        raise _not_json(f"Byte {error.start + 1} of the line is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} at character {error.pos + 1} of the line.") from None
    except ValueError:
        raise _not_json("The line has a number that is out of range or not a number.") from None
    return value


def classify(value: JsonValue) -> Message:
    """The kind of message that a JSON value is.

    A null `method` counts as absent, and parameters that are absent or null count as `{}`. A request's id may be
    null, as the protocol's schema has it. A response under the id null can belong to no request: Toad answers
    updates that it does not know in this way (client-facts 0, item 6).
    """
    if not isinstance(value, dict):
        return Rejected(None, _not_a_request(f"A message is a JSON object, not {_kind(value)}."))
    request_id = value.get("id")
    if not _is_id(request_id):
        return Rejected(None, _not_a_request(f"The id is no number and no string of up to {ID_LIMIT} characters."))
    if value.get("method") is None:
        return _response(value, request_id)
    method, params = value["method"], value.get("params")
    if not isinstance(method, str):
        return Rejected(request_id, _not_a_request("The method is not a string."))
    if params is None:
        params = {}
    if "id" not in value:
        return Notification(method, params) if isinstance(params, dict) else Ignored("params are not an object")
    return Request(request_id, method, params) if isinstance(params, dict) else _bad_params(request_id, params)


def encode(message: Mapping[str, JsonValue]) -> bytes:
    """`message` as a line of UTF-8, halves of surrogate pairs replaced by U+FFFD.

    Raises `TypeError` or `ValueError` for something that JSON cannot express, NaN included, and `AgentError`
    (-32603) for more than `OUTGOING_LIMIT` bytes.
    """
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
    try:
        line = text.encode("utf-8")
    except UnicodeEncodeError:
        line = _well_formed(text).encode("utf-8")
    if len(line) > OUTGOING_LIMIT:
        raise AgentError(
            INTERNAL,
            "A message to the client is too long",
            reason="message_too_long",
            details=f"It would have {len(line)} bytes, and at most {OUTGOING_LIMIT} (8 MiB) are sent.",
            limit=OUTGOING_LIMIT,
        )
    return line


def _response(value: JsonObject, request_id: RequestId) -> Message:
    if "id" not in value or not ("result" in value or "error" in value):
        return Rejected(request_id, _not_a_request("A message has a method, or an id and a result or an error."))
    if request_id is None:
        return Ignored("a response without an id")
    error = value.get("error")
    if error is None and "result" in value:
        return Response({"jsonrpc": "2.0", "id": request_id, "result": value["result"]})
    # The SDK takes the error's members without looking: one of another shape would end its receive loop.
    stated = error if isinstance(error, dict) else {}
    code, message = stated.get("code"), stated.get("message")
    return Response(
        {
            "jsonrpc": "2.0",
            "id": request_id,
            "error": {
                "code": code if isinstance(code, int) else INTERNAL,
                "message": message if isinstance(message, str) else "The client sent an error without a message",
                "data": stated.get("data"),
            },
        }
    )


def _check_shape(line: bytes) -> None:
    """Refuse what is nested too deeply, or costs too much memory, before anything is made of it."""
    bare = line.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in line else line
    # A member of an object has four quotes at most, so that cutting at them is bounded too.
    crowded = bare.count(b'"') > 4 * VALUES_LIMIT
    outside = b"" if crowded else b"".join(bare.split(b'"')[::2])
    opened = outside.count(b"[") + outside.count(b"{")
    if crowded or opened + outside.count(b",") > VALUES_LIMIT:
        raise _not_json(f"The line has more than {VALUES_LIMIT} values.")
    if opened <= DEPTH_LIMIT:
        return
    depth = 0
    for bracket in outside.translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_LIMIT:
            raise _not_json(
                f"The values in the line are nested too deeply: {DEPTH_LIMIT} levels are read at most."
            )
        if depth < 0:
            return  # not JSON; the parser says where


def _parse(text: str) -> JsonValue:
    value: JsonValue = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def _is_id(value: JsonValue) -> TypeGuard[RequestId]:
    if isinstance(value, str):
        return len(value) <= ID_LIMIT
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _well_formed(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _kind(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "an array"
        case dict():
            return "an object"


def _bad_params(request_id: RequestId, params: JsonValue) -> Rejected:
    details = f"The params must be an object, not {_kind(params)}."
    error = AgentError(INVALID_PARAMS, "Invalid params", reason="invalid_params", details=details)
    return Rejected(request_id, error)


def _not_json(details: str) -> AgentError:
    return AgentError(PARSE_ERROR, "Parse error", reason="parse_error", details=details)


def _not_a_request(details: str) -> AgentError:
    return AgentError(INVALID_REQUEST, "Invalid request", reason="invalid_request", details=details)


def _too_long() -> AgentError:
    return AgentError(
        INVALID_REQUEST,
        "The message is too long",
        reason="line_too_long",
        details=f"A line may have {LINE_LIMIT} bytes ({LINE_LIMIT >> 20} MiB) at most; this one was skipped.",
        limit=LINE_LIMIT,
    )
