"""Drives a real agent process over real pipes, and keeps everything that crossed them.

Nothing here knows how the agent works inside. The model is the offline model in the test's own process, so a test
sees exactly what the model received.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from acp_agent.chat.process import AgentProcess
from acp_agent.chat.rpc import Peer, RpcError
from acp_agent.chat.transcript import Item, Transcript
from acp_agent.offline.server import OfflineModel
from tests.prestarted import fork_agent
from tests.protocol.connection import Connection
from tests.protocol.streams import CheckedReader, NotedWriter

Json = dict[str, JsonValue]
Chooser = Callable[[Json], Awaitable[str | None]]

WAIT_SECONDS = 60.0
"""How long a test waits for something that must happen; a bound for broken code, never a measurement."""


@dataclass(slots=True)
class World:
    """What outlives an agent process: the data folder, the workspace and the model.

    `shared_workspace` is where a session works that was made in another world and copied.
    """

    root: Path
    model: OfflineModel
    flags: tuple[str, ...] = ()
    shared_workspace: Path | None = None
    endpoint: tuple[str, ...] = ()
    """Flags that name the model's endpoint, if it is not the OpenAI dialect of `model`."""

    @property
    def workspace(self) -> Path:
        """The folder that sessions work in."""
        return self.shared_workspace or self.root / "workspace"

    @property
    def data_dir(self) -> Path:
        """The agent's data folder."""
        return self.root / "data"

    def session_folder(self, session_id: str) -> Path:
        """Where a session is stored."""
        return self.data_dir / "sessions" / session_id

    def trajectory(self, session_id: str) -> Path:
        """The harness's database of a session."""
        return self.session_folder(session_id) / "trajectory" / f"{session_id}.db"

    def command(self, *more: str) -> tuple[str, ...]:
        """The command line of an agent in this world."""
        endpoint = self.endpoint or ("--base-url", self.model.openai_url)
        return (sys.executable, "-m", "acp_agent", "--data-dir", str(self.data_dir), *endpoint, *self.flags, *more)

    @asynccontextmanager
    async def agent(
        self, *flags: str, capabilities: Json | None = None, initialize: bool = True
    ) -> AsyncIterator[Agent]:
        """A started agent; ended in order, or killed if it does not end, when the block is left."""
        command = self.command(*flags)
        plain = command[0] == sys.executable  # otherwise something else starts it, with other rights or a trace
        process = await AgentProcess.start(command, self.workspace, spawn=fork_agent if plain else None)
        agent = Agent(process)
        try:
            if initialize:
                agent.initialized = await agent.initialize(capabilities)
            yield agent
        finally:
            await agent.stop()


async def allow(_: Json) -> str | None:
    """Answers every permission question with "allow once"."""
    return "allow_once"


async def never(_: Json) -> str | None:
    """Never answers a permission question."""
    await asyncio.Event().wait()
    return None


OPTIONS = "config_option_update"


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that was sent: its id, and what its answer will be."""

    id: int
    answer: asyncio.Future[JsonValue]


@dataclass(slots=True)
class Agent:
    """One agent process and the client side of its connection."""

    process: AgentProcess
    choose: Chooser = allow
    received: list[Json] = field(default_factory=list)
    questions: list[Json] = field(default_factory=list)
    withdrawn: list[Json] = field(default_factory=list)
    forms: list[Json] = field(default_factory=list)
    form: Json | None = None
    """The answer to every form; None leaves them open."""
    option_updates: list[Json] = field(default_factory=list)
    garbage: list[str] = field(default_factory=list)
    initialized: Json = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    connection: Connection = field(default_factory=Connection)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _peer: Peer = field(init=False)
    _serving: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        reader = CheckedReader(self.process.reader, self.connection, self.lines)
        self._peer = Peer(reader, NotedWriter(self.process.writer, self.connection), self)
        self._serving = asyncio.create_task(self._peer.serve())

    def notified(self, method: str, params: Json) -> None:
        """Part of `acp_agent.chat.rpc.Handler`."""
        update = params["update"]
        if isinstance(update, dict) and update["sessionUpdate"] == OPTIONS:
            self.option_updates.append(update)
        else:
            self.received.append({"method": method, **params})
        self._changed.set()

    async def requested(self, method: str, params: Json) -> Json:
        """Part of `acp_agent.chat.rpc.Handler`."""
        if method == "elicitation/create":
            return await self._filled_in(params)
        assert method == "session/request_permission"
        self.questions.append(params)
        self._changed.set()
        try:
            chosen = await self.choose(params)
        except asyncio.CancelledError:
            self.withdrawn.append(params)
            self._changed.set()
            raise
        if chosen is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": chosen}}

    async def _filled_in(self, params: Json) -> Json:
        self.forms.append(params)
        self._changed.set()
        try:
            while self.form is None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.withdrawn.append(params)
            self._changed.set()
            raise
        return self.form

    def garbled(self, line: str, fault: str) -> None:
        """Part of `acp_agent.chat.rpc.Handler`."""
        self.garbage.append(f"{fault}: {line[:200]}")
        self._changed.set()

    async def call(self, method: str, params: Json) -> Json:
        """Send a request; the result, or `RpcError`."""
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                result = await self._peer.request(method, params)
            except RpcError as error:
                error.add_note(f"data: {error.data}")
                raise
        assert isinstance(result, dict), f"{method} answered {result!r}"
        return result

    async def begin(self, method: str, params: Json) -> Begun:
        """Send a request whose answer is not waited for yet."""
        return Begun(*await self._peer.begin(method, params))

    async def withdraw(self, begun: Begun) -> None:
        """Withdraw a request."""
        await self._peer.withdraw(begun.id)

    async def refused(self, method: str, params: Json) -> RpcError:
        """Send a request that must be answered with an error; the error, checked for its common shape."""
        try:
            result = await self.call(method, params)
        except RpcError as error:
            assert isinstance(error.data, dict), error.data
            assert isinstance(error.data.get("reason"), str)
            assert isinstance(error.data.get("details"), str)
            assert "\n" not in error.message
            return error
        raise AssertionError(f"{method} was not refused: {result}")

    async def initialize(self, capabilities: Json | None = None) -> Json:
        """The handshake."""
        return await self.call(
            "initialize",
            {
                "protocolVersion": 1,
                "clientCapabilities": capabilities or {},
                "clientInfo": {"name": "test-client", "version": "1"},
            },
        )

    async def new(self, cwd: Path) -> str:
        """A new session's id."""
        result = await self.call("session/new", {"cwd": str(cwd), "mcpServers": []})
        session_id = result["sessionId"]
        assert isinstance(session_id, str)
        return session_id

    async def load(self, session_id: str, cwd: Path) -> Json:
        """The report of a load."""
        result = await self.call("session/load", {"sessionId": session_id, "cwd": str(cwd), "mcpServers": []})
        return resume_report(result)

    async def prompt(self, session_id: str, text: str) -> Json:
        """The answer to a prompt of one text block."""
        return await self.call(
            "session/prompt", {"sessionId": session_id, "prompt": [{"type": "text", "text": text}]}
        )

    async def cancel(self, session_id: str) -> None:
        """Cancel the session's turn."""
        await self._peer.notify("session/cancel", {"sessionId": session_id})

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something is true of what was received."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    def updates(self) -> list[Json]:
        """The bodies of all `session/update` notifications, in order."""
        found: list[Json] = []
        for message in self.received:
            update = message.get("update")
            assert message["method"] == "session/update"
            assert isinstance(update, dict)
            found.append(update)
        return found

    def order(self) -> list[str]:
        """The kinds of what was received in the order of the wire: updates by their kind, and answers.

        Updates of the options are left out: when the list of models comes is chance.
        """
        kinds: list[str] = []
        for line in self.lines:
            message = json.loads(line)
            kinds.append(message["params"]["update"]["sessionUpdate"] if "method" in message else "answer")
        return [kind for kind in kinds if kind != OPTIONS]

    def shown(self) -> tuple[Item, ...]:
        """What a client shows of all that it received, without what is not part of the transcript."""
        return Transcript(update for update in self.updates() if not is_announcement(update)).items

    def text(self) -> str:
        """All agent text that was received, joined."""
        return "".join(
            str(content["text"])
            for update in self.updates()
            if update["sessionUpdate"] == "agent_message_chunk"
            and not is_announcement(update)
            and isinstance(content := update["content"], dict)
        )

    async def kill(self) -> None:
        """SIGKILL the process group, and read what was still in the pipe."""
        self.process.kill_group()
        await self.process.exited()
        await self._served()

    async def stop(self) -> int:
        """End the agent in order; its exit status."""
        await self.process.stop()
        await self._served()
        return (await self.process.ended()).status

    async def _served(self) -> None:
        """Wait until all that the agent wrote has been read. Whatever it was must have been valid ACP."""
        await self._serving
        self.connection.check()

    async def end(self) -> tuple[str, ...]:
        """End the agent in order; the last lines that it wrote to standard error."""
        await self.stop()
        return (await self.process.ended()).last_words


def is_announcement(update: Json) -> bool:
    """Whether an update speaks to the person about the session and is not part of the transcript."""
    meta = update.get("_meta")
    said = isinstance(meta, dict) and any(key.startswith("acp-agent/") for key in meta)
    return said and update["sessionUpdate"] not in ("tool_call", "tool_call_update")


def resume_report(result: Json) -> Json:
    """The resume report in the result of a load or resume."""
    meta = result["_meta"]
    assert isinstance(meta, dict)
    report = meta["acp-agent/resume"]
    assert isinstance(report, dict)
    return report


def checkpoint_report(result: Json) -> Json:
    """The checkpoint report in the answer to a prompt."""
    meta = result["_meta"]
    assert isinstance(meta, dict)
    report = meta["acp-agent/checkpoint"]
    assert isinstance(report, dict)
    return report


async def settled(request: Awaitable[Json]) -> Json | RpcError:
    """The result of a request, or the error that it was answered with, which may be any but an unforeseen one."""
    try:
        return await request
    except RpcError as error:
        assert error.code != -32603, error.data
        return error


async def comes_true(condition: Callable[[], bool]) -> None:
    """Wait for a process, a file or a row that nothing announces; only looking again and again shows it."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
