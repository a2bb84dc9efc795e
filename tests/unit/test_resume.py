"""The decision, over every combination of evidence."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.report import Outcome, Reason
from sessions.resume import (
    TABLE,
    Action,
    Evidence,
    Live,
    OnInterrupted,
    Plan,
    checkpoint_unusable,
    contradiction,
    decide,
    live_rejected,
    needs_transcript,
    row_for,
)
from tests.unit.evidences import PROBLEMS, after_failure, checkpoint, every, evidence

EVERY = list(every())
LIVE_FAILED = {*PROBLEMS, Reason.TRUNCATED, Reason.DIVERGED}
LADDER = {
    Outcome.RESUMED: {Reason.VERIFIED, Reason.AHEAD, Reason.INTERRUPTED, Reason.NEVER_PROMPTED},
    Outcome.RECOVERED: LIVE_FAILED,
    Outcome.REBUILT: LIVE_FAILED,
    Outcome.FRESH: LIVE_FAILED,
}
KEEP, ROLLBACK = OnInterrupted
HOLDS_THE_CHECKPOINT = (Live.EQUAL, Live.COMPLETE, Live.CUT)


def ever_prompted(found: Evidence) -> bool:
    return bool(found.turns or found.checkpoints or found.live_user_turns or found.primed or found.store_damaged)


def best_possible(found: Evidence) -> Outcome:
    """The highest rung that the facts allow, told without the table."""
    if not ever_prompted(found) or found.live in HOLDS_THE_CHECKPOINT:
        return Outcome.RESUMED
    if found.checkpoints:
        return Outcome.RECOVERED
    return Outcome.REBUILT if found.transcript else Outcome.FRESH


def descent(found: Evidence | None, on_interrupted: OnInterrupted) -> list[tuple[Evidence, Plan]]:
    """All plans for evidence of which every one fails when it is carried out."""
    steps: list[tuple[Evidence, Plan]] = []
    while found is not None:
        plan = decide(found, on_interrupted)
        steps.append((found, plan))
        assert len(steps) < 100, f"loops: {found}"
        found = after_failure(found, plan)
    return steps


def test_exactly_one_row_fits_each_combination() -> None:
    for live, prompted, turn_open, rollback in product(Live, (False, True), (False, True), (False, True)):
        fitting = [
            row
            for row in TABLE
            if live in row.live
            and row.prompted == prompted
            and row.turn_open in (None, turn_open)
            and row.rollback in (None, rollback)
        ]
        assert len(fitting) == 1, (live, prompted, turn_open, rollback)


def test_every_row_is_reached() -> None:
    reached = {row_for(found, how).meaning for found in EVERY for how in OnInterrupted}
    assert reached == {row.meaning for row in TABLE}


def test_every_decision_is_as_high_as_the_facts_allow_and_its_numbers_add_up() -> None:
    for found, how in product(EVERY, OnInterrupted):
        plan = decide(found, how)
        assert plan.outcome is best_possible(found), found
        assert plan.reason in LADDER[plan.outcome], found
        assert (plan.reason is Reason.NEVER_PROMPTED) == (not ever_prompted(found)), found
        assert 0 <= plan.turns_primed <= plan.turns_in_context <= plan.turns, found
        assert plan.turns_lost == plan.turns - plan.turns_in_context >= 0, found
        assert plan.turns >= max(found.turns, found.live_user_turns), found
        assert 0 <= plan.fewest_visible <= plan.most_visible, found
        assert plan.interrupted_turn in (None, found.open_turn, found.turns), found
        if found.live is Live.UNUSABLE and plan.reason is not Reason.NEVER_PROMPTED:
            assert plan.reason is found.problem, found


def test_what_is_opened_is_what_the_outcome_says() -> None:
    for found in EVERY:
        plan = decide(found)
        if plan.action is Action.OPEN:
            assert plan.outcome is Outcome.RESUMED, found
            assert plan.turns_in_context == found.live_user_turns + found.primed, found
            assert plan.turns_primed == found.primed, found
            newest_hidden = found.checkpoints[0].steps - found.checkpoints[0].visible if plan.checkpoint else 0
            assert plan.most_visible - plan.fewest_visible == newest_hidden + found.tail_hidden, found
        elif plan.action is Action.RESTORE:
            newest = found.checkpoints[0]
            assert (plan.outcome, plan.checkpoint) == (Outcome.RECOVERED, newest), found
            assert plan.turns_in_context == newest.user_turns + newest.primed, found
            assert plan.turns_primed == newest.primed, found
            assert (plan.fewest_visible, plan.most_visible) == (newest.visible, newest.steps), found
        elif plan.action is Action.REBUILD:
            assert plan.outcome is Outcome.REBUILT, found
            assert plan.turns_in_context == plan.turns_primed == found.transcript, found
            assert (plan.most_visible, plan.checkpoint) == (0, None), found
        else:
            assert plan.outcome is Outcome.FRESH or plan.reason is Reason.NEVER_PROMPTED, found
            assert (plan.turns_in_context, plan.most_visible, plan.checkpoint) == (0, 0, None), found


def test_a_cut_turn_is_named_unless_its_end_is_on_disk() -> None:
    for found in EVERY:
        plan = decide(found)
        if found.open_turn is not None:
            expected = None if found.live is Live.COMPLETE else found.open_turn
            assert plan.interrupted_turn == expected, found
        elif found.live is not Live.CUT:
            assert plan.interrupted_turn is None, found
        opened = found.live is Live.CUT and plan.action is Action.OPEN
        transcribed = plan.interrupted_turn is not None and plan.action is Action.REBUILD
        assert plan.holds_cut_turn == (opened or transcribed), found
        assert not (plan.rolled_back or plan.rollback_refused), found


def test_failing_plans_lead_down_every_rung_once_and_end_fresh() -> None:
    order = [Action.OPEN, Action.RESTORE, Action.REBUILD, Action.CREATE]
    for found in EVERY:
        steps = descent(found, KEEP)
        rungs = [(order.index(plan.action), -len(now.checkpoints)) for now, plan in steps]
        assert rungs == sorted(set(rungs)), found
        assert steps[-1][1].action is Action.CREATE, found
        if ever_prompted(found):
            assert steps[-1][1].outcome is Outcome.FRESH, found
            assert sum(plan.action is Action.RESTORE for _, plan in steps) == len(found.checkpoints), found
            assert sum(plan.action is Action.REBUILD for _, plan in steps) == bool(found.transcript), found
        # However much turns out to be unusable, what was begun stays begun: nothing is lost without being counted.
        assert {plan.turns for _, plan in steps} == {steps[0][1].turns}, found


def test_a_rollback_gives_up_the_cut_turn_and_no_other() -> None:
    for found in EVERY:
        kept, plan = decide(found, KEEP), decide(found, ROLLBACK)
        if not kept.holds_cut_turn:
            assert plan == kept, found
            continue
        if plan.action is Action.REBUILD:
            assert (plan.rolled_back, plan.holds_cut_turn) == (True, False), found
            continue
        base = found.checkpoints[0] if found.checkpoints else None
        held = base.held if base else 0
        if found.live_user_turns + found.primed > held + 1 or (base is None and found.primed):
            assert plan == replace(kept, rollback_refused=True), found
            continue
        assert plan.action is (Action.RESTORE if base else Action.CREATE), found
        assert (plan.rolled_back, plan.holds_cut_turn, plan.rollback_refused) == (True, False, False), found
        assert (plan.outcome, plan.reason) == (Outcome.RESUMED, Reason.INTERRUPTED), found
        assert (plan.checkpoint, plan.interrupted_turn) == (base, kept.interrupted_turn), found
        # The turn counts as begun and as lost.
        assert (plan.turns, plan.turns_lost) == (kept.turns, kept.turns_lost + 1), found
        assert (plan.turns_in_context, plan.most_visible) == (held, base.steps if base else 0), found


def test_a_rollback_whose_checkpoint_is_unusable_keeps_the_live_trajectory() -> None:
    for found in EVERY:
        steps = descent(found, ROLLBACK)
        assert steps[-1][1].action is Action.CREATE, found
        assert {plan.turns for _, plan in steps} == {steps[0][1].turns}, found
        rolled_back = [(now, plan) for now, plan in steps if plan.rolled_back and plan.action is Action.RESTORE]
        for now, plan in rolled_back:
            after = after_failure(now, plan)
            assert after is not None
            again = decide(after, ROLLBACK)
            assert (again.action, again.rollback_refused) == (Action.OPEN, True), found
            kept = decide(found, KEEP)
            assert (again.fewest_visible, again.most_visible) == (kept.fewest_visible, kept.most_visible), found
            assert again.turns_lost == kept.turns_lost, found
            lost = [c.depth - c.held for c in found.checkpoints]
            if lost == sorted(lost, reverse=True):  # what an older checkpoint lacks, a newer one lacks too
                assert again.interrupted_turn == kept.interrupted_turn, found


def test_numbers_name_turns_and_do_not_count_them() -> None:
    def renumbered(number: int | None) -> int | None:
        return None if number is None else number + 17

    for found, how in product(EVERY, OnInterrupted):
        stored = tuple(replace(c, turn=c.turn + 17) for c in found.checkpoints)
        other = replace(
            found,
            checkpoints=stored,
            open_turn=renumbered(found.open_turn),
            last_turn=renumbered(found.last_turn),
        )
        plan, again = decide(found, how), decide(other, how)
        expected = replace(
            plan,
            interrupted_turn=renumbered(plan.interrupted_turn),
            checkpoint=stored[0] if plan.checkpoint else None,
        )
        assert again == expected, found


def test_the_transcript_is_asked_for_on_the_last_rung_only() -> None:
    for found in EVERY:
        uncounted = replace(found, transcript=None)
        last = decide(found).outcome in (Outcome.REBUILT, Outcome.FRESH)
        assert needs_transcript(uncounted) == last, found
        assert not needs_transcript(found), found
        if last:
            with pytest.raises(AssertionError, match="counted before the last rung"):
                decide(uncounted)
        else:
            assert decide(uncounted) == decide(found), found


def test_after_damage_to_the_records_nothing_is_called_never_prompted() -> None:
    for found in EVERY:
        plan = decide(found)
        assert plan.store_damaged == found.store_damaged
        assert not (plan.store_damaged and plan.reason is Reason.NEVER_PROMPTED), found


def test_an_unusable_checkpoint_takes_no_other_with_it() -> None:
    for found in EVERY:
        for bad in found.checkpoints:
            left = checkpoint_unusable(found, bad.seq, "its digest is wrong").checkpoints
            assert left == tuple(stored for stored in found.checkpoints if stored is not bad), found


def test_a_rejected_live_trajectory_always_leads_down() -> None:
    for found in EVERY:
        before, after = decide(found), decide(live_rejected(found, "no"))
        assert after.action is not Action.OPEN, found
        assert after.outcome.rung >= before.outcome.rung, found
        assert after.turns_in_context <= max(
            before.turns_in_context, *(c.held for c in found.checkpoints), found.transcript or 0
        )
        if after.outcome is not Outcome.RESUMED:
            assert after.reason is Reason.REJECTED, found


@given(
    st.sampled_from(EVERY).map(decide),
    st.integers(-3, 40),
    st.integers(-3, 12),
)
def test_any_deviation_of_the_reopened_harness_is_a_contradiction(plan: Plan, visible: int, users: int) -> None:
    said = contradiction(plan, visible=visible, user_turns=users)
    shown = plan.turns_in_context - plan.turns_primed
    agrees = users == shown and visible in range(plan.fewest_visible, plan.most_visible + 1)
    assert (said is None) == agrees
    if said is not None:
        assert f"with {users} user turns instead of {shown}" in said or f"with {visible} steps" in said


def test_exactly_the_planned_history_agrees() -> None:
    for found in EVERY:
        plan = decide(found)
        for visible in (plan.fewest_visible, plan.most_visible):
            shown = plan.turns_in_context - plan.turns_primed
            assert contradiction(plan, visible=visible, user_turns=shown) is None, found


Expected = tuple[Action, Outcome, Reason, int, int, int | None]
OPEN, RESTORE, REBUILD, CREATE = Action.OPEN, Action.RESTORE, Action.REBUILD, Action.CREATE
RESUMED, RECOVERED, REBUILT, FRESH = Outcome

CASES: dict[str, tuple[Evidence, Expected]] = {
    # name: evidence, (action, outcome, reason, turns in context, turns lost, interrupted turn)
    "created, never opened": (
        evidence(0, Live.UNUSABLE, problem=Reason.MISSING),
        (CREATE, RESUMED, Reason.NEVER_PROMPTED, 0, 0, None),
    ),
    "created and opened, never prompted": (
        evidence(0, Live.EQUAL),
        (OPEN, RESUMED, Reason.NEVER_PROMPTED, 0, 0, None),
    ),
    "closed in order after three turns": (
        evidence(3, Live.EQUAL, checkpoints=(3, 2, 1)),
        (OPEN, RESUMED, Reason.VERIFIED, 3, 0, None),
    ),
    "unchanged since a recovery that lost a turn": (
        evidence(3, Live.EQUAL, checkpoints=(checkpoint(3, user_turns=2), 1)),
        (OPEN, RESUMED, Reason.VERIFIED, 2, 1, None),
    ),
    "killed between the end of turn 3 and its checkpoint": (
        evidence(3, Live.COMPLETE, open_turn=3, checkpoints=(2, 1)),
        (OPEN, RESUMED, Reason.AHEAD, 3, 0, None),
    ),
    "killed in the middle of turn 3": (
        evidence(3, Live.CUT, open_turn=3, checkpoints=(2, 1)),
        (OPEN, RESUMED, Reason.INTERRUPTED, 3, 0, 3),
    ),
    "killed in the middle of the first turn": (
        evidence(1, Live.CUT, open_turn=1),
        (OPEN, RESUMED, Reason.INTERRUPTED, 1, 0, 1),
    ),
    "killed before the harness stored the prompt": (
        evidence(3, Live.EQUAL, open_turn=3, checkpoints=(2, 1)),
        (OPEN, RESUMED, Reason.INTERRUPTED, 2, 1, 3),
    ),
    "the last turn is cut in the trajectory, though the journal knows its end": (
        evidence(3, Live.CUT, checkpoints=(2, 1)),
        (OPEN, RESUMED, Reason.INTERRUPTED, 3, 0, 3),
    ),
    "the last turn is cut and the journal never heard of it": (
        evidence(2, Live.CUT, checkpoints=(2, 1)),
        (OPEN, RESUMED, Reason.INTERRUPTED, 3, 0, None),
    ),
    "the write-ahead log is gone": (
        evidence(3, Live.SHORTER, checkpoints=(3, 2)),
        (RESTORE, RECOVERED, Reason.TRUNCATED, 3, 0, None),
    ),
    "the write-ahead log is gone in the middle of turn 3": (
        evidence(3, Live.SHORTER, open_turn=3, checkpoints=(2,)),
        (RESTORE, RECOVERED, Reason.TRUNCATED, 2, 1, 3),
    ),
    "a checkpointed step was changed": (
        evidence(3, Live.CHANGED, checkpoints=(3, 2)),
        (RESTORE, RECOVERED, Reason.DIVERGED, 3, 0, None),
    ),
    "the file is missing and the newest checkpoint is two turns old": (
        evidence(3, Live.UNUSABLE, problem=Reason.MISSING, checkpoints=(1,)),
        (RESTORE, RECOVERED, Reason.MISSING, 1, 2, None),
    ),
    "the file is garbage and there is no checkpoint": (
        evidence(3, Live.UNUSABLE, problem=Reason.CORRUPT),
        (CREATE, FRESH, Reason.CORRUPT, 0, 3, None),
    ),
    "steps are gone and there is no checkpoint": (
        evidence(1, Live.SHORTER, open_turn=1),
        (CREATE, FRESH, Reason.TRUNCATED, 0, 1, 1),
    ),
    "the file is garbage, there is no checkpoint, and the journal is whole": (
        evidence(3, Live.UNUSABLE, problem=Reason.CORRUPT, transcript=3),
        (REBUILD, REBUILT, Reason.CORRUPT, 3, 0, None),
    ),
    "the same in the middle of turn 3, with room for two": (
        evidence(3, Live.UNUSABLE, problem=Reason.CORRUPT, open_turn=3, transcript=2),
        (REBUILD, REBUILT, Reason.CORRUPT, 2, 1, 3),
    ),
    "rebuilt with two turns, and prompted once since": (
        evidence(3, Live.EQUAL, checkpoints=(3, 2), primed=2),
        (OPEN, RESUMED, Reason.VERIFIED, 3, 0, None),
    ),
    "killed in the middle of the turn after a rebuild": (
        evidence(3, Live.CUT, open_turn=3, checkpoints=(2,), primed=2),
        (OPEN, RESUMED, Reason.INTERRUPTED, 3, 0, 3),
    ),
    "the store was salvaged, and only the live trajectory knows three turns": (
        replace(evidence(0, Live.COMPLETE, tail_turns=3, store_damage="a page is gone"), last_turn=None, turns=0),
        (OPEN, RESUMED, Reason.AHEAD, 3, 0, None),
    ),
    "the journal is gone, the checkpoint is not": (
        evidence(0, Live.UNUSABLE, problem=Reason.EMPTY, checkpoints=(2, 1)),
        (RESTORE, RECOVERED, Reason.EMPTY, 2, 0, None),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    found, expected = CASES[name]
    plan = decide(found)
    assert expected == (
        plan.action,
        plan.outcome,
        plan.reason,
        plan.turns_in_context,
        plan.turns_lost,
        plan.interrupted_turn,
    )


def test_evidence_of_an_unusable_trajectory_must_name_the_problem() -> None:
    nameless = replace(evidence(1, Live.UNUSABLE, problem=Reason.MISSING), problem=None)
    with pytest.raises(AssertionError, match="names the problem"):
        decide(nameless)


@given(st.sampled_from(EVERY), st.integers(0, 5), st.integers(0, 5))
def test_compacted_turns_are_neither_in_context_nor_lost(found: Evidence, live: int, stored: int) -> None:
    plain = decide(found)
    live, stored = min(live, found.live_user_turns), min(stored, *(c.user_turns for c in found.checkpoints), 9)
    checkpoints = tuple(replace(c, summarised=stored) for c in found.checkpoints)
    plan = decide(replace(found, live_summarised=live, checkpoints=checkpoints))
    summarised = {Action.OPEN: live, Action.TRIM: live, Action.RESTORE: stored}.get(plan.action, 0)
    assert plan.turns_summarised == summarised
    assert plan.turns_in_context == plain.turns_in_context - summarised
    assert (plan.turns, plan.turns_lost) == (plain.turns, plain.turns_lost)
    # The harness's history still has them all.
    shown = plain.turns_in_context - plain.turns_primed
    assert contradiction(plan, visible=plan.most_visible, user_turns=shown) is None
