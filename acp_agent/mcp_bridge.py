"""Stands between the harness and one MCP server, so that a server that fails does not fail the turn.

The harness fails every turn if a server does not start, waits for ever if one does not answer, and writes down
its configuration, environment and headers included (measured with 0.1.22). So it starts this program instead,
which reads how to reach the server from a private file, passes messages between the two, and, if the server
cannot be had, answers in its place: it has no tools. Why is written beside the file, where the agent finds it
and tells the user.

    python -P -m acp_agent.mcp_bridge FILE
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from acp_agent.loopback import is_loopback

ANSWER_SECONDS: Final = 20.0
"""How long a server may take to answer what the harness asks of its own accord; a tool takes what it takes."""

END_SECONDS: Final = 1.0
"""How long a server may take to end once its input is closed."""

STATUS_SUFFIX: Final = ".failed"
"""What the name of the file that says why a server cannot be had ends in."""

Message = dict[str, Any]
_FALLBACK_VERSION: Final = "2025-06-18"
_EMPTY: Final[dict[str, Message]] = {
    "tools/list": {"tools": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
    "prompts/list": {"prompts": []},
    "ping": {},
}
_WAITED_FOR: Final = frozenset({"initialize", *_EMPTY})
"""What a harness asks of its own accord, and waits for without end."""


class Bridge:
    """The messages of one harness, and what answers them.

    Args:
        name: the server's, as the client gave it.
        status: the file that is written if the server cannot be had.
        to_harness: writes a line to the harness, from whatever thread.
        patience: seconds, see `ANSWER_SECONDS`.
    """

    def __init__(
        self, name: str, status: Path, to_harness: Callable[[bytes], None], *, patience: float = ANSWER_SECONDS
    ) -> None:
        self._name = name
        self._status = status
        self._to_harness = to_harness
        self._patience = patience
        self._lock = threading.Lock()
        self._open: dict[str, Message] = {}
        self._answered = False
        self.failure: str | None = None

    def from_harness(self, line: bytes) -> bytes | None:
        """A line of the harness; what is to be sent to the server, None if it was answered here."""
        message = _parsed(line)
        with self._lock:
            if self.failure is None:
                if message is not None and "method" in message and "id" in message:
                    self._open[json.dumps(message["id"])] = message
                    if message["method"] in _WAITED_FOR:
                        timer = threading.Timer(self._patience, self._fail_if_open, [message])
                        timer.daemon = True
                        timer.start()
                return line
        if message is not None:
            self._answer(message)
        return None

    def from_server(self, line: bytes) -> None:
        """A line of the server. What is no message is dropped, if it has said something sensible before."""
        message = _parsed(line)
        if message is None:
            if line.strip() and not self._answered:
                self.fail("it does not speak MCP on its standard output")
            return
        with self._lock:
            if self.failure is not None:
                return
            asked = self._open.get(json.dumps(message.get("id"))) if "method" not in message else None
            refused = asked is not None and asked["method"] == "initialize" and "error" in message
            if asked is not None and not refused:
                self._answered = True
                del self._open[json.dumps(message["id"])]
            if not refused:
                self._to_harness(line.rstrip(b"\r\n") + b"\n")
        if refused:
            # The harness would fail every turn for it. What the server says may quote what is secret.
            self.fail("it refused to begin")

    def fail(self, why: str) -> None:
        """The server cannot be had, from now on; what waits for it is answered."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = why
            waiting, self._open = list(self._open.values()), {}
        with contextlib.suppress(OSError):
            new = self._status.with_suffix(".new")
            new.write_text(json.dumps({"name": self._name, "why": why}), encoding="utf-8")
            new.replace(self._status)
        for message in waiting:
            self._answer(message)

    def _fail_if_open(self, asked: Message) -> None:
        with self._lock:
            is_open = self._open.get(json.dumps(asked["id"])) is asked
        if is_open:
            self.fail(f"it did not answer {asked['method']} within {self._patience:.0f} s")

    def _answer(self, message: Message) -> None:
        if "id" not in message or "method" not in message:
            return
        answer: Message = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "initialize":
            params = message.get("params")
            asked = params.get("protocolVersion") if isinstance(params, dict) else None
            answer["result"] = {
                "protocolVersion": asked if isinstance(asked, str) else _FALLBACK_VERSION,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": self._name, "version": "0"},
            }
        elif message["method"] in _EMPTY:
            answer["result"] = _EMPTY[message["method"]]
        else:
            text = f"The MCP server {self._name} cannot be used: {self.failure}."
            answer["error"] = {"code": -32603, "message": text}
        self._to_harness(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Bridge to the server that the file describes, until the harness closes its end."""
    path = Path(sys.argv[1])
    given = json.loads(path.read_text(encoding="utf-8"))
    output = sys.stdout.buffer
    writing = threading.Lock()

    def to_harness(line: bytes) -> None:
        with writing, contextlib.suppress(BrokenPipeError):
            output.write(line)
            output.flush()

    bridge = Bridge(given["name"], path.with_name(path.name + STATUS_SUFFIX), to_harness)
    if "url" in given:
        asyncio.run(_http(bridge, given["url"], given["headers"]))
    else:
        _stdio(bridge, [given["command"], *given["args"]], given["env"])
    # Threads that still read must not keep the process.
    os._exit(0)


def _stdio(bridge: Bridge, command: list[str], environment: dict[str, str]) -> None:
    server: subprocess.Popen[bytes] | None = None
    try:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
        )
    except OSError as error:
        bridge.fail(f"{Path(command[0]).name} could not be started: {error.strerror}")
    if server is not None:
        threading.Thread(target=_read_server, args=(bridge, server), daemon=True).start()
    for line in sys.stdin.buffer:
        passed = bridge.from_harness(line)
        if passed is not None and server is not None and server.stdin is not None:
            try:
                server.stdin.write(passed)
                server.stdin.flush()
            except OSError:
                bridge.fail(_why_closed(server))
    if server is not None:
        _end(server)


def _read_server(bridge: Bridge, server: subprocess.Popen[bytes]) -> None:
    assert server.stdout is not None
    for line in server.stdout:
        bridge.from_server(line)
    bridge.fail(_ended(server.wait()))


def _why_closed(server: subprocess.Popen[bytes]) -> str:
    """Why a server takes no more input: as a rule it has ended, and this is seen before the end of its output."""
    try:
        return _ended(server.wait(END_SECONDS))
    except subprocess.TimeoutExpired:
        return "it closed its input"


def _ended(status: int) -> str:
    return f"it ended (exit status {status})"


def _end(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        assert server.stdin is not None
        server.stdin.close()
    try:
        server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


async def _http(bridge: Bridge, url: str, headers: dict[str, str]) -> None:
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415  (stdio needs none of it)
    from mcp.shared._httpx_utils import create_mcp_http_client  # noqa: PLC0415
    from mcp.shared.message import SessionMessage  # noqa: PLC0415
    from mcp.types import jsonrpc_message_adapter  # noqa: PLC0415

    if is_loopback(url):
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"  # this process speaks with nothing else
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin.buffer:
            if (passed := bridge.from_harness(line)) is not None:
                loop.call_soon_threadsafe(lines.put_nowait, passed)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    async def receive(messages: Any) -> None:  # noqa: ANN401
        async for received in messages:
            if isinstance(received, Exception):
                bridge.fail(_http_words(received))
            else:
                bridge.from_server(
                    jsonrpc_message_adapter.dump_json(received.message, by_alias=True, exclude_none=True)
                )

    threading.Thread(target=read, daemon=True).start()
    try:
        async with (
            create_mcp_http_client(headers=headers) as client,
            streamable_http_client(url, http_client=client) as streams,
        ):
            receiving = asyncio.ensure_future(receive(streams[0]))
            while (line := await lines.get()) is not None:
                if bridge.failure is None:
                    await streams[1].send(SessionMessage(jsonrpc_message_adapter.validate_json(line)))
            receiving.cancel()
            return
    except Exception as error:  # whatever the transport raises: refused, unreachable, not MCP
        bridge.fail(_http_words(error))
    while await lines.get() is not None:
        pass


def _http_words(error: BaseException) -> str:
    """What went wrong, without the address, which may hold a password."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return f"it answered with HTTP status {status}" if status else f"it cannot be reached ({type(error).__name__})"


def _parsed(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


if __name__ == "__main__":
    main()
