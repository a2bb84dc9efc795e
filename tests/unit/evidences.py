"""Evidence as the disk can hold it, for the tests of the decision and of its words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from sessions.report import Reason
from sessions.resume import (
    Action,
    CheckpointFacts,
    Evidence,
    Live,
    Plan,
    checkpoint_unusable,
    live_rejected,
    rebuild_failed,
)

PROBLEMS = (Reason.MISSING, Reason.EMPTY, Reason.CORRUPT, Reason.FOREIGN, Reason.REJECTED)
"""What can be wrong with a live trajectory that is not even compared."""


def checkpoint(turn: int, *, user_turns: int | None = None, primed: int = 0) -> CheckpointFacts:
    """A checkpoint after a turn: four rows a turn, one of them hidden; of a primed turn there are none."""
    held = turn - primed if user_turns is None else user_turns
    at = f"2026-11-22T10:{turn:02}:00Z"
    return CheckpointFacts(
        seq=turn,
        turn=turn,
        depth=turn,
        steps=4 * held,
        user_turns=held,
        visible=3 * held,
        at=at,
        primed=primed,
    )


def evidence(
    turns: int,
    live: Live,
    *,
    open_turn: int | None = None,
    checkpoints: tuple[int | CheckpointFacts, ...] = (),
    problem: Reason | None = None,
    tail_turns: int = 1,
    primed: int = 0,
    transcript: int = 0,
    store_damage: str | None = None,
) -> Evidence:
    """Consistent evidence: the live trajectory's counts follow from its state and the newest checkpoint.

    Args:
        turns: turns that the journal knows.
        live: the state of the live trajectory.
        open_turn: the turn without an end.
        checkpoints: the turns after which there is a checkpoint, or checkpoints, newest first.
        problem: what is wrong with an unusable trajectory.
        tail_turns: user turns after the newest checkpoint, where the state says that there are any.
        primed: turns that the live conversation and those in the checkpoints have as a transcript.
        transcript: turns that a transcript would carry.
        store_damage: what was wrong with the session's records.
    """
    stored = tuple(
        item if isinstance(item, CheckpointFacts) else checkpoint(item, primed=primed) for item in checkpoints
    )
    steps, users = (stored[0].steps, stored[0].user_turns) if stored else (0, 0)
    steps, users, hidden = {
        Live.UNUSABLE: (0, 0, 0),
        Live.SHORTER: (max(steps - 2, 0), max(users - 1, 0), 0),
        Live.CHANGED: (steps, users, 0),
        Live.EQUAL: (steps, users, 0),
        Live.COMPLETE: (steps + 4 * tail_turns, users + tail_turns, tail_turns),
        Live.CUT: (steps + 4 * tail_turns - 2, users + tail_turns, tail_turns - 1),
    }[live]
    return Evidence(
        turns=turns,
        open_turn=open_turn,
        checkpoints=stored,
        live=live,
        problem=problem,
        detail="",
        live_steps=steps,
        tail_hidden=hidden,
        live_user_turns=users,
        open_turn_shown=open_turn is not None,
        last_turn=turns or None,
        primed=primed,
        transcript=transcript,
        store_damage=store_damage,
    )


def every() -> Iterator[Evidence]:
    """Every combination of live state, problem, turns, open turn, checkpoints, primer, transcript and damage.

    Also those in which the journal has lost turns that the trajectory or a checkpoint still holds.
    """
    states = [(live, None) for live in Live if live is not Live.UNUSABLE]
    unusable = [(Live.UNUSABLE, problem) for problem in PROBLEMS]
    kept = ((), (1,), (2, 1), (3, 2, 1), (3, checkpoint(2, user_turns=1)), (4, 3))
    rest = tuple(product((0, 1), (False, True), (None, "a page is gone")))
    for (live, problem), turns, checkpoints in product([*states, *unusable], (0, 1, 3, 4), kept):
        newest = max((item if isinstance(item, int) else item.turn for item in checkpoints), default=0)
        # The end of a turn is written together with its checkpoint, so a turn that has one is not open.
        open_turns = (None, turns) if turns > newest else (None,)
        for open_turn, tail, (primed, transcribed, damage) in product(open_turns, (1, 2), rest):
            if tail == 1 or live in (Live.COMPLETE, Live.CUT):
                yield evidence(
                    turns,
                    live,
                    open_turn=open_turn,
                    checkpoints=checkpoints,
                    problem=problem,
                    tail_turns=tail,
                    primed=primed,
                    transcript=turns if transcribed else 0,
                    store_damage=damage,
                )


def after_failure(found: Evidence, plan: Plan) -> Evidence | None:
    """The evidence after what a plan opened turned out not to be what it promised; None below the last rung."""
    if plan.action is Action.OPEN:
        return live_rejected(found, "the harness refused it")
    if plan.action is Action.RESTORE:
        assert plan.checkpoint is not None
        return checkpoint_unusable(found, plan.checkpoint.seq, "its digest is wrong")
    if plan.action is Action.REBUILD:
        return rebuild_failed(found, "the harness refused it")
    return None
