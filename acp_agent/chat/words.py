"""What the agent reported, in plain words. Pure: values in, sentences out.

The first line of a report says how much of the conversation the model knows; the lines after it say what was
cut, what was kept aside and what still runs. Nothing is said that is not in the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from acp_agent.chat.process import Ending
from acp_agent.chat.rpc import RpcError
from sessions.report import CheckpointReport, Outcome, Reason, ResumeReport


class Tone(StrEnum):
    """How a text is to be shown; the values of the first three are ACP's notice severities."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Told:
    """Lines of plain text, the most important first, and their tone."""

    tone: Tone
    lines: tuple[str, ...]


_WHAT_WAS_WRONG = {
    Reason.MISSING: "was missing",
    Reason.EMPTY: "was empty",
    Reason.CORRUPT: "was corrupt",
    Reason.TRUNCATED: "held fewer steps than the checkpoint",
    Reason.DIVERGED: "differed from what had been checkpointed",
    Reason.FOREIGN: "was not this session's",
    Reason.REJECTED: "was refused by the harness",
}

NO_REPORT = Told(Tone.WARNING, ("Loaded. The agent did not say what the model remembers.",))
"""What is told when an agent loads a session without a report."""


def resume_in_words(report: ResumeReport) -> Told:
    """A resume report for a person: what the model knows now, and what happened to the rest."""
    lines = [_headline(report)]
    if report.turns_lost:
        lines.append(f"{counted(report.turns_lost, 'turn')} {'was' if report.turns_lost == 1 else 'were'} lost.")
    if report.interrupted is not None:
        lines.append(_unfinished(report))
    if report.moved_aside is not None:
        lines.append(f"Damaged files kept in {report.moved_aside}.")
    lines += [f"Still running since then: {orphan.command} (process {orphan.pid})." for orphan in report.orphans]
    lines += [
        f"Check failed: {check.name}: {check.detail.rstrip('.')}." for check in report.checks if not check.ok
    ]
    return Told(_tone(report), tuple(lines))


def checkpoint_in_words(report: CheckpointReport) -> Told:
    """The state of a finished turn on disk: one quiet line, or a loud warning when it is not safe."""
    if report.durable:
        parts = (f"turn {report.turn} saved", counted(report.steps, "step"), f"{_milliseconds(report.ms)} ms")
        return Told(Tone.QUIET, (" · ".join(parts),))
    return Told(
        Tone.WARNING,
        (
            f"TURN {report.turn} IS NOT SAVED: {(report.reason or 'the agent gave no reason').rstrip('.')}.",
            "It may be lost if the agent is killed now.",
        ),
    )


def refusal_in_words(request: str, error: RpcError) -> Told:
    """An error answer: what was asked, the agent's sentence, and the details in its data."""
    return Told(
        Tone.ERROR, (f"The agent refused {request}: {error.message} ({error.code})", *_details(error.data))
    )


def ending_in_words(ending: Ending, session_id: str | None, *, killed_here: bool) -> Told:
    """The end of the agent process: how, its last words, and what can be done about `session_id`.

    `killed_here` says that the user asked for it.
    """
    remedy = () if session_id is None else (f"/load starts a new agent and loads session {session_id}.",)
    if killed_here:
        return Told(Tone.WARNING, (f"The agent and its process group are gone ({ending.cause}).", *remedy))
    last_words = ("Its last lines on stderr:", *(f"  {line}" for line in ending.last_words))
    return Told(
        Tone.ERROR,
        (
            f"The agent process ended unexpectedly ({ending.cause}).",
            *(last_words if ending.last_words else ("It left no line on stderr.",)),
            *remedy,
        ),
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it needs one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _headline(report: ResumeReport) -> str:
    trouble = f"the live trajectory {_WHAT_WAS_WRONG.get(report.reason, f'was unusable ({report.reason})')}"
    match report.outcome:
        case Outcome.RESUMED:
            return _resumed(report)
        case Outcome.RECOVERED:
            ref = report.checkpoint
            where = "a checkpoint" if ref is None else f"the checkpoint after turn {ref.turn}"
            return f"Recovered from {where}, because {trouble}. {_context(report)}"
        case Outcome.REBUILT:
            return (
                f"Rebuilt from the transcript, because {trouble} and no checkpoint was usable. "
                f"The model was given the text of the conversation. {_context(report)}"
            )
        case Outcome.FRESH:
            return f"Started fresh, because {trouble} and nothing usable was kept. {_context(report)}"


def _resumed(report: ResumeReport) -> str:
    match report.reason:
        case Reason.NEVER_PROMPTED:
            return "Resumed: nothing had been asked in this session yet."
        case Reason.AHEAD:
            since = "" if report.checkpoint is None else f" (turn {report.checkpoint.turn})"
            return f"Resumed, with work newer than the last checkpoint{since}: {_context(report, lower=True)}"
        case Reason.INTERRUPTED:
            return f"Resumed, interrupted: {_context(report, lower=True)}"
        case _:
            return f"Resumed, verified: {_context(report, lower=True)}"


def _context(report: ResumeReport, *, lower: bool = False) -> str:
    seen, total = report.turns_in_context, report.turns
    if total == 0:
        subject = "no turn"
    elif seen == total:
        subject = {1: "the only turn", 2: "both turns"}.get(total, f"all {total} turns")
    elif seen == 0:
        subject = f"none of the {counted(total, 'turn')}"
    else:
        subject = f"{seen} of {counted(total, 'turn')}"
    sentence = f"{subject} {'are' if seen > 1 else 'is'} in the model's context."
    return sentence if lower else sentence[0].upper() + sentence[1:]


def _unfinished(report: ResumeReport) -> str:
    cut = report.interrupted
    assert cut is not None
    if not cut.unfinished:
        return f"Turn {cut.turn} was cut."
    names = ", ".join(f"{entry.kind} “{entry.title}”" for entry in cut.unfinished)
    return f"Turn {cut.turn} was cut. Unfinished: {names}."


def _tone(report: ResumeReport) -> Tone:
    if report.outcome is not Outcome.RESUMED or report.turns_lost or report.orphans:
        return Tone.WARNING
    return Tone.WARNING if report.reason is Reason.INTERRUPTED else Tone.INFO


def _details(data: JsonValue) -> tuple[str, ...]:
    if data is None:
        return ()
    if not isinstance(data, dict):
        return (f"  {data}",)
    return tuple(f"  {key}: {value}" for key, value in data.items() if value is not None and key != "_meta")


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 1 else f"{value:.0f}"
