"""Hostile input from a seed: requests of every method with anything in them, and bytes that are none.

Nothing here can do harm: programs and addresses that the agent is asked to use come from a short fixed list, and
the canary's id is given in its exact form only to methods that must leave a session that is not open alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from acp_agent.wire.framing import LINE_LIMIT
from tests.fuzz.ledger import METHOD_OF_NULL
from tests.protocol.shapes import Json

STRINGS: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "/x/\0x",
    "../../../etc/passwd",
    "/../..",
    "~",
    "file:///",
    ".",
    "..",
    "\ud800",
    "x\udfff\ud83d",
    "\u202e\u200b\ufeff",
    "🙂" * 50,
    "e" + "\u0301" * 200,
    "a\nb\r\nc\u2028d",
    "\x1b[31m",
    "x" * 5_000,
    "/" + "d/" * 3_000,
    "null",
    "NaN",
    "%s%n{0}{}",
    "__proto__",
    "'; DROP TABLE turns; --",
)
NUMBERS: Final = (0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**40, 10**300)
OTHERS: Final[tuple[JsonValue, ...]] = (None, True, False, [], {}, [[]], [None], {"": None}, {"type": "text"})
NOT_JSON: Final = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5_000, "01", "0x1", "'x'", "undefined", "")

PROMPTS: Final = (
    "hi",
    "!say done",
    "!think hm\n!say done",
    "!stream 20 0",
    "!view_file f.txt",
    "!write_to_file f.txt hostile",
    "!run_command echo hostile",
    '!call ask_question {"questions": [{"question": "Which?", "options": ["a", "b"], "is_multi_select": true}]}',
    "!fail 400",
    "!fail drop",
    "!stall",
    "/session",
    "/rules",
    "/plan what now",
    "/nothing",
    "!view_file",
)
_BRINGS_BACK: Final = ("session/load", "session/resume")
_TOUCHES: Final = (*_BRINGS_BACK, "session/delete")
"""Methods that may change the session that they name, open or not."""

CAPABILITIES: Final[tuple[Json, ...]] = (
    {},
    {"session": {"notices": {}}},
    {"elicitation": {"form": {}}, "session": {"notices": {}}, "fs": {"readTextFile": True, "writeTextFile": True}},
    {"terminal": True, "auth": {"terminal": True}, "session": {"configOptions": {"boolean": {}}}},
    {"elicitation": 5, "session": [], "fs": "yes", "_meta": {"x": [[[]]]}},
)


@dataclass(slots=True)
class Source:
    """Makes the input of one agent process. `sessions` are those that it may use as they are."""

    rng: random.Random
    workspace: Path
    canary: str
    sessions: list[str] = field(default_factory=list)
    _made: int = 0
    _stalled: set[str] = field(default_factory=set)
    _old: list[bytes] = field(default_factory=list)

    def before_initialize(self) -> bytes:
        """What no client would send first; the last line is an `initialize` that succeeds."""
        lines = [self._any_line() for _ in range(self.rng.randrange(12))]
        lines = [line for line in lines if b"initialize" not in line]
        for version in (None, -1, 65536, "1", True, 1.5, 2**70):
            lines.append(self._call("initialize", {"protocolVersion": version}))
        good: Json = {
            "protocolVersion": self.rng.choice((0, 1, 2, 65535)),
            "clientCapabilities": self.rng.choice(CAPABILITIES),
            "clientInfo": self._one_of(None, {"name": "fuzz", "version": "1"}, {"name": 5}),
        }
        return b"".join(line + b"\n" for line in [*lines, self._call("initialize", good)])

    def chunk(self, count: int) -> bytes:
        """About so many lines, the last of them whole; what they leave hanging is cancelled at their end."""
        self._stalled.clear()
        lines = [self._any_line() for _ in range(count)]
        while len(self.sessions) > 5:
            method = self.rng.choice(("session/close", "session/delete"))
            lines.append(self._call(method, {"sessionId": self.sessions.pop(0)}))
        lines += [
            self._notification("session/cancel", {"sessionId": session_id}) for session_id in sorted(self._stalled)
        ]
        return b"".join(line + b"\n" for line in lines)

    def too_long(self) -> bytes:
        """A line above the limit."""
        return b'{"x":"' + b"x" * LINE_LIMIT + b'"}\n'

    def reply(self, asked: Json) -> bytes:
        """An answer to a request of the agent, good or bad."""
        params = asked.get("params")
        params = params if isinstance(params, dict) else {}
        options = params.get("options")
        options = options if isinstance(options, list) else []
        offered = [str(each["optionId"]) for each in options if isinstance(each, dict)]
        results: list[JsonValue] = [
            {"outcome": {"outcome": "selected", "optionId": self.rng.choice(offered or ["x"])}},
            {"outcome": {"outcome": "selected", "optionId": self.rng.choice(offered or ["x"])}},
            {"outcome": {"outcome": "selected", "optionId": self._hostile()}},
            {"outcome": {"outcome": "cancelled"}},
            {"outcome": self._hostile()},
            {"action": self.rng.choice(("accept", "decline", "cancel", "x")), "content": self._hostile()},
            self._hostile(),
        ]
        answer: Json = {"jsonrpc": "2.0", "id": asked["id"]}
        if self.rng.random() < 0.2:
            error: JsonValue = {"code": -32000, "message": "no", "data": self._hostile()}
            answer["error"] = self._one_of(error, "no", [], {"code": "x"}, {"message": 5})
        else:
            answer["result"] = self.rng.choice(results)
        line = self._json(answer) + b"\n"
        return line * self.rng.choice((1, 1, 1, 2))

    def _any_line(self) -> bytes:
        makers: list[tuple[int, Callable[[], bytes]]] = [
            (50, self._mutated_request),
            (12, self._cheap_request),
            (1, self._work),
            (8, self._mutated_notification),
            (10, self._mutated_text),
            (8, self._raw),
            (4, self._response),
            (3, self._odd_message),
            (2, self._again),
        ]
        make = self.rng.choices([make for _, make in makers], [weight for weight, _ in makers])[0]
        line = make()
        # What is sent again has one method in all its forms: answers under one id are told apart by it.
        if (
            make in (self._mutated_request, self._cheap_request)
            and b"initialize" not in line
            and len(line) < 2_000
        ):
            self._old = [*self._old[-20:], line]
        return line

    # Whole requests

    def _mutated_request(self) -> bytes:
        method = self.rng.choice((*_METHODS, "session/prompt", "session/new", "session/load"))
        # Most name a session that is not there: what passes does real work.
        params: JsonValue = self._params(method, known=self.rng.random() < 0.1)
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            params = self._mutated(params)
        if method in _TOUCHES and self._names_canary(params):
            return b""
        if isinstance(params, dict) and self.rng.random() < 0.1:
            params["_meta"] = self._meta()
        return self._with_trouble(method, params)

    def _with_trouble(self, method: str, params: JsonValue) -> bytes:
        line = self._call(method, params)
        choice = self.rng.random()
        if choice < 0.03:  # a value that is not JSON
            at = line.rfind(b"}")
            return line[:at] + b',"x":' + self.rng.choice(NOT_JSON).encode() + line[at:]
        if choice < 0.06:  # a member twice; the last one counts
            at = line.rfind(b"}")
            twice = self.rng.choice((b',"jsonrpc":"1.0"', b',"method":"x/y"', b',"method":5', b',"params":[]'))
            return line[:at] + twice + line[at:]
        if choice < 0.08:
            return b"\xef\xbb\xbf" + line
        if choice < 0.2:
            return self.rng.choice((b" ", b"\t", b"")) + line + b"\r"
        return line

    def _cheap_request(self) -> bytes:
        method = self.rng.choice(
            (
                "session/list",
                "session/status",
                "session/set_mode",
                "session/set_config_option",
                "session/close",
                "_acp-agent/session_status",
                "authenticate",
                "logout",
                "no/such",
                "",
                "_",
                "initialize",
            )
        )
        return self._call(method, self._params(method, known=self.rng.random() < 0.5))

    def _work(self) -> bytes:
        """A request as it should be, that does what it says."""
        if not self.sessions or self.rng.random() < 0.15:
            return self._call("session/new", self._params("session/new", known=True))
        method = self.rng.choice(("session/prompt",) * 6 + ("session/load", "session/resume", "session/fork"))
        return self._call(method, self._params(method, known=True))

    def _mutated_notification(self) -> bytes:
        method = self.rng.choice(("session/cancel", "$/cancel_request", "$/x", "session/update", "_x", *_METHODS))
        params: JsonValue = self._params(method, known=self.rng.random() < 0.1)
        if self.rng.random() < 0.8:
            params = self._mutated(params)
        if method in _TOUCHES and self._names_canary(params):
            return b""
        return self._notification(method, params)

    # Bytes

    def _mutated_text(self) -> bytes:
        method = self.rng.choice([name for name in _METHODS if name not in _TOUCHES])
        line = bytearray(self._call(method, self._params(method, known=self.rng.random() < 0.1)))
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            at = self.rng.randrange(len(line) + 1)
            match self.rng.randrange(5):
                case 0:
                    del line[at:]
                case 1:
                    line[at:at] = bytes([self.rng.randrange(256)])
                case 2:
                    line[at : at + 1] = bytes([self.rng.randrange(256)])
                case 3:
                    line[at:at] = line[self.rng.randrange(len(line) + 1) :][:50]
                case _:
                    line[at:at] = self.rng.choice((b"\n", b"\r\n", b"\0", b"\xed\xa0\x80", b"\xff", b'"', b"{"))
        return bytes(line)

    def _raw(self) -> bytes:
        return self.rng.choice(
            (
                self.rng.randbytes(self.rng.randrange(200)),
                "ünïcödé 🙂".encode()[: self.rng.randrange(18)],
                b"[" * self.rng.choice((50, 5_000, 100_000)),
                b'{"id":1,"params":' * self.rng.choice((5_000, 20_000)),
                self.rng.choice((b"", b"\r", b" \t", b"\0", b"\xef\xbb\xbf", b"\xfe\xff", b"null", b"[]", b'""')),
                self.rng.choice(NOT_JSON).encode(),
                b"[" + self._cheap_request() + b"]",
                b"Content-Length: 20\r\n\r\n" + self._cheap_request(),
            )
        )

    def _response(self) -> bytes:
        answer: Json = {"jsonrpc": "2.0", "id": self.rng.choice((None, 0, 1, "x", 5.5, {}, [], True, 10**40))}
        answer[self.rng.choice(("result", "error"))] = self._hostile()
        return self._json(answer)

    def _odd_message(self) -> bytes:
        message: Json = {"jsonrpc": "2.0", "id": self._id(), "method": "session/list", "params": {}}
        odd = {
            "jsonrpc": self._one_of(None, "1.0", 2, "2.0"),
            "id": self._one_of(True, False, {}, [], ["x"], {"x": 1}),
            "method": self._one_of(None, 5, [], {}, True),
            "params": self._one_of(None, [], [1], "x", 5, True),
        }
        name = self.rng.choice((*odd, "more"))
        message[name] = odd.get(name, 1)
        if self.rng.random() < 0.3:
            del message[self.rng.choice(("jsonrpc", "params", "method"))]
        return self._json(message)

    def _again(self) -> bytes:
        """A request that was sent before, under the same id."""
        return self.rng.choice(self._old) if self._old else b""

    # Their parts

    def _params(self, method: str, *, known: bool) -> Json:
        session_id = self.rng.choice(self.sessions) if known and self.sessions else self._unknown_id(method)
        folders: Json = {"cwd": str(self.workspace), "mcpServers": []}
        of_session: Json = {"sessionId": session_id}
        text = self.rng.choice(PROMPTS)
        if method == "session/prompt" and "!stall" in text:
            self._stalled.add(session_id)
        of_method: dict[str, Json] = {
            "initialize": {"protocolVersion": 1, "clientCapabilities": {}},
            "authenticate": {"methodId": self.rng.choice(("agent-login", "x"))},
            "logout": {},
            "session/list": {"cwd": str(self.workspace)} if self.rng.random() < 0.5 else {"cursor": "x"},
            "session/new": folders,
            "session/load": {**of_session, **folders},
            "session/resume": {**of_session, **folders},
            "session/fork": {**of_session, **folders, "_meta": {"acp-agent/turn": self.rng.choice((0, 1, None))}},
            "session/set_mode": {**of_session, "modeId": self.rng.choice(("ask", "plan", "auto-edit", "x"))},
            "session/set_config_option": {
                **of_session,
                "configId": self.rng.choice(("mode", "model", "thinking", "x")),
                "value": self.rng.choice(("ask", "autonomous", "offline", "low", "x")),
            },
            "session/prompt": {**of_session, "prompt": [{"type": "text", "text": text}, *self._blocks()]},
            "$/cancel_request": {"requestId": self.rng.choice((self._made, str(self._made), None, 5.5))},
        }
        return of_method.get(method, of_session)

    def _blocks(self) -> list[JsonValue]:
        if self.rng.random() < 0.7:
            return []
        return [
            self._one_of(
                {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
                {"type": "resource_link", "name": "f", "uri": "file:///f.txt"},
                {"type": "resource", "resource": {"uri": "file:///f.txt", "text": "x"}},
            )
        ]

    def _unknown_id(self, method: str) -> str:
        if method not in _TOUCHES and self.rng.random() < 0.3:
            return self.canary
        variants = (
            f"./{self.canary}",
            f"{self.canary}/",
            f"../sessions/{self.canary}",
            f"{self.canary}\0",
            f" {self.canary} ",
            self.canary.upper() + "x",
            self.canary[:-1],
        )
        return self.rng.choice((*variants, *STRINGS))

    def _names_canary(self, params: JsonValue) -> bool:
        return isinstance(params, dict) and params.get("sessionId") == self.canary

    def _hostile(self) -> JsonValue:
        match self.rng.randrange(6):
            case 0:
                return self.rng.choice(NUMBERS)
            case 1:
                return self.rng.choice(OTHERS)
            case 2:
                return self._servers()
            case 3:
                return self._meta()
            case _:
                return self.rng.choice(STRINGS)

    def _servers(self) -> JsonValue:
        name = self.rng.choice(("s", *STRINGS))
        servers: list[JsonValue] = [
            {"name": name, "command": "/bin/true", "args": [], "env": []},
            {"name": name, "command": "/no/such", "args": ["\0", 5], "env": [{"name": "A=B", "value": "\0"}]},
            {"type": "http", "name": name, "url": "http://127.0.0.1:9/", "headers": []},
            {
                "type": "http",
                "name": name,
                "url": self.rng.choice(STRINGS),
                "headers": [{"name": "\n", "value": "\r"}],
            },
            {"type": "sse", "name": name, "url": "http://127.0.0.1:9/", "headers": []},
            {"type": "x"},
        ]
        return self.rng.choices(servers, k=self.rng.choice((1, 2, 30)))

    def _meta(self) -> JsonValue:
        deep: JsonValue = None
        for _ in range(self.rng.choice((3, 50))):
            deep = self.rng.choice(([deep], {"x": deep}))
        wide: JsonValue = {f"k{number}": number for number in range(self.rng.choice((3, 2_000)))}
        named: JsonValue = {"sessionId": "x", "prompt": 5, "self": 1, "acp-agent/turn": self.rng.choice(NUMBERS)}
        return self.rng.choice((deep, wide, named, "x" * self.rng.choice((10, 100_000)), []))

    def _mutated(self, value: JsonValue) -> JsonValue:
        """A value with one thing in it, somewhere, replaced, removed, added or wrapped."""
        copy: JsonValue = json.loads(json.dumps(value))
        holders = _holders(copy)
        if not holders or self.rng.random() < 0.03:
            return self._hostile()
        holder = self.rng.choice(holders)
        what = self.rng.randrange(6)
        if isinstance(holder, list):
            at = self.rng.randrange(len(holder))
            holder[at : at + 1] = [[], [[holder[at]]]][what] if what < 2 else [self._hostile()]
            return copy
        name = self.rng.choice([*holder])
        match what:
            case 0:
                del holder[name]
            case 1:
                holder[name] = [holder[name]]
            case 2:
                holder[self.rng.choice(STRINGS)] = self._hostile()
            case _:
                holder[name] = self._hostile()
        return copy

    def _one_of(self, *values: JsonValue) -> JsonValue:
        return self.rng.choice(values)

    def _id(self) -> JsonValue:
        """An id that no other request has: its number stands in it."""
        self._made += 1
        number = self._made
        return self.rng.choice(
            (
                number,
                number,
                str(number),
                number + 0.25,
                -number,
                10**30 + number,
                f"🙂\ud800{number}\0",
                f'"{number}\n',
            )
        )

    def _call(self, method: str, params: JsonValue) -> bytes:
        unidentified = method == METHOD_OF_NULL and self.rng.random() < 0.05
        request_id = None if unidentified else self._id()
        return self._json({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})

    def _notification(self, method: str, params: JsonValue) -> bytes:
        return self._json({"jsonrpc": "2.0", "method": method, "params": params})

    def _json(self, message: Json) -> bytes:
        text = json.dumps(message, ensure_ascii=self.rng.random() < 0.7)
        return text.encode("utf-8", "surrogatepass")


_METHODS: Final = (
    "initialize",
    "authenticate",
    "logout",
    "session/new",
    "session/load",
    "session/resume",
    "session/list",
    "session/close",
    "session/delete",
    "session/fork",
    "session/status",
    "session/set_mode",
    "session/set_config_option",
    "session/prompt",
    "session/cancel",
    "$/cancel_request",
    "_acp-agent/session_status",
    "_x/y",
)


def _holders(value: JsonValue) -> list[list[JsonValue] | Json]:
    """The objects and lists in a value that hold something, itself included."""
    if not isinstance(value, dict | list) or not value:
        return []
    members = value.values() if isinstance(value, dict) else value
    return [value, *(holder for member in members for holder in _holders(member))]
