"""One agent process and the ACP v1 conversation with it, as typed calls.

`Agent` owns the process and the connection. What the agent sends by itself goes to a `Listener`, in order. The
end of the process is the task `ending`, whether it was asked for or not; a call that it interrupts raises
`AgentDied`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from acp_agent import __version__
from acp_agent.chat.attachments import Content, Takes
from acp_agent.chat.fields import (
    FieldError,
    JsonObject,
    flag,
    integer_or_none,
    object_,
    objects,
    text,
    text_or_none,
)
from acp_agent.chat.forms import Form, read_form
from acp_agent.chat.process import DRAIN_SECONDS, AgentProcess, Ending, Spawn
from acp_agent.chat.rpc import INVALID_PARAMS, METHOD_NOT_FOUND, Peer, PeerGone, RpcError
from acp_agent.chat.settings import Setting, Settings
from acp_agent.chat.transcript import ToolCall, read_tool_call
from sessions.report import CheckpointReport, ResumeReport

RESUME_META = "acp-agent/resume"
PARENT_META = "acp-agent/parent"
CHECKPOINT_META = "acp-agent/checkpoint"
SESSION_META = "acp-agent/session"

_Report = TypeVar("_Report", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class PermissionOption:
    """One answer that the agent offers to a permission question."""

    option_id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class PermissionQuestion:
    """The agent asks whether a tool call may run."""

    session_id: str
    call: ToolCall
    options: tuple[PermissionOption, ...]

    def first_of(self, *kinds: str) -> str | None:
        """The id of the first option of one of these kinds, the kinds in order of preference; or None."""
        for kind in kinds:
            for option in self.options:
                if option.kind == kind:
                    return option.option_id
        return None


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended: the stop reason, and what was made durable, if the agent said."""

    stop_reason: str
    checkpoint: CheckpointReport | None


class TurnFailed(RpcError):
    """The agent answered a prompt with an error; `checkpoint` is what was made durable all the same."""

    def __init__(self, refusal: RpcError, checkpoint: CheckpointReport | None) -> None:
        super().__init__(refusal.code, refusal.message, refusal.data)
        self.checkpoint = checkpoint


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session as `session/list` shows it; what the agent did not say is None.

    `outcome` and `reason` are those of its last load. `held_by` says who has it open, in words.
    """

    session_id: str
    cwd: str
    title: str | None = None
    updated_at: str | None = None
    turns: int | None = None
    outcome: str | None = None
    reason: str | None = None
    held_by: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was opened: its settings, and the report of a load, if there is one."""

    session_id: str
    settings: Settings
    report: ResumeReport | None = None


class Listener(Protocol):
    """What happens with the messages that the agent sends by itself."""

    def updated(self, session_id: str, update: JsonObject) -> None:
        """Take in a `session/update`; raises `FieldError` when it cannot be read."""

    async def asked(self, question: PermissionQuestion) -> str | None:
        """The id of the chosen option; None cancels."""

    async def given(self, form: Form) -> JsonObject:
        """The answer to an `elicitation/create`."""

    def complained(self, complaint: str) -> None:
        """Learn of something from the agent that is not ACP; one sentence."""


class AgentDied(Exception):
    """The agent process ended before it answered; `ending` says how."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(f"The agent process ended ({ending.cause}).")
        self.ending = ending


class Agent:
    """A running, initialized agent. Made by `start`; end it with `stop` or `kill`.

    Every call raises `RpcError` when the agent answers with an error, `AgentDied` when it ends first, and
    `FieldError` when its answer lacks what the protocol requires.
    """

    def __init__(self, process: AgentProcess, listener: Listener) -> None:
        self._process = process
        self._listener = listener
        self._peer = Peer(process.reader, process.writer, _Inbox(listener))
        self._can: JsonObject = {}
        self.ending: asyncio.Task[Ending] = asyncio.create_task(self._run())

    @classmethod
    async def start(
        cls, command: tuple[str, ...], cwd: Path, listener: Listener, *, spawn: Spawn | None = None
    ) -> Agent:
        """Start the process, by `spawn` if given, and initialize the connection; also raises `AgentStartError`."""
        agent = cls(await AgentProcess.start(command, cwd, spawn=spawn), listener)
        try:
            answer = await agent._call(
                "initialize",
                {
                    "protocolVersion": 1,
                    "clientCapabilities": {"session": {"notices": {}}, "elicitation": {"form": {}}},
                    "clientInfo": {"name": "acp-agent-chat", "version": __version__},
                },
            )
            agent._can = object_(answer, "agentCapabilities")
        except BaseException:
            await agent.stop()
            raise
        return agent

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the process group."""
        return self._process.pid

    @property
    def takes(self) -> Takes:
        """What it takes in a prompt besides text and links."""
        prompts = object_(self._can, "promptCapabilities")
        return Takes(images=flag(prompts, "image"), embedded=flag(prompts, "embeddedContext"))

    async def new_session(self, cwd: Path) -> Opened:
        """`session/new`."""
        answer = await self._call("session/new", {"cwd": str(cwd), "mcpServers": []})
        return Opened(text(answer, "sessionId"), Settings().with_answer(answer))

    async def load_session(self, session_id: str, cwd: Path) -> Opened:
        """`session/load`; the replay has gone to the listener when this returns."""
        answer = await self._call("session/load", {"sessionId": session_id, "cwd": str(cwd), "mcpServers": []})
        report = self._report(ResumeReport, answer, RESUME_META)
        return Opened(session_id, Settings().with_answer(answer), report)

    async def set(self, session_id: str, settings: Settings, setting: Setting, value: str) -> Settings:
        """`session/set_mode` or `session/set_config_option`; returns the settings as they are then."""
        if setting.by_mode:
            await self._call("session/set_mode", {"sessionId": session_id, "modeId": value})
            return settings.with_mode(value)
        params: JsonObject = {"sessionId": session_id, "configId": setting.setting_id, "value": value}
        return settings.with_answer(await self._call("session/set_config_option", params))

    async def list_sessions(self, cwd: Path) -> tuple[ListedSession, ...]:
        """`session/list` for one folder, all pages."""
        listed: list[ListedSession] = []
        cursor: str | None = None
        while True:
            page: JsonObject = {"cwd": str(cwd)} if cursor is None else {"cwd": str(cwd), "cursor": cursor}
            answer = await self._call("session/list", page)
            listed.extend(_listed(entry) for entry in objects(answer, "sessions"))
            cursor = text_or_none(answer, "nextCursor")
            if cursor is None:
                return tuple(listed)

    async def close_session(self, session_id: str) -> None:
        """`session/close`, if the agent offers it."""
        if self._offers("close"):
            await self._call("session/close", {"sessionId": session_id})

    async def delete_session(self, session_id: str) -> bool:
        """`session/delete`; returns False, having done nothing, when the agent does not offer it."""
        if self._offers("delete"):
            await self._call("session/delete", {"sessionId": session_id})
        return self._offers("delete")

    async def prompt(self, session_id: str, prompt: Content) -> TurnEnd:
        """`session/prompt`; returns when the turn has ended, or raises `TurnFailed`."""
        try:
            answer = await self._call("session/prompt", {"sessionId": session_id, "prompt": prompt.params})
        except RpcError as refusal:
            data = refusal.data if isinstance(refusal.data, dict) else {}
            raise TurnFailed(refusal, self._report(CheckpointReport, data, CHECKPOINT_META)) from refusal
        return TurnEnd(text(answer, "stopReason"), self._report(CheckpointReport, answer, CHECKPOINT_META))

    async def cancel(self, session_id: str) -> None:
        """`session/cancel`; the running prompt then ends with `cancelled`."""
        try:
            await self._peer.notify("session/cancel", {"sessionId": session_id})
        except PeerGone:
            raise AgentDied(await self.ended()) from None

    def kill(self) -> None:
        """SIGKILL to the agent's process group, as an IDE does it."""
        self._process.kill_group()

    async def stop(self) -> Ending:
        """End the agent in good order and return how it ended; it may have ended before."""
        await self._process.stop()
        return await self.ended()

    async def ended(self) -> Ending:
        """Wait for the process to end; being cancelled here does not cancel the watch over the process."""
        return await asyncio.shield(self.ending)

    async def _call(self, method: str, params: JsonObject) -> JsonObject:
        try:
            return object_({"result": await self._peer.request(method, params)}, "result")
        except PeerGone:
            raise AgentDied(await self.ended()) from None

    async def _run(self) -> Ending:
        serving = asyncio.create_task(self._peer.serve())
        exiting = asyncio.create_task(self._process.exited())
        await asyncio.wait({serving, exiting}, return_when=asyncio.FIRST_COMPLETED)
        if exiting.done():
            await asyncio.wait({serving}, timeout=DRAIN_SECONDS)
        else:  # it closed its output, so nothing more can be asked of it
            await self._process.stop()
        ending = await self._process.ended()
        await serving
        return ending

    def _offers(self, capability: str) -> bool:
        return object_(self._can, "sessionCapabilities").get(capability) is not None

    def _report(self, model: type[_Report], answer: JsonObject, key: str) -> _Report | None:
        found = object_(answer, "_meta").get(key)
        if found is None:
            return None
        try:
            return model.model_validate(found)
        except ValidationError as fault:
            flaw = fault.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in flaw["loc"])
            self._listener.complained(
                f"The agent sent a report that cannot be read: {key} {place}: {flaw['msg']}."
            )
            return None


class _Inbox:
    """Turns the agent's own messages into calls of a `Listener`."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def notified(self, method: str, params: JsonObject) -> None:
        if method == "session/update":
            self._listener.updated(text(params, "sessionId"), object_(params, "update"))

    async def requested(self, method: str, params: JsonObject) -> JsonObject:
        if method == "elicitation/create":
            try:
                form = read_form(params)
            except FieldError as fault:
                raise RpcError(INVALID_PARAMS, f"The form cannot be read: {fault}.") from fault
            return await self._listener.given(form)
        if method != "session/request_permission":
            raise RpcError(METHOD_NOT_FOUND, f"This client does not offer {method}.")
        try:
            question = _question(params)
        except FieldError as fault:
            raise RpcError(INVALID_PARAMS, f"The permission request cannot be read: {fault}.") from fault
        option_id = await self._listener.asked(question)
        if option_id is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": option_id}}

    def garbled(self, line: str, fault: str) -> None:
        self._listener.complained(f"The agent sent a line that is not ACP ({fault}): {line[:200]}")


def _question(params: JsonObject) -> PermissionQuestion:
    call = object_(params, "toolCall")
    return PermissionQuestion(
        session_id=text(params, "sessionId"),
        call=read_tool_call(text(call, "toolCallId"), call),
        options=tuple(
            PermissionOption(text(option, "optionId"), text(option, "name"), text(option, "kind"))
            for option in objects(params, "options")
        ),
    )


def _listed(entry: JsonObject) -> ListedSession:
    said = object_(object_(entry, "_meta"), SESSION_META)
    return ListedSession(
        session_id=text(entry, "sessionId"),
        cwd=text(entry, "cwd"),
        title=text_or_none(entry, "title"),
        updated_at=text_or_none(entry, "updatedAt"),
        turns=integer_or_none(said, "turns"),
        outcome=text_or_none(said, "outcome"),
        reason=text_or_none(said, "reason"),
        held_by=_holder(object_(said, "openIn")),
    )


def _holder(open_in: JsonObject) -> str | None:
    """Who has a session open, in words."""
    if not open_in:
        return None
    client, pid = text_or_none(open_in, "client"), integer_or_none(open_in, "pid")
    return f"{client or 'another client'} (process {pid})"
