"""A client that knows JSON lines and nothing more: it sends messages, and keeps every line that it gets.

It shares no code with the agent. It answers each permission question with the first option that allows once.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Final, Protocol, Self

from pydantic import JsonValue

from tests.protocol.connection import Connection
from tests.protocol.shapes import Json

PATIENCE: Final = 60.0
"""Seconds after which something that must come counts as missing."""


class Child(Protocol):
    """What is needed of an agent process."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    def wait(self) -> int:
        """Wait for its end; its exit status."""


class Client:
    """One agent process and the client's side of it; the process ends with the block."""

    def __init__(self, child: Child) -> None:
        self.lines: list[bytes] = []
        self.messages: list[Json] = []
        self.errors = b""
        self.connection = Connection()
        self._child = child
        self._arrived: queue.Queue[bytes] = queue.Queue()
        self._ids = 0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.connection.sent(data)
        self._child.stdin.write(data)
        self._child.stdin.flush()

    def send(self, message: Json) -> None:
        """Send a message."""
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def notify(self, method: str, params: Json) -> None:
        """Send a notification."""
        self.send({"method": method, "params": params})

    def ask(self, method: str, params: Json, request_id: JsonValue = None) -> JsonValue:
        """Send a request and do not wait; its id."""
        if request_id is None:
            self._ids += 1
            request_id = self._ids
        self.send({"id": request_id, "method": method, "params": params})
        return request_id

    def answer(self, request_id: JsonValue) -> Json:
        """The whole response to a request, which must bear the very id."""
        return self.until(
            lambda message: (
                "method" not in message
                and message.get("id") == request_id
                and type(message.get("id")) is type(request_id)
            )
        )

    def call(self, method: str, params: Json, request_id: JsonValue = None) -> Json:
        """Send a request; the whole response."""
        return self.answer(self.ask(method, params, request_id))

    def result(self, method: str, params: Json) -> Json:
        """Send a request; the result, which must be there and be an object."""
        response = self.call(method, params)
        result = response.get("result")
        assert isinstance(result, dict), f"{method} was answered with {response}"
        return result

    def refusal(self, method: str, params: Json) -> Json:
        """Send a request; the error, which must be there."""
        response = self.call(method, params)
        error = response.get("error")
        assert isinstance(error, dict), f"{method} was answered with {response}"
        return error

    def until(self, wanted: Callable[[Json], bool]) -> Json:
        """The next message that is wanted; everything before it is kept as well."""
        while True:
            try:
                line = self._arrived.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"nothing came for {PATIENCE} s; the last: {self.lines[-3:]}") from None
            assert line, f"the agent closed its output; the last: {self.lines[-3:]}; it said {self.errors!r}"
            message = self._take(line)
            if message is not None and wanted(message):
                return message

    def updates(self, session_id: JsonValue, since: int = 0) -> list[Json]:
        """The updates of a session, of those messages that came after so many."""
        found: list[Json] = []
        for message in self.messages[since:]:
            params = message.get("params")
            if message.get("method") == "session/update" and isinstance(params, dict):
                update = params["update"]
                if params["sessionId"] == session_id and isinstance(update, dict):
                    found.append(update)
        return found

    def end(self) -> int:
        """Close the input and read what still comes; the exit status."""
        if not self._child.stdin.closed:
            self._child.stdin.close()
            while line := self._arrived.get(timeout=PATIENCE):
                self._take(line)
            for thread in self._threads:
                thread.join(PATIENCE)
        return self._child.wait()

    def _take(self, line: bytes) -> Json | None:
        self.lines.append(line)
        self.connection.received(line)
        try:
            message = json.loads(line)
        except ValueError:
            return None  # `connection` has noted it
        if not isinstance(message, dict):
            return None
        self.messages.append(message)
        if message.get("method") == "session/request_permission":
            options = message["params"]["options"]
            chosen = next(option["optionId"] for option in options if option["kind"] == "allow_once")
            self.send({"id": message["id"], "result": {"outcome": {"outcome": "selected", "optionId": chosen}}})
        return message

    def _read(self) -> None:
        for line in self._child.stdout:
            self._arrived.put(line)
        self._arrived.put(b"")

    def _listen(self) -> None:
        for piece in self._child.stderr:
            self.errors += piece
