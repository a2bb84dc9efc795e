"""Checks everything that an agent process writes, in one place for every test.

A `Connection` is told what the client sends and what it receives. Each received line must be one JSON-RPC message,
valid by the protocol's schema (`shapes`): a request or notification by its method, a result by the method that was
asked. Beside shapes it holds the rules that need more than one message:

- an id is answered once; ids of the client's requests come back as they were sent;
- an update is for a session that the client knows: it asked for it by name, or an answer named it;
- nothing is sent that the client did not advertise: files, terminals, questions, notices, compaction, switches,
  terminal authentication;
- an error says in one line what happened, and has a `reason` and `details` (docs/architecture.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from tests.protocol import shapes
from tests.protocol.shapes import Json

LONGEST_MESSAGE: Final = 8 * 1024 * 1024
"""In bytes; clients on the TypeScript SDK end the connection above four times this (acp-facts 3.3, item 12)."""

_PROTOCOL_ERRORS: Final = frozenset({-32700, -32600, -32601, -32602, -32603, -32800, -32000, -32002})
_RESERVED: Final = (range(-32768, -31999), range(-32899, -32799))
_WITHOUT_ID: Final = frozenset({-32700, -32600})
"""Errors for what has no id, or none that can be read."""

_ADVERTISED_BY: Final = {
    "fs/read_text_file": "fs.readTextFile",
    "fs/write_text_file": "fs.writeTextFile",
    "terminal/create": "terminal",
    "notice": "session.notices",
    "compaction_update": "session.compaction",
    "compaction_summary_chunk": "session.compaction",
}


class InvalidMessage(AssertionError):
    """An agent broke the protocol: the rules and the messages."""


class Connection:
    """One client's connection to one agent process. `faults` are what was wrong so far."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._pending = b""
        self._asked: dict[str, list[tuple[str, Json]]] = {}
        self._asking: set[str] = set()
        self._sessions: set[str] = set()
        self._capabilities: Json = {}

    def sent(self, data: bytes) -> None:
        """Learn of bytes that the client sends. They may be anything."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(message, dict):
                continue
            params = message.get("params")
            params = params if isinstance(params, dict) else {}
            if isinstance(session_id := params.get("sessionId"), str):
                self._sessions.add(session_id)
            if "id" in message and "result" not in message and "error" not in message:
                method = message.get("method")
                asked = method if isinstance(method, str) else ""
                self._asked.setdefault(_key(message["id"]), []).append((asked, params))

    def received(self, line: bytes) -> None:
        """Check a line that the agent wrote; what is wrong with it is added to `faults`."""
        self.faults += [f"{fault}\n    in {line[:2000]!r}" for fault in self._wrong_with(line)]

    def check(self) -> None:
        """Raise `InvalidMessage` if anything was wrong."""
        if self.faults:
            raise InvalidMessage("\n".join(self.faults[:10]))

    def _wrong_with(self, line: bytes) -> Iterator[str]:
        if len(line) > LONGEST_MESSAGE:
            yield f"a message of {len(line)} bytes, more than {LONGEST_MESSAGE}"
        try:
            message = json.loads(line.decode("utf-8"))
        except ValueError as fault:
            yield f"not a line of JSON in UTF-8: {fault}"
            return
        if not isinstance(message, dict):
            yield "not a JSON-RPC message: not an object"
            return
        if message.get("jsonrpc") != "2.0":
            yield 'not a JSON-RPC message: no "jsonrpc": "2.0"'
        if "method" in message:
            yield from _unknown(message, {"jsonrpc", "id", "method", "params"})
            yield from self._call(message)
        else:
            yield from _unknown(message, {"jsonrpc", "id", "result", "error"})
            yield from self._answer(message)

    def _call(self, message: Json) -> Iterator[str]:
        method, params = message["method"], message.get("params")
        if not isinstance(method, str):
            yield "the method is not a string"
            return
        is_request = "id" in message
        if is_request:
            key = _key(message["id"])
            if message["id"] is None or key in self._asking:
                yield f"the id {key} is null or was used before"
            self._asking.add(key)
        if method.startswith("_"):
            if not isinstance(params, dict | None):
                yield "the parameters are not an object"
            return
        definition = shapes.of_method(method, "Request" if is_request else "Notification")
        if definition is None or shapes.definitions()[definition]["x-side"] == "agent":
            yield f"{method} is nothing that an agent may send as a {'request' if is_request else 'notification'}"
            return
        yield from shapes.faults(definition, params)
        if not isinstance(params, dict):
            return
        if method == "$/cancel_request" and _key(params.get("requestId")) not in self._asking:
            yield "a request is withdrawn that was never sent"
        yield from self._session(params)
        yield from self._advertised(method, params)

    def _answer(self, message: Json) -> Iterator[str]:
        if ("result" in message) == ("error" in message):
            yield "an answer has either a result or an error"
            return
        error = message.get("error")
        key = _key(message.get("id"))
        waiting = self._asked.get(key, [])
        if not waiting:
            code = error.get("code") if isinstance(error, dict) else None
            if "id" not in message or message["id"] is not None or code not in _WITHOUT_ID:
                yield f"an answer to {key}, which was not asked, or answered before"
            method, asked = "", Json()
        else:
            # Of two requests with one id the second is refused while the first is under way.
            method, asked = waiting.pop(-1 if "error" in message else 0)
        if "error" in message:
            yield from _error(error)
            return
        yield from self._result(method, asked, message["result"])

    def _result(self, method: str, asked: Json, result: JsonValue) -> Iterator[str]:
        if method.startswith("_"):
            return
        definition = shapes.of_method(method, "Response")
        if definition is None:
            yield f"a result for {method!r}, which is no method of the protocol"
            return
        yield from shapes.faults(definition, result)
        if not isinstance(result, dict):
            return
        if isinstance(session_id := result.get("sessionId"), str):
            self._sessions.add(session_id)
        if method == "initialize":
            capabilities = asked.get("clientCapabilities")
            self._capabilities = capabilities if isinstance(capabilities, dict) else {}
            methods = result.get("authMethods")
            for each in methods if isinstance(methods, list) else ():
                if isinstance(each, dict) and each.get("type") == "terminal" and not self._can("auth.terminal"):
                    yield "terminal authentication for a client that has none"
        yield from self._options(result)

    def _session(self, params: Json) -> Iterator[str]:
        session_id = params.get("sessionId")
        if isinstance(session_id, str) and session_id not in self._sessions:
            yield f"{session_id} is no session that the client knows"

    def _advertised(self, method: str, params: Json) -> Iterator[str]:
        """What the client has not advertised."""
        update = params.get("update")
        update = update if isinstance(update, dict) else {}
        what = method if method != "session/update" else str(update.get("sessionUpdate"))
        wanted = _ADVERTISED_BY.get(what)
        if what == "elicitation/create":
            wanted = f"elicitation.{params.get('mode')}"
        if wanted is not None and not self._can(wanted):
            yield f"{what}, but the client does not advertise {wanted}"
        yield from self._options(update)

    def _options(self, holder: Json) -> Iterator[str]:
        options = holder.get("configOptions")
        for option in options if isinstance(options, list) else ():
            is_switch = isinstance(option, dict) and option.get("type") == "boolean"
            if is_switch and not self._can("session.configOptions.boolean"):
                yield "an option is a switch, and the client has none"

    def _can(self, path: str) -> bool:
        value: JsonValue = self._capabilities
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value is not None and value is not False


def _error(error: JsonValue) -> Iterator[str]:
    yield from shapes.faults("Error", error)
    if not isinstance(error, dict):
        return
    code, message, data = error.get("code"), error.get("message"), error.get("data")
    if isinstance(code, int) and code not in _PROTOCOL_ERRORS and any(code in taken for taken in _RESERVED):
        yield f"{code} is reserved by the protocol and means nothing yet"
    if isinstance(message, str) and ("\n" in message or not 0 < len(message) <= 300):
        yield "the message of an error is one short line"
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in ("reason", "details")):
        yield "the data of an error have a reason and details"


def _unknown(message: Json, known: set[str]) -> Iterator[str]:
    yield from (f"{name!r} is no member of a JSON-RPC message" for name in message.keys() - known)


def _key(request_id: JsonValue) -> str:
    """An id as a key that tells 1 from "1"."""
    return json.dumps(request_id)
