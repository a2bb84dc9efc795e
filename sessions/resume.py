"""The decision: from what was found about a session to how it is brought back.

Pure, and the only place that decides; the whole theory is here and the whole table is below.

A session is three things on disk. The *journal* knows every turn that was begun and what the client was shown.
The newest *checkpoint* knows what the harness had stored when the last turn ended. The *live trajectory* is the
harness's own database, which it writes on every step, and which alone the model's memory is made from.

Bringing a session back means choosing what the harness opens, best first:

1. the live trajectory, if it is sound and holds at least everything that the newest checkpoint holds, unchanged
   (`resumed`). It may hold more: a process is killed between two checkpoints far more often than at one. What it
   holds more is kept, and said: a whole turn (`ahead`) or the beginning of one (`interrupted`). With
   `--interrupted rollback` the beginning of a turn is given up for the checkpoint before it, unless a finished
   turn would go with it.
2. else a copy restored from the newest usable checkpoint (`recovered`). The reason names what was wrong with
   the live trajectory. Turns after that checkpoint are lost to the model, not to the journal.
3. else a new conversation, primed with a transcript that is made from the journal (`rebuilt`).
4. else nothing (`fresh`). The client still sees the old transcript; the report says that the model does not.

Two rules keep the report true. Nothing is believed because it opened: the harness opens damaged databases
without a word (facts, section 4), so after opening, its own history is compared with the plan (`contradiction`),
and on a difference the evidence is corrected and the decision made again, one rung lower. And nothing is
called whole that may not be: a turn counts as finished only if its end is on disk.

`turns_in_context` is what the next model request will contain of the session's user turns, the new prompt not
counted. Turns that a transcript carries are among them. Turns that the harness has compacted are in the request
only as a summary, and counted apart. A turn that was cut counts if its question is in the trajectory, since the
model gets the question.

A turn has a number, which names it and is never used twice, and a place on its line, its depth. Whatever counts
turns counts depths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from sessions.outcomes import Outcome, Reason


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
    REBUILD = "create an empty trajectory, primed with the transcript"
    CREATE = "create an empty trajectory"


class OnInterrupted(StrEnum):
    """What becomes of the beginning of a turn that was cut (`--interrupted`)."""

    KEEP = "keep"
    ROLLBACK = "rollback"
    """Go back to the checkpoint before it, or to an empty conversation if it was the first turn."""


class OnLeftovers(StrEnum):
    """What becomes of the commands of a turn that was cut (`--leftovers`)."""

    END = "end"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """A stored checkpoint: its number, the turn it was taken after, and the steps and user turns in it.

    `depth` is that turn's place on its line. `visible` is the number of steps that the harness surely shows of it
    (a message that is nothing but a tool request has a row, but is not shown). `summarised` of the user turns are
    in the context only as a summary; `primed` more are in it as a transcript.
    """

    seq: int
    turn: int
    depth: int
    steps: int
    user_turns: int
    visible: int
    at: str
    summarised: int = 0
    primed: int = 0

    @property
    def held(self) -> int:
        """The session's user turns that are in it, in whatever form."""
        return self.user_turns + self.primed


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found. Facts only; `sessions.evidence` gathers them.

    `turns` counts the turns that were begun on the session's line, and `last_turn` is the number of the last of
    them. `open_turn` is the same number if its end is not in the journal, and `open_turn_shown` whether the client
    was shown anything of it.
    `checkpoints` are those of that line that are not known to be unusable, newest first. If the live trajectory
    is sound, `live_steps` counts its rows, `live_user_turns` the user's among them (`live_summarised` of these
    only in a summary), and `tail_hidden` those after the newest checkpoint that the harness may not show.
    `pending` says that the trajectory also has steps that were allowed but not begun; they are not counted, since
    they are never opened. `primed` counts the turns that the live conversation has as a transcript.
    `transcript` counts the turns that a transcript made from the journal would carry, 0 if none can be made. That
    costs a look at all of the journal, so it is None until `needs_transcript`.
    `witnessed` counts the turns that checkpoints tell of which turned out to be unusable.
    `store_damage` says what was wrong with the session's own records, if they had to be salvaged.
    """

    turns: int
    open_turn: int | None
    checkpoints: tuple[CheckpointFacts, ...]
    live: Live
    last_turn: int | None = None
    problem: Reason | None = None
    detail: str = ""
    live_steps: int = 0
    tail_hidden: int = 0
    live_user_turns: int = 0
    live_summarised: int = 0
    pending: bool = False
    open_turn_shown: bool = False
    primed: int = 0
    transcript: int | None = None
    witnessed: int = 0
    store_damage: str | None = None

    @property
    def store_damaged(self) -> bool:
        """Whether the session's own records were damaged, so that turns may be missing that nothing tells of."""
        return self.store_damage is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the session is brought back, and what will then be true.

    `turns_primed` of the `turns_in_context` are in it as a transcript. `fewest_visible` and `most_visible` bound
    the number of steps in the reopened harness's history. `interrupted_turn` is the number of the turn that was
    cut, None if there is none or if it is one that the journal does not know; `holds_cut_turn` says whether what
    is opened has the beginning of it, `rolled_back` that it would have but for `--interrupted rollback`, and
    `rollback_refused` that it has, since a finished turn would have been lost with it.
    """

    action: Action
    outcome: Outcome
    reason: Reason
    turns: int
    turns_in_context: int
    turns_primed: int
    turns_summarised: int
    fewest_visible: int
    most_visible: int
    checkpoint: CheckpointFacts | None
    interrupted_turn: int | None
    holds_cut_turn: bool
    rolled_back: bool
    rollback_refused: bool
    store_damaged: bool

    @property
    def turns_lost(self) -> int:
        """User turns of the session that the model will not have, not even as part of a summary."""
        return self.turns - self.turns_in_context - self.turns_summarised


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: for what evidence, what is done, and what it is called."""

    live: tuple[Live, ...]
    prompted: bool
    turn_open: bool | None
    outcome: Outcome
    reason: Reason | None
    meaning: str
    rollback: bool | None = None


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
        rollback=False,
    ),
    Row(
        live=(Live.CUT,),
        prompted=True,
        turn_open=None,
        outcome=Outcome.RESUMED,
        reason=Reason.INTERRUPTED,
        meaning="The last turn was cut; the checkpoint before it is restored.",
        rollback=True,
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
"""First match wins. A reason of None is the evidence's own `problem`. `rollback` is whether a rollback was asked
for and loses nothing but the turn that was cut. A row that recovers needs a usable checkpoint; without one the
conversation is rebuilt from the transcript, and without a transcript started fresh, with the row's reason. A row
that rolls back starts an empty conversation if the turn that was cut was the first (see `decide`)."""


def row_for(evidence: Evidence, on_interrupted: OnInterrupted = OnInterrupted.KEEP) -> Row:
    """The row of the table that fits. Exactly one does; a test goes through every combination."""
    # After damage to the session's own records, nobody can say that it was never prompted.
    prompted = _begun(evidence) > 0 or evidence.store_damaged
    turn_open = evidence.open_turn is not None
    rollback = on_interrupted is OnInterrupted.ROLLBACK and _cut_turn_is_all_that_is_newer(evidence)
    for row in TABLE:
        if (
            evidence.live in row.live
            and row.prompted == prompted
            and row.turn_open in (None, turn_open)
            and row.rollback in (None, rollback)
        ):
            return row
    raise AssertionError(f"no row for {evidence}")


def needs_transcript(evidence: Evidence) -> bool:
    """Whether `decide` must know how many turns a transcript would carry, and does not yet."""
    last_rung = row_for(evidence).outcome is Outcome.RECOVERED and not evidence.checkpoints
    return last_rung and evidence.transcript is None


def decide(evidence: Evidence, on_interrupted: OnInterrupted = OnInterrupted.KEEP) -> Plan:
    """How to bring the session back."""
    assert not needs_transcript(evidence), "the turns of the transcript are counted before the last rung"
    row = row_for(evidence, on_interrupted)
    reason = row.reason or evidence.problem
    assert reason is not None, "evidence of an unusable trajectory names the problem"
    newest = evidence.checkpoints[0] if evidence.checkpoints else None
    if row.reason is Reason.NEVER_PROMPTED:
        # The harness makes its database when it is first opened, which may never have happened.
        action, outcome = (Action.OPEN if evidence.live is Live.EQUAL else Action.CREATE), row.outcome
    elif row.rollback:
        action, outcome = (Action.RESTORE if newest else Action.CREATE), row.outcome
    elif row.outcome is Outcome.RESUMED:
        # The harness would begin by itself, and without asking, what was pending when it was killed.
        action, outcome = (Action.TRIM if evidence.pending else Action.OPEN), row.outcome
    elif newest is not None:
        action, outcome = Action.RESTORE, row.outcome
    elif evidence.transcript:
        action, outcome = Action.REBUILD, Outcome.REBUILT
    else:
        action, outcome = Action.CREATE, Outcome.FRESH
    return _plan(evidence, action, outcome, reason, on_interrupted)


def contradiction(plan: Plan, *, visible: int, user_turns: int) -> str | None:
    """What the reopened harness says against the plan, None if it agrees.

    Args:
        plan: what was decided.
        visible: number of steps in the harness's history.
        user_turns: how many of them are the user's.
    """
    # What the model gets as a transcript is no part of the harness's history.
    planned = plan.turns_in_context + plan.turns_summarised - plan.turns_primed
    if user_turns != planned:
        return f"the harness reopened with {user_turns} user turns instead of {planned}"
    if not plan.fewest_visible <= visible <= plan.most_visible:
        expected = " to ".join(map(str, dict.fromkeys((plan.fewest_visible, plan.most_visible))))
        return f"the harness reopened with {visible} steps instead of {expected}"
    return None


def live_rejected(evidence: Evidence, detail: str) -> Evidence:
    """The evidence after the harness refused the live trajectory or reopened it with something else in it."""
    return replace(evidence, live=Live.UNUSABLE, problem=Reason.REJECTED, detail=detail)


def checkpoint_unusable(evidence: Evidence, seq: int, detail: str) -> Evidence:
    """The evidence after a checkpoint turned out to be unusable."""
    left = tuple(checkpoint for checkpoint in evidence.checkpoints if checkpoint.seq != seq)
    joined = "; ".join(part for part in (evidence.detail, detail) if part)
    before, after = (found[0] if found else None for found in (evidence.checkpoints, left))
    # What it hides of the live trajectory is after the newest checkpoint now.
    hidden = (before.steps - before.visible if before else 0) - (after.steps - after.visible if after else 0)
    return replace(
        evidence,
        checkpoints=left,
        detail=joined,
        tail_hidden=evidence.tail_hidden + hidden,
        # The turns that it is witness of were begun, though it cannot bring them back.
        witnessed=_begun(evidence),
    )


def rebuild_failed(evidence: Evidence, detail: str) -> Evidence:
    """The evidence after the harness refused a new conversation that was primed with the transcript."""
    joined = "; ".join(part for part in (evidence.detail, detail) if part)
    return replace(evidence, transcript=0, detail=joined)


def cut_turn(evidence: Evidence) -> int | None:
    """The number of the turn that was cut, None if there is none or if the journal does not know it."""
    if evidence.live is Live.COMPLETE:
        # An open turn was cut, whatever became of the live trajectory, unless that holds the whole of it.
        return None
    if evidence.open_turn is None and evidence.live is Live.CUT and _live_depth(evidence) <= evidence.turns:
        return evidence.last_turn
    return evidence.open_turn


def _begun(evidence: Evidence) -> int:
    """How many turns were begun. The journal knows, unless it lost its end; then the others know better."""
    live = evidence.live_user_turns + evidence.primed
    stored = (max(checkpoint.depth, checkpoint.held) for checkpoint in evidence.checkpoints)
    return max(evidence.turns, evidence.witnessed, live, *stored)


def _live_depth(evidence: Evidence) -> int:
    """The place on its line of the live trajectory's last turn, if nothing after the checkpoint was lost."""
    newest = evidence.checkpoints[0] if evidence.checkpoints else None
    lost_before = newest.depth - newest.held if newest else 0
    return evidence.live_user_turns + evidence.primed + lost_before


def _cut_turn_is_all_that_is_newer(evidence: Evidence) -> bool:
    """Whether going back to the checkpoint, or to nothing, gives up the turn that was cut and no other.

    There may be a finished turn between them: one whose checkpoint was refused, or cannot be used.
    """
    held = evidence.checkpoints[0].held if evidence.checkpoints else 0
    return _live_holds_cut_turn(evidence) and evidence.live_user_turns + evidence.primed == held + 1


def _live_holds_cut_turn(evidence: Evidence) -> bool:
    stored = evidence.checkpoints[0].steps if evidence.checkpoints else 0
    if evidence.live is not Live.CUT or evidence.live_steps <= stored:
        return False
    if evidence.open_turn is None or evidence.open_turn_shown:
        return True
    # What is newer than the checkpoint may be of a turn before, whose checkpoint was refused.
    return _live_depth(evidence) >= evidence.turns


def _plan(
    evidence: Evidence, action: Action, outcome: Outcome, reason: Reason, on_interrupted: OnInterrupted
) -> Plan:
    """The plan for an action, with what will be true after it."""
    prompted = reason is not Reason.NEVER_PROMPTED
    cut = cut_turn(evidence) if prompted else None
    checkpoint: CheckpointFacts | None = None
    users, primed, summarised, fewest, most = 0, 0, 0, 0, 0
    holds = False
    rollback = on_interrupted is OnInterrupted.ROLLBACK
    rolled_back = rollback and reason is Reason.INTERRUPTED and action in (Action.RESTORE, Action.CREATE)
    if prompted and action in (Action.OPEN, Action.TRIM, Action.RESTORE) and evidence.checkpoints:
        checkpoint = evidence.checkpoints[0]
        users, primed, summarised = checkpoint.user_turns, checkpoint.primed, checkpoint.summarised
        fewest, most = checkpoint.visible, checkpoint.steps
    if action in (Action.OPEN, Action.TRIM):
        users, primed, summarised = evidence.live_user_turns, evidence.primed, evidence.live_summarised
        fewest += evidence.live_steps - most - evidence.tail_hidden
        most = evidence.live_steps
        holds = prompted and _live_holds_cut_turn(evidence)
    elif action is Action.REBUILD:
        primed = evidence.transcript or 0
        # The transcript has the newest turns; with a rollback it is made without the one that was cut.
        holds, rolled_back = cut is not None and not rollback, cut is not None and rollback
    return Plan(
        action=action,
        outcome=outcome,
        reason=reason,
        turns=max(_begun(evidence), users + primed),
        turns_in_context=users - summarised + primed,
        turns_primed=primed,
        turns_summarised=summarised,
        fewest_visible=fewest,
        most_visible=most,
        checkpoint=checkpoint,
        interrupted_turn=cut,
        holds_cut_turn=holds,
        rolled_back=rolled_back,
        rollback_refused=rollback and holds,
        store_damaged=evidence.store_damaged,
    )
