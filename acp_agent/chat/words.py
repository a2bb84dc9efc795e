"""What the agent reported, in plain words. Pure: values in, sentences out.

The headline of a report says how much of the conversation the model knows; the rows after it say what was cut,
what was kept aside, what still runs and what to do. Nothing is said that does not follow from the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import JsonValue

from acp_agent.chat.process import Ending
from acp_agent.chat.rpc import RpcError
from sessions.report import (
    CheckpointReport,
    CommandState,
    EditState,
    Interrupted,
    Outcome,
    Reason,
    ResumeReport,
)


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

_STATES = {
    EditState.APPLIED: "done on the disk",
    EditState.NOT_APPLIED: "not done on the disk",
    EditState.CHANGED: "the file has been changed otherwise",
    EditState.UNKNOWN: "cannot be told from the disk",
    CommandState.ENDED: "it was still running and has been ended",
    CommandState.RUNNING: "it still runs",
    CommandState.GONE: "it no longer runs",
}

NO_REPORT = Told(Tone.WARNING, ("Loaded. The agent did not say what the model remembers.",))
"""What is told when an agent loads a session without a report."""


@dataclass(frozen=True, slots=True)
class ToldReport:
    """A report: what it comes to, and rows of what it is about and what is said of that."""

    tone: Tone
    headline: str
    rows: tuple[tuple[str, str], ...]


def resume_in_words(report: ResumeReport) -> ToldReport:
    """A resume report for a person: what the model knows now, what happened to the rest, and what to do."""
    return ToldReport(_tone(report), _headline(report), tuple(_rows(report)))


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


def minute(at: str) -> str:
    """A time (RFC 3339) to the minute, in the time of this machine; as it is, if it cannot be read."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return at


def ago(at: str, now: datetime) -> str:
    """A time (RFC 3339) as people say it; the day from a week on, and as it is if it cannot be read."""
    try:
        seconds = (now - datetime.fromisoformat(at).astimezone(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return at
    for limit, unit, name in ((60, 1, ""), (3600, 60, "min"), (86400, 3600, "h"), (7 * 86400, 86400, "day")):
        if seconds < limit:
            number = max(int(seconds // unit), 0)
            if not name:
                return "just now"
            return f"{counted(number, name) if name == 'day' else f'{number} {name}'} ago"
    return minute(at)[:10]


def last_load(outcome: str | None, reason: str | None) -> str:
    """What the last load of a session came to, in a word or two; empty if there was none."""
    if outcome is None:
        return ""
    known = next((each for each in Reason if each == reason), Reason.VERIFIED)
    if outcome == Outcome.RESUMED:
        return {Reason.INTERRUPTED: "was cut", Reason.NEVER_PROMPTED: "empty"}.get(known, "intact")
    trouble = _WHAT_WAS_WRONG.get(known)
    return f"{outcome} ({trouble})" if trouble else outcome


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


def _rows(report: ResumeReport) -> Iterator[tuple[str, str]]:
    if report.turns_lost:
        yield "Lost", f"{counted(report.turns_lost, 'turn')} {_were(report.turns_lost)} lost to the model."
    if report.turns_primed:
        yield (
            "Memory",
            f"{counted(report.turns_primed, 'turn')} {_are(report.turns_primed)} there as a transcript only.",
        )
    if report.turns_summarised:
        number = report.turns_summarised
        yield "Memory", f"{counted(number, 'older turn')} {_are(number)} there as a summary only."
    if report.interrupted is not None:
        yield from _cut(report.interrupted)
    if report.checkpoint is not None:
        ref = report.checkpoint
        yield "Checkpoint", f"After turn {ref.turn}, {counted(ref.steps, 'step')}, {minute(ref.at)}."
    if report.cwd is not None:
        there = "" if report.cwd.exists else ", which is not there"
        yield "Folder", f"It was {report.cwd.before} and is now {report.cwd.after}{there}."
    yield from _checked(report)
    told = " ".join(entry.detail or "" for entry in report.interrupted.unfinished) if report.interrupted else ""
    for orphan in report.orphans:
        if orphan.ended and str(orphan.pid) in re.findall(r"\d+", told):
            continue
        state = "It was left running and has been ended" if orphan.ended else "Still running since then"
        yield "Processes", f"{state}: {orphan.command} (process {orphan.pid})."
    if report.moved_aside is not None:
        yield "Moved", f"The files that were replaced are kept in {report.moved_aside}."
    if advice := " ".join(_advice(report)):
        yield "Next", advice


def _cut(cut: Interrupted) -> Iterator[tuple[str, str]]:
    yield "Cut", f"Turn {cut.turn} was cut{' and rolled back, as asked' if cut.rolled_back else ''}."
    for entry in cut.unfinished:
        if entry.kind == "message":
            yield "Unfinished", "The answer that was being written."
            continue
        state = "" if entry.state is None else f": {_STATES[entry.state]}"
        detail = f" ({entry.detail})" if entry.detail else ""
        yield "Unfinished", f"{entry.kind} “{entry.title.strip('`')}”{state}{detail}."
    for file in cut.files:
        yield "Files", f"{file.path}: {_STATES[file.state]}."


def _checked(report: ResumeReport) -> Iterator[tuple[str, str]]:
    failed = [check for check in report.checks if not check.ok]
    for check in failed:
        yield "Check failed", f"{check.name}: {check.detail.rstrip('.')}."
    if report.checks and not failed:
        yield "Checks", f"{', '.join(check.name for check in report.checks)}: all in order."


def _advice(report: ResumeReport) -> Iterator[str]:
    if report.turns_lost:
        yield "Tell the model again what it must know of the turns that it cannot see."
    if report.outcome is Outcome.REBUILT:
        yield "It knows what was said, not what its tools read: let it look at files again."
    if report.interrupted is not None:
        yield "Nothing goes on by itself: ask for what was cut, if it is still wanted."
    if any(not orphan.ended for orphan in report.orphans):
        yield "End the processes that are not wanted."
    if report.cwd is not None and not report.cwd.exists:
        yield "Make the folder, or load the session where its files are."


def _tone(report: ResumeReport) -> Tone:
    if report.outcome is not Outcome.RESUMED or report.turns_lost or report.orphans:
        return Tone.WARNING
    return Tone.WARNING if report.reason is Reason.INTERRUPTED else Tone.INFO


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _details(data: JsonValue) -> tuple[str, ...]:
    if data is None:
        return ()
    if not isinstance(data, dict):
        return (f"  {data}",)
    return tuple(f"  {key}: {value}" for key, value in data.items() if value is not None and key != "_meta")


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 1 else f"{value:.0f}"
