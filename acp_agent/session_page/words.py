"""How a session's life is put into words: times, durations, what the model had, what happened. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import JsonValue

from acp_agent.session_page.content import line
from sessions.context import Context
from sessions.events import Event, Kind
from sessions.timeline import ranges

TONES = {
    "verified": "good",
    "ahead": "good",
    "interrupted": "warn",
    "recovered": "warn",
    "rebuilt": "bad",
    "fresh": "bad",
}
"""How serious a load's reason, or else its outcome, is."""

_LOADED = {
    "verified": "Loaded: everything is there",
    "ahead": "Loaded: everything is there, and a turn that had ended unseen",
    "interrupted": "Loaded: a turn had been cut",
    "never_prompted": "Loaded before the first prompt",
    "recovered": "Recovered from a checkpoint",
    "rebuilt": "Rebuilt from the transcript",
    "fresh": "Begun afresh: nothing could be brought back",
}

_WHY = {
    "missing": "the harness's database was missing",
    "empty": "the harness's database was empty",
    "corrupt": "the harness's database was damaged",
    "truncated": "the harness's database held less than the checkpoint",
    "diverged": "the harness's database was not what was checkpointed",
    "foreign": "the harness's database was another conversation's",
    "rejected": "the harness refused its database",
}


def moment(at: str | None) -> str:
    """A stored time, to the second, in UTC."""
    if at is None:
        return "time not known"
    try:
        return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return line(at, 40)


def duration(seconds: float | None) -> str:
    """A length of time, as short as it says enough."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def counted(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def had(found: Context) -> str:
    """What the model had, in one sentence without an end."""
    parts: list[str] = []
    names = ("in full", "only in a summary", "in a transcript", "lost")
    counts = (found.whole, found.summarised, found.primed, found.lost)
    known = found.turns
    which = (known.whole, known.summarised, known.primed, known.lost) if known else (None,) * 4
    for name, count, numbers in zip(names, counts, which, strict=True):
        if numbers:
            parts.append(f"{'turn' if len(numbers) == 1 else 'turns'} {ranges(sorted(numbers))} {name}")
        elif count:
            parts.append(f"{counted(count, 'turn')} {name}")
    if not parts:
        return "no turns"
    return "; ".join(parts) + ("" if known else " (which ones is not recorded)")


def title(event: Event) -> str:
    """What happened, in a few words."""
    detail = event.detail
    match event.kind:
        case Kind.MADE:
            forked = f"Forked from session {short(detail.get('from'))} at the end of {turn(detail.get('turn'))}"
            said = forked if detail.get("as") == "fork" else "Session created"
        case Kind.IMPORTED:
            said = "Imported from a file"
        case Kind.RESTORED:
            before, after = detail.get("from"), detail.get("to")
            back = isinstance(before, int) and isinstance(after, int) and after < before
            said = f"Taken {'back' if back else 'over'} from {turn(before)} to {turn(after)}"
            if before == after:
                said = f"Taken to the checkpoint of {turn(after)} again"
        case Kind.FORKED:
            said = f"A fork was made at the end of {turn(detail.get('turn'))}"
        case Kind.LOADED:
            words = _LOADED.get(str(detail.get("reason"))) or _LOADED.get(str(detail.get("outcome"))) or "Loaded"
            said = words.replace("Loaded", "Reopened", 1) if detail.get("again") else words
    return said


def tone(event: Event) -> str:
    """How serious it is: `good`, `warn`, `bad`, or `plain`."""
    if event.kind is Kind.LOADED:
        reason, outcome = str(event.detail.get("reason")), str(event.detail.get("outcome"))
        return TONES.get(reason) or TONES.get(outcome, "plain")
    return "plain"


def sentences(event: Event) -> list[str]:
    """What is recorded of it, a sentence each."""
    detail = event.detail
    said: list[str] = []
    if event.kind is Kind.LOADED:
        report = detail.get("report")
        if isinstance(report, dict):
            said += _report(report)
        elif why := _WHY.get(str(detail.get("reason"))):
            said.append(f"{why[0].upper()}{why[1:]}.")
        if not isinstance(report, dict) and event.at is None:
            said.append("Recorded by an older version, which kept neither its time nor its report.")
    elif event.kind is Kind.IMPORTED:
        said.append(f"There it was session {line(str(detail.get('from')), 80)}.")
        said.append(f"The file was made {moment(_text(detail.get('exportedAt')))} UTC.")
    elif event.kind is Kind.MADE and detail.get("as") == "fork":
        said.append("Its turns before were copied; what happened to them is recorded with that session.")
    elif event.kind is Kind.FORKED:
        said.append(f"It is session {line(str(detail.get('session')), 80)}.")
    elif event.kind is Kind.RESTORED and (aside := _text(detail.get("aside"))):
        said.append(f"The files of before were moved to aside/{line(aside, 80)}, if there were any.")
    return said


def short(session_id: JsonValue) -> str:
    """The beginning of a session's id."""
    return f"{line(str(session_id), 80)[:8]}…"


def turn(number: JsonValue) -> str:
    """A turn by its number; 0 is before the first."""
    return "the beginning" if number == 0 else f"turn {line(str(number), 40)}"


def _report(report: Mapping[str, JsonValue]) -> list[str]:
    said = [line(str(report.get("summary") or ""), 800)]
    numbers = [report.get(name) for name in ("turns", "turnsInContext", "turnsSummarised", "turnsLost")]
    if all(isinstance(number, int) for number in numbers):
        turns, inside, summarised, lost = numbers
        shortened = f", {summarised} only in a summary" if summarised else ""
        said.append(f"Reported: {inside} of {turns} in the model's context{shortened}, {lost} lost.")
    interrupted = report.get("interrupted")
    if isinstance(interrupted, dict):
        unfinished = interrupted.get("unfinished")
        for item in unfinished if isinstance(unfinished, list) else []:
            if isinstance(item, dict) and (named := _text(item.get("title"))):
                state = f" ({line(str(item['state']), 40)})" if item.get("state") else ""
                said.append(f"Unfinished: {line(named)}{state}.")
            elif isinstance(item, dict) and item.get("leftOut"):
                said.append(f"{line(str(item['leftOut']), 40)} more were unfinished.")
    checkpoint = report.get("checkpoint")
    if isinstance(checkpoint, dict):
        taken = moment(_text(checkpoint.get("at")))
        said.append(f"From the checkpoint of {turn(checkpoint.get('turn'))}, taken {taken} UTC.")
    checks = report.get("checks")
    for check in checks if isinstance(checks, list) else []:
        if isinstance(check, dict) and check.get("ok") is False:
            said.append(f"Check {line(str(check.get('name')), 60)}: {line(str(check.get('detail')), 300)}.")
    if aside := _text(report.get("movedAside")):
        said.append(f"The files of before were moved to {line(aside, 300)}.")
    return [sentence for sentence in said if sentence]


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and value else None
