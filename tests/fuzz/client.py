"""One agent process and a client that keeps no rule: blocking writes, and threads that read what comes back."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.agent.driver import WAIT_SECONDS
from tests.fuzz.ledger import Ledger
from tests.prestarted import fork_agent
from tests.protocol.shapes import Json

_KEPT_LINES: Final = 40


class Broken(AssertionError):
    """A promise was broken; the message says which, and what was sent and said last."""


class Client:
    """See the module.

    Args:
        command: starts the agent.
        workspace: where it starts.
        environment: all of its environment.
        heard: is told each message of the agent, on the thread that reads.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        workspace: Path,
        environment: Mapping[str, str],
        heard: Callable[[Json], bytes | None],
    ) -> None:
        self._child = fork_agent(command, workspace, environment=environment)
        self.pid = self._child.pid
        self._pidfd = os.pidfd_open(self.pid)
        self.ledger = Ledger()
        self._heard = heard
        self._replies: deque[bytes] = deque()
        self._last: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._said: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._changed = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self._over = False
        self._left, self._leave = os.pipe()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()

    def write(self, data: bytes) -> None:
        """Send bytes, however long the agent takes for them."""
        with self._changed:
            self.ledger.sent(data)
        self._last.extend(line[:200] for line in data.split(b"\n")[-_KEPT_LINES:])
        rest = memoryview(data)
        while rest:
            fd = self._child.stdin.fileno()
            if not select.select([], [fd], [], 0)[1]:
                # An agent whose answers nobody takes need not take more requests.
                self.resume_reading()
                if not select.select([], [fd], [], WAIT_SECONDS)[1]:
                    raise self.broken("the agent reads no more")
            try:
                # No more than a pipe that is ready takes at once.
                rest = rest[os.write(fd, rest[: select.PIPE_BUF]) :]
            except OSError as error:
                raise self.broken(f"the agent is gone: {error}") from error

    def pause_reading(self) -> None:
        """Read nothing more, but for what is on its way."""
        self._reading.clear()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading.set()

    def settle(self) -> None:
        """Answer what the agent asks and wait until it has answered everything."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            with self._changed:
                self.check()
                reply = self._replies.popleft() if self._replies else None
                if reply is None:
                    if not self.ledger.outstanding:
                        return
                    if self._over:
                        raise self.broken("the agent ended with requests unanswered")
                    if not self._changed.wait(end - time.monotonic()):
                        raise self.broken(f"not answered: {dict(self.ledger.outstanding)!r:.2000}")
            if reply is not None:
                self.write(reply)

    def check(self) -> None:
        """Raise `Broken` if anything that the agent wrote was wrong."""
        if self.ledger.faults:
            raise self.broken("\n".join(self.ledger.faults[:5]))

    def memory(self) -> tuple[int, int]:
        """The memory that the agent holds now, and that it held at most, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        now, most = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
        assert now is not None
        assert most is not None
        return int(now[1]) // 1024, int(most[1]) // 1024

    def children(self) -> int:
        """How many processes the agent has: harnesses, and what they were given to run."""
        found = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):  # threads end
                found += len((task / "children").read_text().split())
        return found

    def close(self, *, input_: bool, output: bool) -> float:
        """Close these ends and wait for the agent's end; how long that took, in seconds."""
        began = time.monotonic()
        if output:
            os.write(self._leave, b"x")
            self._threads[0].join(WAIT_SECONDS)
        if input_:
            with self._changed:
                self.ledger.sent(b"\n")  # what came last is a line without its end too
            self._child.stdin.close()
        else:
            # That nobody takes its answers shows when it has one.
            with suppress(BrokenPipeError):
                os.write(self._child.stdin.fileno(), b'\n{"jsonrpc":"2.0","id":"last","method":"session/list"}\n')
        ended, _, _ = select.select([self._pidfd], [], [], WAIT_SECONDS)
        took = time.monotonic() - began
        if not ended:
            raise self.broken("the agent does not end")
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        if status := self._child.wait():
            raise self.broken(f"the agent ended with status {status}")
        self.check()
        return took

    def kill(self) -> None:
        """End it whatever it does, and give back what was held for it."""
        if not select.select([self._pidfd], [], [], 0)[0]:
            os.killpg(self.pid, 9)
        self._reading.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        for fd in (self._pidfd, self._left, self._leave):
            os.close(fd)
        self._child.stdin.close()
        self._child.wait()

    def broken(self, what: str) -> Broken:
        """That a promise was broken, with what was sent and said last."""
        sent = b"\n".join(self._last).decode(errors="backslashreplace")
        said = b"".join(self._said).decode(errors="backslashreplace")
        return Broken(f"--- sent last:\n{sent}\n--- said last:\n{said}\n--- what is wrong:\n{what}")

    def _read(self) -> None:
        output, pending = self._child.stdout.fileno(), b""
        while True:
            self._reading.wait()
            if self._left in select.select([output, self._left], [], [])[0]:
                break
            if not (data := os.read(output, 1 << 16)):
                break
            *lines, pending = (pending + data).split(b"\n")
            with self._changed:
                for line in lines:
                    message = self.ledger.received(line + b"\n")
                    if message is not None and (reply := self._heard(message)) is not None:
                        self._replies.append(reply)
                self._changed.notify_all()
        self._child.stdout.close()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _listen(self) -> None:
        with open(self._child.stderr.fileno(), "rb", closefd=False) as errors:
            for line in errors:
                self._said.append(line[:400])
