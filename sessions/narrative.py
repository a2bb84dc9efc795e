"""The report in words: one sentence for people, and the note that the model gets. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sessions.report import Outcome, Reason, Unfinished
from sessions.resume import Plan

_WRONG = {
    Reason.MISSING: "was missing",
    Reason.EMPTY: "was empty",
    Reason.CORRUPT: "was damaged",
    Reason.TRUNCATED: "had lost steps",
    Reason.DIVERGED: "had been changed",
    Reason.FOREIGN: "belonged to something else",
    Reason.REJECTED: "was refused by the harness",
}


def summary(plan: Plan) -> str:
    """One or two sentences that tell a user what was brought back and what was not."""
    context = _context(plan)
    if plan.reason is Reason.NEVER_PROMPTED:
        return "This session has no turns yet."
    if plan.outcome is Outcome.RESUMED:
        if plan.reason is Reason.INTERRUPTED:
            kept = "; what it finished is kept" if plan.holds_cut_turn else ", before any of it was stored"
            cut = "The last turn" if plan.interrupted_turn is None else f"Turn {plan.interrupted_turn}"
            return f"{cut} was cut when the agent was stopped{kept}. {context}"
        if plan.reason is Reason.AHEAD:
            return f"Resumed, with a finished turn that had not been checkpointed yet. {context}"
        return f"Resumed and verified. {context}"
    wrong = f"because the stored trajectory {_WRONG[plan.reason]}"
    if plan.outcome is Outcome.RECOVERED:
        assert plan.checkpoint is not None
        return f"Recovered from the checkpoint after turn {plan.checkpoint.turn}, {wrong}. {context}"
    return f"Started fresh, {wrong} and no checkpoint was usable. {context}"


def note(plan: Plan, unfinished: Sequence[Unfinished], *, prompt_excerpt: str) -> str | None:
    """What the model must be told before the next prompt, None if it has everything.

    Args:
        plan: what was done.
        unfinished: what was still running in the turn that was cut.
        prompt_excerpt: the beginning of that turn's prompt, empty if it is not known.
    """
    said: list[str] = []
    if plan.interrupted_turn is not None or plan.reason is Reason.INTERRUPTED:
        cut = "last turn" if plan.interrupted_turn is None else f"turn {plan.interrupted_turn}"
        quoted = f" (“{prompt_excerpt}”)" if prompt_excerpt else ""
        said.append(
            f"The user's {cut}{quoted} was interrupted: the agent process was stopped before the turn ended."
        )
        said += [_state(item) for item in unfinished]
        if not plan.holds_cut_turn:
            said.append("That turn is not in this conversation.")
    if plan.outcome in (Outcome.RECOVERED, Outcome.FRESH) and plan.turns_lost:
        said.append(
            f"{_count(plan.turns_lost, 'user turn')} of this session {_were(plan.turns_lost)} lost from your "
            f"memory; you have {plan.turns_in_context} of {plan.turns}. The user still sees the whole transcript. "
            "Say so if you are asked about something that you cannot see."
        )
    if not said:
        return None
    said.append("Do not continue interrupted work unless the user asks for it; check the state of files first.")
    return " ".join(said)


def _state(item: Unfinished) -> str:
    if item.kind == "message":
        return "Your answer was cut in the middle, and the part that the user saw is not in this conversation."
    if item.kind == "execute":
        return f"The command {item.title} was stopped or left running; its result is unknown."
    if item.kind == "edit":
        return f"The edit “{item.title}” had not finished; whether it was applied is unknown."
    return f"The tool call “{item.title}” had not finished; its result is unknown."


def _context(plan: Plan) -> str:
    if plan.turns_summarised:
        lost = f"; {plan.turns_lost} lost" if plan.turns_lost else ""
        last = "the last is" if plan.turns_in_context == 1 else f"the last {plan.turns_in_context} are"
        rest = f"{plan.turns_summarised} before only as a summary{lost}"
        return f"Of {plan.turns} turns, {last} in the model's context and {rest}."
    if plan.turns_lost == 0:
        whole = "The one turn is" if plan.turns == 1 else f"All {plan.turns} turns are"
        return f"{whole} in the model's context."
    if plan.turns == 1:
        return "The one turn is not in the model's context."
    have = "None" if plan.turns_in_context == 0 else str(plan.turns_in_context)
    verb = _verb(plan.turns_in_context)
    return f"{have} of {_count(plan.turns, 'turn')} {verb} in the model's context; {plan.turns_lost} lost."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _verb(number: int) -> str:
    return "is" if number == 1 else "are"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
