"""An agent that can be resumed: one stored session, its lease, its harness, and the turn that runs in it.

This is what the ACP server is built on, and what anybody can build on who uses the SDK; it needs no ACP. Whatever
is shown goes into the journal first and then to the audience, so that a process that is killed at any moment has
journalled what was seen. `save_trajectory` makes a turn durable, at any moment at which the agent is idle.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from acp_agent import prompts, shortening, showing
from acp_agent.antigravity import catching_up, loading, sdk_config, starting
from acp_agent.antigravity.harness import Harness
from acp_agent.antigravity.loading import ResumeRefused, Wishes
from acp_agent.antigravity.mcp_servers import ServerFailure
from acp_agent.antigravity.saving import Due, Saving
from acp_agent.antigravity.sdk_config import AgentConfig, Place
from acp_agent.antigravity.stage import Audience, Nobody, Stage
from acp_agent.logs import Event, say, scope
from acp_agent.prompts import Block
from acp_agent.steps import (
    HarnessDied,
    HarnessError,
    HarnessNotStarted,
    Limit,
    Part,
    Source,
    Step,
    Text,
)
from acp_agent.translate import Translator
from sessions import durable, events, timeline
from sessions.journal import INTERRUPTED, Journal, JournalError
from sessions.lease import Holder, Lease
from sessions.leftovers import HarnessStillRunning
from sessions.report import CheckpointReport, Outcome, Reason, ResumeReport
from sessions.session import Session, StoreDamaged, StoreRefused
from sessions.store import Store, new_session_id, now

log = logging.getLogger(__name__)

CANCEL_SECONDS = 1.0
"""How long a harness may take to halt a turn before it is killed and the turn counts as cut. With the closing that
makes less than the 2 s in which a cancelled prompt is answered."""

END_STARTED_SECONDS = 0.05
"""How long the closing of a session waits for a harness that it has just killed, before it looks again."""

StopReason = Literal["end_turn", "cancelled", "max_turn_requests", "max_tokens"]
"""How a turn ended, in the protocol's words; the last two if a limit of the configuration ended it."""

Result = TypeVar("Result")

_LIMITED: dict[Limit, StopReason] = {Limit.REQUESTS: "max_turn_requests", Limit.TOKENS: "max_tokens"}


class TurnInProgress(Exception):
    """The session already runs a turn."""


class CancelledBefore(Exception):
    """A turn was cancelled while its harness was still being opened, which goes on; nothing of it was begun."""


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended. `failure` is what the model or the harness failed with, None if they did not."""

    turn: int
    stop_reason: StopReason
    failure: HarnessError | None
    text: str


@dataclass(slots=True)
class _Turn:
    number: int
    translator: Translator
    last_text: str = ""


class ResumableAgent:
    """See the module. All methods belong to one event loop."""

    def __init__(
        self,
        session: Session,
        lease: Lease,
        config: AgentConfig,
        *,
        folders: Sequence[Path] = (),
        audience: Audience | None = None,
        wishes: Wishes | None = None,
        silence: float | None = None,
    ) -> None:
        self.session = session
        self.report: ResumeReport | None = None
        """How the session was last brought back; None before it was."""
        self.used_tokens: int | None = None
        """The tokens of the newest request to the model, prompt and answer; None if they are not known."""
        self.scope = scope.of(session.id)
        """Whom the log's lines are about; its turn is the one that runs, until whoever runs it says it is over."""
        self._lease = lease
        self._config = config
        self._folders = tuple(folders) or (Path(session.info.cwd),)
        self._audience = audience or Nobody()
        self._wishes = wishes or Wishes()
        self._silence = silence
        self._halted = False
        self._resting: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[Harness] | None = None
        self._closing = False
        self._journal = Journal(session)
        self._harness: Harness | None = None
        self._opened_with: AgentConfig | None = None
        self._saving = Saving(session, self._journal)
        self.stage = Stage(self._journal, self._audience)
        """What the running turn shows, and asks."""
        self._note = session.recall("note")
        self._turn: _Turn | None = None
        self._cancelled = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: AgentConfig,
        *,
        data_dir: Path,
        session_id: str | None = None,
        audience: Audience | None = None,
        wishes: Wishes | None = None,
    ) -> AsyncIterator[ResumableAgent]:
        """An agent with a new session, or with a stored one that has been brought back; closed at the end.

        Args:
            config: any configuration of the SDK with a harness on this machine. Where conversations are stored and
                which one is opened is set here; everything else is as it says.
            data_dir: the folder that holds the sessions.
            session_id: the stored session; None makes a new one.
            audience: who is shown what happens in the agent's turns.
            wishes: how a stored session is to be brought back.

        Raises:
            TypeError: the configuration has no harness on this machine.
            UnknownSession, StoreTooNew, StoreDamaged, StoreRefused: see `sessions.store`.
            SessionBusy: another process has it open.
            ResumeRefused, HarnessError, HarnessStillRunning: see `loading.bring_back`.
        """
        sdk_config.check(config)
        store = Store(data_dir)
        if session_id is None:
            session_id = new_session_id()
            store.create(session_id, cwd=config.workspaces[0] if config.workspaces else str(Path.cwd())).close()
        holder = Holder(pid=os.getpid(), client="acp_agent.antigravity", since=now())
        lease = Lease.acquire(store.folder(session_id), holder)
        try:
            session = store.open(session_id)
        except BaseException:
            lease.release()
            raise
        try:
            folders = [Path(folder) for folder in config.workspaces]
            agent = cls(session, lease, config, folders=folders, audience=audience, wishes=wishes)
            await agent.bring_back()
        except BaseException:
            session.close()
            lease.release()
            raise
        try:
            yield agent
        finally:
            await agent.close()

    @property
    def cancelled(self) -> asyncio.Event:
        """Set while, and after, the running turn is cancelled."""
        return self._cancelled

    @property
    def journal(self) -> Journal:
        """What was shown."""
        return self._journal

    async def bring_back(self) -> ResumeReport:
        """Open the harness with the session's conversation, as well as that can be done, and say how well.

        Raises what `loading.bring_back` raises.
        """
        began = time.perf_counter()
        await self.drop_harness()
        back = await loading.bring_back(
            self.session, self._journal, self._open_harness, folders=self._folders, wishes=self._wishes
        )
        again = self.report is not None
        self.report = back.report
        _say_brought_back(self.session.id, back.report, (time.perf_counter() - began) * 1000)
        self._note = self._note or self.session.recall("note")
        self._harness = back.harness
        self.used_tokens = await back.harness.used_tokens()
        self._saving.opened(back.harness.history, new_base=back.report.outcome is not Outcome.RESUMED)
        own, *others = (str(folder) for folder in self._folders)
        if (own, tuple(others)) != (self.session.info.cwd, self.session.info.additional_directories):
            self.try_to_store(lambda: self.session.update_folders(own, others))
        self._keep_note(back.note)
        if back.report.reason is not Reason.NEVER_PROMPTED:
            client = self._lease.holder.client
            told = events.loaded(back.report, client=client, again=again, note=back.note)
            self.try_to_store(lambda: self.session.record_outcome(back.report.outcome, back.report.reason, told))
        whole = back.report.reason is Reason.AHEAD
        if back.report.outcome is Outcome.RESUMED:
            turns = back.report.turns
            if whole or turns > self._journal.turn_count:
                history = await back.harness.history_with_details()
                catching_up.complete(self._journal, history, self._folders[0], turns=turns, whole=whole)
        if whole:
            # From now on it is checkpointed like any other turn.
            due = self._saving.due
            known = due is not None and due.turn == self._journal.head
            await self._saving.take(due if due and known else Due(self._journal.head, "end_turn"))
        elif back.report.outcome is not Outcome.RESUMED or _was_rolled_back(back.report):
            # What was lost has now been said and is in the note; it is not found anew at every load.
            self._journal.give_up_open_turn()
            if self._journal.head:
                await self._saving.take(Due(self._journal.head, INTERRUPTED))
            self._saving.due = None
        return back.report

    async def chat(self, text: str) -> TurnEnd:
        """Run a turn with a prompt of one text. Nothing of it is promised to be durable before `save_trajectory`.

        Raises what `run` raises.
        """
        block: Block = {"type": "text", "text": text}
        return await self.run([block], prompts.to_parts([block]))

    async def run(self, blocks: Sequence[Block], parts: tuple[Part, ...]) -> TurnEnd:
        """Run one turn until the harness is idle.

        Args:
            blocks: the prompt as it is journalled.
            parts: the prompt as the model gets it.

        Raises:
            TurnInProgress: a turn runs already; it is not disturbed.
            CancelledBefore: it was cancelled while the harness was being opened; nothing was begun.
            ResumeRefused, HarnessError, HarnessStillRunning: the harness could not be opened; nothing was begun.
        """
        if self._turn is not None:
            raise TurnInProgress
        self._cancelled = asyncio.Event()
        harness = await self._ready_harness()
        began = time.perf_counter()
        number = self._journal.begin_turn(prompts.excerpt(blocks))
        scope.enter(self.session.id)
        self.scope.turn = number
        media = len(prompts.media_types(blocks))
        say(log, Event.PROMPT_BEGAN, blocks=len(blocks), bytes=prompts.text_size(parts), media=media)
        turn = self._turn = _Turn(number, Translator(number, Path(self.session.info.cwd)))
        whole = False
        try:
            with self.stage.turn(turn.translator, self._cancelled):
                prompt = shortening.prompt(blocks)
                self._journal.append("user_message", showing.user_message(number), {"content": prompt})
                if isinstance(self._note, str):
                    parts = (Text(f"<acp-agent-note>\n{self._note}\n</acp-agent-note>\n"), *parts)
                failure = await self._stream(harness, turn, parts)
                cancelled = self._cancelled.is_set()
                if cancelled:
                    await harness.end_commands()
                    self._halted = True
                ending: Literal["ended", "cancelled", "failed"] = "ended"
                if cancelled or failure:
                    ending = "cancelled" if cancelled else "failed"
                await self.stage.show(turn.translator.finish(ending))
                whole = True
        finally:
            self._turn = None
            if not whole:
                say(log, Event.PROMPT_CUT)
        limit = harness.stopped_by if ending == "ended" else None
        stop_reason: StopReason = "cancelled" if cancelled else _LIMITED[limit] if limit else "end_turn"
        stop = "error" if ending == "failed" else stop_reason
        used = harness.usage
        self._journal.end_turn(number, stop, input_tokens=used.input_tokens, output_tokens=used.output_tokens)
        ms = (time.perf_counter() - began) * 1000
        if failure is not None and not cancelled:
            say(log, Event.PROMPT_FAILED, f"turn {number} failed: {failure}", error=type(failure).__name__, ms=ms)
        else:
            tokens = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
            say(log, Event.PROMPT_ENDED, stop_reason=stop, ms=ms, **tokens)
        self._saving.due = Due(number, stop, turn.last_text if ending == "ended" else "")
        return TurnEnd(number, stop_reason, failure, turn.last_text)

    async def save_trajectory(self) -> CheckpointReport:
        """Make everything up to the last turn durable, without closing anything. The agent must be idle.

        What is reported is true: `durable` is false, with the reason, if the disk refused or if the harness did
        not store what it showed. The next call tries again.
        """
        report = await self._saving.take(self._saving.due or Due(self._journal.head, "end_turn"))
        if self._halted and self._harness is not None:
            # One that was being started when the turn was cancelled may have begun to run only now.
            await self._harness.end_commands()
        self._halted = False
        if report.durable or not self._saving.not_stored:
            return report
        # Some harness may store more when it is closed in order. What is missing after that is lost to the model,
        # which is found out, made good as far as it can be, and told, as after any other loss.
        try:
            reopened = await self.bring_back()
        except (ResumeRefused, HarnessError, HarnessStillRunning, StoreDamaged, StoreRefused, OSError) as error:
            return report.model_copy(update={"reason": f"{report.reason} It could not be reopened: {error}"})
        if reopened.reason is Reason.AHEAD and self._saving.last is not None:
            return self._saving.last
        self._saving.due = None
        await self._audience.reopened(reopened)
        return report

    async def rewind(self, turn: int) -> ResumeReport:
        """Take the conversation back to the end of a turn, on whatever line; 0 is before the first.

        The turns that are left stay, and can be returned to. Files are as they are.

        Raises:
            TurnInProgress: a turn runs.
            NoSuchPoint, NotPreserved: see `sessions.timeline.restore`; the conversation is as it was.
            ResumeRefused, HarnessError, HarnessStillRunning, StoreDamaged, OSError: it could not be opened.
        """
        if self._turn is not None:
            raise TurnInProgress
        await self._settled()
        await self.drop_harness()
        await asyncio.to_thread(timeline.restore, self.session, self._journal, turn=turn)
        self._saving.due = None
        self._note = self.session.recall("note")
        say(log, Event.REWOUND, session=self.session.id, to=turn)
        return await self.bring_back()

    async def cancel(self) -> None:
        """Halt the running turn, or the one that is about to begin; it then ends with `cancelled`."""
        if self._cancelled.is_set():
            return
        self._cancelled.set()
        turn, harness = self._turn, self._harness
        if harness is None or turn is None:
            return
        # The stream ends when the harness is idle; a harness that does not get there is ended. The time runs from
        # now: one that reads nothing any more can hold up even the request to halt.
        asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._kill_if_stuck, turn, harness)
        await harness.cancel()

    def mcp_failures(self) -> list[ServerFailure]:
        """The MCP servers of the open harness that cannot be had."""
        return self._harness.mcp_failures() if self._harness is not None else []

    @property
    def awake(self) -> bool:
        """Whether it holds a harness, or opens one."""
        return self._harness is not None or self._opening is not None

    async def hibernate(self) -> bool:
        """Close the harness until the next turn, which opens one and verifies it; whether that could be done.

        It cannot while a turn runs, or while something is not durable yet that a closed harness could not give.
        (A command in the background is part of its turn: the harness is not idle before it ends, measured with
        0.1.22.)
        """
        if self._turn is not None or self._saving.due is not None:
            return False
        if self._resting is not None or self._opening is not None:
            return False
        self._resting = asyncio.ensure_future(self.drop_harness())
        try:
            await asyncio.shield(self._resting)
        finally:
            self._resting = None
        return True

    def reconfigure(self, config: AgentConfig) -> None:
        """Let the turns from the next one on run with another configuration; the harness is opened anew for it."""
        self._config = config

    async def drop_harness(self) -> None:
        """Close the harness in order; the next turn opens another."""
        harness, self._harness = self._harness, None
        if harness is not None:
            await harness.close()
            # The harness lets others read what it keeps beside its database (measured with 0.1.22).
            await asyncio.to_thread(durable.make_private, self.session.app_data_dir)
        self._saving.closed()

    async def close(self) -> None:
        """Cancel what runs, close the harness in order and give the session up to other processes."""
        self._cancelled.set()
        self._closing = True
        while (opening := self._opening) is not None:
            # Nobody wants it any more; one that is stuck would be waited for. It may end in the meantime.
            await asyncio.to_thread(starting.end_started, self.session.id)
            await asyncio.wait({opening}, timeout=END_STARTED_SECONDS)
        await self._settled()
        if self._saving.due is not None and self._harness is not None and self._turn is None:
            await self.save_trajectory()
        try:
            self._journal.flush()
        except JournalError as error:
            words = f"session {self.session.id}: what was shown last is lost: {error}"
            say(log, Event.JOURNAL_LOST, words, session=self.session.id)
        await self.drop_harness()
        self.session.close()
        self._lease.release()

    def try_to_store(self, store: Callable[[], None]) -> bool:
        """Store something that is worth less than the turn it belongs to; whether the disk took it."""
        try:
            store()
        except StoreRefused as refused:
            say(log, Event.STORE_REFUSED, str(refused))
            return False
        return True

    async def _stream(self, harness: Harness, turn: _Turn, parts: tuple[Part, ...]) -> HarnessError | None:
        if self._cancelled.is_set():
            return None
        try:
            async for step in harness.turn(parts, silence=self._silence, asking=lambda: self.stage.asking):
                self._note_step(turn, step)
                await self.stage.show(turn.translator.step(step))
                if step.used is not None and step.used != self.used_tokens:
                    self.used_tokens = step.used
                    await self._audience.used(step.used)
        except HarnessDied as died:
            say(
                log,
                Event.HARNESS_DIED,
                f"the harness ended during turn {turn.number}: {died}",
                error=type(died).__name__,
            )
            await self.drop_harness()
            return died
        except HarnessError as error:
            return error
        return None

    def _note_step(self, turn: _Turn, step: Step) -> None:
        if self._saving.saw(step) and self._note is not None:
            # It is stored as part of this prompt, so it has been delivered, whatever becomes of the turn.
            self._note = None
            self.try_to_store(lambda: self.session.remember("note", None))
        if step.source is Source.MODEL and step.tool is None and not step.error and not step.subagent:
            turn.last_text = step.content

    async def _ready_harness(self) -> Harness:
        """The open harness; one is opened if there is none, for as long as the turn is not cancelled."""
        if self._resting is None and self._opening is None and self._is_ready():
            assert self._harness is not None
            return self._harness
        await self._cancellable(self._settled())
        if self._cancelled.is_set():
            raise CancelledBefore
        opening = self._opening = asyncio.ensure_future(self._opened())
        opening.add_done_callback(self._is_opened)
        return await self._cancellable(opening)

    async def _cancellable(self, work: Awaitable[Result]) -> Result:
        """Wait for something that goes on even if the turn is cancelled; it then has `CANCEL_SECONDS` left."""
        working = asyncio.ensure_future(work)
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({working, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await asyncio.wait({working}, timeout=CANCEL_SECONDS)
        finally:
            cancelled.cancel()
        if not working.done():
            raise CancelledBefore
        return working.result()

    async def _settled(self) -> None:
        """Wait until no harness is being opened or given up; whether that went well is not said."""
        if going_on := {task for task in (self._resting, self._opening) if task is not None}:
            await asyncio.wait(going_on)

    async def _opened(self) -> Harness:
        if not self._is_ready():
            report = await self.bring_back()
            if report.reason is not Reason.NEVER_PROMPTED:
                await self._audience.reopened(report)
        assert self._harness is not None
        return self._harness

    def _is_opened(self, opening: asyncio.Task[Harness]) -> None:
        self._opening = None
        if not opening.cancelled() and (error := opening.exception()):
            words = f"session {self.session.id}: it was not opened: {error}"
            say(log, Event.OPENING_FAILED, words, session=self.session.id, error=type(error).__name__)

    def _is_ready(self) -> bool:
        return self._harness is not None and self._harness.alive and self._opened_with is self._config

    def _keep_note(self, note: str | None) -> None:
        if note is not None and not (isinstance(self._note, str) and note in self._note):
            # Stored until it is delivered: the process may be killed again before the next prompt.
            self._note = f"{self._note} {note}" if isinstance(self._note, str) else note
            self.try_to_store(lambda: self.session.remember("note", self._note))

    async def _open_harness(self, exists: bool, primer: str | None) -> Harness:
        if self._closing:
            raise HarnessNotStarted("The session is being closed.")
        self._opened_with = self._config
        place = Place(self.session.id, self.session.trajectory_dir, self.session.app_data_dir, primer)
        return await Harness.open(self._config, place, exists=exists)

    def _kill_if_stuck(self, turn: _Turn, harness: Harness) -> None:
        if self._turn is turn and self._harness is harness:
            harness.kill("halt")


def _say_brought_back(session_id: str, report: ResumeReport, ms: float) -> None:
    worse = report.turns_lost > 0 or report.outcome is not Outcome.RESUMED
    say(
        log,
        Event.BROUGHT_BACK,
        f"session {session_id}: {report.outcome.value}/{report.reason.value}, {report.summary}",
        logging.WARNING if worse else None,
        session=session_id,
        outcome=report.outcome.value,
        reason=report.reason.value,
        turns=report.turns,
        turns_in_context=report.turns_in_context,
        turns_lost=report.turns_lost,
        turns_primed=report.turns_primed,
        turns_summarised=report.turns_summarised,
        interrupted=report.interrupted.turn if report.interrupted else None,
        checkpoint=report.checkpoint.turn if report.checkpoint else None,
        failed_checks=",".join(check.name for check in report.checks if not check.ok) or None,
        orphans=len(report.orphans),
        moved_aside=report.moved_aside is not None,
        ms=ms,
    )


def _was_rolled_back(report: ResumeReport) -> bool:
    return report.interrupted is not None and report.interrupted.rolled_back
