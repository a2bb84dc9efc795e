"""Time travel: where a session can be taken, what is kept of where it was, and cuts at every moment."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sessions import checkpoint, timeline
from sessions.events import Kind
from sessions.journal import INTERRUPTED, Journal
from sessions.lease import Holder, Lease
from sessions.session import StoreRefused
from sessions.store import Session, Store
from sessions.timeline import NoSuchPoint, NotPreserved
from tests.sessions import cut
from tests.sessions.conftest import SESSION_ID, ticking_clock
from tests.sessions.harness_db import fingerprint
from tests.sessions.histories import add_turn, assert_resumes, visible

FORK_ID = "f" * 32


@pytest.fixture
def five(store: Store) -> Store:
    """A store with a session of five turns."""
    with store.create(SESSION_ID, cwd="/work") as session:
        journal = Journal(session)
        for _ in range(5):
            add_turn(session, journal)
    return store


def restore(store: Store, turn: int) -> timeline.Restored:
    with store.open(SESSION_ID) as session:
        return timeline.restore(session, Journal(session), turn=turn)


def test_every_turn_of_every_line_can_be_returned_to(five: Store) -> None:
    restore(five, 2)
    with five.open(SESSION_ID) as session:
        add_turn(session, Journal(session))
    lines = {0: [], 1: [1], 4: [1, 2, 3, 4], 6: [1, 2, 6], 5: [1, 2, 3, 4, 5], 2: [1, 2]}
    for turn, prompts in lines.items():
        restored = restore(five, turn)
        assert (restored.turn, restored.turns) == (turn, len(prompts))
        with five.open(SESSION_ID) as session:
            assert_resumes(session, Journal(session), prompts)


def test_a_damaged_record_of_a_restore_refuses_no_other(five: Store) -> None:
    restore(five, 3)
    with five.open(SESSION_ID) as session, session.transaction(durable=True) as db:
        db.execute("UPDATE event SET detail = '{' WHERE kind = 'restored'")
    assert restore(five, 2).turn == 2
    with five.open(SESSION_ID) as session, session.reading() as db:
        kinds = [kind for (kind,) in db.execute("SELECT kind FROM event ORDER BY id")]
    assert kinds == [Kind.MADE, Kind.RESTORED, Kind.RESTORED]


def test_what_is_moved_aside_is_what_was_there(five: Store) -> None:
    with five.open(SESSION_ID) as session:
        before = session.trajectory_path.read_bytes()
    restored = restore(five, 3)
    assert restored.preserved is None
    assert restored.moved_aside is not None
    assert restored.moved_aside.name.endswith("-restored")
    assert (restored.moved_aside / f"{SESSION_ID}.db").read_bytes() == before


@pytest.mark.parametrize("whole", [True, False], ids=["ahead", "cut"])
def test_what_only_the_live_trajectory_holds_is_checkpointed_first(five: Store, whole: bool) -> None:
    with five.open(SESSION_ID) as session:
        add_turn(session, Journal(session), save=False, whole=whole)
    restored = restore(five, 1)
    assert restored.preserved is not None
    assert restored.preserved.turn == 6
    assert restored.preserved.base == restored.preserved.seq
    assert restore(five, 6).checkpoint == restored.preserved
    with five.open(SESSION_ID) as session:
        journal = Journal(session)
        assert_resumes(session, journal, [1, 2, 3, 4, 5, 6])
        assert journal.turns()[-1].stop_reason == ("end_turn" if whole else INTERRUPTED)
        assert session.recall(timeline.NOTE) == timeline.BACK_NOTE + ("" if whole else f" {timeline.CUT_NOTE}")
    restore(five, 5)
    with five.open(SESSION_ID) as session:
        assert session.recall(timeline.NOTE) == timeline.BACK_NOTE


def test_what_cannot_be_kept_is_not_left(five: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with five.open(SESSION_ID) as session:
        add_turn(session, Journal(session), save=False)

    def refuse(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sessions.durable.sync_folder", refuse)
    with pytest.raises((NotPreserved, OSError)):
        restore(five, 2)
    monkeypatch.undo()
    with five.open(SESSION_ID) as session:
        assert_resumes(session, Journal(session), [1, 2, 3, 4, 5, 6])


def test_primer_of_a_rebuilt_conversation_comes_and_goes(store: Store) -> None:
    with store.create(SESSION_ID, cwd="/work") as session:
        journal = Journal(session)
        add_turn(session, journal)
        session.move_aside("corrupt")
        primer = session.set_primer("turn 1 was about engines", 1)
        add_turn(session, journal)
        for turn, expected in ((1, None), (2, primer), (0, None)):
            timeline.restore(session, journal, turn=turn)
            assert session.primer == expected
    with store.open(SESSION_ID) as session:
        made = timeline.fork(store, session, turn=2)
    with store.open(made.session_id) as forked:
        assert forked.primer == primer


def test_a_damaged_checkpoint_is_refused_and_nothing_changes(five: Store) -> None:
    with five.open(SESSION_ID) as session, session.transaction(durable=True) as db:
        db.execute("UPDATE checkpoint_row SET content = zeroblob(9) WHERE seq = 3 AND table_name = 'steps'")
    with five.open(SESSION_ID) as session:
        before = fingerprint(session.folder)
        for turn, sentence in (
            (3, "The checkpoint after turn 3 cannot be used"),
            (9, f"Session {SESSION_ID} has no turn 9; it has 1-5."),
        ):
            with pytest.raises(NoSuchPoint, match=sentence):
                timeline.restore(session, Journal(session), turn=turn)
            with pytest.raises(NoSuchPoint, match=sentence):
                timeline.fork(five, session, turn=turn)
        assert fingerprint(session.folder) == before
        assert len(five.page().summaries) == 1


def test_a_turn_without_a_checkpoint_says_which_turns_have_one(store: Store) -> None:
    with store.create(SESSION_ID, cwd="/work") as session:
        journal = Journal(session)
        for save in (True, True, False, True, True):
            add_turn(session, journal, save=save)
        with pytest.raises(NoSuchPoint, match=r"Turn 3 has no checkpoint; turns with one: 1-2, 4-5\."):
            timeline.restore(session, journal, turn=3)


def test_damage_of_what_was_left_does_not_reach_what_came_after(five: Store) -> None:
    restore(five, 2)
    with five.open(SESSION_ID) as session:
        journal = Journal(session)
        made = add_turn(session, journal)
        assert made is not None
        assert made.base == made.seq
        with session.transaction(durable=True) as db:
            db.execute("UPDATE checkpoint_row SET content = zeroblob(9) WHERE seq < ?", (made.seq,))
        checkpoint.restore(session, made, session.folder / "again.db")
        assert visible(session.folder / "again.db") == [1, 2, 6]


def test_fork_has_the_line_and_nothing_else(five: Store) -> None:
    restore(five, 2)
    with five.open(SESSION_ID) as session:
        journal = Journal(session)
        add_turn(session, journal)
        session.remember("permissions", {"run_command": "allow"})
        session.set_title("Engines")
        before = fingerprint(session.folder, ignore="-shm")
        made = timeline.fork(five, session, session_id=FORK_ID)
        assert fingerprint(session.folder, ignore="-shm") == before
    assert (made.session_id, made.turn, made.turns) == (FORK_ID, 6, 3)
    with five.open(FORK_ID) as forked:
        journal = Journal(forked)
        assert_resumes(forked, journal, [1, 2, 6])
        assert [each.turn for each in journal.all_turns()] == [1, 2, 6]
        assert forked.recall("permissions") is None
        assert (forked.info.title, forked.info.cwd) == ("Engines", "/work")
        add_turn(forked, journal)
        assert_resumes(forked, journal, [1, 2, 6, 7])
    restore(five, 5)


def test_a_fork_and_its_source_know_of_each_other(five: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def forks() -> list[object]:
        with five.open(SESSION_ID) as session:
            return [event.detail for event in session.events() if event.kind is Kind.FORKED]

    holder = Holder(pid=1, client="test", since="now")
    with five.open(SESSION_ID) as session:
        made = timeline.fork(five, session, turn=3)
        held = Lease.acquire(session.folder, holder)
        assert not timeline.record_fork(five, session, made, holder), "another has it open"
        assert forks() == []
        assert timeline.record_fork(five, session, made, None)
        held.release()
        assert timeline.record_fork(five, session, made, holder)
        assert forks() == [{"session": made.session_id, "turn": 3}] * 2
        Lease.acquire(session.folder, holder).release()

        def refuse(*_: object) -> None:
            raise StoreRefused(SESSION_ID, "disk full")

        monkeypatch.setattr(session, "record", refuse)
        assert not timeline.record_fork(five, session, made, holder)
    with five.open(made.session_id) as forked:
        (known,) = forked.events()
        assert known.detail == {"as": "fork", "from": SESSION_ID, "turn": 3}
        again = timeline.fork(five, forked)
    with five.open(again.session_id) as forked:
        assert [event.detail["from"] for event in forked.events()] == [made.session_id]


def test_fork_of_what_was_never_prompted(store: Store) -> None:
    with store.create(SESSION_ID, cwd="/work") as session:
        assert timeline.fork(store, session, session_id=FORK_ID).turns == 0
    with store.open(FORK_ID) as forked:
        assert_resumes(forked, Journal(forked), [])


def test_fork_falls_back_only_if_no_turn_was_asked_for(five: Store) -> None:
    with five.open(SESSION_ID) as session, session.transaction(durable=True) as db:
        db.execute("UPDATE checkpoint SET steps = 99 WHERE seq = 5")
    with five.open(SESSION_ID) as session:
        assert timeline.fork(five, session, session_id=FORK_ID).turn == 4
        with pytest.raises(NoSuchPoint):
            timeline.fork(five, session, turn=5)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, if there is one: a kill leaves what the system has, and syncing is what takes long."""
    memory = Path("/dev/shm")  # noqa: S108  (made for such files)
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made) / "data"


def copied(
    store: Store, folder: Path, action: Callable[[Store, Session], None]
) -> Callable[[], Callable[[], None]]:
    """Prepares a copy of a store, and something to be done with it."""

    def prepare() -> Callable[[], None]:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(store.folder(SESSION_ID).parent.parent, folder)

        def run() -> None:
            copy = Store(folder, clock=ticking_clock())
            with copy.open(SESSION_ID) as opened:
                action(copy, opened)

        return run

    return prepare


def test_a_restore_that_is_killed_at_any_moment_leaves_what_was_or_what_was_wanted(
    five: Store, folder: Path
) -> None:
    def go(_: Store, session: Session) -> None:
        timeline.restore(session, Journal(session), turn=2)

    with five.open(SESSION_ID) as session:
        add_turn(session, Journal(session), save=False)
    seen: list[int] = []
    for _ in cut.everywhere(copied(five, folder, go)):
        store = Store(folder, clock=ticking_clock())
        with store.open(SESSION_ID) as session:
            journal = Journal(session)
            timeline.finish_interrupted(session, journal)
            assert not (session.folder / timeline.INTENT).exists()
            assert_resumes(session, journal, [1, 2] if journal.head == 2 else [1, 2, 3, 4, 5, 6])
            recorded = [event for event in session.events() if event.kind is Kind.RESTORED]
            assert len(recorded) == (journal.head == 2)
            if seen and seen[-1] != journal.head:
                timeline.restore(session, journal, turn=6)
                assert_resumes(session, journal, [1, 2, 3, 4, 5, 6])
                timeline.restore(session, journal, turn=2)
            seen.append(journal.head)
    # First nothing has happened, and from some moment on everything will.
    assert seen == sorted(seen, reverse=True)
    assert {2, 6} == set(seen)


def test_a_restore_that_is_being_finished_can_be_killed_too(
    five: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(timeline, "_carry_out", stop)
        restore(five, 2)

    def finish(_: Store, session: Session) -> None:
        timeline.finish_interrupted(session, Journal(session))

    for _ in cut.everywhere(copied(five, folder, finish)):
        with Store(folder, clock=ticking_clock()).open(SESSION_ID) as session:
            journal = Journal(session)
            timeline.finish_interrupted(session, journal)
            assert_resumes(session, journal, [1, 2])
            (recorded,) = (event for event in session.events() if event.kind is Kind.RESTORED)
            assert (recorded.detail["from"], recorded.detail["to"]) == (5, 2)


def test_a_fork_that_is_killed_at_any_moment_is_whole_or_not_there(five: Store, folder: Path) -> None:
    def go(store: Store, session: Session) -> None:
        timeline.fork(store, session, turn=3, session_id=FORK_ID)

    whole: list[bool] = []
    for _ in cut.everywhere(copied(five, folder, go)):
        store = Store(folder, clock=ticking_clock())
        whole.append(FORK_ID in store.ids())
        if not whole[-1]:
            with store.open(SESSION_ID) as session:
                timeline.fork(store, session, turn=3, session_id=FORK_ID)
        with store.open(FORK_ID) as forked:
            assert_resumes(forked, Journal(forked), [1, 2, 3])
        with store.open(SESSION_ID) as session:
            assert_resumes(session, Journal(session), [1, 2, 3, 4, 5])
    assert whole == sorted(whole)


def test_a_fork_that_the_disk_refuses_is_not_there(five: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sessions.copying.write_trajectory", refuse)
    with five.open(SESSION_ID) as session, pytest.raises(StoreRefused, match="No space left"):
        timeline.fork(five, session)
    assert five.ids() == [SESSION_ID]
