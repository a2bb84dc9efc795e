"""A raw JSON-RPC client for `stub_agent`: it sends bytes and reads lines, and knows nothing of the SDK."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tests.protocol.connection import Connection

PATIENCE = 30
"""Seconds after which a test gives up; far more than anything here may take."""

ROOT = Path(__file__).parents[2]

Message = dict[str, Any]

INITIALIZE: Message = {
    "protocolVersion": 1,
    "clientCapabilities": {"session": {"notices": {}}, "fs": {"readTextFile": True}},
}


class StubProcess:
    """A running stub agent, on pipes unless the test gives it descriptors; `through` is a shell that starts it."""

    def __init__(
        self,
        stdin: int | None = None,
        stdout: int | None = None,
        through: str | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self._read_alive, self._write_alive = os.pipe()
        command = [sys.executable, "-m", "tests.wire.stub_agent", str(self._write_alive), *arguments]
        self.process = subprocess.Popen(
            [*([] if through is None else ["sh", "-c", through, "sh"]), *command],
            stdin=subprocess.PIPE if stdin is None else stdin,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            pass_fds=(self._write_alive,),
            cwd=ROOT,
            # As an IDE starts it: whether `print` is buffered must not depend on the environment of the tests.
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
        os.close(self._write_alive)
        self.connection = Connection()
        self.ended_by_test = False
        self._timer = threading.Timer(PATIENCE, self._give_up)
        self._timer.daemon = True
        self._timer.start()
        self.stderr = ""
        self._ids = 0

    def __enter__(self) -> "StubProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        os.close(self._read_alive)
        if error is None:
            self.connection.check()

    def _give_up(self) -> None:
        self.ended_by_test = True
        self.process.kill()

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def write(self, data: bytes) -> None:
        self.connection.sent(data)
        self.stdin.write(data)
        self.stdin.flush()

    def send(self, method: str, params: object, **members: object) -> int:
        self._ids += 1
        message = {"jsonrpc": "2.0", "id": self._ids, "method": method, "params": params, **members}
        self.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        return self._ids

    def read(self) -> Message:
        """The next message; every line of stdout must be one, and valid ACP."""
        line = self.stdout.readline()
        assert line, f"the agent closed its output; its stderr:\n{self.rest_of_stderr()}"
        self.connection.received(line)
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def call(self, method: str, params: object) -> Message:
        """Send a request and return its response; nothing else may arrive before it."""
        request_id = self.send(method, params)
        response = self.read()
        assert response["id"] == request_id
        return response

    def initialize(self) -> None:
        assert "result" in self.call("initialize", INITIALIZE)

    def prompt(self, text: str, session_id: str = "s", **params: object) -> int:
        return self.send("session/prompt", prompt_params(text, session_id, **params))

    def wait_for_mark(self, word: str) -> None:
        """Wait until the stub has reached the point `word`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line.decode()
            if line == f"@{word}\n".encode():
                return
        raise AssertionError(f"the stub ended before {word!r}:\n{self.stderr}")

    def rest_of_stderr(self) -> str:
        assert self.process.stderr is not None
        self.stderr += self.process.stderr.read().decode()
        return self.stderr

    def wait_for_own_end(self) -> int:
        """Wait for the process and all of its children to end by themselves; return the exit status."""
        status = self.process.wait(PATIENCE)
        assert not self.ended_by_test
        # The kernel closes the last copy of the other end with the last child; a reader then sees the end of file.
        assert select.select([self._read_alive], [], [], PATIENCE)[0], "a child process is still running"
        assert os.read(self._read_alive, 1) == b""
        return status


def prompt_params(text: str, session_id: str = "s", **others: object) -> Message:
    return {"sessionId": session_id, "prompt": [{"type": "text", "text": text}], **others}


def request_line(request_id: object, method: str, params: Mapping[str, object]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode() + b"\n"


@contextmanager
def socket_stub(*, blocking: bool) -> Iterator[tuple[StubProcess, socket.socket]]:
    """A stub whose standard input and output are one socket."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(blocking)
    with ours, theirs, StubProcess(stdin=theirs.fileno(), stdout=theirs.fileno()) as stub:
        theirs.close()
        ours.settimeout(PATIENCE)
        yield stub, ours
