"""Decides whether a resumed session remembers what its report says. Pure: observations in, verdict out.

The offline model states in its answer how many of the user's messages were in its request. That number is the
only thing here that does not come from the agent, and it has to fit what the agent reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from acp_agent.chat.transcript import Message, Plan, Role, ToolCall
from acp_agent.chat.words import counted
from sessions.report import Outcome, Reason, ResumeReport

MESSAGES_SEEN = re.compile(r"I can see (\d+) of your messages")
"""What the offline model says of the user's messages in its request."""

Shown = Sequence[Message | ToolCall | Plan]


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed in one run.

    `asked` counts the prompts before the kill, the cut one among them. `shown` is the conversation as it was
    seen live until the kill, `replayed` as it came back. `answer` is the answer to the prompt after the load.
    """

    asked: int
    questions: int
    report: ResumeReport | None
    shown: Shown
    replayed: Shown
    answer: str
    file_expected: str
    file_seen: str


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the proof, with what was expected and what was seen."""

    name: str
    expected: str
    seen: str

    @property
    def holds(self) -> bool:
        """Whether the two are the same."""
        return self.expected == self.seen


def checks(observed: Observed) -> tuple[Check, ...]:
    """All conditions of the proof; it holds if each of them does."""
    report = observed.report
    count = MESSAGES_SEEN.search(observed.answer)
    different = differences(observed.shown, observed.replayed)
    return (
        Check("permission questions answered “allow once”", "1", str(observed.questions)),
        Check("the edited file", repr(observed.file_expected), repr(observed.file_seen)),
        Check("the replay", "what was shown", "; ".join(different) or "what was shown"),
        Check(
            "the report's outcome",
            f"{Outcome.RESUMED}/{Reason.INTERRUPTED}",
            "no report" if report is None else f"{report.outcome}/{report.reason}",
        ),
        Check(
            "turns in the model's context, by the report",
            str(observed.asked),
            "no report" if report is None else str(report.turns_in_context),
        ),
        Check(
            "messages that the model sees",
            "one more than reported" if report is None else str(report.turns_in_context + 1),
            count[1] if count else "no count in the answer",
        ),
    )


def verdict(made: Sequence[Check]) -> str:
    """The last line of the script."""
    failed = [check for check in made if not check.holds]
    if failed:
        reasons = "; ".join(f"{check.name}: expected {check.expected}, seen {check.seen}" for check in failed)
        return f"PROOF FAILS: {reasons}"
    seen = int(made[-1].seen)
    return (
        f"PROOF HOLDS: after the kill the model sees {seen} messages, "
        f"the {counted(seen - 1, 'turn')} that the report promised and the new one."
    )


def differences(shown: Shown, replayed: Shown) -> list[str]:
    """Where a replay differs from what was shown until a kill, in words; empty when nothing was lost or changed.

    Of the cut turn, everything that was shown must come back; since the agent writes things down before it
    sends them, its last message may be longer now. Tool calls that the kill left unfinished may be failed now,
    with their content kept. The ids of user messages are not compared: a live prompt has none.
    """
    cut = max((index for index, item in enumerate(shown) if _is_prompt(item)), default=0)
    found = []
    for index, (before, after) in enumerate(zip_longest(shown, replayed)):
        if after is None:
            found.append(f"item {index + 1} ({_name(before)}) is missing")
        elif before is None:
            found.append(f"item {index + 1} ({_name(after)}) was never shown")
        elif before != after and not _same(before, after, in_cut_turn=index > cut):
            found.append(f"item {index + 1} ({_name(before)}) is different")
    return found


def _same(before: Message | ToolCall | Plan, after: Message | ToolCall | Plan, *, in_cut_turn: bool) -> bool:
    if isinstance(before, Message) and isinstance(after, Message):
        if _is_prompt(before):
            return replace(before, message_id=after.message_id) == after
        same_message = (before.role, before.message_id) == (after.role, after.message_id)
        return in_cut_turn and same_message and after.text.startswith(before.text)
    if isinstance(before, ToolCall) and isinstance(after, ToolCall):
        unfinished = in_cut_turn and not before.finished and after.status == "failed"
        kept = after.content[: len(before.content)] == before.content
        same_call = (before.tool_call_id, before.title, before.kind) == (
            after.tool_call_id,
            after.title,
            after.kind,
        )
        return unfinished and kept and same_call
    return False


def _is_prompt(item: Message | ToolCall | Plan) -> bool:
    return isinstance(item, Message) and item.role is Role.USER


def _name(item: Message | ToolCall | Plan | None) -> str:
    match item:
        case Message():
            return item.role.value.removesuffix("_chunk").replace("_", " ")
        case ToolCall():
            return f"tool call {item.tool_call_id}"
        case _:
            return "plan"
