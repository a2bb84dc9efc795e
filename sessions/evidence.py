"""Gathers what there is to know about a session before it is opened: input and output, no decisions.

Nothing is written and nothing is changed: a load that is refused must leave every byte as it was. What costs more
than a look is looked at only when the decision needs it (`with_transcript`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sessions import checkpoint, primer, resume, trajectory, trim
from sessions.checkpoint import Checkpoint
from sessions.journal import INTERRUPTED, Journal, TurnRecord
from sessions.primer import Transcript
from sessions.report import Reason
from sessions.resume import CheckpointFacts, Evidence, Live, OnInterrupted
from sessions.session import Session
from sessions.trajectory import Trajectory, TrajectoryProblem


def gather(session: Session, journal: Journal) -> Evidence:
    """The evidence about a session whose lease is held and whose harness is not running.

    Raises:
        StoreDamaged: the store cannot be read.
    """
    turns = journal.all_turns()
    line = [record for record in turns if record.on_line]
    left = {record.turn for record in turns if not record.on_line}
    # One of a turn that the journal does not know is kept: then it is the journal that has lost something.
    checkpoints = [stored for stored in reversed(checkpoint.every(session)) if stored.turn not in left]
    newest = checkpoints[0] if checkpoints else None
    open_turn = line[-1].turn if line and line[-1].ended_at is None else None
    live_primer = session.primer
    primers = {stored.primer for stored in checkpoints}
    primed = {made.id: made.turns for named in primers if named and (made := session.stored_primer(named))}
    found = Evidence(
        turns=len(line),
        open_turn=open_turn,
        last_turn=line[-1].turn if line else None,
        checkpoints=tuple(facts(stored, primed.get(stored.primer or 0, 0)) for stored in checkpoints),
        live=Live.UNUSABLE,
        primed=live_primer.turns if live_primer else 0,
        store_damage=session.salvaged.detail if session.salvaged else None,
    )
    try:
        live = trajectory.read(session.trajectory_path, conversation_id=session.id, live=False)
    except TrajectoryProblem as problem:
        return replace(found, problem=problem.reason, detail=problem.detail)
    known = checkpoint.step_digests(session, newest) if newest else ()
    shown_more = open_turn is not None and _was_answered(journal, open_turn)
    if found.store_damaged and not (live.user_turns or line or checkpoints):
        detail = "it holds no turn, and what the session knew of its turns is lost"
        return replace(found, problem=Reason.EMPTY, detail=detail)
    if not live.user_turns and not checkpoints and any(_finished(record) for record in line):
        # A new conversation was begun for a session that has turns, and nothing was made of it yet.
        return replace(found, problem=Reason.EMPTY, detail="it holds no turn, and there are finished ones")
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


def transcript(found: Evidence, journal: Journal, on_interrupted: OnInterrupted) -> Transcript:
    """The transcript that a new conversation would be primed with.

    A turn that was cut is in it as far as the client saw it, unless such turns are rolled back.

    Raises:
        JournalError, StoreDamaged: the journal cannot be read.
    """
    given_up = resume.cut_turn(found) if on_interrupted is OnInterrupted.ROLLBACK else None
    turns = [record for record in journal.turns() if record.turn != given_up]
    return primer.transcript(turns, journal.entries())


def with_transcript(found: Evidence, journal: Journal, on_interrupted: OnInterrupted) -> Evidence:
    """The evidence with the turns of the transcript counted, if the decision needs to know them.

    Raises what `transcript` raises.
    """
    if not resume.needs_transcript(found):
        return found
    return replace(found, transcript=transcript(found, journal, on_interrupted).turns)


def began(journal: Journal, turn: int) -> float | None:
    """When a turn began, in seconds since the epoch, None if the journal does not know it."""
    started = (record.started_at for record in journal.all_turns() if record.turn == turn)
    return next((datetime.fromisoformat(at).timestamp() for at in started), None)


def _finished(record: TurnRecord) -> bool:
    return record.ended_at is not None and record.stop_reason != INTERRUPTED


def _was_answered(journal: Journal, turn: int) -> bool:
    return any(entry.kind != "user_message" for entry in journal.entries(turn))


def facts(stored: Checkpoint, primed: int) -> CheckpointFacts:
    """A stored checkpoint, of a conversation that was primed with so many turns, as the decision sees it."""
    return CheckpointFacts(
        seq=stored.seq,
        turn=stored.turn,
        depth=stored.depth,
        primed=primed,
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
    # just begun; if in doubt it is called cut. So is a turn that was halted because the agent was closed, and one
    # that has a step without an end: on a full disk the harness may store the one and not the other.
    whole = live.whole and not any(step.unfinished for step in live.last_turn)
    if whole and (not turn_open or (shown_more and not live.halted)):
        return Live.COMPLETE, f"it holds {more} more steps than the checkpoint, and the end of their turn"
    return Live.CUT, f"it holds {more} more steps than the checkpoint, but no end of their turn"
