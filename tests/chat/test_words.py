"""Every report there can be, in the words that a person reads; the snapshot is the specification."""

from itertools import product

import pytest
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat.process import Ending
from acp_agent.chat.rpc import RpcError
from acp_agent.chat.words import (
    Told,
    ToldReport,
    Tone,
    checkpoint_in_words,
    counted,
    ending_in_words,
    refusal_in_words,
    resume_in_words,
)
from sessions.report import (
    Check,
    CheckpointRef,
    CheckpointReport,
    Interrupted,
    Orphan,
    Outcome,
    Reason,
    ResumeReport,
    Unfinished,
)

AT = "2026-11-22T10:00:00Z"
WHOLE = (Reason.VERIFIED, Reason.AHEAD, Reason.INTERRUPTED)
BROKEN = tuple(reason for reason in Reason if reason not in {*WHOLE, Reason.NEVER_PROMPTED})


def report(outcome: Outcome, reason: Reason, turns: int, in_context: int, **more: object) -> ResumeReport:
    return ResumeReport.model_validate(
        {
            "outcome": outcome,
            "reason": reason,
            "summary": "not shown: the client says it in its own words",
            "turns": turns,
            "turns_in_context": in_context,
            "turns_lost": turns - in_context,
            **more,
        }
    )


def possible_reports() -> list[ResumeReport]:
    last = CheckpointRef(turn=3, steps=9, at=AT)
    cut = Interrupted(turn=4, unfinished=(Unfinished(kind="execute", title="sleep 100"),))
    reports = [report(Outcome.RESUMED, Reason.NEVER_PROMPTED, 0, 0)]
    for reason, turns in product(WHOLE, (1, 4)):
        found = {"interrupted": cut.model_copy(update={"turn": turns})} if reason is Reason.INTERRUPTED else {}
        reports.append(report(Outcome.RESUMED, reason, turns, turns, checkpoint=last, **found))
    for reason in BROKEN:
        reports.append(report(Outcome.RECOVERED, reason, 4, 3, checkpoint=last, moved_aside="/data/aside"))
        reports.append(report(Outcome.REBUILT, reason, 4, 4, moved_aside="/data/aside"))
        reports.append(report(Outcome.FRESH, reason, 4, 0, moved_aside="/data/aside"))
    return reports


@pytest.mark.parametrize("case", possible_reports(), ids=lambda case: f"{case.outcome}-{case.reason}-{case.turns}")
def test_every_outcome_and_reason(case: ResumeReport, snapshot: SnapshotAssertion) -> None:
    assert _told(resume_in_words(case)) == snapshot


def test_everything_that_a_report_can_hold(snapshot: SnapshotAssertion) -> None:
    full = report(
        Outcome.RECOVERED,
        Reason.CORRUPT,
        5,
        1,
        checkpoint=CheckpointRef(turn=1, steps=2, at=AT),
        interrupted=Interrupted(
            turn=5,
            unfinished=(
                Unfinished(kind="execute", title="make test"),
                Unfinished(kind="message", title="Now I will"),
            ),
        ),
        checks=(
            Check(name="trajectory", ok=False, detail="page 7 is not a page"),
            Check(name="harness", ok=True, detail="as planned"),
        ),
        orphans=(Orphan(pid=4711, command="make test"),),
        moved_aside="/data/aside",
    )
    assert _told(resume_in_words(full)) == snapshot


def test_a_loss_is_never_told_quietly() -> None:
    for case in possible_reports():
        if case.turns_lost or case.outcome is not Outcome.RESUMED:
            assert resume_in_words(case).tone is Tone.WARNING


@pytest.mark.parametrize(
    "case",
    [
        CheckpointReport(turn=2, steps=6, at=AT, durable=True, ms=4.2),
        CheckpointReport(turn=1, steps=1, at=AT, durable=True, ms=0.36),
        CheckpointReport(turn=2, steps=6, at=AT, durable=False, ms=4.2, reason="No space left on device"),
        CheckpointReport(turn=2, steps=6, at=AT, durable=False, ms=4.2),
    ],
    ids=["saved", "fast", "disk-full", "no-reason"],
)
def test_checkpoints(case: CheckpointReport, snapshot: SnapshotAssertion) -> None:
    assert _shown(checkpoint_in_words(case)) == snapshot


@pytest.mark.parametrize(
    "error",
    [
        RpcError(
            -32002, "There is no session with this id.", {"sessionId": "s", "reason": "unknown", "_meta": {}}
        ),
        RpcError(-32603, "Internal error", "a text"),
        RpcError(-32603, "Internal error"),
    ],
    ids=["object", "text", "none"],
)
def test_refusals(error: RpcError, snapshot: SnapshotAssertion) -> None:
    assert _shown(refusal_in_words("loading", error)) == snapshot


@pytest.mark.parametrize("killed_here", [True, False], ids=["killed", "unexpected"])
@pytest.mark.parametrize("session_id", ["s-1", None])
@pytest.mark.parametrize(
    "ending",
    [Ending(-9, ("Traceback", "ValueError: no")), Ending(1, ()), Ending(-250, ())],
    ids=["sigkill", "exit", "odd"],
)
def test_endings(ending: Ending, session_id: str | None, killed_here: bool, snapshot: SnapshotAssertion) -> None:
    assert _shown(ending_in_words(ending, session_id, killed_here=killed_here)) == snapshot


def test_counting() -> None:
    assert [counted(number, "turn") for number in (0, 1, 2)] == ["0 turns", "1 turn", "2 turns"]


def _told(told: ToldReport) -> str:
    return "\n".join((f"[{told.tone}] {told.headline}", *(f"{label}: {text}" for label, text in told.rows)))


def _shown(told: Told) -> str:
    return "\n".join((f"[{told.tone}]", *told.lines))
