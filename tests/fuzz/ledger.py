"""What each line of input must be answered with, and whether it was: the oracle of the campaign.

It knows the rules of JSON-RPC and of this agent's border (docs/architecture.md) and nothing of what the agent
does with a request. Answers are checked by `tests.protocol`, which is told of requests only, as they are to be
understood.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NoReturn

from pydantic import JsonValue

from acp_agent.wire.framing import DEPTH_LIMIT, ID_LIMIT, LINE_LIMIT
from tests.protocol import shapes
from tests.protocol.connection import Connection
from tests.protocol.shapes import Json

NULL: Final = "null"
"""The key of answers that belong to no readable id."""

METHOD_OF_NULL: Final = "session/list"
"""The only method that is asked under the id null, so that a result under it can be checked."""

_INTERNAL: Final = -32603


@dataclass(frozen=True, slots=True)
class Due:
    """That a line must be answered once: under which id, and what was asked, if it was a request."""

    key: str
    asked: Json | None = None


def due(line: bytes) -> Due | None:
    """What a line of input, without its line feed, must be answered with; None for no answer at all."""
    if len(line) <= LINE_LIMIT and not line.strip(b" \t\r"):
        return None
    value = _readable(line)
    if value is None:
        return Due(NULL)
    request_id, method = value.get("id"), value.get("method")
    key = json.dumps(request_id)
    if method is None:
        is_response = "id" in value and ("result" in value or "error" in value)
        return None if is_response else Due(key, {"id": request_id})
    if "id" not in value and isinstance(method, str):
        return None
    return Due(key, {"id": request_id, "method": method, "params": value.get("params")})


def _readable(line: bytes) -> Json | None:
    """The message in a line, if it is an object with an id, or none, that can be answered."""
    if len(line) > LINE_LIMIT:
        return None
    try:
        value = _well_formed(json.loads(line.decode(), parse_constant=_refuse, parse_float=_finite))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or _depth(value) > DEPTH_LIMIT:
        return None
    request_id = value.get("id")
    too_long = isinstance(request_id, str) and len(request_id) > ID_LIMIT
    return None if too_long or isinstance(request_id, bool | dict | list) else value


@dataclass(slots=True)
class Ledger:
    """What is still to be answered on one connection, and everything that was wrong so far."""

    faults: list[str] = field(default_factory=list)
    outstanding: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    """Answers by the code of their error, or `result`."""

    lines: int = 0
    _connection: Connection = field(default_factory=Connection)
    _pending: bytes = b""

    def sent(self, data: bytes) -> None:
        """Learn of bytes that go to the agent, before they do."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self.lines += 1
            if (expected := due(line)) is None:
                self._connection.sent(line + b"\n")
                continue
            self.outstanding[expected.key] += 1
            if expected.asked is not None and expected.key != NULL:
                self._connection.sent(json.dumps(expected.asked).encode() + b"\n")

    def received(self, line: bytes) -> Json | None:
        """Check a line of the agent; it is returned if it is a message."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.faults.append(f"not a message: {line[:300]!r}")
            return None
        if "method" not in message:
            self._answered(message)
        if "method" in message or message.get("id") is not None:
            self._connection.received(line)
            self.faults += self._connection.faults
            self._connection.faults.clear()
        return message

    def _answered(self, message: Json) -> None:
        key, error = json.dumps(message.get("id")), message.get("error")
        if not self.outstanding[key]:
            self.faults.append(f"an answer that is not due: {message!r:.300}")
        self.outstanding[key] -= 1
        self.outstanding += Counter()  # forgets what is zero
        code = error.get("code") if isinstance(error, dict) else "result"
        self.codes[str(code)] += 1
        if code == _INTERNAL:
            self.faults.append(f"a failure that nobody foresaw: {message!r:.600}")
        if key == NULL:
            wrong = (
                shapes.faults("Error", error)
                if "error" in message
                else shapes.faults("ListSessionsResponse", message.get("result"))
            )
            self.faults += [f"{fault} in {message!r:.300}" for fault in wrong]


def _depth(value: JsonValue) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(_depth, members), default=0)


def _well_formed(value: JsonValue) -> JsonValue:
    """A value without halves of surrogate pairs."""
    text = json.dumps(value, ensure_ascii=False)
    result: JsonValue = json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    return result


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number
