"""Starts harnesses without holding up the event loop, and ends those that are being started.

The SDK starts a harness and reads where it listens in calls that block (measured with 0.1.22): 30 to 60 ms as a
rule, and for as long as it lives if it is stuck. All sessions of a process share one event loop, so this part of
the start is moved to a thread; the connection itself is made on the event loop, where it is used.

That connection is one inside this machine. The library that makes it asks the proxy of the environment or the
system for it all the same, and no proxy can reach it, so it is made without one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from functools import partial
from typing import Any

import psutil
import websockets
from google.antigravity.connections.local import local_connection

from sessions import leftovers


class _WithoutProxy:
    """`websockets` for the SDK's module that connects to harnesses, and to nothing else.

    Variables of the environment would do it too, but they would reach the commands that the harness runs, and on
    macOS and Windows hide the proxies of the system from all that needs them.
    """

    connect = staticmethod(partial(websockets.connect, proxy=None))

    def __getattr__(self, name: str) -> object:
        return getattr(websockets, name)


local_connection.websockets = _WithoutProxy()


def start_on_thread(agent: Any) -> None:
    """Let an SDK agent that is not open yet start its harness on a thread when it is opened."""
    config = agent._config  # its own copy
    create = config.create_strategy

    def create_strategy(**arguments: Any) -> Any:
        strategy = create(**arguments)
        _spawn_on_thread(strategy)
        return strategy

    # Not an attribute that the model would check: it hides the method of the class.
    object.__setattr__(config, "create_strategy", create_strategy)


def _spawn_on_thread(strategy: Any) -> None:
    spawn, connect = strategy._spawn_harness_and_connect_ws, strategy._connect_websocket

    async def spawn_on_thread(**arguments: Any) -> tuple[Any, Any, str]:
        heard: list[tuple[Any, ...]] = []

        async def hear(*where: Any) -> tuple[None, str]:
            heard.append(where)
            return None, ""

        strategy._connect_websocket = hear
        # Up to the connection, which `hear` stands in for, nothing in there waits for an event loop.
        process, _, _ = await asyncio.to_thread(lambda: _finished(spawn(**arguments)))
        websocket, url = await connect(*heard[0])
        return process, websocket, url

    strategy._spawn_harness_and_connect_ws = spawn_on_thread


def _finished(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise RuntimeError("the SDK waits for something while it starts a harness")


def end_started(conversation_id: str) -> None:
    """Kill the harnesses of a conversation that this process has started."""
    for process in psutil.Process().children():
        if leftovers.marker(process) == conversation_id:
            with contextlib.suppress(psutil.Error):
                process.kill()
