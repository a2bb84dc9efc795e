"""The decision: from what was found about a session to how it is brought back.

Pure, and the only place that decides; the whole theory is here and the whole table is below.

A session is three things on disk. The *journal* knows every turn that was begun and what the client was shown.
The newest *checkpoint* knows what the harness had stored when the last turn ended. The *live trajectory* is the
harness's own database, which it writes on every step, and which alone the model's memory is made from.

Bringing a session back means choosing what the harness opens, best first:

1. the live trajectory, if it is sound and holds at least everything that the newest checkpoint holds, unchanged
   (`resumed`). It may hold more: a process is killed between two checkpoints far more often than at one. What it
   holds more is kept, and said: a whole turn (`ahead`) or the beginning of one (`interrupted`).
2. else a copy restored from the newest usable checkpoint (`recovered`). The reason names what was wrong with
   the live trajectory. Turns after that checkpoint are lost to the model, not to the journal.
3. else nothing (`fresh`). The client still sees the old transcript; the report says that the model does not.

Two rules keep the report true. Nothing is believed because it opened: the harness opens damaged databases
without a word (facts, section 4), so after opening, its own history is compared with the plan (`contradiction`),
and on a difference the evidence is corrected and the decision made again, one rung lower. And nothing is
called whole that may not be: a turn counts as finished only if its end is on disk.

`turns_in_context` is what the next model request will contain of the session's user turns, the new prompt not
counted. Turns that the harness has compacted are in the request only as a summary, and counted apart. A turn that
was cut counts if its question is in the trajectory, since the model gets the question.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from sessions.report import Outcome, Reason


class Live(StrEnum):
    """The live trajectory compared with the newest checkpoint (or with nothing, if there is none)."""

    UNUSABLE = "unusable"
    """It cannot be read, is not this conversation's, or the harness would not open it; `problem` says which."""
    SHORTER = "shorter"
    """It is sound but holds less than the checkpoint, or less than the client was shown."""
    CHANGED = "changed"
    """It is sound but a step that the checkpoint holds is different."""
    EQUAL = "equal"
    """It holds exactly the steps of the checkpoint."""
    COMPLETE = "complete"
    """It holds the checkpoint's steps and, after them, only whole turns."""
    CUT = "cut"
    """It holds the checkpoint's steps and, after them, a turn whose end is not there."""


class Action(Enum):
    """What the harness is given to open."""

    OPEN = "open the live trajectory"
    TRIM = "open a copy of it that ends before what had not begun"
    RESTORE = "restore the checkpoint and open it"
    CREATE = "create an empty trajectory"


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """A stored checkpoint: its number, the turn it was taken after, and the steps and user turns in it.

    `visible` is the number of steps that the harness surely shows of it (a message that is nothing but a tool
    request has a row, but is not shown). `summarised` of the user turns are in the context only as a summary.
    """

    seq: int
    turn: int
    steps: int
    user_turns: int
    visible: int
    at: str
    summarised: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found. Facts only; `sessions.evidence` gathers them.

    `turns` counts the turns that were begun. `open_turn` is the last one if its end is not in the journal, and
    `open_turn_shown` whether the client was shown anything of it.
    `checkpoints` are those not known to be unusable, newest first. If the live trajectory is sound, `live_steps`
    counts its rows, `live_user_turns` the user's among them (`live_summarised` of these only in a summary), and
    `tail_hidden` those after the newest checkpoint that the harness may not show. `pending` says that the
    trajectory also has steps that were allowed but not begun; they are not counted, since they are never opened.
    """

    turns: int
    open_turn: int | None
    checkpoints: tuple[CheckpointFacts, ...]
    live: Live
    problem: Reason | None = None
    detail: str = ""
    live_steps: int = 0
    tail_hidden: int = 0
    live_user_turns: int = 0
    live_summarised: int = 0
    pending: bool = False
    open_turn_shown: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How the session is brought back, and what will then be true.

    `fewest_visible` and `most_visible` bound the number of steps in the reopened harness's history.
    """

    action: Action
    outcome: Outcome
    reason: Reason
    turns: int
    turns_in_context: int
    turns_summarised: int
    fewest_visible: int
    most_visible: int
    checkpoint: CheckpointFacts | None
    interrupted_turn: int | None
    cut_turn_shown: bool

    @property
    def turns_lost(self) -> int:
        """User turns of the session that the model will not have, not even as part of a summary."""
        return self.turns - self.turns_in_context - self.turns_summarised

    @property
    def holds_cut_turn(self) -> bool:
        """Whether what is opened has the beginning of the turn that was cut."""
        if self.most_visible <= (self.checkpoint.steps if self.checkpoint else 0):
            return False
        if self.interrupted_turn is None or self.cut_turn_shown:
            return True
        # What is newer than the checkpoint may be of a turn before, whose checkpoint was refused.
        lost_before = self.checkpoint.turn - self.checkpoint.user_turns if self.checkpoint else 0
        return self.turns_in_context + self.turns_summarised >= self.interrupted_turn - lost_before


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: for what evidence, what is done, and what it is called."""

    live: tuple[Live, ...]
    prompted: bool
    turn_open: bool | None
    outcome: Outcome
    reason: Reason | None
    meaning: str


TABLE: tuple[Row, ...] = (
    Row(
        live=tuple(Live),
        prompted=False,
        turn_open=None,
        outcome=Outcome.RESUMED,
        reason=Reason.NEVER_PROMPTED,
        meaning="No turn was ever begun, so there is nothing to remember and nothing to lose.",
    ),
    Row(
        live=(Live.EQUAL,),
        prompted=True,
        turn_open=False,
        outcome=Outcome.RESUMED,
        reason=Reason.VERIFIED,
        meaning="The live trajectory equals the last checkpoint.",
    ),
    Row(
        live=(Live.EQUAL,),
        prompted=True,
        turn_open=True,
        outcome=Outcome.RESUMED,
        reason=Reason.INTERRUPTED,
        meaning="The last turn was cut before the harness stored any of it; its prompt is lost to the model.",
    ),
    Row(
        live=(Live.COMPLETE,),
        prompted=True,
        turn_open=None,
        outcome=Outcome.RESUMED,
        reason=Reason.AHEAD,
        meaning="The live trajectory also holds a finished turn that was not checkpointed yet.",
    ),
    Row(
        live=(Live.CUT,),
        prompted=True,
        turn_open=None,
        outcome=Outcome.RESUMED,
        reason=Reason.INTERRUPTED,
        meaning="The last turn was cut; its finished steps are kept.",
    ),
    Row(
        live=(Live.SHORTER,),
        prompted=True,
        turn_open=None,
        outcome=Outcome.RECOVERED,
        reason=Reason.TRUNCATED,
        meaning="The live trajectory holds fewer steps than the checkpoint, or than the client was shown.",
    ),
    Row(
        live=(Live.CHANGED,),
        prompted=True,
        turn_open=None,
        outcome=Outcome.RECOVERED,
        reason=Reason.DIVERGED,
        meaning="A step that was checkpointed is different in the live trajectory.",
    ),
    Row(
        live=(Live.UNUSABLE,),
        prompted=True,
        turn_open=None,
        outcome=Outcome.RECOVERED,
        reason=None,
        meaning="The live trajectory is missing, empty, corrupt, another conversation's, or was rejected.",
    ),
)
"""First match wins. A reason of None is the evidence's own `problem`. A row that recovers needs a usable
checkpoint; without one the session starts `fresh` with the row's reason (see `decide`)."""


def row_for(evidence: Evidence) -> Row:
    """The row of the table that fits. Exactly one does; a test goes through every combination."""
    prompted = _begun(evidence) > 0
    turn_open = evidence.open_turn is not None
    for row in TABLE:
        if evidence.live in row.live and row.prompted == prompted and row.turn_open in (None, turn_open):
            return row
    raise AssertionError(f"no row for {evidence}")


def decide(evidence: Evidence) -> Plan:
    """How to bring the session back."""
    row = row_for(evidence)
    reason = row.reason or evidence.problem
    assert reason is not None, "evidence of an unusable trajectory names the problem"
    newest = evidence.checkpoints[0] if evidence.checkpoints else None
    cut = _cut_turn(evidence)
    if row.reason is Reason.NEVER_PROMPTED:
        # The harness makes its database when it is first opened, which may never have happened.
        action = Action.OPEN if evidence.live is Live.EQUAL else Action.CREATE
        return _plan(evidence, action, row.outcome, reason, checkpoint=None, cut=None)
    if row.outcome is Outcome.RESUMED:
        # The harness would begin by itself, and without asking, what was pending when it was killed.
        action = Action.TRIM if evidence.pending else Action.OPEN
        return _plan(evidence, action, row.outcome, reason, checkpoint=newest, cut=cut)
    if newest is not None:
        return _plan(evidence, Action.RESTORE, row.outcome, reason, checkpoint=newest, cut=cut)
    return _plan(evidence, Action.CREATE, Outcome.FRESH, reason, checkpoint=None, cut=cut)


def contradiction(plan: Plan, *, visible: int, user_turns: int) -> str | None:
    """What the reopened harness says against the plan, None if it agrees.

    Args:
        plan: what was decided.
        visible: number of steps in the harness's history.
        user_turns: how many of them are the user's.
    """
    planned = plan.turns_in_context + plan.turns_summarised
    if user_turns != planned:
        return f"the harness reopened with {user_turns} user turns instead of {planned}"
    if not plan.fewest_visible <= visible <= plan.most_visible:
        expected = (
            f"{plan.fewest_visible}"
            if plan.fewest_visible == plan.most_visible
            else f"{plan.fewest_visible} to {plan.most_visible}"
        )
        return f"the harness reopened with {visible} steps instead of {expected}"
    return None


def live_rejected(evidence: Evidence, detail: str) -> Evidence:
    """The evidence after the harness refused the live trajectory or reopened it with something else in it."""
    return replace(evidence, live=Live.UNUSABLE, problem=Reason.REJECTED, detail=detail)


def checkpoint_unusable(evidence: Evidence, seq: int, detail: str) -> Evidence:
    """The evidence after a checkpoint turned out to be unusable."""
    left = tuple(checkpoint for checkpoint in evidence.checkpoints if checkpoint.seq != seq)
    joined = "; ".join(part for part in (evidence.detail, detail) if part)
    # The turns that it is witness of were begun, though it cannot bring them back.
    return replace(evidence, checkpoints=left, detail=joined, turns=_begun(evidence))


def _begun(evidence: Evidence) -> int:
    """How many turns were begun. The journal knows, unless it lost its end; then the others know better."""
    return max(evidence.turns, evidence.live_user_turns, *(stored.turn for stored in evidence.checkpoints), 0)


def _cut_turn(evidence: Evidence) -> int | None:
    """The turn that was cut, None if there is none or if it is one that the journal does not know."""
    if evidence.live is Live.COMPLETE:
        # An open turn was cut, whatever became of the live trajectory, unless that holds the whole of it.
        return None
    if evidence.open_turn is None and evidence.live is Live.CUT and evidence.live_user_turns <= evidence.turns:
        return evidence.turns or None
    return evidence.open_turn


def _plan(
    evidence: Evidence,
    action: Action,
    outcome: Outcome,
    reason: Reason,
    *,
    checkpoint: CheckpointFacts | None,
    cut: int | None,
) -> Plan:
    users, summarised, visible, steps = 0, 0, 0, 0
    if checkpoint is not None:
        users, summarised = checkpoint.user_turns, checkpoint.summarised
        visible, steps = checkpoint.visible, checkpoint.steps
    fewest, most = visible, steps
    if action in (Action.OPEN, Action.TRIM):
        users, summarised = evidence.live_user_turns, evidence.live_summarised
        most = evidence.live_steps
        fewest = visible + most - steps - evidence.tail_hidden
    return Plan(
        action=action,
        outcome=outcome,
        reason=reason,
        turns=max(_begun(evidence), users),
        turns_in_context=users - summarised,
        turns_summarised=summarised,
        fewest_visible=fewest,
        most_visible=most,
        checkpoint=checkpoint,
        interrupted_turn=cut,
        cut_turn_shown=evidence.open_turn is None or evidence.open_turn_shown,
    )
