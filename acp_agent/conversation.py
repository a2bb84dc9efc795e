"""One session that is open on this connection: between its agent and the client that watches it.

What the agent does is in `acp_agent.antigravity.resumable`. Here is what makes it a session of the protocol: one
prompt at a time, answered only after its checkpoint; permission questions; slash commands; words for the person
where something is not as it should be.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from acp_agent import commands, prompts, showing
from acp_agent.answering import Answering
from acp_agent.antigravity import CancelledBefore, ResumableAgent, ResumeRefused, TurnEnd, TurnInProgress, Wishes
from acp_agent.antigravity.harness import unsupported_media
from acp_agent.antigravity.mcp_servers import ServerFailure
from acp_agent.antigravity.sdk_config import AgentConfig, for_server
from acp_agent.asking import Asking, existing_text
from acp_agent.client_link import Client
from acp_agent.commands import BadCommand
from acp_agent.config import Announce
from acp_agent.logs import Event, ms_since, say
from acp_agent.model_access import ModelEndpoint
from acp_agent.obeying import Obeying
from acp_agent.options import Mode
from acp_agent.permissions import Verdict
from acp_agent.prompts import Block
from acp_agent.session_options import SessionOptions
from acp_agent.setup import Setup
from acp_agent.showing import CompactionShown, Shown, Told
from acp_agent.steps import (
    HarnessDied,
    HarnessError,
    KeyNotTaken,
    Part,
    PlanFirst,
    Question,
    QuestionAnswer,
    ToolUse,
)
from acp_agent.toolcalls import Json
from acp_agent.wire import requests
from sessions.lease import Lease
from sessions.leftovers import HarnessStillRunning
from sessions.report import Reason, ResumeReport
from sessions.session import Session, StoreDamaged, StoreRefused
from sessions.store import Store, now

log = logging.getLogger(__name__)


class PromptFailed(Exception):
    """The turn ended in an error; it was checkpointed all the same. `meta` says so, and how it was reopened."""

    def __init__(self, error: HarnessError, meta: Json) -> None:
        super().__init__(str(error))
        self.meta = meta
        self.key_refused = isinstance(error, KeyNotTaken)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: after how long idle the harness is given up, after how long silent a turn is; None is never."""

    hibernate: float | None = None
    silence: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How a prompt ended, and the `_meta` that says more: what was made durable, or what a command did."""

    stop_reason: str
    meta: Json


class Conversation:
    """See the module. All methods belong to one event loop."""

    def __init__(
        self,
        store: Store,
        session: Session,
        lease: Lease,
        client: Client,
        *,
        options: SessionOptions,
        setup: Setup,
        wishes: Wishes,
        patience: Patience,
        announce: Announce,
    ) -> None:
        self.session = session
        self.options = options
        self._client = client
        self._announce = announce
        self._setup = setup
        self._answering = Answering(session.id, client)
        self._asking = Asking(session, client, folders=setup.folders, mode=lambda: options.mode)
        self._agent = ResumableAgent(
            session,
            lease,
            self._config(),
            folders=setup.folders,
            audience=self,
            wishes=wishes,
            silence=patience.silence,
        )
        self._patience = patience
        self._rest: asyncio.TimerHandle | None = None
        self._resting: asyncio.Future[None] | None = None
        self._obeying = Obeying(
            store, self._agent, self._asking, mode=lambda: options.mode, set_mode=self._set_mode_and_tell
        )
        self._idle = asyncio.Event()
        self._idle.set()
        self._cancelling: asyncio.Future[None] | None = None
        self._telling: asyncio.Future[None] | None = None
        self._answers = count(1)
        self._told: set[ServerFailure] = set()

    @property
    def busy(self) -> bool:
        """Whether a turn runs."""
        return not self._idle.is_set()

    async def bring_back(self) -> ResumeReport:
        """Open the harness with the session's conversation, as well as that can be done, and say how well.

        Raises what `ResumableAgent.bring_back` raises.
        """
        report = await self._agent.bring_back()
        self._rest_later()
        return report

    async def replay(self) -> int:
        """Show the client everything that it was shown before, from the journal; how many updates that took.

        Raises:
            AgentError: the client does not want it any more.
        """
        request, sent = requests.current(), 0
        for entry in self._agent.journal.entries():
            request.stop_if_withdrawn()
            if entry.kind == "compaction" and not self._client.takes_compactions:
                continue
            for update in showing.replay(entry):
                await self._client.update(self.session.id, update)
                sent += 1
        return sent

    def say_opened(self, how: str, began: float, *, replayed: int | None = None) -> None:
        """Log that the session is open: in what way, and since when (`time.perf_counter`) it was being opened."""
        say(
            log,
            Event.SESSION_OPENED,
            session=self.session.id,
            how=how,
            mode=self.options.mode.value,
            model=self.options.endpoint.model,
            mcp_servers=len(self._setup.mcp_servers),
            folders=len(self._setup.folders),
            replayed=replayed,
            ms=ms_since(began),
        )

    async def opened(self) -> None:
        """Tell the client, after the answer that opened the session, what can be done in it."""
        # The list of models may come later than that, and must not come before it.
        self.options.models.when_known(self._models_known)
        update: Json = {"sessionUpdate": "available_commands_update", "availableCommands": [*commands.available()]}
        await self._client.update(self.session.id, update)
        await self._tell_usage(self._agent.used_tokens)

    def _models_known(self) -> None:
        self._telling = asyncio.ensure_future(self._tell_models())

    async def _tell_models(self) -> None:
        await self._tell_options()
        await self._tell_usage(self._agent.used_tokens)

    def use(self, access: ModelEndpoint) -> None:
        """Reach the model in this way from the next prompt on: credentials may have come, or others."""
        if self.options.use(access):
            self._agent.reconfigure(self._config())
            self.options.models.when_known(self._models_known)
            if self.options.models.models:
                self._models_known()

    async def set_mode(self, mode_id: str) -> None:
        """Be in another mode from now on, also in the middle of a turn.

        Raises:
            BadOption, StoreRefused: see `SessionOptions.set_mode`.
        """
        self.options.set_mode(mode_id)
        say(log, Event.MODE_CHANGED, mode=self.options.mode.value)
        self._asking.reconsider()
        await self._tell_options()

    async def _set_mode_and_tell(self, mode_id: str) -> None:
        await self.set_mode(mode_id)
        await self._tell_mode()

    async def set_option(self, config_id: str, value: str) -> None:
        """Set a config option. Another model answers from the next prompt on.

        Raises:
            BadOption, StoreRefused: see `SessionOptions.set`.
        """
        mode = self.options.mode
        if self.options.set(config_id, value):
            self._agent.reconfigure(self._config())
        say(log, Event.OPTION_CHANGED, option=config_id, value=value)
        if self.options.mode is not mode:
            self._asking.reconsider()
            await self._tell_mode()

    async def prompt(self, blocks: Sequence[Block]) -> Answer:
        """Run one turn and answer when it is durable; or do what a slash command says.

        Raises:
            TurnInProgress: a turn runs already; it is not disturbed.
            BadPrompt: the prompt cannot be sent; nothing was begun.
            PromptFailed: the model or the harness failed during the turn.
            ResumeRefused, HarnessError, HarnessStillRunning: the harness could not be opened; nothing was begun.
        """
        if self.busy:
            raise TurnInProgress
        unsupported = frozenset(filter(unsupported_media, prompts.media_types(blocks)))
        parts = prompts.to_parts(blocks, unsupported=unsupported)
        # Before the first await, so that no second prompt can slip in while the harness opens.
        self._idle.clear()
        self._stay_awake()
        try:
            try:
                command = commands.read(blocks)
            except BadCommand as bad:
                return await self._answer(str(bad), {})
            if command is not None:
                began = time.perf_counter()
                said = await self._obeying.obey(command)
                say(log, Event.COMMAND, command=command.name, ms=ms_since(began))
                return await self._answer(*said)
            if self.options.mode is Mode.PLAN:
                parts = (PlanFirst(), *parts)
            try:
                end = await self._agent.run(blocks, parts)
            except CancelledBefore:
                return Answer("cancelled", {})
            await self._tell_if_cut_short(parts)
            await self._tell_of_servers()
            meta = await self._save(end, prompts.excerpt(blocks))
        finally:
            self._agent.scope.turn = None
            self._idle.set()
            self._rest_later()
        if end.failure is not None and end.stop_reason != "cancelled":
            raise PromptFailed(end.failure, meta)
        return Answer(end.stop_reason, meta)

    async def cancel(self) -> None:
        """Halt the running turn, if there is one. Its prompt is then answered with `cancelled`."""
        if self.busy:
            say(log, Event.CANCEL_ASKED)
            await self._agent.cancel()

    def cancel_soon(self) -> None:
        """Do the same, from where nothing can be awaited."""
        self._cancelling = asyncio.ensure_future(self.cancel())

    async def wait_idle(self) -> None:
        """Wait until no turn runs. After `cancel` that takes at most a few seconds."""
        await self._idle.wait()

    def _rest_later(self) -> None:
        """Give the harness up when nothing has happened for long enough; a prompt opens it again."""
        self._stay_awake()
        if self._patience.hibernate is not None:
            loop = asyncio.get_running_loop()
            self._rest = loop.call_later(self._patience.hibernate, self._rest_now)

    def _stay_awake(self) -> None:
        if self._rest is not None:
            self._rest.cancel()

    def _rest_now(self) -> None:
        if not self.busy and self._agent.awake:
            self._resting = asyncio.ensure_future(self._hibernate())

    async def _hibernate(self) -> None:
        if await self._agent.hibernate():
            say(log, Event.HARNESS_HIBERNATED, session=self.session.id, idle=self._patience.hibernate)
        elif not self.busy:
            self._rest_later()

    async def close(self, how: str) -> None:
        """Cancel what runs, close the harness in order and give the session up to other processes.

        `how` says for the log why that is.
        """
        self._stay_awake()
        await self._agent.close()
        say(log, Event.SESSION_CLOSED, session=self.session.id, how=how)

    async def show(self, shown: Shown) -> None:
        """Part of `acp_agent.antigravity.Audience`."""
        match shown:
            case CompactionShown(words=words) if not self._client.takes_compactions:
                if words is not None:
                    await self._tell(words)
            case Told():
                await self._tell(shown)
            case _:
                for update in shown.updates():
                    await self._client.update(self.session.id, update)

    async def used(self, tokens: int) -> None:
        """Part of `acp_agent.antigravity.Audience`."""
        await self._tell_usage(tokens)

    async def reopened(self, report: ResumeReport) -> None:
        """Part of `acp_agent.antigravity.Audience`."""
        await self.announce(report)

    async def announce(self, report: ResumeReport) -> None:
        """Tell the person how the session was brought back, if they want it. Neither journalled nor replayed."""
        plain = (
            report.reason in (Reason.VERIFIED, Reason.NEVER_PROMPTED)
            and report.turns_lost == 0
            and report.cwd is None
            and all(check.ok for check in report.checks)
        )
        if self._announce is Announce.NEVER or (plain and self._announce is Announce.PROBLEMS):
            return
        severity = "info" if report.turns_lost == 0 else "warning"
        title = f"Session {report.outcome.value}"
        meta: Json = {"acp-agent/resume": report.wire()}
        await self._client.tell(self.session.id, severity, title, report.summary, meta)

    async def _tell(self, told: Told) -> None:
        await self._client.tell(self.session.id, told.severity, told.title, told.text, told.meta)

    async def _tell_usage(self, tokens: int | None) -> None:
        """Say how much of the model's context is in use. Without a known size nothing is said: it is required."""
        size = self.options.model.window
        if tokens is not None and size is not None:
            update: Json = {"sessionUpdate": "usage_update", "used": tokens, "size": size}
            await self._client.update(self.session.id, update)

    async def _tell_options(self) -> None:
        update: Json = {"sessionUpdate": "config_option_update", "configOptions": self.options.config_options()}
        await self._client.update(self.session.id, update)

    async def _tell_mode(self) -> None:
        update: Json = {"sessionUpdate": "current_mode_update", "currentModeId": self.options.mode.value}
        await self._client.update(self.session.id, update)

    async def _answer(self, text: str, meta: Json) -> Answer:
        """Answer a command. It is not part of the conversation: not journalled, not replayed."""
        update: Json = {
            "sessionUpdate": "agent_message_chunk",
            "messageId": f"command-{next(self._answers)}",
            "content": {"type": "text", "text": text},
            "_meta": {"acp-agent/command": True},
        }
        await self._client.update(self.session.id, update)
        return Answer("end_turn", meta)

    async def _save(self, end: TurnEnd, title: str) -> Json:
        """Make a turn durable, as far as that can be done; what `_meta` says of it."""
        report = await self._agent.save_trajectory()
        meta: Json = {"acp-agent/checkpoint": report.wire()}
        died = isinstance(end.failure, HarnessDied)
        if end.failure is not None and not died:
            # A harness that failed a turn may close its connection a moment later (measured with 0.1.22).
            await self._agent.drop_harness()
        if self.session.info.title is None and self._agent.try_to_store(lambda: self.session.set_title(title)):
            update: Json = {"sessionUpdate": "session_info_update", "title": title, "updatedAt": now()}
            await self._client.update(self.session.id, update)
        if died and end.stop_reason != "cancelled":
            # What is kept of the turn is known, and told, only when it is opened again.
            return {**meta, **await self._reopen()}
        if not report.durable and not died:
            await self._client.tell(
                self.session.id,
                "warning",
                "This turn is not saved",
                f"{report.reason} If the agent is stopped now, this turn may be lost. The next turn tries again.",
                {"acp-agent/checkpoint": report.wire()},
            )
        return meta

    async def _reopen(self) -> Json:
        try:
            report = await self._agent.bring_back()
        except (ResumeRefused, HarnessError, HarnessStillRunning, StoreDamaged, StoreRefused, OSError) as error:
            text = f"The harness ended and could not be opened again: {error} The next prompt tries once more."
            await self._client.tell(
                self.session.id, "error", "The harness ended", text, {"acp-agent/harness": "ended"}
            )
            return {}
        await self.announce(report)
        return {"acp-agent/resume": report.wire()}

    async def _tell_of_servers(self) -> None:
        for failure in self._agent.mcp_failures():
            if failure not in self._told:
                self._told.add(failure)
                say(log, Event.MCP_FAILED, f"An MCP server failed: {failure.name}", server=failure.name)
                text = (
                    f"The MCP server {failure.name} cannot be used: {failure.why}. The session goes on without it."
                )
                meta: Json = {"acp-agent/mcp": {"server": failure.name, "why": failure.why}}
                await self._client.tell(self.session.id, "warning", "An MCP server failed", text, meta)

    async def _tell_if_cut_short(self, parts: tuple[Part, ...]) -> None:
        size = prompts.text_size(parts)
        if size > prompts.PASSED_ON:
            await self._client.tell(
                self.session.id,
                "warning",
                "This prompt is cut short",
                f"Its text has {size:,} bytes; the harness passes on about {prompts.PASSED_ON:,} to the model.",
                {"acp-agent/prompt": {"bytes": size, "passedOn": prompts.PASSED_ON}},
            )

    async def forbids(self, tool: ToolUse) -> bool:
        """Part of `acp_agent.antigravity.sdk_config.Guard`."""
        if self.options.mode is not Mode.PLAN or self._asking.verdict(tool) is not Verdict.REFUSE:
            return False
        shown = await self._agent.stage.question(tool, await asyncio.to_thread(existing_text, tool))
        if shown is not None:
            say(log, Event.PERMISSION_DENIED, tool=tool.name, by="mode")
            await self._agent.stage.refused(shown, "Refused: the session is in plan mode, which is read-only.")
        return True

    async def allows(self, tool: ToolUse) -> bool:
        """Part of `acp_agent.antigravity.sdk_config.Guard`."""
        shown = await self._agent.stage.question(tool, await asyncio.to_thread(existing_text, tool))
        if shown is None:
            return False
        verdict = self._asking.verdict(tool)
        words = "Rejected: permission was not given."
        if verdict is Verdict.ASK:
            tool_call: Json = {"toolCallId": shown.key, **shown.payload}
            with self._agent.stage.waiting_for_user():
                allowed = await self._asking.ask(tool, tool_call, self._agent.cancelled)
        else:
            allowed = verdict is Verdict.ALLOW
            if not allowed:
                say(log, Event.PERMISSION_DENIED, tool=tool.name, by="rule")
            words = "Refused: you have always rejected this in this session; /permissions takes that back."
        if not allowed:
            await self._agent.stage.refused(shown, words)
        return allowed

    async def answers(self, questions: Sequence[Question]) -> Sequence[QuestionAnswer]:
        """Part of `acp_agent.antigravity.sdk_config.Guard`."""
        shown = await self._agent.stage.asks(questions)
        if shown is None:
            return [QuestionAnswer() for _ in questions]
        tool_call: Json = {"toolCallId": shown.key, **shown.payload}
        with self._agent.stage.waiting_for_user():
            found = await self._answering.answers(questions, tool_call, self._agent.cancelled)
        await self._agent.stage.answered(shown, questions, found)
        return found

    def _config(self) -> AgentConfig:
        setup = self._setup
        return for_server(
            self.options.endpoint, workspaces=setup.folders, mcp_servers=setup.mcp_servers, guard=self
        )
