"""The report in words: a few sentences for people, and the note that the model gets. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sessions.report import (
    CommandState,
    EditState,
    FileChange,
    FolderChange,
    Outcome,
    Reason,
    Unfinished,
)
from sessions.resume import Plan

NAMED = 5
"""How many unfinished pieces, or files, are named before the rest is only counted."""

_WRONG = {
    Reason.MISSING: "was missing",
    Reason.EMPTY: "was empty",
    Reason.CORRUPT: "was damaged",
    Reason.TRUNCATED: "had lost steps",
    Reason.DIVERGED: "had been changed",
    Reason.FOREIGN: "belonged to something else",
    Reason.REJECTED: "was refused by the harness",
}

_TOUCHED = (EditState.APPLIED, EditState.CHANGED)


def summary(
    plan: Plan,
    unfinished: Sequence[Unfinished] = (),
    files: Sequence[FileChange] = (),
    *,
    cwd: FolderChange | None = None,
) -> str:
    """What tells a user what was brought back and what was not.

    Args:
        plan: what was done.
        unfinished: what was still running in the turn that was cut.
        files: the files that this turn edited.
        cwd: the folder, if it is another one or not there.
    """
    said = [_what_happened(plan)]
    if plan.rollback_refused:
        said.append("It was not rolled back, since a finished turn would have been lost with it.")
    said.append(_context(plan))
    said += _listed([_state(item) for item in unfinished if item.kind != "message"], "unfinished call")
    if not plan.holds_cut_turn:
        said += _kept_files(files)
    if plan.store_damaged:
        said.append(
            "The session's own records were damaged; turns that are missing from what is left of them cannot be"
            " counted."
        )
    if cwd is not None:
        said.append(_folder(cwd))
    return " ".join(filter(None, said))


def note(
    plan: Plan,
    unfinished: Sequence[Unfinished],
    files: Sequence[FileChange] = (),
    *,
    prompt_excerpt: str,
    cwd: FolderChange | None = None,
) -> str | None:
    """What the model must be told before the next prompt, None if it has everything.

    Args:
        plan: what was done.
        unfinished: what was still running in the turn that was cut.
        files: the files that this turn edited.
        prompt_excerpt: the beginning of that turn's prompt, empty if it is not known.
        cwd: the folder, if it is another one or not there.
    """
    said: list[str] = []
    if plan.interrupted_turn is not None or plan.reason is Reason.INTERRUPTED:
        said += _interruption(plan, unfinished, files, prompt_excerpt)
    if plan.outcome is not Outcome.RESUMED and plan.turns_lost:
        said.append(
            f"{_count(plan.turns_lost, 'user turn')} of this session {_were(plan.turns_lost)} lost from your "
            f"memory; you have {plan.turns_in_context} of {plan.turns}. The user still sees the whole transcript. "
            "Say so if you are asked about something that you cannot see."
        )
    if plan.store_damaged:
        said.append(
            "The records of this session were damaged: there may have been turns that you cannot see and that"
            " nobody can count."
        )
    if said:
        said.append(
            "Do not continue interrupted work unless the user asks for it; check the state of files first."
        )
    if cwd is not None:
        said.append(_folder(cwd))
    return " ".join(said) or None


def _what_happened(plan: Plan) -> str:
    if plan.reason is Reason.NEVER_PROMPTED:
        return "This session has no turns yet."
    if plan.reason is Reason.INTERRUPTED:
        cut = "The last turn" if plan.interrupted_turn is None else f"Turn {plan.interrupted_turn}"
        return f"{cut} was cut when the agent was stopped{_what_became_of_it(plan)}."
    if plan.reason is Reason.AHEAD:
        return "Resumed, with a finished turn that had not been checkpointed yet."
    if plan.reason is Reason.VERIFIED:
        return "Resumed and verified."
    wrong = f"because the stored trajectory {_WRONG[plan.reason]}"
    if plan.checkpoint is not None:
        return f"Recovered from the checkpoint after turn {plan.checkpoint.turn}, {wrong}."
    done = "Rebuilt from the transcript" if plan.outcome is Outcome.REBUILT else "Started fresh"
    return f"{done}, {wrong} and no checkpoint was usable."


def _what_became_of_it(plan: Plan) -> str:
    if plan.holds_cut_turn:
        return "; what it finished is kept"
    if not plan.rolled_back:
        return ", before any of it was stored"
    if plan.checkpoint is None:
        return " and has been rolled back to the beginning"
    return f" and has been rolled back to the checkpoint after turn {plan.checkpoint.turn}"


def _interruption(
    plan: Plan, unfinished: Sequence[Unfinished], files: Sequence[FileChange], prompt_excerpt: str
) -> list[str]:
    cut = "last turn" if plan.interrupted_turn is None else f"turn {plan.interrupted_turn}"
    quoted = f" (“{prompt_excerpt}”)" if prompt_excerpt else ""
    said = [f"The user's {cut}{quoted} was interrupted: the agent process was stopped before the turn ended."]
    said += _listed([_state(item) for item in unfinished if item.kind != "message"], "unfinished call")
    if any(item.kind == "message" for item in unfinished):
        kept = plan.outcome is Outcome.REBUILT and plan.holds_cut_turn
        lacking = "" if kept else ", and the part that the user saw is not in this conversation"
        said.append(f"Your answer was cut in the middle{lacking}.")
    if plan.rolled_back:
        said.append("The user chose to have such a turn rolled back.")
    if not plan.holds_cut_turn:
        said.append("That turn is not in this conversation.")
        said += _kept_files(files)
    return said


def _state(item: Unfinished) -> str:
    if item.kind == "execute":
        return _COMMAND[item.state].format(title=item.title, detail=_in_brackets(item.detail))
    if item.kind == "edit":
        return _EDIT[item.state].format(title=item.title)
    return f"The tool call “{item.title}” had not finished; its result is unknown."


_COMMAND: dict[EditState | CommandState | None, str] = {
    CommandState.ENDED: "The command {title} was still running and has been ended{detail}; its result is unknown.",
    CommandState.RUNNING: "The command {title} is still running{detail}; its result is unknown.",
    CommandState.GONE: "No process of the command {title} is left; whether it ran to its end is unknown.",
    None: "The command {title} was stopped or left running; its result is unknown.",
}

_EDIT: dict[EditState | CommandState | None, str] = {
    EditState.APPLIED: "The edit “{title}” was applied: the file holds the new text.",
    EditState.NOT_APPLIED: "The edit “{title}” was not applied.",
    EditState.CHANGED: "The edit “{title}” had not finished, and the file holds neither the old nor the new text.",
    EditState.UNKNOWN: "The edit “{title}” had not finished; whether it was applied is unknown.",
    None: "The edit “{title}” had not finished; whether it was applied is unknown.",
}


def _in_brackets(detail: str | None) -> str:
    return f" ({detail})" if detail else ""


def _listed(sentences: list[str], noun: str) -> list[str]:
    more = len(sentences) - NAMED
    return sentences if more <= 0 else [*sentences[:NAMED], f"There {_verb(more)} {_count(more, f'more {noun}')}."]


def _kept_files(files: Sequence[FileChange]) -> list[str]:
    touched = [file.path for file in files if file.state in _TOUCHED]
    if not touched:
        return []
    more = len(touched) - NAMED
    named = ", ".join(touched[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return [f"What that turn changed in files is still there: {named}."]


def _folder(cwd: FolderChange) -> str:
    if cwd.before == cwd.after:
        return f"The session's folder {cwd.after} no longer exists."
    missing = "" if cwd.exists else ", which does not exist"
    return f"The session's folder was {cwd.before} and is now {cwd.after}{missing}."


def _context(plan: Plan) -> str:
    """How many turns the model has. Empty if there are none to speak of."""
    if plan.turns == 0:
        return "No turns are known." if plan.store_damaged else ""
    primed = _as_transcript(plan)
    if plan.turns_summarised:
        lost = f"; {plan.turns_lost} lost" if plan.turns_lost else ""
        last = "the last is" if plan.turns_in_context == 1 else f"the last {plan.turns_in_context} are"
        rest = f"{plan.turns_summarised} before only as a summary{lost}"
        return f"Of {plan.turns} turns, {last} in the model's context{primed} and {rest}."
    if plan.turns_lost == 0:
        whole = "The one turn is" if plan.turns == 1 else f"All {plan.turns} turns are"
        return f"{whole} in the model's context{primed}."
    if plan.turns == 1:
        return "The one turn is not in the model's context."
    have = "None" if plan.turns_in_context == 0 else str(plan.turns_in_context)
    verb = _verb(plan.turns_in_context)
    return f"{have} of {_count(plan.turns, 'turn')} {verb} in the model's context{primed}; {plan.turns_lost} lost."


def _as_transcript(plan: Plan) -> str:
    if not plan.turns_primed:
        return ""
    if plan.turns_primed == plan.turns_in_context:
        return ", as a transcript"
    return f", {plan.turns_primed} of them as a transcript"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _verb(number: int) -> str:
    return "is" if number == 1 else "are"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
