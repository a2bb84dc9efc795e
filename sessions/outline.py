"""What a trajectory's steps are and how far they got, in one byte each, so that ten thousand are counted at once.

The harness gives the kinds of steps and their states small numbers (facts, section 1). Those that mean something
here are named below; any other number is kept as `OTHER`, which means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

# Values of steps.step_type (facts, section 1).
USER_INPUT = 14
PLANNER_RESPONSE = 15
"""A message of the model. One that only asks for a tool has a row, but the harness does not show it."""
ERROR_MESSAGE = 17
SYSTEM_MESSAGE = 101
ASK_QUESTION = 138
COMPACTION = 23
"""A summary that takes the place of what was before it, except for the user's last message."""

# Values of steps.status (facts, section 1).
PENDING = 1
DONE = 3
CANCELED = 6
ERROR = 7
WAITING = 9
QUEUED = 11
FINISHED = frozenset({DONE, CANCELED, ERROR})
NOT_STARTED = frozenset({PENDING, WAITING, QUEUED})

OTHER = 255
"""Stands for every number that does not fit into a byte."""


def as_byte(number: int) -> int:
    """A step's type or status as it is kept here."""
    return number if 0 <= number < OTHER else OTHER


@dataclass(frozen=True, slots=True)
class Outline:
    """The type and the status of each step, by idx, and what is recorded of executions.

    `executions` counts the executions whose end is recorded: mostly one a turn, more if background work woke the
    model up again, none for a turn that was cut. `ended_at` is the idx of the step that the last of them ended
    with, None if there is none or its record cannot be read; `halted` that it did not end by itself.
    """

    types: bytes
    statuses: bytes
    executions: int
    ended_at: int | None
    halted: bool

    @property
    def user_turns(self) -> int:
        """The number of the user's messages."""
        return self.types.count(USER_INPUT)

    @property
    def surely_shown(self) -> int:
        """How many of the steps the harness shows in any case.

        It does not show a message that is nothing but a tool request, and may or may not show what sub-agents and
        background work report, and questions to the user.
        """
        unsure = (PLANNER_RESPONSE, SYSTEM_MESSAGE, ASK_QUESTION)
        return len(self.types) - sum(map(self.types.count, unsure))

    @property
    def summarised_turns(self) -> int:
        """How many of the user's messages the model gets only as part of a summary.

        After a compaction a request holds the summary, the user's last message before it, and what came after
        (measured with 0.1.22).
        """
        compacted = max(self.types.rfind(COMPACTION), 0)
        return max(self.types.count(USER_INPUT, 0, compacted) - 1, 0)

    @property
    def last_turn(self) -> int:
        """The idx of the last of the user's messages, 0 if there is none."""
        return max(self.types.rfind(USER_INPUT), 0)

    @property
    def unfinished(self) -> int | None:
        """The idx of the first step of the last turn that was begun, or allowed, and has no end yet."""
        begun = self.last_turn
        return next((begun + n for n, status in enumerate(self.statuses[begun:]) if status not in FINISHED), None)

    @property
    def whole(self) -> bool:
        """Whether the end of its last turn is recorded; that is so at idle, however the turn ended.

        An execution that failed records the step before its error message as its last.
        """
        if self.ended_at is None:
            return not self.types
        after = self.types[self.ended_at + 1 :]
        return after.count(ERROR_MESSAGE) == len(after)
