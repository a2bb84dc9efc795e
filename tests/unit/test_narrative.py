"""The words for every outcome, and that they name no number but the plan's."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from sessions.narrative import note, summary
from sessions.report import (
    CommandState,
    EditState,
    FileChange,
    FolderChange,
    Outcome,
    Reason,
    Unfinished,
    folder_change,
)
from sessions.resume import Evidence, Live, OnInterrupted, Plan, decide
from tests.unit.evidences import PROBLEMS, checkpoint, every, evidence

UNFINISHED = (
    Unfinished(kind="execute", title="`make test`"),
    Unfinished(kind="edit", title="Edit app.py", state=EditState.NOT_APPLIED),
    Unfinished(kind="read", title="Read notes.txt"),
    Unfinished(kind="message", title="I will now"),
)

FILES = (
    FileChange(path="/work/app.py", state=EditState.NOT_APPLIED),
    FileChange(path="/work/made.py", state=EditState.APPLIED),
    FileChange(path="/work/half.py", state=EditState.CHANGED),
)

EVERY_STATE = [
    *(
        Unfinished(kind="execute", title="`make test`", state=state, detail="process 4711" if state else None)
        for state in (*CommandState, None)
    ),
    *(Unfinished(kind="edit", title="Edit app.py", state=state) for state in (*EditState, None)),
    Unfinished(kind="read", title="Read {notes}.txt"),
    Unfinished(kind="message", title="I will now"),
]

FOLDERS: dict[str, FolderChange | None] = {
    "unchanged": folder_change("/work", "/work", exists=True),
    "moved": folder_change("/work", "/other", exists=True),
    "gone": folder_change("/work", "/work", exists=False),
    "moved to nowhere": folder_change("/work", "/other", exists=False),
}

TOLD: dict[str, Evidence] = (
    {
        "never prompted": evidence(0, Live.EQUAL),
        "verified, 1 turn": evidence(1, Live.EQUAL, checkpoints=(1,)),
        "verified, 3 turns": evidence(3, Live.EQUAL, checkpoints=(3,)),
        "verified, 7 of 9 turns compacted": replace(evidence(9, Live.EQUAL, checkpoints=(9,)), live_summarised=7),
        "verified, 7 of 9 turns compacted, 1 lost": replace(
            evidence(9, Live.EQUAL, checkpoints=(checkpoint(9, user_turns=8),)), live_summarised=7
        ),
        "verified, 1 of 3 turns lost earlier": evidence(3, Live.EQUAL, checkpoints=(checkpoint(3, user_turns=2),)),
        "ahead, 1 turn": evidence(1, Live.COMPLETE, open_turn=1),
        "ahead, 3 turns": evidence(3, Live.COMPLETE, open_turn=3, checkpoints=(2,)),
        "interrupted, the only turn": evidence(1, Live.CUT, open_turn=1),
        "interrupted, the last of 3 turns": evidence(3, Live.CUT, open_turn=3, checkpoints=(2,)),
        "interrupted, the last of 3 turns, 1 lost earlier": evidence(
            3, Live.CUT, open_turn=3, checkpoints=(checkpoint(2, user_turns=1),)
        ),
        "interrupted, nothing of the only turn stored": evidence(1, Live.EQUAL, open_turn=1),
        "interrupted, nothing of the last of 3 turns stored": evidence(
            3, Live.EQUAL, open_turn=3, checkpoints=(2,)
        ),
        "interrupted, a turn that the journal does not know": evidence(2, Live.CUT, checkpoints=(2,)),
        "truncated, recovered, nothing lost": evidence(3, Live.SHORTER, checkpoints=(3,)),
        "truncated, recovered, the cut turn lost": evidence(3, Live.SHORTER, open_turn=3, checkpoints=(2,)),
        "diverged, recovered, 2 of 3 turns lost": evidence(3, Live.CHANGED, checkpoints=(1,)),
        "truncated, rebuilt, nothing lost": evidence(3, Live.SHORTER, transcript=3),
        "diverged, rebuilt, the cut turn in it, 1 lost": evidence(3, Live.CHANGED, open_turn=3, transcript=2),
        "verified, 2 of 3 turns as a transcript": evidence(3, Live.EQUAL, checkpoints=(3,), primed=2),
        "verified, the records damaged": evidence(3, Live.EQUAL, checkpoints=(3,), store_damage="a page"),
        "verified, the records damaged and no turn known": evidence(0, Live.EQUAL, store_damage="a page"),
        "empty, fresh, the records damaged and no turn known": evidence(
            0, Live.UNUSABLE, problem=Reason.EMPTY, store_damage="a page"
        ),
        "truncated, fresh, the only turn lost": evidence(1, Live.SHORTER),
        "diverged, fresh, 3 turns lost": evidence(3, Live.CHANGED),
    }
    | {
        f"{problem.value}, {name}": evidence(3, Live.UNUSABLE, problem=problem, checkpoints=kept)
        for problem in PROBLEMS
        for name, kept in {"recovered, 1 turn lost": (2,), "fresh": ()}.items()
    }
    | {
        f"{problem.value}, rebuilt": evidence(3, Live.UNUSABLE, problem=problem, transcript=3)
        for problem in PROBLEMS
    }
)

ROLLED_BACK: dict[str, Evidence] = {
    "to the checkpoint": evidence(3, Live.CUT, open_turn=3, checkpoints=(2,)),
    "to the beginning": evidence(1, Live.CUT, open_turn=1),
    "refused": evidence(3, Live.CUT, open_turn=3, checkpoints=(1,), tail_turns=2),
    "rebuilt without the cut turn": evidence(3, Live.CHANGED, open_turn=3, transcript=2),
}


def test_the_words_for_every_outcome(snapshot: SnapshotAssertion) -> None:
    told: dict[str, dict[str, str | None]] = {}
    for name, found in TOLD.items():
        plan = decide(found)
        unfinished = UNFINISHED if plan.interrupted_turn else ()
        excerpt = "rename the module" if plan.interrupted_turn else ""
        told[name] = {"summary": summary(plan), "note": note(plan, unfinished, prompt_excerpt=excerpt)}
    assert told == snapshot


def test_the_words_for_a_rollback(snapshot: SnapshotAssertion) -> None:
    told: dict[str, dict[str, str | None]] = {}
    for name, found in ROLLED_BACK.items():
        plan = decide(found, OnInterrupted.ROLLBACK)
        told[name] = {
            "summary": summary(plan, UNFINISHED, FILES),
            "note": note(plan, UNFINISHED, FILES, prompt_excerpt="rename the module"),
        }
    assert told == snapshot


def test_the_words_for_what_was_unfinished_and_for_folders(snapshot: SnapshotAssertion) -> None:
    cut = decide(evidence(3, Live.CUT, open_turn=3, checkpoints=(2,)))
    verified = decide(evidence(3, Live.EQUAL, checkpoints=(3,)))
    told = {
        repr((item.kind, item.state)): [summary(cut, [item]), note(cut, [item], prompt_excerpt="")]
        for item in EVERY_STATE
    } | {
        name: [summary(verified, cwd=cwd), note(verified, (), prompt_excerpt="", cwd=cwd)]
        for name, cwd in FOLDERS.items()
    }
    assert told == snapshot


def test_what_is_too_much_to_name_is_counted() -> None:
    cut = decide(evidence(1, Live.EQUAL, open_turn=1))
    items = [Unfinished(kind="read", title=f"Read {n}") for n in range(7)]
    files = [FileChange(path=f"/work/{n}", state=EditState.APPLIED) for n in range(8)]
    for told in (summary(cut, items, files), note(cut, items, files, prompt_excerpt="")):
        assert told is not None
        assert "Read 4" in told
        assert "Read 5" not in told
        assert "There are 2 more unfinished calls." in told
        assert "/work/4 and 3 more." in told


def test_every_outcome_and_reason_is_among_the_words_above() -> None:
    said = {(plan.outcome, plan.reason) for plan in map(decide, TOLD.values())}
    assert said == {(plan.outcome, plan.reason) for plan in map(decide, every())}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    turns = draw(st.integers(1, 500))
    kept = draw(st.integers(0, turns))
    primed = draw(st.integers(0, kept))
    held = draw(st.integers(0, kept - primed))
    live = draw(st.sampled_from(Live))
    found = evidence(
        turns,
        live,
        open_turn=draw(st.sampled_from((None, turns))) if kept < turns else None,
        checkpoints=(checkpoint(kept, user_turns=held, primed=primed),) if kept else (),
        primed=primed,
        transcript=draw(st.integers(0, turns)),
        problem=draw(st.sampled_from(PROBLEMS)) if live is Live.UNUSABLE else None,
        tail_turns=draw(st.integers(1, 3)),
    )
    return decide(found)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def context_numbers(plan: Plan) -> list[int]:
    if plan.turns == 1:
        return []
    primed = [plan.turns_primed] if 0 < plan.turns_primed < plan.turns_in_context else []
    if plan.turns_lost == 0:
        return [plan.turns, *primed]
    in_context = [plan.turns_in_context] if plan.turns_in_context else []
    return [*in_context, plan.turns, *primed, plan.turns_lost]


@given(plans())
def test_the_summary_names_exactly_the_plans_numbers(plan: Plan) -> None:
    text = summary(plan)
    if plan.outcome is Outcome.RECOVERED:
        assert plan.checkpoint is not None
        first = [plan.checkpoint.turn]
    else:
        cut = plan.interrupted_turn if plan.reason is Reason.INTERRUPTED else None
        first = [] if cut is None else [cut]
    assert numbers(text) == first + context_numbers(plan)
    if plan.turns == 1:
        assert f"The one turn is {'not ' if plan.turns_lost else ''}in the model's context" in text
    assert ("as a transcript" in text) == (plan.turns_primed > 0)
    assert ("None of" in text) == (plan.turns > 1 and plan.turns_in_context == 0)


@given(plans())
def test_the_model_is_told_of_a_cut_turn_and_of_newly_lost_turns_and_of_nothing_else(plan: Plan) -> None:
    told = note(plan, (), prompt_excerpt="")
    cut = plan.interrupted_turn is not None or plan.reason is Reason.INTERRUPTED
    lost = plan.outcome is not Outcome.RESUMED and plan.turns_lost > 0
    assert (told is not None) == (cut or lost)
    if told is not None:
        expected = [plan.interrupted_turn] if plan.interrupted_turn is not None else []
        expected += [plan.turns_lost, plan.turns_in_context, plan.turns] if lost else []
        assert numbers(told) == expected
        assert ("That turn is not in this conversation." in told) == (cut and not plan.holds_cut_turn)
