"""Brings a session back: evidence, decision, restore, open, verify, and the next rung if the verification fails.

Everything that is decided is decided in `sessions.resume`; this module carries plans out. Until a plan is carried
out nothing on disk changes, and a load that comes to nothing is undone: what was there is there again.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from acp_agent.antigravity.harness import Harness
from acp_agent.steps import HarnessError, HarnessNotStarted, HarnessRefused, Source
from sessions import checkpoint, evidence, leftovers, narrative, resume, trim
from sessions.checkpoint import CheckpointUnusable
from sessions.durable import replace_file, sync_folder
from sessions.journal import Entry, Journal
from sessions.report import Check, CheckpointRef, Interrupted, Orphan, Outcome, Reason, ResumeReport, Unfinished
from sessions.resume import Action, Evidence, Plan
from sessions.store import Session

log = logging.getLogger(__name__)

OpenHarness = Callable[[bool], Awaitable[Harness]]
"""Opens the session's conversation in a new harness; the argument says whether it must exist already."""


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
    session: Session, journal: Journal, open_harness: OpenHarness, *, require: Outcome | None
) -> BroughtBack:
    """Open the session's conversation as well as it can be opened.

    The lease must be held. Raises:
        ResumeRefused: the outcome would be lower than `require`.
        HarnessRefused: the harness opens nothing, not even an empty conversation.
        HarnessNotStarted: the harness cannot be started; the files are as they were.
        HarnessStillRunning: an older harness of this session cannot be ended.
    """
    moved: list[Path] = []
    try:
        return await _climb_down(session, journal, open_harness, require, moved)
    except (ResumeRefused, HarnessError):
        await asyncio.to_thread(_put_back, session, moved)
        raise


async def _climb_down(
    session: Session, journal: Journal, open_harness: OpenHarness, require: Outcome | None, moved: list[Path]
) -> BroughtBack:
    """Take one rung after the other until one holds; `moved` says what was moved aside meanwhile, in order."""
    orphans = await asyncio.to_thread(leftovers.settle, session.id)
    found = await asyncio.to_thread(evidence.gather, session, journal)
    checks = [_live_check(found)]
    while True:
        plan = resume.decide(found)
        if require is not None and plan.outcome.rung > require.rung:
            raise ResumeRefused(plan, require, found.detail)
        try:
            moved += await asyncio.to_thread(_prepare, session, plan)
        except CheckpointUnusable as unusable:
            assert plan.checkpoint is not None
            checks.append(Check(name=f"checkpoint {plan.checkpoint.turn}", ok=False, detail=unusable.detail))
            found = resume.checkpoint_unusable(found, plan.checkpoint.seq, unusable.detail)
            continue
        harness, refusal = await _open(open_harness, plan)
        if harness is not None:
            user_turns = sum(step.source is Source.USER for step in harness.history)
            refusal = resume.contradiction(plan, visible=len(harness.history), user_turns=user_turns)
            if refusal is None:
                checks.append(_history_check(len(harness.history), user_turns))
                try:
                    report, note = _report(
                        session,
                        journal,
                        plan,
                        checks=checks,
                        orphans=orphans,
                        moved_aside=moved[0] if moved else None,
                    )
                except BaseException:
                    await harness.close()
                    raise
                return BroughtBack(harness, report, note)
            await harness.close()
        assert refusal is not None
        checks.append(Check(name="harness", ok=False, detail=refusal))
        if plan.action is Action.CREATE:
            raise HarnessRefused(refusal)
        found = _one_rung_down(found, plan, refusal)


def unfinished(journal: Journal, turn: int) -> tuple[Unfinished, ...]:
    """What of a turn that was cut had not ended: its running tool calls, and the answer that was being written."""
    entries = [entry for entry in journal.entries() if entry.turn == turn]
    found = [_unfinished_call(entry) for entry in entries if _running(entry)]
    if entries and entries[-1].kind == "agent_message":
        found.append(Unfinished(kind="message", title=_excerpt(entries[-1].text)))
    return tuple(found)


async def _open(open_harness: OpenHarness, plan: Plan) -> tuple[Harness | None, str | None]:
    exists = plan.action is not Action.CREATE
    try:
        try:
            return await open_harness(exists), None
        except HarnessNotStarted as error:
            # That says nothing of the conversation. If it happens again, nothing can be opened.
            log.warning("the harness did not start, trying once more: %s", error)
            return await open_harness(exists), None
    except HarnessRefused as refused:
        if not exists:
            raise
        return None, str(refused)


def _put_back(session: Session, moved: list[Path]) -> None:
    """Make a load that came to nothing undone: what was there first takes its place again."""
    if not moved:
        return
    for path in session.trajectory_dir.glob(f"{session.trajectory_path.name}*"):
        path.unlink()
    for path in moved[0].iterdir():
        path.rename(session.trajectory_dir / path.name)
    sync_folder(session.trajectory_dir)
    for folder in moved:  # the later ones hold copies that this load made itself
        shutil.rmtree(folder)


def _prepare(session: Session, plan: Plan) -> list[Path]:
    """Put on disk what the plan wants opened; returns the folder that the files are in now that were there."""
    if plan.action is Action.OPEN:
        return []
    if plan.action is Action.CREATE:
        return [aside] if (aside := session.move_aside(plan.reason.value)) else []
    # Made and checked first: the files that are there keep their place until there is something to put there.
    restored = session.trajectory_dir / "restored.db"
    if plan.action is Action.TRIM:
        trim.without_pending(session.trajectory_path, session.id, restored)
    else:
        assert plan.checkpoint is not None
        checkpoint.restore(session, checkpoint.by_seq(session, plan.checkpoint.seq), restored)
    aside = session.move_aside(plan.reason.value)
    replace_file(restored, session.trajectory_path)
    return [aside] if aside else []


def _one_rung_down(found: Evidence, plan: Plan, refusal: str) -> Evidence:
    if plan.action in (Action.OPEN, Action.TRIM):
        return resume.live_rejected(found, refusal)
    assert plan.checkpoint is not None
    return resume.checkpoint_unusable(found, plan.checkpoint.seq, refusal)


def _report(
    session: Session,
    journal: Journal,
    plan: Plan,
    *,
    checks: list[Check],
    orphans: tuple[Orphan, ...],
    moved_aside: Path | None,
) -> tuple[ResumeReport, str | None]:
    interrupted: Interrupted | None = None
    excerpt = ""
    if plan.interrupted_turn is not None:
        items = unfinished(journal, plan.interrupted_turn)
        interrupted = Interrupted(turn=plan.interrupted_turn, unfinished=items)
        excerpt = next(t.prompt_excerpt for t in journal.turns() if t.turn == plan.interrupted_turn)
    used = plan.checkpoint
    report = ResumeReport(
        outcome=plan.outcome,
        reason=plan.reason,
        summary=narrative.summary(plan),
        turns=plan.turns,
        turns_in_context=plan.turns_in_context,
        turns_summarised=plan.turns_summarised,
        turns_lost=plan.turns_lost,
        interrupted=interrupted,
        checkpoint=CheckpointRef(turn=used.turn, steps=used.steps, at=used.at) if used else None,
        checks=tuple(checks),
        orphans=orphans,
        moved_aside=str(moved_aside) if moved_aside else None,
    )
    told = narrative.note(plan, interrupted.unfinished if interrupted else (), prompt_excerpt=excerpt)
    log.info("session %s: %s/%s, %s", session.id, plan.outcome.value, plan.reason.value, report.summary)
    return report, told


def _live_check(found: Evidence) -> Check:
    sound = found.problem is None and found.live not in (resume.Live.SHORTER, resume.Live.CHANGED)
    words = found.detail or f"{found.live_steps} steps, {found.live.value} to the newest checkpoint"
    if found.problem is Reason.MISSING and found.turns == 0:
        return Check(name="trajectory", ok=True, detail="not made yet: the session was never prompted")
    return Check(name="trajectory", ok=sound, detail=words)


def _history_check(visible: int, user_turns: int) -> Check:
    return Check(
        name="harness",
        ok=True,
        detail=f"reopened with {visible} steps and {user_turns} user turns, as planned",
    )


def _running(entry: Entry) -> bool:
    return entry.kind == "tool_call" and entry.payload.get("status") in ("pending", "in_progress")


def _unfinished_call(entry: Entry) -> Unfinished:
    return Unfinished(kind=str(entry.payload.get("kind", "other")), title=str(entry.payload.get("title", "")))


def _excerpt(text: str, length: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
