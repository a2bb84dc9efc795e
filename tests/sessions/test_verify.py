"""Each kind of damage to what is stored of a session is found and named, and nothing is changed by looking."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from sessions import checkpoint
from sessions.checkpoint import Streamed
from sessions.journal import Journal
from sessions.session import Session
from sessions.verify import Verification, verify
from tests.sessions import harness_db

TURNS = 4


@pytest.fixture
def stored(session: Session) -> Session:
    """A session of four turns; the third checkpoint begins a new base."""
    journal = Journal(session)
    with closing(harness_db.make(session.trajectory_path, session.id, (), ())) as db:
        for turn in range(1, TURNS + 1):
            journal.begin_turn(f"prompt {turn}")
            journal.append("user_message", f"u{turn}", {"content": []}, "hello")
            journal.put("tool_call", f"t{turn}", {"status": "completed"})
            harness_db.add_turn(db, text=f"answer {turn}")
            streamed = Streamed(2 * turn, turn, f"answer {turn}")
            new_base = turn == 3
            checkpoint.take(
                session, journal, turn=turn, stop_reason="end_turn", streamed=streamed, new_base=new_base
            )
    return session


def test_what_is_as_it_was_stored_is_found_sound_and_progress_is_told(stored: Session) -> None:
    before = harness_db.fingerprint(stored.folder, ignore="-shm")
    verification = Verification(stored)
    progress = list(verification)
    assert [(finding.name, finding.ok) for finding in verification.findings] == [
        ("checkpoints", True),
        ("journal", True),
        ("trajectory", True),
    ]
    assert verification.ok
    done = [each.done for each in progress]
    assert done == sorted(done)
    assert {each.total for each in progress} == {progress[-1].done}
    assert harness_db.fingerprint(stored.folder, ignore="-shm") == before


def test_a_session_that_was_never_prompted_is_sound(session: Session) -> None:
    assert all(finding.ok for finding in verify(session))


def test_newer_steps_than_the_checkpoint_are_no_damage(stored: Session) -> None:
    with closing(sqlite3.connect(stored.trajectory_path, isolation_level=None)) as db:
        harness_db.add_turn(db)
    assert [finding.detail for finding in verify(stored)][-1].endswith("and 2 newer ones")


CONTENT = "UPDATE checkpoint_row SET content ="
DIGEST = "UPDATE checkpoint_row SET digest ="
STEP = "WHERE table_name = 'steps' AND row_id = 1 AND seq = 1"
# What is done to the store, the name of a finding that says so, and words of it.
DAMAGE: dict[str, tuple[str, str, str]] = {
    "content": (
        f"{CONTENT} x'00' {STEP}",
        "checkpoint 1 (turn 1)",
        "row 1 of steps cannot be read",
    ),
    "content of another row": (
        f"{CONTENT} (SELECT max(content) FROM checkpoint_row WHERE seq = 2) {STEP}",  # noqa: S608
        "checkpoint 1 (turn 1)",
        "row 1 of steps is not what was stored",
    ),
    "digest": (
        f"{DIGEST} zeroblob(32) {STEP}",
        "checkpoint 1 (turn 1)",
        "checkpoint 1 is not what was stored",
    ),
    "row lost": (
        "DELETE FROM checkpoint_row WHERE seq = 2 AND table_name = 'steps'",
        "checkpoint 2 (turn 2)",
        "checkpoint 2 is not what was stored",
    ),
    "facts": (
        "UPDATE checkpoint SET user_turns = 9 WHERE seq = 4",
        "checkpoint 4 (turn 4)",
        "checkpoint 4 is not what was stored",
    ),
    "checkpoint lost": ("DELETE FROM checkpoint WHERE seq = 2", "checkpoint 3 (turn 3)", "does not follow"),
    "first checkpoint lost": ("DELETE FROM checkpoint WHERE seq = 1", "checkpoint 2 (turn 2)", "1 is missing"),
    "rows of no checkpoint": ("DELETE FROM checkpoint WHERE seq = 4", "checkpoints", "belong to no checkpoint"),
    "base": (
        "UPDATE checkpoint SET base = 2 WHERE seq = 2",
        "checkpoint 2 (turn 2)",
        "checkpoint 2 is not what was stored",
    ),
    "table": ("DROP TABLE checkpoint_row", "store", "no such table"),
    "entry": ("UPDATE entry SET payload = '{' WHERE turn = 2", "entry 3", "cannot be read"),
    "entry of another kind": ("UPDATE entry SET payload = '[]' WHERE turn = 2", "entry 3", "no object"),
    "entry's text": ("UPDATE entry SET text = x'ff' WHERE turn = 2", "entry 3", "cannot be read"),
    "entry of no turn": ("UPDATE entry SET turn = 9 WHERE seq = 3", "entry 3", "turn 9, which is not stored"),
    "turn lost": ("DELETE FROM turn WHERE turn = 2", "turn 3", "does not follow turn 2"),
    "turn's place": ("UPDATE turn SET depth = 7 WHERE turn = 2", "turn 2", "does not follow turn 1"),
    "turn after itself": ("UPDATE turn SET parent = 3 WHERE turn = 3", "turn 3", "does not follow turn 3"),
    "turn's end": ("UPDATE turn SET ended_at = NULL WHERE turn = 4", "turn 4", "only half there"),
    "head": ("UPDATE session SET head = 9", "journal", "turn 9, on which the session is"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_the_store_is_found_and_named(stored: Session, damage: str) -> None:
    statement, where, words = DAMAGE[damage]
    with closing(sqlite3.connect(stored.folder / "store.db", isolation_level=None)) as db:
        db.execute(statement)
    wrong = [(finding.name, finding.detail) for finding in verify(stored) if not finding.ok]
    assert any(name == where and words in detail for name, detail in wrong), wrong


TRAJECTORIES = {
    "changed step": ("UPDATE steps SET step_payload = x'00' WHERE idx = 2", "step 2 is not what was checkpointed"),
    "missing steps": ("DELETE FROM steps WHERE idx >= 6", "step 6 is missing, 2 of 8 differ"),
    "another conversation's": (
        "UPDATE trajectory_meta SET trajectory_id = 'b'",
        "does not name this conversation",
    ),
}


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_damage_to_the_trajectory_is_found_and_named(stored: Session, name: str) -> None:
    statement, words = TRAJECTORIES[name]
    with closing(sqlite3.connect(stored.trajectory_path, isolation_level=None)) as db:
        db.execute(statement)
    (wrong,) = [finding for finding in verify(stored) if not finding.ok]
    assert wrong.name == "trajectory"
    assert words in wrong.detail


def test_a_trajectory_that_is_gone_is_found(stored: Session) -> None:
    stored.trajectory_path.unlink()
    assert [finding.ok for finding in verify(stored)] == [True, True, False]


def test_a_harness_that_is_open_is_looked_at_in_place(session: Session) -> None:
    with closing(harness_db.make(session.trajectory_path, session.id)):
        names = {finding.name: finding.ok for finding in verify(session, live=True)}
    assert names["trajectory"]
