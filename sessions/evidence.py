"""Gathers what there is to know about a session before it is opened: input and output, no decisions.

Nothing is written and nothing is changed: a load that is refused must leave every byte as it was.
"""

from __future__ import annotations

from dataclasses import replace

from sessions import checkpoint, trajectory, trim
from sessions.checkpoint import Checkpoint
from sessions.journal import Journal
from sessions.resume import CheckpointFacts, Evidence, Live
from sessions.store import Session
from sessions.trajectory import Trajectory, TrajectoryProblem


def gather(session: Session, journal: Journal) -> Evidence:
    """The evidence about a session whose lease is held and whose harness is not running."""
    checkpoints = checkpoint.newest_first(session)
    newest = checkpoints[0] if checkpoints else None
    open_turn = journal.open_turn
    found = Evidence(
        turns=len(journal.turns()),
        open_turn=open_turn,
        checkpoints=tuple(facts(stored) for stored in checkpoints),
        live=Live.UNUSABLE,
    )
    try:
        live = trajectory.read(session.trajectory_path, conversation_id=session.id, live=False)
    except TrajectoryProblem as problem:
        return replace(found, problem=problem.reason, detail=problem.detail)
    known = checkpoint.step_digests(session, newest) if newest else ()
    shown_more = open_turn is not None and _was_answered(journal, open_turn)
    state, detail = compare(live, known, turn_open=open_turn is not None, shown_more=shown_more)
    end = trim.first_pending(live)
    opened = live.steps[:end]
    tail = opened[len(known) :]
    return replace(
        found,
        live=state,
        detail=detail,
        live_steps=len(opened),
        pending=end is not None,
        open_turn_shown=shown_more,
        live_user_turns=live.user_turns,
        live_summarised=live.summarised_turns,
        tail_hidden=sum(
            step.step_type in (trajectory.PLANNER_RESPONSE, trajectory.SYSTEM_MESSAGE) for step in tail
        ),
    )


def _was_answered(journal: Journal, turn: int) -> bool:
    return any(entry.turn == turn and entry.kind != "user_message" for entry in journal.entries())


def facts(stored: Checkpoint) -> CheckpointFacts:
    """A stored checkpoint as the decision sees it."""
    return CheckpointFacts(
        seq=stored.seq,
        turn=stored.turn,
        steps=stored.steps,
        user_turns=stored.user_turns,
        summarised=stored.summarised_turns,
        visible=stored.visible,
        at=stored.at,
    )


def compare(live: Trajectory, known: tuple[bytes, ...], *, turn_open: bool, shown_more: bool) -> tuple[Live, str]:
    """The live trajectory beside the newest checkpoint, and in words what was found.

    Args:
        live: what the harness's database holds.
        known: the digests of the checkpoint's steps; none if there is no checkpoint.
        turn_open: whether the journal knows a turn that never ended.
        shown_more: whether the client was shown anything of that turn.
    """
    held = tuple(step.digest for step in live.steps)
    if len(held) < len(known):
        return Live.SHORTER, f"it holds {len(held)} steps, the checkpoint {len(known)}"
    changed = next((n for n, (now, then) in enumerate(zip(held, known, strict=False)) if now != then), None)
    if changed is not None:
        return Live.CHANGED, f"step {changed} is not what was checkpointed"
    more = len(held) - len(known)
    if not more:
        if shown_more:
            return Live.SHORTER, "it holds nothing of a turn that was shown"
        return Live.EQUAL, f"it holds exactly the {len(known)} checkpointed steps"
    # An end that belongs to the turn before (whose checkpoint was refused) says nothing of a turn that had only
    # just begun; if in doubt it is called cut. So is a turn that was halted because the agent was closed.
    if live.whole and (not turn_open or (shown_more and not live.halted)):
        return Live.COMPLETE, f"it holds {more} more steps than the checkpoint, and the end of their turn"
    return Live.CUT, f"it holds {more} more steps than the checkpoint, but no end of their turn"
