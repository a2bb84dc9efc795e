"""The agent as a child process in a process group of its own, as an IDE runs it.

Editors end agents by SIGKILL to the whole group (client-facts 1.5), so this client starts the agent as the
leader of a new session: the group can be killed without the client, and Ctrl-C reaches only the client.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from acp_agent.chat.rpc import LINE_LIMIT
from acp_agent.system import processes
from acp_agent.system.processes import Child

_STDERR_LINES = 20
_STDERR_LINE_LIMIT = 16 * 1024
DRAIN_SECONDS = 1.0
"""How long output still in the pipes of a process that has ended is waited for."""

_EOF_SECONDS = 5.0  # an agent is given this long to finish a checkpoint after its input closed
_TERM_SECONDS = 2.0


class AgentStartError(Exception):
    """The agent's program could not be started; the message says why."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an agent process ended: its exit status (negative: the signal), and its last lines on stderr."""

    status: int
    last_words: tuple[str, ...]

    @property
    def cause(self) -> str:
        """The status in words."""
        if self.status >= 0:
            return f"exit status {self.status}"
        try:
            return f"killed by {signal.Signals(-self.status).name}"
        except ValueError:
            return f"killed by signal {-self.status}"


Spawn = Callable[[tuple[str, ...], Path], Child]
"""Starts a command in a folder, with three pipes, as the leader of a new session. Raises OSError."""


class AgentProcess:
    """A running agent: its pipes, its end, and the ways to end it. Made by `start`."""

    def __init__(self, child: Child, pipes: _Pipes) -> None:
        self.pid = child.pid
        self.reader = pipes.stdout
        self.writer = pipes.stdin
        self._child = child
        self._pipes = pipes
        self._last_words: deque[str] = deque(maxlen=_STDERR_LINES)
        self._listening = asyncio.create_task(self._listen())
        self._exited = asyncio.Event()
        threading.Thread(target=self._wait, args=(asyncio.get_running_loop(),), name="agent", daemon=True).start()

    @classmethod
    async def start(cls, command: tuple[str, ...], cwd: Path, *, spawn: Spawn | None = None) -> AgentProcess:
        """Start `command` in `cwd`, by `spawn` if that is given; raises `AgentStartError`."""
        try:
            child = (spawn or processes.start)(command, cwd)
        except OSError as fault:
            raise AgentStartError(f"The agent could not be started: {fault}") from fault
        return cls(child, await _Pipes.of(child))

    def kill_group(self) -> None:
        """SIGKILL to every process of the agent's group; nothing happens when none is left."""
        processes.kill_group(self.pid)

    async def stop(self) -> None:
        """End the agent in good order: close its input, then SIGTERM, then SIGKILL to the group."""
        self.writer.close()
        if await self._exits_within(_EOF_SECONDS):
            return
        processes.ask_to_end(self._child)
        if not await self._exits_within(_TERM_SECONDS):
            self.kill_group()

    async def exited(self) -> None:
        """Return once the process has ended, whoever still holds its pipes."""
        await self._exited.wait()

    async def ended(self) -> Ending:
        """Wait for the process to end and its stderr to be read; returns how it went."""
        await self.exited()
        # A process that the agent left behind may hold stderr open for ever.
        await asyncio.wait({self._listening}, timeout=DRAIN_SECONDS)
        self._listening.cancel()
        self._pipes.close()
        return Ending(self._child.wait(), tuple(self._last_words))

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._child.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(self._exited.set)

    async def _exits_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.exited()
        return self._exited.is_set()

    async def _listen(self) -> None:
        pending = b""
        while piece := await self._pipes.stderr.read(_STDERR_LINE_LIMIT):
            *lines, pending = (pending + piece).split(b"\n")
            pending = pending[-_STDERR_LINE_LIMIT:]
            self._last_words.extend(line.decode(errors="replace") for line in lines)
        if pending:
            self._last_words.append(pending.decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class _Pipes:
    """A child's three pipes as asyncio streams.

    asyncio's own subprocess support reports the end of a child only when all pipes are closed, which a
    process that the child left behind can put off for ever.
    """

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    readings: tuple[asyncio.ReadTransport, ...]

    @classmethod
    async def of(cls, child: Child) -> _Pipes:
        loop = asyncio.get_running_loop()
        readers: list[asyncio.StreamReader] = []
        readings: list[asyncio.ReadTransport] = []
        for pipe in (child.stdout, child.stderr):
            reader = asyncio.StreamReader(limit=LINE_LIMIT)
            reading, _ = await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), pipe)
            readers.append(reader)
            readings.append(reading)
        writing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), child.stdin
        )
        stdin = asyncio.StreamWriter(writing, protocol, None, loop)
        return cls(stdin, readers[0], readers[1], tuple(readings))

    def close(self) -> None:
        self.stdin.close()
        for reading in self.readings:
            reading.close()
