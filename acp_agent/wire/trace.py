"""A record of every message in both directions, for whoever must see what a client and this agent said.

The lines are taken where they cross the pipes, as they are, and handed to a thread, which makes JSON lines of them
without secrets and appends them to a file. Nothing waits for it: what does not fit into its queue is counted and
told in the trace. A process that is killed leaves all lines but those that were in the queue at that moment.

One line of the file is one object. The first of a process has `trace` (the version of this form, 1), `program` and
`content`; one of a message has `from` (`client` or `agent`), `bytes` (its size on the wire) and `message`, or
`unreadable` with the beginning of what is no JSON; `id`, `method`, `session` and `turn` where there is one. Every
line has `time` (UTC), `at` (seconds since the process's first line, by a clock that nobody sets) and `pid`.
`dropped` counts messages that are missing before this line, `stopped` says why none follows.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from acp_agent import __version__, appending, redaction
from acp_agent.logs import Event, say, scope
from acp_agent.redaction import Redactor
from acp_agent.wire.errors import AgentError, JsonObject
from acp_agent.wire.framing import LINE_LIMIT, decode

if TYPE_CHECKING:
    from pydantic import JsonValue

VERSION: Final = 1

QUEUE_BYTES: Final = 32 * 1024 * 1024
"""Bytes of messages that may wait to be written; one that is larger than that waits alone."""

QUEUE_MESSAGES: Final = 10_000
"""Messages that may wait to be written."""

TEXT_LIMIT: Final = 16_384
"""Characters of one text in a message that are recorded."""

UNREADABLE_LIMIT: Final = 1024
"""Characters that are recorded of what is no JSON."""

FILE_LIMIT: Final = 1024 * 1024 * 1024
"""Bytes of a trace at which recording ends, so that a forgotten one does not fill the disk."""

Sender = Literal["client", "agent"]

_KEPT_TEXTS: Final = frozenset(
    {
        "jsonrpc",
        "id",
        "method",
        "requestId",
        "sessionId",
        "sessionUpdate",
        "toolCallId",
        "messageId",
        "kind",
        "status",
    }
    | {
        "type",
        "role",
        "mimeType",
        "stopReason",
        "optionId",
        "outcome",
        "modeId",
        "currentModeId",
        "configId",
        "reason",
    }
    | {"methodId", "severity", "priority", "version", "at"}
)
"""The members whose texts are words of the protocol, and nothing that anybody has written."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A line that crossed a pipe. `line` is None for one that was too long to be read."""

    sender: Sender
    line: bytes | None
    at: float
    seconds: float
    turn: int | None


class Trace:
    """See the module.

    Args:
        path: the file; several processes may write to it.
        content: whether texts are recorded, or only how long they are.
        redactor: learns the secrets of the messages, and hides them.

    Raises:
        CannotAppend: the file cannot be written.
    """

    def __init__(self, path: Path, *, content: bool, redactor: Redactor = redaction.process) -> None:
        appending.prepare(path)
        self._content = content
        self._redactor = redactor
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._queue: deque[_Taken] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._writing = False
        self._told = False
        self._stopped = False
        self._torn = appending.ends_in_the_middle(path)
        self._fd = appending.open_to_append(path)
        words = "text" if content else "none"
        say(log, Event.TRACING, content=words)
        first: JsonObject = {"trace": VERSION, "program": f"acp-agent {__version__}", "content": words}
        self._write([{**self._stamp(time.time(), self._began), **first}])
        threading.Thread(target=self._run, name="acp-trace", daemon=True).start()

    def received(self, line: bytes | None) -> None:
        """Record a line of the client's; None is one that was too long."""
        self._take("client", line, None)

    def sent(self, line: bytes) -> None:
        """Record a line to the client."""
        here = scope.current()
        self._take("agent", line, here.turn if here else None)

    def flush(self, seconds: float) -> None:
        """Wait until everything is written, for `seconds` at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue and not self._writing, seconds)

    def _take(self, sender: Sender, line: bytes | None, turn: int | None) -> None:
        size = len(line or b"")
        with self._changed:
            full = len(self._queue) >= QUEUE_MESSAGES or self._waiting_bytes + size > QUEUE_BYTES
            if self._stopped or (full and self._queue):
                self._dropped += 1
                return
            self._queue.append(_Taken(sender, line, time.time(), time.monotonic(), turn))
            self._waiting_bytes += size
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue)
                taken = self._queue.popleft()
                self._waiting_bytes -= len(taken.line or b"")
                dropped, self._dropped = self._dropped, 0
                self._writing = True
            stamp = self._stamp(taken.at, taken.seconds)
            missing: list[JsonObject] = [{**stamp, "dropped": dropped}] if dropped else []
            try:
                record = self._record(taken)
            except Exception as error:  # a message that nobody foresaw must not end the trace
                record = {"from": taken.sender, "unreadable": f"[{type(error).__name__}]"}
            if not self._write([*missing, {**stamp, **record}]):
                with self._changed:
                    self._dropped += dropped + 1

    def _stamp(self, at: float, seconds: float) -> JsonObject:
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"time": moment, "at": round(seconds - self._began, 6), "pid": os.getpid()}

    def _record(self, taken: _Taken) -> JsonObject:
        record: JsonObject = {"from": taken.sender}
        if taken.line is None:
            return {**record, "unreadable": f"a line of more than {LINE_LIMIT:,} bytes"}
        record["bytes"] = len(taken.line)
        try:
            message = decode(taken.line)
        except AgentError:
            beginning = taken.line[: 4 * (UNREADABLE_LIMIT + 2 * redaction.MARGIN)].decode("utf-8", "replace")
            text = self._redactor.unreadable(beginning, UNREADABLE_LIMIT)
            return {**record, "unreadable": text if self._content else f"[{len(taken.line):,} bytes]"}
        self._learn(message)
        shown = self._redactor.message(message, TEXT_LIMIT)
        shown = shown if self._content else _without_texts(shown)
        if isinstance(shown, dict):
            params = shown.get("params")
            session = params.get("sessionId") if isinstance(params, dict) else None
            found: JsonObject = {"id": shown.get("id"), "method": shown.get("method"), "session": session}
            record |= {name: value for name, value in found.items() if value is not None}
        if taken.turn is not None:
            record["turn"] = taken.turn
        return {**record, "message": shown}

    def _learn(self, message: JsonValue) -> None:
        """The client's secrets are hidden in this message by their place, and in what follows by their value."""
        params = message.get("params") if isinstance(message, dict) else None
        if isinstance(params, dict):
            places: list[JsonValue] = [params.get("mcpServers"), params.get("_meta")]
            self._redactor.learn(redaction.secrets_in(places))

    def _write(self, records: list[JsonObject]) -> bool:
        """Append lines in one piece; whether that could be done."""
        data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        try:
            if os.fstat(self._fd).st_size > FILE_LIMIT:
                self._stop(f"the file has more than {FILE_LIMIT:,} bytes")
                return False
            self._append(data)
        except OSError as error:
            if not self._told:
                self._told = True
                words = f"the trace cannot be written: {error.strerror or error}; what is missing is counted in it"
                say(log, Event.TRACE_FAILED, words)
            return False
        return True

    def _append(self, data: bytes) -> None:
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            written = os.write(self._fd, rest)
            rest = rest[written:]
            self._torn = bool(rest)

    def _stop(self, why: str) -> None:
        self._append(json.dumps({**self._stamp(time.time(), time.monotonic()), "stopped": why}).encode() + b"\n")
        with self._changed:
            self._stopped = True
            self._queue.clear()
            self._waiting_bytes = 0
        say(log, Event.TRACE_FAILED, f"the trace ends here: {why}")


def _without_texts(value: JsonValue, name: str = "", parent: str = "") -> JsonValue:
    """A message with the lengths of the texts that somebody has written, instead of them."""
    match value:
        case str():
            own_words = name in _KEPT_TEXTS or (parent == "error" and name == "message")
            return value if own_words else f"[{len(value):,} characters]"
        case list():
            return [_without_texts(item, name, parent) for item in value]
        case dict():
            return {each: _without_texts(member, each, name) for each, member in value.items()}
    return value
