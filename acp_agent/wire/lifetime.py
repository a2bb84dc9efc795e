"""From the first request to the end of the process, which comes within `GRACE` and a little once it is due.

Clients give an agent little time: acpx kills it 1.6 s after closing its input (client-facts 3.1), and an agent
that stays behind keeps its sessions locked. The orderly way is the SDK's close, which cancels the handlers, then
the agent's, which closes the harnesses. Any of it can hang: a handler that swallows its cancellation, a call
that blocks the event loop, a thread pool that is joined at exit. So a `Deadline` runs beside it on a thread of
its own from the first sign of the end, and ends the process from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from acp_agent.logs import Event, say
from acp_agent.system import descriptors, signals
from acp_agent.wire.errors import INTERNAL, AgentError
from acp_agent.wire.transport import StdioTransport

if TYPE_CHECKING:
    import psutil

GRACE: Final = 1.2
"""Seconds from the first sign of the end to the forced end; with killing the children, 1.5 s at most."""

HANDLER_GRACE: Final = 0.5
"""Seconds that cancelled handlers have to finish before the agent is shut down in spite of them."""

FLUSH_GRACE: Final = 0.2
"""Seconds that the last answers have to be written."""

_ARM: Final = 0
_STOP_ROUNDS: Final = 5

_log = logging.getLogger(__name__)


class ServedAgent(Protocol):
    """An agent with the methods of `acp.Agent` that it serves."""

    async def shut_down(self) -> None:
        """Close the harnesses in order, in well under half a second. Called once, after the handlers' end."""


async def serve(transport: StdioTransport, load: Callable[[], Callable[[], ServedAgent]]) -> None:
    """Serve an agent on `transport` until the client is gone or one of `signals.ENDING` arrives.

    `load` is called on a thread once `initialize` is answered, and imports what takes long; what it returns makes
    the agent, on the event loop. At the end remaining child processes are killed and the function returns, or
    raises what the connection, `load` or the agent raised.

    This is the last thing that a process does: whatever runs afterwards runs under the deadline, which ends the
    process, with status 0 if the end was a regular one and 1 otherwise. Must be called on the main thread.
    """
    began = time.monotonic()
    deadline = Deadline(on_signal=transport.request_shutdown)
    deadline.watch_signals()
    try:
        if await transport.greeted():
            agent = await _loaded(transport, load)
            # Not before: what a client sent and closed its end behind is answered, however long the loading takes.
            transport.on_end(deadline.arm)
            await _serve(agent, transport, deadline)
    except Exception:
        deadline.exit_status = 1
        raise
    finally:
        deadline.arm()
        await transport.flush(FLUSH_GRACE)
        kill_descendants()
        ms = (time.monotonic() - began) * 1000
        say(_log, Event.ENDED, why=transport.why_over, status=deadline.exit_status, ms=ms)


async def _loaded(transport: StdioTransport, load: Callable[[], Callable[[], ServedAgent]]) -> ServedAgent:
    try:
        return (await asyncio.to_thread(load))()
    except Exception as error:
        details = f"{type(error).__name__} while it was being loaded; its log says more."
        refusal = AgentError(INTERNAL, "The agent cannot start.", reason="cannot_start", details=details)
        transport.refuse_all(refusal)
        raise


async def _serve(agent: ServedAgent, transport: StdioTransport, deadline: Deadline) -> None:
    from acp_agent.wire import serving  # noqa: PLC0415  (imports the SDK)

    connection = asyncio.ensure_future(serving.connect(agent, transport))
    try:
        await _until_over(connection, transport)
    finally:
        deadline.arm()
        await agent.shut_down()


async def _until_over(connection: asyncio.Future[None], transport: StdioTransport) -> None:
    """Wait for the connection and its handlers to end, for the handlers not longer than `HANDLER_GRACE`."""
    stopped = asyncio.ensure_future(transport.wait_stopped())
    await asyncio.wait({connection, stopped}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({connection}, timeout=HANDLER_GRACE)
    if connection.done():
        connection.result()
    else:
        words = f"a handler did not end within {HANDLER_GRACE} s of its cancellation"
        say(_log, Event.HANDLER_STUCK, words, seconds=HANDLER_GRACE)


class Deadline:
    """Ends the process, `GRACE` seconds after it is armed, from a thread that nothing in the process can hold up.

    `on_signal` is told which signal arrived.

    Signals are watched by the same thread: the interpreter writes their numbers to a pipe at the moment of their
    arrival, even while the main thread is in a call that does not return. The handlers write them as well, in case
    other code takes the interpreter's only wakeup descriptor for itself.
    """

    def __init__(self, on_signal: Callable[[str], None]) -> None:
        self.exit_status = 0
        self._on_signal = on_signal
        self._wake_read, self._wake_write = descriptors.waking_pipe()
        threading.Thread(target=self._run, name="acp-deadline", daemon=True).start()

    def arm(self) -> None:
        """Start the countdown; calls after the first change nothing. May be called on any thread."""
        self._wake(_ARM)

    def watch_signals(self) -> None:
        """Let `signals.ENDING` arm the deadline and call `on_signal`. Must be called on the main thread."""
        for number in signals.ENDING:
            signal.signal(number, lambda number, _frame: self._wake(number))
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def _wake(self, number: int) -> None:
        with contextlib.suppress(BlockingIOError):  # a full pipe has woken the thread already
            os.write(self._wake_write, bytes([number]))

    def _run(self) -> None:
        while True:
            woken_by = os.read(self._wake_read, 64)
            if arrived := [number.name for number in signals.ENDING if number in woken_by]:
                self._on_signal(f"{arrived[0]} arrived")
                break
            if _ARM in woken_by:
                break
        time.sleep(GRACE)
        try:
            kill_descendants()
        finally:
            os._exit(self.exit_status)


def kill_descendants() -> None:
    """Kill every process that this one started and that still runs, with all that those started.

    They are all stopped before the first is killed: one that goes on running could start another at that moment,
    which would lose its parent and with it every trace of where it came from.
    """
    import psutil  # noqa: PLC0415  (whoever starts a child has imported it long before)

    stopped: dict[int, psutil.Process] = {}
    for _ in range(_STOP_ROUNDS):
        running = [child for child in psutil.Process().children(recursive=True) if child.pid not in stopped]
        running = [child for child in running if _runs(child)]
        if not running:
            break
        for child in running:
            with contextlib.suppress(psutil.Error):
                child.suspend()
            stopped[child.pid] = child
    if not stopped:
        return
    for child in stopped.values():
        with contextlib.suppress(psutil.Error):
            child.kill()
    words = f"{len(stopped)} child processes were still running and are killed"
    say(_log, Event.CHILDREN_KILLED, words, count=len(stopped))


def _runs(process: psutil.Process) -> bool:
    import psutil  # noqa: PLC0415

    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
