"""Which turns the model had is what the checkpoints' databases hold, whatever a session has been through."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions import checkpoint, life, timeline
from sessions.checkpoint import Streamed
from sessions.context import NOTHING, Context, Turns, with_prompt
from sessions.journal import INTERRUPTED, Journal
from sessions.life import Life
from sessions.session import Session
from sessions.store import Store
from tests.sessions.conftest import SESSION_ID, ticking_clock
from tests.sessions.histories import add_turn, visible

Step = tuple[str, int]

STEPS = st.lists(
    st.tuples(st.sampled_from(["turn", "turn", "unsaved", "lost", "restore"]), st.integers(0, 5)), max_size=9
)


def recover(session: Session, journal: Journal, which: int) -> None:
    """Open an older checkpoint of the line, as a load does if the live database is of no use."""
    stored = checkpoint.newest_first(session)
    if not stored:
        return
    chosen = stored[which % len(stored)]
    session.move_aside("corrupt")
    checkpoint.restore(session, chosen, session.trajectory_path)
    journal.give_up_open_turn()
    streamed = Streamed(visible=0, user_turns=chosen.user_turns)
    checkpoint.take(session, journal, turn=journal.head, stop_reason=INTERRUPTED, streamed=streamed, new_base=True)


def go_through(session: Session, journal: Journal, steps: list[Step]) -> None:
    for what, which in steps:
        if what == "lost":
            recover(session, journal, which)
        elif what == "restore":
            saved = sorted({stored.turn for stored in checkpoint.every(session)})
            if saved:
                timeline.restore(session, journal, turn=saved[which % len(saved)])
        else:
            add_turn(session, journal, save=what == "turn")


def read(session: Session) -> Life:
    with life.reading(session) as found:
        return found


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_what_is_said_of_a_checkpoint_is_what_it_holds(steps: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), clock=ticking_clock())
        with store.create(SESSION_ID, cwd="/work") as session:
            journal = Journal(session)
            go_through(session, journal, steps)
            found = read(session)
            assert found.unread == ()
            for saved in found.saved:
                target = session.folder / "restored.db"
                checkpoint.restore(session, saved.checkpoint, target)
                held = visible(target)
                assert saved.context is not None
                assert saved.context.whole == len(held)
                known = saved.context.turns
                if known is not None:
                    assert list(known.whole) == held
                    line = {turn.turn for turn in journal.all_turns()}
                    assert set(known.lost) | set(known.whole) <= line
                    assert not set(known.lost) & set(held)
                    assert saved.context.lost == len(known.lost)


def test_turns_are_told_one_by_one(session: Session) -> None:
    journal = Journal(session)
    go_through(session, journal, [("turn", 0), ("turn", 0), ("unsaved", 0), ("lost", 0), ("turn", 0)])
    found = read(session)
    assert [turn.context.turns if turn.context else None for turn in found.turns] == [
        Turns((1,), (), (), ()),
        Turns((1, 2), (), (), ()),
        Turns((1, 2, 3), (), (), ()),  # with its prompt; it was lost later
        Turns((1, 2, 4), (), (), (3,)),
    ]
    assert [turn.basis for turn in found.turns] == ["checkpoint", "checkpoint", "before", "checkpoint"]
    assert [turn.cut for turn in found.turns] == [False, False, True, False]


def test_a_primed_conversation_has_the_turns_that_its_transcript_carries(session: Session) -> None:
    journal = Journal(session)
    for _ in range(3):
        add_turn(session, journal)
    session.move_aside("corrupt")
    session.set_primer("=== Turn 2: the user wrote\n> two\n=== Turn 3: the user wrote (shortened)\n> three", 2)
    add_turn(session, journal)
    context = read(session).saved[-1].context
    assert context == Context(1, 0, 2, 1, Turns((4,), (), (2, 3), (1,)))


def test_the_oldest_turns_are_those_of_a_summary(session: Session) -> None:
    journal = Journal(session)
    for _ in range(3):
        add_turn(session, journal)
    with session.transaction(durable=True) as db:
        db.execute("UPDATE checkpoint SET summarised_turns = 2 WHERE seq = 3")
    assert read(session).saved[-1].context == Context(1, 2, 0, 0, Turns((3,), (1, 2), (), ()))


def test_a_fork_of_all_turns_knows_them_and_one_of_less_does_not_guess(store: Store) -> None:
    with store.create(SESSION_ID, cwd="/work") as session:
        journal = Journal(session)
        go_through(session, journal, [("turn", 0), ("turn", 0), ("unsaved", 0), ("lost", 0), ("turn", 0)])
        whole = timeline.fork(store, session, turn=2).session_id
        less = timeline.fork(store, session, turn=4).session_id
    with store.open(whole) as forked:
        assert read(forked).turns[-1].context == Context(2, 0, 0, 0, Turns((1, 2), (), (), ()))
    with store.open(less) as forked:
        (saved,) = read(forked).saved
        assert saved.context == Context(3, 0, 0, 1, None)


@pytest.mark.parametrize("known", [NOTHING, Context(2, 1, 0, 1, None)])
def test_a_prompt_is_one_more_turn_in_full(known: Context) -> None:
    with_it = with_prompt(known, 9)
    assert (with_it.whole, with_it.lost) == (known.whole + 1, known.lost)
    assert (with_it.turns is None) == (known.turns is None)


def test_copies_of_the_folder_are_not_needed(session: Session) -> None:
    add_turn(session, Journal(session))
    shutil.rmtree(session.trajectory_dir)
    assert read(session).turns[0].context == Context(1, 0, 0, 0, Turns((1,), (), (), ()))
