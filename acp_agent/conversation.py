"""One session that is open in this process: its store, its lease, its harness and the turn that runs in it.

Everything that is shown goes through `_show`: into the journal first, then to the client, so that a process that
is killed at any moment has journalled what the client saw. A prompt is answered only after its checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acp_agent import loading, prompts, translate
from acp_agent.antigravity import Harness, HarnessConfig, unsupported_media
from acp_agent.asking import Asking, existing_text
from acp_agent.client_link import Client
from acp_agent.config import Announce
from acp_agent.loading import BroughtBack
from acp_agent.prompts import Block
from acp_agent.steps import Endpoint, HarnessDied, HarnessError, McpServer, Part, Source, Step, Text, ToolUse
from acp_agent.toolcalls import Json
from acp_agent.translate import MessageShown, Shown, ToolShown, Translator
from sessions import checkpoint
from sessions.checkpoint import CheckpointError, Streamed
from sessions.journal import Journal, JournalError
from sessions.lease import Lease
from sessions.report import CheckpointReport, Outcome, Reason, ResumeReport
from sessions.session import Session, StoreRefused
from sessions.store import now

log = logging.getLogger(__name__)

CANCEL_SECONDS = 3.0
"""How long a harness may take to halt a turn before it is killed and the turn counts as cut."""

RESULTS = ("status", "content", "rawOutput", "locations")
"""The fields of a tool call that its end changes."""

StopReason = Literal["end_turn", "cancelled"]


class TurnInProgress(Exception):
    """The session already runs a turn."""


class PromptFailed(Exception):
    """The turn ended in an error; it was checkpointed all the same."""

    def __init__(self, error: HarnessError, report: CheckpointReport) -> None:
        super().__init__(str(error))
        self.error = error
        self.report = report


@dataclass(frozen=True, slots=True)
class Answer:
    """How a prompt ended, and what was made durable of it."""

    stop_reason: StopReason
    checkpoint: CheckpointReport


@dataclass(slots=True)
class _Turn:
    number: int
    translator: Translator
    cancelled: asyncio.Event
    last_text: str = ""
    reached_the_model: bool = False


@dataclass(frozen=True, slots=True)
class _Due:
    """A checkpoint that is due: after which turn, how it ended, and the text that must be in it."""

    turn: int
    stop_reason: str
    last_text: str


class Conversation:
    """See the module. All methods belong to one event loop."""

    def __init__(
        self,
        session: Session,
        lease: Lease,
        client: Client,
        *,
        endpoint: Endpoint,
        workspaces: Sequence[Path],
        mcp_servers: Sequence[McpServer],
        require: Outcome | None,
        announce: Announce,
    ) -> None:
        self.session = session
        self._lease = lease
        self._client = client
        self._endpoint = endpoint
        self._workspaces = tuple(workspaces)
        self._mcp_servers = tuple(mcp_servers)
        self._require = require
        self._announce = announce
        self._journal = Journal(session)
        self._asking = Asking(session, client)
        self._harness: Harness | None = None
        self._seen_steps: set[int] = set()
        self._user_steps = 0
        self._note = session.recall("note")
        self._turn: _Turn | None = None
        self._due: _Due | None = None
        self._cancelled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._order = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a turn runs."""
        return not self._idle.is_set()

    async def bring_back(self) -> ResumeReport:
        """Open the harness with the session's conversation, as well as that can be done, and say how well.

        Raises what `loading.bring_back` raises.
        """
        await self._drop_harness()
        back = await loading.bring_back(self.session, self._journal, self._open_harness, require=self._require)
        self._take_over(back)
        if back.report.reason is not Reason.NEVER_PROMPTED:
            self._try_to_store(lambda: self.session.record_outcome(back.report.outcome, back.report.reason))
        if back.report.reason is Reason.AHEAD:
            # The turn is whole: it is shown whole, and from now on checkpointed like any other.
            turn = self._journal.open_turn
            if turn is not None:
                self._catch_up(turn, back.harness)
            await self._checkpoint(_Due(turn or back.report.turns, "end_turn", ""))
        elif back.report.outcome is not Outcome.RESUMED:
            # What was lost has now been said and is in the note; it is not found anew at every load.
            self._journal.give_up_open_turn()
        return back.report

    async def replay(self) -> None:
        """Show the client everything that it was shown before, from the journal."""
        for entry in self._journal.entries():
            for update in translate.replay(entry):
                await self._client.update(self.session.id, update)

    async def prompt(self, blocks: Sequence[Block]) -> Answer:
        """Run one turn and answer when it is durable.

        Raises:
            TurnInProgress: a turn runs already; it is not disturbed.
            BadPrompt: the prompt cannot be sent; nothing was begun.
            PromptFailed: the model or the harness failed during the turn.
            HarnessError: the harness could not be opened; nothing was begun.
        """
        if self.busy:
            raise TurnInProgress
        unsupported = frozenset(filter(unsupported_media, prompts.media_types(blocks)))
        parts = prompts.to_parts(blocks, unsupported=unsupported)
        # Before the first await, so that no second prompt can slip in while the harness opens.
        self._idle.clear()
        self._cancelled = asyncio.Event()
        try:
            harness = await self._ready_harness()
            excerpt = prompts.excerpt(blocks)
            number = self._journal.begin_turn(excerpt)
            turn = _Turn(number, Translator(number, Path(self.session.info.cwd)), self._cancelled)
            self._turn = turn
            self._journal.append("user_message", translate.user_message(number), {"content": list(blocks)})
            await self._tell_if_cut_short(parts)
            if isinstance(self._note, str):
                parts = (Text(f"<acp-agent-note>\n{self._note}\n</acp-agent-note>\n"), *parts)
            began = time.time()
            failure = await self._run(harness, turn, parts)
            if turn.cancelled.is_set():
                harness.end_commands(since=began)
            report = await self._end(turn, failure, excerpt)
            if failure is not None:
                # A harness that failed a turn may close its connection a moment later (measured with 0.1.22).
                await self._drop_harness()
        finally:
            self._turn = None
            self._idle.set()
        if failure is not None and not turn.cancelled.is_set():
            raise PromptFailed(failure, report)
        return Answer("cancelled" if turn.cancelled.is_set() else "end_turn", report)

    async def cancel(self) -> None:
        """Halt the running turn, if there is one. Its prompt is then answered with `cancelled`."""
        turn, harness = self._turn, self._harness
        if not self.busy or self._cancelled.is_set():
            return
        self._cancelled.set()
        if harness is None or turn is None:
            return
        await harness.cancel()
        # The stream ends when the harness is idle; a harness that does not get there is ended.
        loop = asyncio.get_running_loop()
        loop.call_later(CANCEL_SECONDS, self._kill_if_stuck, turn, harness)

    async def wait_idle(self) -> None:
        """Wait until no turn runs. After `cancel` that takes at most a few seconds."""
        await self._idle.wait()

    async def close(self) -> None:
        """Cancel what runs, close the harness in order and give the session up to other processes."""
        self._cancelled.set()
        if self._due is not None and self._harness is not None and not self.busy:
            await self._checkpoint(self._due)
        try:
            self._journal.flush()
        except JournalError as error:
            log.error("session %s: what was shown last is lost: %s", self.session.id, error)
        await self._drop_harness()
        self.session.close()
        self._lease.release()

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

    async def _run(self, harness: Harness, turn: _Turn, parts: tuple[Part, ...]) -> HarnessError | None:
        if turn.cancelled.is_set():
            return None
        try:
            async for step in harness.turn(parts):
                if not step.subagent:
                    self._note_step(turn, step)
                await self._show(turn.translator.step(step))
        except HarnessDied as died:
            await self._drop_harness()
            return died
        except HarnessError as error:
            return error
        return None

    def _note_step(self, turn: _Turn, step: Step) -> None:
        if step.source is Source.USER and step.index not in self._seen_steps:
            self._user_steps += 1
            if self._note is not None:
                # It is stored as part of this prompt, so it has been delivered, whatever becomes of the turn.
                self._note = None
                self._try_to_store(lambda: self.session.remember("note", None))
        self._seen_steps.add(step.index)
        if step.source is Source.MODEL and step.tool is None and not step.error:
            turn.last_text = step.content

    async def _end(self, turn: _Turn, failure: HarnessError | None, excerpt: str) -> CheckpointReport:
        cancelled = turn.cancelled.is_set()
        await self._show(turn.translator.finish("cancelled" if cancelled else "failed" if failure else "ended"))
        stop = "cancelled" if cancelled else "error" if failure else "end_turn"
        last_text = "" if failure or cancelled else turn.last_text
        report = await self._checkpoint(_Due(turn.number, stop, last_text))
        if self.session.info.title is None and self._try_to_store(lambda: self.session.set_title(excerpt)):
            update: Json = {"sessionUpdate": "session_info_update", "title": excerpt, "updatedAt": now()}
            await self._client.update(self.session.id, update)
        if not report.durable:
            await self._client.tell(
                self.session.id,
                "warning",
                "This turn is not saved",
                f"{report.reason} If the agent is stopped now, this turn may be lost. The next turn tries again.",
                {"acp-agent/checkpoint": report.wire()},
            )
        return report

    async def _checkpoint(self, wanted: _Due) -> CheckpointReport:
        began = time.perf_counter()
        streamed = Streamed(visible=len(self._seen_steps), user_turns=self._user_steps, last_text=wanted.last_text)
        self._due = wanted
        try:
            if self._harness is None:
                raise CheckpointError("The harness ended during the turn, so what it stored is not known yet.")
            stored = await asyncio.to_thread(
                checkpoint.take,
                self.session,
                self._journal,
                turn=wanted.turn,
                stop_reason=wanted.stop_reason,
                streamed=streamed,
            )
        except CheckpointError as error:
            log.warning("session %s: turn %d is not durable: %s", self.session.id, wanted.turn, error)
            elapsed = (time.perf_counter() - began) * 1000
            return CheckpointReport(
                turn=wanted.turn,
                steps=len(self._seen_steps),
                at=now(),
                durable=False,
                ms=round(elapsed, 1),
                reason=str(error),
            )
        self._due = None
        elapsed = (time.perf_counter() - began) * 1000
        return CheckpointReport(
            turn=stored.turn, steps=stored.steps, at=stored.at, durable=True, ms=round(elapsed, 1)
        )

    async def _show(self, shown: Sequence[Shown]) -> None:
        async with self._order:  # a permission question is shown by another task than the turn
            for item in shown:
                if isinstance(item, MessageShown):
                    self._journal.stream(item.kind, item.key, item.delta)
                else:
                    self._journal.put("tool_call", item.key, item.payload)
                await self._client.update(self.session.id, item.update())

    async def _ask(self, tool: ToolUse) -> bool:
        turn = self._turn
        if turn is None or turn.cancelled.is_set():
            return False
        shown = turn.translator.question(tool, await asyncio.to_thread(existing_text, tool))
        await self._show([shown])
        tool_call: Json = {"toolCallId": shown.key, **shown.payload}
        allowed = await self._asking.allowed(tool, tool_call, turn.cancelled)
        if not allowed:
            await self._show([turn.translator.refused(shown.key)])
        return allowed

    async def _ready_harness(self) -> Harness:
        if self._harness is not None and self._harness.alive:
            return self._harness
        report = await self.bring_back()
        if report.reason is not Reason.NEVER_PROMPTED:
            await self.announce(report)
        assert self._harness is not None
        return self._harness

    async def announce(self, report: ResumeReport) -> None:
        """Tell the person how the session was brought back, if they want it. Neither journalled nor replayed."""
        plain = report.reason in (Reason.VERIFIED, Reason.NEVER_PROMPTED) and report.turns_lost == 0
        if self._announce is Announce.NEVER or (plain and self._announce is Announce.PROBLEMS):
            return
        severity = "info" if report.turns_lost == 0 else "warning"
        title = f"Session {report.outcome.value}"
        meta: Json = {"acp-agent/resume": report.wire()}
        await self._client.tell(self.session.id, severity, title, report.summary, meta)

    def _take_over(self, back: BroughtBack) -> None:
        self._harness = back.harness
        self._seen_steps = {step.index for step in back.harness.history}
        self._user_steps = sum(step.source is Source.USER for step in back.harness.history)
        note = back.note
        if note is not None and not (isinstance(self._note, str) and note in self._note):
            # Stored until it is delivered: the process may be killed again before the next prompt.
            self._note = f"{self._note} {note}" if isinstance(self._note, str) else note
            self._try_to_store(lambda: self.session.remember("note", self._note))

    def _catch_up(self, number: int, harness: Harness) -> None:
        """Complete the journal with what the harness finished after the client was last told of it."""
        steps = harness.history
        begun = max(place for place, step in enumerate(steps) if step.source is Source.USER)
        translator = Translator(number, Path(self.session.info.cwd))
        shown = [item for step in steps[begun + 1 :] for item in translator.step(step)]
        known = {entry.key: entry for entry in self._journal.entries() if entry.turn == number}
        for item in [*shown, *translator.finish("ended")]:
            entry = known.get(item.key)
            if isinstance(item, ToolShown):
                results = {key: item.payload[key] for key in RESULTS if key in item.payload}
                self._journal.put(
                    "tool_call", item.key, {**item.payload, **(entry.payload if entry else {}), **results}
                )
            elif entry is None:
                self._journal.append(item.kind, item.key, {}, item.delta)
            elif item.delta != entry.text and item.delta.startswith(entry.text):
                self._journal.stream(item.kind, item.key, item.delta[len(entry.text) :])

    def _try_to_store(self, store: Callable[[], None]) -> bool:
        """Store something that is worth less than the turn it belongs to; whether the disk took it."""
        try:
            store()
        except StoreRefused as refused:
            log.warning("%s", refused)
            return False
        return True

    async def _open_harness(self, resume: bool) -> Harness:
        return await Harness.open(
            HarnessConfig(
                endpoint=self._endpoint,
                conversation_id=self.session.id,
                save_dir=self.session.trajectory_dir,
                app_data_dir=self.session.app_data_dir,
                workspaces=self._workspaces,
                ask=self._ask,
                resume=resume,
                mcp_servers=self._mcp_servers,
            )
        )

    async def _drop_harness(self) -> None:
        harness, self._harness = self._harness, None
        if harness is not None:
            await harness.close()

    def _kill_if_stuck(self, turn: _Turn, harness: Harness) -> None:
        if self._turn is turn and self._harness is harness:
            log.warning("session %s: the harness did not halt; it is ended", self.session.id)
            harness.kill()
