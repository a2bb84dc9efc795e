"""Checkpoints: whatever a harness's database goes through, each state that was checkpointed comes back exactly."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sessions import checkpoint, trajectory
from sessions.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointUnusable,
    NotStored,
    Streamed,
    Tracker,
)
from sessions.journal import Journal
from sessions.store import Session, Store
from tests.sessions import harness_db
from tests.sessions.conftest import SESSION_ID, ticking_clock

BYTES = st.binary(max_size=40)

CHANGES = [
    "UPDATE steps SET task_details = :text WHERE idx = 1",
    "DELETE FROM gen_metadata WHERE idx >= 2",
    "DELETE FROM gen_metadata",
    "CREATE TABLE IF NOT EXISTS extra AS SELECT :text AS value",
    "DROP TABLE IF EXISTS extra",
    "CREATE INDEX IF NOT EXISTS by_size ON gen_metadata (size)",
    "DROP INDEX IF EXISTS by_size",
    "PRAGMA wal_checkpoint(TRUNCATE)",
]


@contextmanager
def harness(session: Session, steps: harness_db.Steps = harness_db.ONE_TURN) -> Iterator[sqlite3.Connection]:
    """The session's harness database, open as a running harness has it."""
    db = harness_db.make(session.trajectory_path, session.id, steps)
    try:
        yield db
    finally:
        db.close()


def take(
    session: Session,
    journal: Journal,
    streamed: Streamed | None = None,
    stop_reason: str = "end_turn",
    *,
    tracker: Tracker | None = None,
    new_base: bool = False,
) -> Checkpoint:
    """A checkpoint of the last turn; by default what was streamed is what is stored."""
    if streamed is None:
        live = trajectory.read(session.trajectory_path, conversation_id=session.id, live=True)
        streamed = Streamed(visible=len(live.steps), user_turns=live.user_turns)
    turn = journal.turns()[-1].turn
    return checkpoint.take(
        session,
        journal,
        turn=turn,
        stop_reason=stop_reason,
        streamed=streamed,
        tracker=tracker,
        new_base=new_base,
    )


class Checkpoints(RuleBasedStateMachine):
    """A harness database that changes in all ways, against full copies of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.session = Store(self.folder, clock=ticking_clock()).create(SESSION_ID, cwd="/work")
        self.journal = Journal(self.session)
        self.copies: dict[int, dict[str, list[object]]] = {}
        self.harness = harness_db.make(self.session.trajectory_path, SESSION_ID, (), ())
        self.tracker = Tracker(self.session.trajectory_path)

    @initialize()
    def first_turn(self) -> None:
        self.turn("hello")

    @rule(text=st.text(max_size=20))
    def turn(self, text: str) -> None:
        self.journal.begin_turn(text)
        self.journal.append("user_message", "key", {"content": text})
        harness_db.add_turn(self.harness, text.encode(errors="replace").decode())

    @rule(idx=st.integers(0, 5), data=BYTES)
    def rewrite_metadata(self, idx: int, data: bytes) -> None:
        self.harness.execute("INSERT OR REPLACE INTO gen_metadata (idx, data) VALUES (?, ?)", (idx, data))

    @rule(change=st.sampled_from(CHANGES), text=st.text(alphabet="ab\0é", max_size=5))
    def change(self, change: str, text: str) -> None:
        self.harness.execute(change, {"text": text} if ":text" in change else {})

    @rule()
    def add_a_column(self) -> None:
        columns = len(self.harness.execute("PRAGMA table_info(gen_metadata)").fetchall())
        self.harness.execute(f"ALTER TABLE gen_metadata ADD COLUMN extra{columns} TEXT DEFAULT 'none'")

    @rule()
    def poll(self) -> None:
        self.tracker.poll()

    @rule(new_base=st.sampled_from([False, False, False, True]), tracked=st.sampled_from([True, True, False]))
    def take(self, new_base: bool, tracked: bool) -> None:
        tracker = self.tracker if tracked else None
        stored = take(self.session, self.journal, tracker=tracker, new_base=new_base)
        assert (stored.base == stored.seq) == (new_base or stored.seq == 1)
        self.copies[stored.seq] = harness_db.contents(self.session.trajectory_path)
        steps = self.copies[stored.seq]["steps"]
        assert (stored.steps, stored.user_turns) == (len(steps), len(steps) // 2)
        assert self.journal.open_turn is None

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        if stored := checkpoint.newest_first(self.session):
            chosen = data.draw(st.sampled_from(stored))
            target = self.session.folder / "restored.db"
            checkpoint.restore(self.session, chosen, target)
            assert harness_db.contents(target) == self.copies[chosen.seq]
            restored = trajectory.read(target, conversation_id=SESSION_ID, live=False)
            assert tuple(step.digest for step in restored.steps) == checkpoint.step_digests(self.session, chosen)

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """The harness goes on from an older checkpoint; the later ones stay restorable."""
        if stored := checkpoint.newest_first(self.session):
            target = self.session.trajectory_dir / "restored.db"
            checkpoint.restore(self.session, data.draw(st.sampled_from(stored)), target)
            self.harness.close()
            self.tracker.close()
            self.session.move_aside("diverged")
            target.rename(self.session.trajectory_path)
            self.harness = sqlite3.connect(self.session.trajectory_path, isolation_level=None)
            self.tracker = Tracker(self.session.trajectory_path)

    @invariant()
    def the_list_is_complete(self) -> None:
        assert [stored.seq for stored in checkpoint.newest_first(self.session)] == sorted(
            self.copies, reverse=True
        )

    def teardown(self) -> None:
        self.harness.close()
        self.tracker.close()
        self.session.close()
        shutil.rmtree(self.folder)


Checkpoints.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_every_checkpointed_state_comes_back = Checkpoints.TestCase


def test_only_what_changed_is_stored(session: Session) -> None:
    journal = Journal(session)
    with harness(session) as db:
        for _ in range(3):
            journal.begin_turn("x")
            harness_db.add_turn(db, text="y" * 1000)
            take(session, journal)
    with session.reading() as store:
        stored = store.execute("SELECT seq, count(*) FROM checkpoint_row GROUP BY seq ORDER BY seq").fetchall()
    assert stored[1:] == [(2, 3), (3, 3)]  # two steps and the record of their execution


# What the harness did not store (facts, section 4), and what is streamed of a first turn then.
LACKS: dict[str, tuple[harness_db.Steps, tuple[int, ...], Streamed, str]] = {
    "a step": (((14, 3), (15, 3)), (1,), Streamed(3, 1), "holds 2 steps, and 3 were seen"),
    "the user's message": (((15, 3), (15, 3)), (1,), Streamed(2, 1), "holds 0 user messages, and there were 1"),
    "a step's end": (((14, 3), (15, 8)), (1,), Streamed(2, 1), "step 1 is not finished"),
    "the turn's end": (((14, 3), (15, 3)), (), Streamed(2, 1), "the end of the turn is not recorded"),
    "a later turn's end": (((14, 3), (15, 3), (14, 3), (15, 3)), (1,), Streamed(4, 2), "end of the turn"),
    "the answer": (((14, 3), (15, 3)), (1,), Streamed(2, 1, "another text"), "last message is not in it"),
    "this turn's answer": (
        ((14, 3), (15, 3), (14, 3), (21, 3)),
        (1, 3),
        Streamed(4, 2, "some text"),
        "last message is not in it",
    ),
}


@pytest.mark.parametrize("name", LACKS)
def test_a_turn_that_the_harness_did_not_store_is_not_called_durable(session: Session, name: str) -> None:
    steps, executions, streamed, words = LACKS[name]
    journal = Journal(session)
    turn = journal.begin_turn("hello")
    with harness(session, ()) as db:
        db.execute("DELETE FROM executor_metadata")
        for step_type, status in steps:
            harness_db.add_step(db, step_type, status)
        for ended_at in executions:
            harness_db.add_execution(db, ended_at)
        with pytest.raises(NotStored, match=words) as caught:
            take(session, journal, streamed)
    assert str(caught.value).endswith(".")
    assert journal.open_turn == turn
    assert checkpoint.newest_first(session) == []


HOLDS: dict[str, tuple[harness_db.Steps, tuple[int, ...], Streamed, str]] = {
    "a message that only asks for a tool is not shown": (
        ((14, 3), (15, 3), (21, 3), (15, 3)),
        (3,),
        Streamed(3, 1, "some text"),
        "end_turn",
    ),
    "an older turn that was cut": (((14, 3), (15, 8), (14, 3), (15, 3)), (3,), Streamed(4, 2), "end_turn"),
    "a cancelled step": (((14, 3), (15, 3), (21, 6)), (2,), Streamed(3, 1), "cancelled"),
    "a cancelled turn without an end": (((14, 3), (15, 8)), (), Streamed(2, 1), "cancelled"),
    "a failed turn": (((14, 3), (17, 3)), (0,), Streamed(2, 1), "error"),
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_turn_that_is_stored_is_checkpointed(session: Session, name: str) -> None:
    steps, executions, streamed, stop_reason = HOLDS[name]
    journal = Journal(session)
    journal.begin_turn("hello")
    harness_db.make(session.trajectory_path, session.id, steps, executions).close()
    stored = take(session, journal, streamed, stop_reason)
    surely_shown = sum(step_type != 15 for step_type, _ in steps)
    assert (stored.steps, stored.visible, stored.user_turns) == (len(steps), surely_shown, streamed.user_turns)
    assert [turn.stop_reason for turn in journal.turns()] == [stop_reason]
    assert session.summary().checkpoint == stored.ref


def test_a_text_with_a_lone_surrogate_is_looked_for_as_the_harness_has_it(session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("hello")
    with harness(session, ()) as db:
        db.execute("DELETE FROM executor_metadata")
        harness_db.add_turn(db, text="x?y")
        assert take(session, journal, Streamed(2, 1, "x\ud800y")).seq == 1


@pytest.mark.parametrize("refuse", ["locked", "full", "missing", "foreign"])
def test_what_is_refused_leaves_the_turn_open_and_is_stored_by_the_next(session: Session, refuse: str) -> None:
    journal = Journal(session)
    journal.begin_turn("first")
    other = sqlite3.connect(session.folder / "store.db", isolation_level=None)
    with harness(session) as db:
        if refuse == "locked":
            other.execute("BEGIN IMMEDIATE")
        elif refuse == "full":
            db.execute("INSERT INTO gen_metadata VALUES (0, randomblob(1000000), 0)")
            with session.transaction(durable=False) as store:
                (pages,) = store.execute("PRAGMA page_count").fetchone()
                store.execute(f"PRAGMA max_page_count = {pages + 20}")
        elif refuse == "missing":
            session.trajectory_path.rename(session.folder / "away.db")
        else:
            db.execute("UPDATE trajectory_meta SET trajectory_id = 'b'")
        with pytest.raises(CheckpointError) as caught:
            checkpoint.take(session, journal, turn=1, stop_reason="end_turn", streamed=Streamed(2, 1))
        assert str(caught.value).endswith(".")
        assert (checkpoint.newest_first(session), journal.open_turn) == ([], 1)
        if refuse == "locked":
            other.execute("ROLLBACK")
        elif refuse == "full":
            with session.transaction(durable=False) as store:
                store.execute("PRAGMA max_page_count = 1000000")
        elif refuse == "missing":
            (session.folder / "away.db").rename(session.trajectory_path)
        else:
            db.execute("UPDATE trajectory_meta SET trajectory_id = cascade_id")
        journal.begin_turn("second")
        harness_db.add_turn(db)
        stored = take(session, journal)
    other.close()
    assert (stored.seq, stored.turn, stored.steps) == (1, 2, 4)
    assert [(turn.turn, turn.stop_reason) for turn in journal.turns()] == [(1, "end_turn"), (2, "end_turn")]


def test_the_next_checkpoint_ends_an_earlier_turn_whose_own_was_refused(session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("first")
    with harness(session) as db:
        with pytest.raises(CheckpointError):
            take(session, journal, Streamed(3, 1))
        harness_db.add_step(db, 17)
        stored = take(session, journal, Streamed(3, 1), stop_reason="error")
    assert (stored.turn, stored.steps) == (1, 3)
    assert [(turn.turn, turn.stop_reason) for turn in journal.turns()] == [(1, "error")]


# Each damages the store under one of three checkpoints; the newest ones that build on it must not be used.
ROWS = "UPDATE checkpoint_row SET"
OF_FIRST = "FROM checkpoint_row WHERE seq = 1 AND table_name = 'steps' AND row_id = 0"
STEPS = "WHERE seq = 2 AND table_name = 'steps'"
DAMAGE = {
    "older content": f"{ROWS} content = (SELECT content {OF_FIRST}) {STEPS} AND row_id = 0",
    "content of another row": f"{ROWS} content = (SELECT content {OF_FIRST}) {STEPS} AND row_id = 3",
    "content of another table": f"{ROWS} content = (SELECT content {OF_FIRST}) WHERE seq = 2",
    "content that is no content": f"{ROWS} content = x'00' WHERE seq = 2",
    "content and digest": f"{ROWS} (content, digest) = (SELECT content, digest {OF_FIRST}) {STEPS}",
    "rows exchanged": f"{ROWS} row_id = 5 - row_id {STEPS}",
    "row lost": "DELETE FROM checkpoint_row WHERE seq = 2 AND table_name = 'steps' AND row_id = 3",
    "row added": f"INSERT INTO checkpoint_row SELECT table_name, 9, 2, digest, content {OF_FIRST}",
    "row deleted": f"{ROWS} content = NULL, digest = NULL {STEPS}",
    "facts": "UPDATE checkpoint SET user_turns = 9 WHERE seq = 2",
    "time": "UPDATE checkpoint SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 2",
    "page size": "UPDATE checkpoint SET page_size = 4096 WHERE seq = 2",
    "checkpoint lost": "DELETE FROM checkpoint WHERE seq = 2",
    "table lost": "DROP TABLE checkpoint_row",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_checkpoint_that_is_not_what_was_stored_is_not_restored(session: Session, name: str) -> None:
    journal = Journal(session)
    with harness(session) as db:
        for _ in range(3):
            journal.begin_turn("x")
            take(session, journal)
            harness_db.add_turn(db, text=f"answer {len(journal.turns())}")
            db.execute("UPDATE steps SET task_details = 'changed after the first' WHERE idx = 0")
    first, second, third = reversed(checkpoint.newest_first(session))
    target = session.folder / "restored.db"
    checkpoint.restore(session, third, target)
    other = sqlite3.connect(session.folder / "store.db")
    with other:
        other.execute(DAMAGE[name])
    other.close()
    before = harness_db.fingerprint(session.folder, ignore="-shm")
    for stored in (second, third):
        with pytest.raises(CheckpointUnusable) as caught:
            checkpoint.restore(session, stored, target)
        assert caught.value.checkpoint == stored
        assert caught.value.detail
    assert harness_db.fingerprint(session.folder, ignore="-shm") == before
    if name != "table lost":
        checkpoint.restore(session, first, target)
        assert len(harness_db.contents(target)["steps"]) == 2


AGAINST_OLDER = {
    "content": "UPDATE checkpoint_row SET content = x'00' WHERE seq < 3",
    "rows": "DELETE FROM checkpoint_row WHERE seq < 3",
    "checkpoints": "DELETE FROM checkpoint WHERE seq < 3",
    "digest": "UPDATE checkpoint SET digest = zeroblob(64) WHERE seq < 3",
}


@pytest.mark.parametrize("name", AGAINST_OLDER)
def test_damage_before_its_base_does_not_reach_a_checkpoint(session: Session, name: str) -> None:
    journal = Journal(session)
    with harness(session, ()) as db:
        for number in range(1, 5):
            journal.begin_turn("x")
            harness_db.add_turn(db, text=f"answer {number}")
            take(session, journal, new_base=number == 3)
        expected = harness_db.contents(session.trajectory_path)
    with session.transaction(durable=True) as store:
        store.execute("PRAGMA defer_foreign_keys = ON")
        if name == "checkpoints":
            store.execute("DELETE FROM checkpoint_row WHERE seq < 3")
        store.execute(AGAINST_OLDER[name])
    newest, base, *older = checkpoint.every(session)[::-1]
    for stored in (newest, base):
        checkpoint.restore(session, stored, session.folder / "restored.db")
    checkpoint.restore(session, newest, session.folder / "restored.db")
    assert harness_db.contents(session.folder / "restored.db") == expected
    for stored in older:
        with pytest.raises(CheckpointUnusable):
            checkpoint.restore(session, stored, session.folder / "restored.db")


def test_checkpoints_of_turns_that_were_left_are_kept_but_not_of_the_line(session: Session) -> None:
    journal = Journal(session)
    with harness(session, ()) as db:
        for number in range(1, 4):
            journal.begin_turn("x")
            harness_db.add_turn(db, text=f"answer {number}")
            take(session, journal)
    with session.transaction(durable=True) as store:
        store.execute("UPDATE session SET head = 1")
    assert [stored.seq for stored in checkpoint.newest_first(session)] == [1]
    assert [stored.seq for stored in checkpoint.every(session)] == [1, 2, 3]
    assert checkpoint.by_seq(session, 3).turn == 3


def test_a_checkpoint_that_is_gone_is_not_made_up_from_the_one_before(session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("x")
    with harness(session) as db:
        older = take(session, journal)
        harness_db.add_turn(db)
        newer = take(session, journal)
    with session.transaction(durable=True) as store:
        store.execute("DELETE FROM checkpoint_row WHERE seq = 2")
        store.execute("DELETE FROM checkpoint WHERE seq = 2")
    with pytest.raises(CheckpointUnusable, match="not stored"):
        checkpoint.restore(session, newer, session.folder / "restored.db")
    checkpoint.restore(session, older, session.folder / "restored.db")


def test_what_was_shown_is_durable_with_the_checkpoint_or_there_is_none(session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("hello")
    other = sqlite3.connect(session.folder / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.append("agent_message", "m", {}, "shown while the disk refused")
    with harness(session):
        with pytest.raises(CheckpointError, match="locked"):
            take(session, journal)
        other.close()
        take(session, journal)
    assert [entry.text for entry in Journal(session).entries()] == ["shown while the disk refused"]


def test_a_checkpoint_is_found_by_its_number(session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("x")
    with harness(session):
        stored = take(session, journal)
    assert checkpoint.by_seq(session, 1) == stored
    with pytest.raises(LookupError):
        checkpoint.by_seq(session, 2)


TAKE_FOREVER = """
import sys
from pathlib import Path
from sessions import checkpoint
from sessions.checkpoint import Streamed
from sessions.journal import Journal
from sessions.store import Store
from tests.sessions import harness_db
session = Store(Path(sys.argv[1])).open(sys.argv[2])
journal = Journal(session)
db = harness_db.make(session.trajectory_path, session.id, (), ())
while True:
    turn = journal.begin_turn("go on")
    journal.append("user_message", f"u{turn}", {})
    harness_db.add_turn(db)
    streamed = Streamed(turn * 2, turn)
    print(checkpoint.take(session, journal, turn=turn, stop_reason="end_turn", streamed=streamed).seq, flush=True)
"""


@pytest.mark.parametrize("last_seen", [1, 2, 7])
def test_what_was_called_durable_before_a_kill_can_be_restored(tmp_path: Path, last_seen: int) -> None:
    store = Store(tmp_path)
    store.create(SESSION_ID, cwd="/work").close()
    command = [sys.executable, "-c", TAKE_FOREVER, str(tmp_path), SESSION_ID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == last_seen:
                break
        process.kill()
    with store.open(SESSION_ID) as session:
        newest, *_ = checkpoint.newest_first(session)
        assert newest.seq >= last_seen
        ended = [turn.turn for turn in Journal(session).turns() if turn.ended_at is not None]
        assert ended == list(range(1, newest.turn + 1))
        target = session.folder / "restored.db"
        checkpoint.restore(session, newest, target)
        assert len(harness_db.contents(target)["steps"]) == newest.turn * 2
