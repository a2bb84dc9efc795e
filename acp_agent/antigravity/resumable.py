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
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acp_agent import prompts, shortening, showing
from acp_agent.antigravity import catching_up, loading, sdk_config
from acp_agent.antigravity.harness import Harness
from acp_agent.antigravity.keeping import CANCEL_SECONDS, HarnessKeeper
from acp_agent.antigravity.loading import ResumeRefused, Wishes
from acp_agent.antigravity.mcp_servers import ServerFailure
from acp_agent.antigravity.saving import Due, Saving
from acp_agent.antigravity.sdk_config import AgentConfig
from acp_agent.antigravity.stage import Audience, Nobody, Stage
from acp_agent.logs import Event, ms_since, say, scope
from acp_agent.prompts import Block
from acp_agent.steps import (
    HarnessDied,
    HarnessError,
    Limit,
    Part,
    Source,
    Step,
    Text,
)
from acp_agent.translate import Translator
from sessions import events, timeline
from sessions.journal import INTERRUPTED, Journal, JournalError
from sessions.lease import Holder, Lease
from sessions.leftovers import HarnessStillRunning
from sessions.report import CheckpointReport, Outcome, Reason, ResumeReport
from sessions.session import Session, StoreDamaged, StoreRefused
from sessions.store import Store, new_session_id, now

log = logging.getLogger(__name__)

StopReason = Literal["end_turn", "cancelled", "max_turn_requests", "max_tokens"]
"""How a turn ended, in the protocol's words; the last two if a limit of the configuration ended it."""

_LIMITED: dict[Limit, StopReason] = {Limit.REQUESTS: "max_turn_requests", Limit.TOKENS: "max_tokens"}


class TurnInProgress(Exception):
    """The session already runs a turn."""


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
        self._folders = tuple(folders) or (Path(session.info.cwd),)
        self._audience = audience or Nobody()
        self._wishes = wishes or Wishes()
        self._silence = silence
        self._halted = False
        self._journal = Journal(session)
        self._saving = Saving(session, self._journal)
        self._keeper = HarnessKeeper(
            session, config, bring_back=self._bring_back_and_tell, on_dropped=self._saving.closed
        )
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
        await self.drop_harness()
        back = await loading.bring_back(
            self.session, self._journal, self._keeper.open, folders=self._folders, wishes=self._wishes
        )
        again = self.report is not None
        self.report = back.report
        self._note = self._note or self.session.recall("note")
        self._keeper.hold(back.harness)
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
        harness = await self._keeper.ready(self._cancelled)
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
        ms = ms_since(began)
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
        if self._halted and (harness := self._keeper.harness) is not None:
            # One that was being started when the turn was cancelled may have begun to run only now.
            await harness.end_commands()
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
        await self._keeper.settled()
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
        turn, harness = self._turn, self._keeper.harness
        if harness is None or turn is None:
            return
        # The stream ends when the harness is idle; a harness that does not get there is ended. The time runs from
        # now: one that reads nothing any more can hold up even the request to halt.
        asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._kill_if_stuck, turn, harness)
        await harness.cancel()

    def mcp_failures(self) -> list[ServerFailure]:
        """The MCP servers of the open harness that cannot be had."""
        harness = self._keeper.harness
        return harness.mcp_failures() if harness is not None else []

    @property
    def awake(self) -> bool:
        """Whether it holds a harness, or opens one."""
        return self._keeper.awake

    async def hibernate(self) -> bool:
        """Close the harness until the next turn, which opens one and verifies it; whether that could be done.

        It cannot while a turn runs, or while something is not durable yet that a closed harness could not give.
        (A command in the background is part of its turn: the harness is not idle before it ends, measured with
        0.1.22.)
        """
        if self._turn is not None or self._saving.due is not None:
            return False
        return await self._keeper.rest()

    def reconfigure(self, config: AgentConfig) -> None:
        """Let the turns from the next one on run with another configuration; the harness is opened anew for it."""
        self._keeper.reconfigure(config)

    async def drop_harness(self) -> None:
        """Close the harness in order; the next turn opens another."""
        await self._keeper.drop()

    async def close(self) -> None:
        """Cancel what runs, close the harness in order and give the session up to other processes."""
        self._cancelled.set()
        await self._keeper.open_no_more()
        if self._saving.due is not None and self._keeper.harness is not None and self._turn is None:
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

    async def _bring_back_and_tell(self) -> None:
        report = await self.bring_back()
        if report.reason is not Reason.NEVER_PROMPTED:
            await self._audience.reopened(report)

    def _keep_note(self, note: str | None) -> None:
        if note is not None and not (isinstance(self._note, str) and note in self._note):
            # Stored until it is delivered: the process may be killed again before the next prompt.
            self._note = f"{self._note} {note}" if isinstance(self._note, str) else note
            self.try_to_store(lambda: self.session.remember("note", self._note))

    def _kill_if_stuck(self, turn: _Turn, harness: Harness) -> None:
        if self._turn is turn and self._keeper.harness is harness:
            harness.kill("halt")


def _was_rolled_back(report: ResumeReport) -> bool:
    return report.interrupted is not None and report.interrupted.rolled_back
