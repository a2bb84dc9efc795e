"""Brings a session back: evidence, decision, restore, open, verify, and the next rung if the verification fails.

Everything that is decided is decided in `sessions.resume`; this module carries plans out. Until a plan is carried
out nothing on disk changes, and a load that comes to nothing is undone: what was there is there again.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acp_agent.antigravity.harness import Harness
from acp_agent.logs import Event, ms_since, say
from acp_agent.steps import HarnessError, HarnessNotStarted, HarnessRefused, Source
from sessions import aftermath, checkpoint, evidence, leftovers, narrative, resume, timeline, trim, workspace
from sessions.aftermath import Aftermath
from sessions.checkpoint import CheckpointUnusable
from sessions.durable import sync_folder
from sessions.journal import Journal
from sessions.primer import Transcript
from sessions.report import (
    Check,
    CheckpointRef,
    Interrupted,
    Orphan,
    Outcome,
    Reason,
    ResumeReport,
    folder_change,
)
from sessions.resume import Action, Evidence, OnInterrupted, OnLeftovers, Plan
from sessions.session import Session, StoreRefused

log = logging.getLogger(__name__)

OpenHarness = Callable[[bool, str | None], Awaitable[Harness]]
"""Opens the session's conversation in a new harness: whether it must exist already, and what it is primed with."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a session is to be brought back.

    `require` refuses what is lower on the ladder; the others say what becomes of the beginning of a turn that was
    cut, and of the commands that it left running.
    """

    require: Outcome | None = None
    on_interrupted: OnInterrupted = OnInterrupted.KEEP
    on_leftovers: OnLeftovers = OnLeftovers.END


class ResumeRefused(Exception):
    """The best that can be done is lower on the ladder than what was required."""

    def __init__(self, plan: Plan, required: Outcome, detail: str) -> None:
        super().__init__(f"{narrative.summary(plan)} {detail}".strip())
        self.plan = plan
        self.required = required


@dataclass(frozen=True, slots=True)
class BroughtBack:
    """An open and verified harness, the report about it, and what the model must be told with the next prompt."""

    harness: Harness
    report: ResumeReport
    note: str | None


async def bring_back(
    session: Session, journal: Journal, open_harness: OpenHarness, *, folders: Sequence[Path], wishes: Wishes
) -> BroughtBack:
    """Open the session's conversation as well as it can be opened, to work in these folders.

    The lease must be held. A restore of an earlier turn that was cut is finished first: it was decided already.

    Raises:
        ResumeRefused: the outcome would be lower than what is required.
        HarnessRefused: the harness opens nothing, not even an empty conversation.
        HarnessNotStarted: the harness cannot be started; the files are as they were.
        HarnessStillRunning: an older harness of this session cannot be ended.
        StoreDamaged, StoreRefused, JournalError, OSError: the disk refuses.
    """
    began = time.perf_counter()
    left = await asyncio.to_thread(leftovers.settle, session.id)
    await asyncio.to_thread(timeline.finish_interrupted, session, journal)
    found = await asyncio.to_thread(evidence.gather, session, journal)
    load = _Load(
        session,
        journal,
        open_harness,
        tuple(folders),
        # Now: the harness makes a folder that is not there (measured with 0.1.22).
        await asyncio.to_thread(folders[0].is_dir),
        wishes,
        primer=session.primer_id,
        left=bool(left),
        checks=_first_checks(found),
    )
    try:
        harness, plan = await load.climb_down(found)
    except (ResumeRefused, HarnessError, StoreRefused, OSError):
        await asyncio.to_thread(load.put_back)
        raise
    try:
        report, note = await asyncio.to_thread(load.report, plan, harness.pid)
    except BaseException:
        await harness.close()
        raise
    _say(session.id, report, ms_since(began))
    return BroughtBack(harness, report, note)


def _say(session_id: str, report: ResumeReport, ms: float) -> None:
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


@dataclass(slots=True)
class _Load:
    """One load. `primer` is the one that was there, `left` whether the session's processes were left behind.

    `moved` are the folders that files were moved to, in order, and `placed` says that others took their place.
    """

    session: Session
    journal: Journal
    open_harness: OpenHarness
    folders: tuple[Path, ...]
    folder_exists: bool
    wishes: Wishes
    primer: int | None
    left: bool
    checks: list[Check]
    moved: list[Path] = field(default_factory=list)
    placed: bool = False

    async def climb_down(self, found: Evidence) -> tuple[Harness, Plan]:
        """Take one rung after the other until one holds."""
        on_interrupted, require = self.wishes.on_interrupted, self.wishes.require
        while True:
            found = await asyncio.to_thread(evidence.with_transcript, found, self.journal, on_interrupted)
            plan = resume.decide(found, on_interrupted)
            if require is not None and plan.outcome.rung > require.rung:
                raise ResumeRefused(plan, require, found.detail)
            try:
                await asyncio.to_thread(self._prepare, plan)
            except CheckpointUnusable as unusable:
                assert plan.checkpoint is not None
                self._failed(f"checkpoint {plan.checkpoint.turn}", unusable.detail)
                found = resume.checkpoint_unusable(found, plan.checkpoint.seq, unusable.detail)
                continue
            transcript: Transcript | None = None
            if plan.action is Action.REBUILD:
                transcript = await asyncio.to_thread(evidence.transcript, found, self.journal, on_interrupted)
            harness, refusal = await self._open(plan, transcript)
            if harness is not None:
                return harness, plan
            self._failed("harness", refusal)
            if plan.action is Action.CREATE:
                raise HarnessRefused(refusal)
            if plan.rolled_back:
                # What was rolled back is the next rung, as it was.
                await asyncio.to_thread(self.put_back)
            found = _one_rung_down(found, plan, refusal)

    def put_back(self) -> None:
        """Make a load that came to nothing undone: what was there first takes its place again."""
        session = self.session
        if session.primer_id != self.primer:
            session.use_primer(self.primer)
        if not self.moved and not self.placed:
            return
        for path in session.trajectory_dir.glob(f"{session.trajectory_path.name}*"):
            path.unlink()
        for path in self.moved[0].iterdir() if self.moved else ():
            path.rename(session.trajectory_dir / path.name)
        sync_folder(session.trajectory_dir)
        for folder in self.moved:  # the later ones hold copies that this load made itself
            shutil.rmtree(folder)
        self.moved.clear()
        self.placed = False

    def report(self, plan: Plan, harness: int) -> tuple[ResumeReport, str | None]:
        """What has been done, for people and programs, and for the model."""
        session, journal, cut = self.session, self.journal, plan.interrupted_turn
        began = None if cut is None else evidence.began(journal, cut)
        # Only now: a load that is refused ends nothing.
        orphans: tuple[Orphan, ...] = ()
        if self.left:
            policy = self.wishes.on_leftovers
            orphans = leftovers.end_commands(session.id, since=began, policy=policy, harness=harness)
        cwd = folder_change(session.info.cwd, str(self.folders[0]), exists=self.folder_exists)
        after = Aftermath()
        interrupted: Interrupted | None = None
        excerpt = ""
        if cut is not None:
            after = aftermath.of_turn(journal.entries(cut), orphans, began=began or 0)
            excerpt = next((turn.prompt_excerpt for turn in journal.turns() if turn.turn == cut), "")
            interrupted = Interrupted(
                turn=cut, unfinished=after.unfinished, rolled_back=plan.rolled_back, files=after.files
            )
        used = plan.checkpoint
        report = ResumeReport(
            outcome=plan.outcome,
            reason=plan.reason,
            summary=narrative.summary(plan, after.unfinished, after.files, cwd=cwd),
            turns=plan.turns,
            turns_in_context=plan.turns_in_context,
            turns_primed=plan.turns_primed,
            turns_summarised=plan.turns_summarised,
            turns_lost=plan.turns_lost,
            interrupted=interrupted,
            checkpoint=CheckpointRef(turn=used.turn, steps=used.steps, at=used.at) if used else None,
            checks=tuple(self.checks),
            orphans=orphans,
            moved_aside=str(self.moved[0]) if self.moved else None,
            cwd=cwd,
        )
        return report, narrative.note(plan, after.unfinished, after.files, prompt_excerpt=excerpt, cwd=cwd)

    def _prepare(self, plan: Plan) -> None:
        """Put on disk what the plan wants opened; the files that are there are moved aside first."""
        session, primer = self.session, self.primer
        reason = plan.reason.value
        # Made and checked first: the files that are there keep their place until there is something to put there.
        restored = timeline.made_path(session)
        if plan.action is Action.OPEN and not self._names_other_folders(session.trajectory_path):
            return
        session.make_folders()
        if plan.action is Action.OPEN:
            reason = "folder"
            workspace.copy(session.trajectory_path, restored)
        elif plan.action is Action.TRIM:
            trim.without_pending(session.trajectory_path, session.id, restored)
        elif plan.action is Action.RESTORE:
            assert plan.checkpoint is not None
            stored = checkpoint.by_seq(session, plan.checkpoint.seq)
            checkpoint.restore(session, stored, restored)
            primer = stored.primer
        if plan.action in (Action.CREATE, Action.REBUILD):
            # Cut before the files are moved, this comes here again, whatever the primer is.
            if self.primer is not None:
                session.use_primer(None)
            aside = session.move_aside(reason)
        else:
            if self._names_other_folders(restored):
                workspace.move(restored, [str(folder) for folder in self.folders])
                where = ", ".join(str(folder) for folder in self.folders)
                detail = f"a copy of the trajectory was made that works in {where}"
                self.checks.append(Check(name="folder", ok=True, detail=detail))
            aside = timeline.place(session, self.journal, primer=primer, reason=reason)
        if aside:
            self.moved.append(aside)
        self.placed = True

    async def _open(self, plan: Plan, transcript: Transcript | None) -> tuple[Harness | None, str]:
        """The harness with what the plan says in it, or why there is none."""
        stored = self.session.primer
        primer = transcript.text if transcript else stored.text if stored else None
        exists = plan.action not in (Action.CREATE, Action.REBUILD)
        try:
            try:
                harness = await self.open_harness(exists, primer)
            except HarnessNotStarted as error:
                # That says nothing of the conversation. If it happens again, nothing can be opened.
                say(log, Event.HARNESS_RETRIED, f"the harness did not start, trying once more: {error}")
                harness = await self.open_harness(exists, primer)
        except HarnessRefused as refused:
            return None, str(refused)
        visible, user_turns = len(harness.history), sum(step.source is Source.USER for step in harness.history)
        if refusal := resume.contradiction(plan, visible=visible, user_turns=user_turns):
            await harness.close()
            return None, refusal
        if transcript is not None:
            self.session.set_primer(transcript.text, transcript.turns)
        detail = f"reopened with {visible} steps and {user_turns} user turns, as planned"
        self.checks.append(Check(name="harness", ok=True, detail=detail))
        return harness, ""

    def _names_other_folders(self, database: Path) -> bool:
        """Whether a database names other folders than those that are to be worked in, and can name those."""
        named = workspace.folders_of(database)
        wanted = [folder.resolve() for folder in self.folders]
        return bool(named) and [Path(folder).resolve() for folder in named] != wanted

    def _failed(self, name: str, detail: str) -> None:
        self.checks.append(Check(name=name, ok=False, detail=detail))


def _one_rung_down(found: Evidence, plan: Plan, refusal: str) -> Evidence:
    if plan.action in (Action.OPEN, Action.TRIM):
        return resume.live_rejected(found, refusal)
    if plan.action is Action.REBUILD:
        return resume.rebuild_failed(found, refusal)
    assert plan.checkpoint is not None
    return resume.checkpoint_unusable(found, plan.checkpoint.seq, refusal)


def _first_checks(found: Evidence) -> list[Check]:
    checks = [_live_check(found)]
    if found.store_damage is not None:
        checks.insert(0, Check(name="store", ok=False, detail=found.store_damage))
    return checks


def _live_check(found: Evidence) -> Check:
    sound = found.problem is None and found.live not in (resume.Live.SHORTER, resume.Live.CHANGED)
    words = found.detail or f"{found.live_steps} steps, {found.live.value} to the newest checkpoint"
    if found.problem is Reason.MISSING and found.turns == 0 and not found.store_damaged:
        return Check(name="trajectory", ok=True, detail="not made yet: the session was never prompted")
    return Check(name="trajectory", ok=sound, detail=words)
