"""An ACP agent of a few lines, served by the real `serve`, for tests that show how the wire behaves.

A prompt's first word says what the handler does. Started with a descriptor number as its argument, it hands that
descriptor to every child it starts, so that a test can wait for the end of all of them.
"""

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from acp import RequestError, text_block
from acp.helpers import update_agent_message
from acp.schema import TextContentBlock
from pydantic import JsonValue

from acp_agent import handshake
from acp_agent.wire import lifetime, requests
from acp_agent.wire import transport as transport_module
from acp_agent.wire.errors import HARNESS_FAILED, AgentError, JsonObject
from acp_agent.wire.lifetime import serve
from acp_agent.wire.outgoing import ClientRefused
from acp_agent.wire.pipes import HIGH_WATER
from acp_agent.wire.stdio import claim_stdin, claim_stdout
from acp_agent.wire.transport import StdioTransport

# More than a pipe or socket holds and more than the transport queues without waiting, together.
UNSENDABLE_AT_ONCE = "x" * (4 * 1024 * 1024)

Answer = dict[str, Any]


def mark(word: str) -> None:
    """Tell the test that a point was reached."""
    print(f"@{word}", file=sys.stderr, flush=True)  # noqa: T201


class MarkingTransport(StdioTransport):
    async def flush(self, seconds: float) -> None:
        mark("flushing")
        await super().flush(seconds)


class StubAgent:
    def __init__(self, transport: StdioTransport, protocol_fds: tuple[int, int]) -> None:
        self.transport = transport
        self.protocol_fds = protocol_fds
        self.shutdown_fails = False
        self.client: Any = None
        self.children: list[subprocess.Popen[bytes]] = []

    def on_connect(self, connection: object) -> None:
        self.client = connection

    async def new_session(self, cwd: str, meta: JsonValue = None, **others: object) -> Answer:
        return {"sessionId": "s", "_meta": {"cwd": cwd, "meta": meta, "others": sorted(others)}}

    async def list_sessions(self, **_: object) -> Answer:
        return {"sessions": []}

    async def ext_method(self, name: str, params: dict[str, JsonValue]) -> Answer:
        return {"name": name, "params": params}

    async def prompt(
        self, prompt: list[TextContentBlock], session_id: str, meta: JsonValue = None, **others: object
    ) -> Answer:
        word, _, rest = prompt[0].text.partition(" ")
        handle: Callable[[str, str], Any] = getattr(self, f"do_{word}")
        found = await handle(session_id, rest)
        return {
            "stopReason": "end_turn",
            "_meta": {"found": found, "session": session_id, "meta": meta, "others": sorted(others)},
        }

    async def say(self, session_id: str, text: str) -> None:
        await self.client.session_update(session_id, update_agent_message(text_block(text)))

    async def do_measure(self, _: str, rest: str) -> int:
        return len(rest)

    async def do_say(self, session_id: str, rest: str) -> None:
        await self.say(session_id, rest)

    async def do_say_later(self, session_id: str, rest: str) -> None:
        self.later = asyncio.ensure_future(self.say(session_id, rest))

    async def do_say_half_an_emoji(self, session_id: str, _: str) -> None:
        update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "cut \ud83d"}}
        await self.client._conn.send_notification("session/update", {"sessionId": session_id, "update": update})

    async def do_print(self, _session: str, rest: str) -> list[bool]:
        print(f"@{rest}")  # noqa: T201
        os.write(1, rest.encode() + b"\n")
        subprocess.run(["sh", "-c", f"echo {rest}; cat; echo {rest} >&2"], check=True)  # noqa: ASYNC221
        return [os.get_inheritable(fd) for fd in self.protocol_fds]

    async def do_large(self, session_id: str, _: str) -> None:
        mark("sending")
        await self.say(session_id, UNSENDABLE_AT_ONCE)

    async def do_flood(self, session_id: str, _: str) -> None:
        mark("sending")
        while True:
            await self.say(session_id, UNSENDABLE_AT_ONCE)

    async def do_wait(self, *_: str) -> str:
        mark("waiting")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"
        return ""

    async def do_ignore_cancellation(self, *_: str) -> None:
        mark("waiting")
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                mark("ignored")

    async def do_block(self, *_: str) -> None:
        """Block the event loop in a call that signals do not interrupt: locking a locked mutex."""
        mutex = ctypes.create_string_buffer(64)
        lock = ctypes.CDLL(None).pthread_mutex_lock
        lock(mutex)
        mark("waiting")
        lock(mutex)

    async def do_take_the_wakeup_descriptor(self, *_: str) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, mark, "usr1")
        mark("waiting")

    async def do_hold_a_thread(self, *_: str) -> None:
        running = asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
        mark("waiting")
        await running

    async def do_answer_at_length(self, *_: str) -> str:
        """Answer more than a pipe holds, and leave the client all the time there is to read it."""
        lifetime.FLUSH_GRACE = lifetime.GRACE  # type: ignore[misc]
        return "x" * (HIGH_WATER // 2)

    async def do_answer_with_bytes(self, _: str, size: str) -> str:
        return "x" * int(size)

    async def do_repeat(self, session_id: str, _: str) -> None:
        """Send an update that is as long as the client's session id; its failure is the sender's."""
        params: JsonObject = {"sessionId": session_id, "update": {}}
        await self.transport.send({"jsonrpc": "2.0", "method": "session/update", "params": params})

    async def do_break_the_shutdown(self, *_: str) -> None:
        self.shutdown_fails = True

    async def do_spawn(self, *_: str) -> None:
        keep = (int(sys.argv[1]),)
        self.children = [
            subprocess.Popen(["sh", "-c", "sleep 3600 & wait"], pass_fds=keep),  # noqa: ASYNC220
            subprocess.Popen(["sleep", "3600"], pass_fds=keep, start_new_session=True),  # noqa: ASYNC220
        ]

    async def do_spawn_without_end(self, *_: str) -> None:
        loop = "while :; do sleep 3600 & sleep 0.002; done"
        keep = (int(sys.argv[1]),)
        self.children = [subprocess.Popen(["sh", "-c", loop], pass_fds=keep) for _ in range(3)]  # noqa: ASYNC220

    async def do_leave_a_zombie(self, *_: str) -> None:
        self.children = [subprocess.Popen(["true"])]  # noqa: ASYNC220
        os.waitid(os.P_PID, self.children[0].pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222

    async def do_fail(self, _: str, rest: str) -> None:
        raise RuntimeError(rest)

    async def do_fail_known(self, _: str, rest: str) -> None:
        raise AgentError(HARNESS_FAILED, "The harness died", reason="harness_died", details=rest, attempts=2)

    async def do_fail_with_an_object(self, *_: str) -> None:
        raise RequestError(-31999, "odd", {"object": object()})

    async def do_answer_with_an_object(self, *_: str) -> object:
        return object()

    async def do_ask(self, session_id: str, _: str) -> str:
        try:
            answer = await self.transport.request("fs/read_text_file", {"sessionId": session_id, "path": "/x"})
        except ClientRefused as error:
            return f"{error.code} {error}"
        return str(answer)

    async def do_withdraw(self, session_id: str, _: str) -> str:
        question = asyncio.ensure_future(
            self.transport.request("fs/read_text_file", {"sessionId": session_id, "path": "/x"})
        )
        withdrawn = asyncio.Event()
        requests.current().when_withdrawn(withdrawn.set)
        mark("asking")
        await withdrawn.wait()
        question.cancel()
        await asyncio.wait({question})
        return "withdrawn" if question.cancelled() else "answered"

    async def do_wait_to_be_withdrawn(self, *_: str) -> None:
        withdrawn = asyncio.Event()
        requests.current().when_withdrawn(withdrawn.set)
        mark("waiting")
        await withdrawn.wait()
        requests.current().stop_if_withdrawn()

    async def shut_down(self) -> None:
        mark("shutdown")
        if self.shutdown_fails:
            raise RuntimeError("a harness could not be closed")


def introduce(params: JsonObject) -> JsonObject:
    return {**handshake.answer(params), "_meta": {"params": params}}


async def main(read_fd: int, write_fd: int) -> None:
    if "--impatient" in sys.argv:
        transport_module.UNREAD_LIMIT = 512 * 1024  # type: ignore[misc]
    transport = MarkingTransport(read_fd, write_fd, introduce)

    def load() -> Callable[[], StubAgent]:
        if "--unloadable" in sys.argv:
            raise ImportError("there is no such module")
        return lambda: StubAgent(transport, (read_fd, write_fd))

    await serve(transport, load)
    mark("served")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(claim_stdin(), claim_stdout()))
