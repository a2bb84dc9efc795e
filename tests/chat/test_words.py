"""Every report there can be, in the words that a person reads; the snapshot is the specification."""

from datetime import UTC, datetime
from itertools import product

import pytest
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat.process import Ending
from acp_agent.chat.rpc import RpcError
from acp_agent.chat.words import (
    Told,
    ToldReport,
    Tone,
    ago,
    checkpoint_in_words,
    counted,
    ending_in_words,
    last_load,
    refusal_in_words,
    resume_in_words,
)
from sessions.report import (
    Check,
    CheckpointRef,
    CheckpointReport,
    CommandState,
    EditState,
    FileChange,
    FolderChange,
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


def full_report() -> ResumeReport:
    """Everything that a report can hold, which no one report does."""
    return report(
        Outcome.RECOVERED,
        Reason.CORRUPT,
        5,
        1,
        turns_primed=1,
        turns_summarised=2,
        checkpoint=CheckpointRef(turn=1, steps=2, at=AT),
        interrupted=Interrupted(
            turn=5,
            rolled_back=True,
            unfinished=(
                Unfinished(kind="execute", title="`make test`", state=CommandState.ENDED, detail="process 4711"),
                Unfinished(kind="edit", title="Edit app.py", state=EditState.CHANGED, detail="/w/app.py"),
                Unfinished(kind="fetch", title="https://example.org"),
                Unfinished(kind="message", title="Now I will"),
            ),
            files=(FileChange(path="/w/app.py", state=EditState.APPLIED),),
        ),
        cwd=FolderChange.model_validate({"from": "/w", "to": "/moved/w", "exists": False}),
        checks=(
            Check(name="trajectory", ok=False, detail="page 7 is not a page"),
            Check(name="harness", ok=True, detail="as planned"),
        ),
        orphans=(
            Orphan(pid=4711, command="make test", ended=True),
            Orphan(pid=4712, command="tail -f log", ended=True),
            Orphan(pid=4713, command="npm run dev"),
        ),
        moved_aside="/data/aside",
    )


def test_everything_that_a_report_can_hold(snapshot: SnapshotAssertion) -> None:
    assert _told(resume_in_words(full_report())) == snapshot


def test_checks_that_all_hold_are_one_row() -> None:
    checks = tuple(Check(name=name, ok=True, detail="so") for name in ("trajectory", "harness"))
    told = resume_in_words(report(Outcome.RESUMED, Reason.VERIFIED, 2, 2, checks=checks))
    assert told.rows == (("Checks", "trajectory, harness: all in order."),)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-11-22T11:59:30Z", "just now"),
        ("2026-11-22T12:00:05Z", "just now"),  # by another machine's clock
        ("2026-11-22T11:01:00Z", "59 min ago"),
        ("2026-11-22T02:00:00+01:00", "11 h ago"),
        ("2026-11-21T11:00:00Z", "1 day ago"),
        ("2026-11-16T11:00:00Z", "6 days ago"),
        ("2026-11-01T11:00:00Z", "2026-11-01"),
        ("yesterday", "yesterday"),
    ],
)
def test_when_it_was(at: str, said: str) -> None:
    assert ago(at, datetime(2026, 11, 22, 12, tzinfo=UTC)) == said


@pytest.mark.parametrize(
    ("outcome", "reason", "said"),
    [
        (None, None, ""),
        ("resumed", "verified", "intact"),
        ("resumed", "interrupted", "was cut"),
        ("resumed", "never_prompted", "empty"),
        ("recovered", "corrupt", "recovered (was corrupt)"),
        ("of the future", "who knows", "of the future"),
    ],
)
def test_how_the_last_load_went(outcome: str | None, reason: str | None, said: str) -> None:
    assert last_load(outcome, reason) == said


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
