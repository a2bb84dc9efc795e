"""What is gathered of a session on disk, and that gathering it changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime

import pytest

from sessions import checkpoint, evidence, resume, trajectory
from sessions.checkpoint import Streamed
from sessions.journal import Journal
from sessions.primer import carried_turns
from sessions.report import Outcome, Reason
from sessions.resume import Live, OnInterrupted
from sessions.session import Salvaged, Session
from tests.sessions import harness_db

KEEP, ROLLBACK = OnInterrupted


@pytest.fixture
def journal(session: Session) -> Journal:
    return Journal(session)


@pytest.fixture
def harness(session: Session) -> Iterator[sqlite3.Connection]:
    """The session's harness database, empty, open as a running harness has it."""
    db = harness_db.make(session.trajectory_path, session.id, (), ())
    try:
        yield db
    finally:
        db.close()


def prompt(journal: Journal, text: str) -> int:
    """Begin a turn."""
    turn = journal.begin_turn(text)
    journal.append("user_message", f"prompt-{turn}", {"content": [{"type": "text", "text": text}]})
    return turn


def whole_turn(session: Session, journal: Journal, harness: sqlite3.Connection, text: str) -> int:
    """A turn with its checkpoint."""
    turn = prompt(journal, text)
    journal.append("agent_message", f"message-{turn}", {}, f"About {text}")
    harness_db.add_turn(harness)
    take(session, journal, turn)
    return turn


def take(session: Session, journal: Journal, turn: int) -> None:
    live = trajectory.read(session.trajectory_path, conversation_id=session.id, live=True)
    streamed = Streamed(visible=len(live.steps), user_turns=live.user_turns)
    checkpoint.take(session, journal, turn=turn, stop_reason="end_turn", streamed=streamed)


def test_gathering_changes_nothing(session: Session, journal: Journal, harness: sqlite3.Connection) -> None:
    whole_turn(session, journal, harness, "one")
    prompt(journal, "two")
    harness_db.add_step(harness, 14)
    harness_db.add_step(harness, 15, status=8)
    before = harness_db.fingerprint(session.folder, ignore="-shm")
    found = evidence.gather(session, Journal(session))
    evidence.transcript(found, Journal(session), KEEP)
    assert harness_db.fingerprint(session.folder, ignore="-shm") == before
    assert (found.live, found.turns, found.open_turn, found.last_turn) == (Live.CUT, 2, 2, 2)
    assert (found.live_user_turns, found.open_turn_shown, found.transcript) == (2, False, None)


def test_checkpoints_of_turns_that_were_left_do_not_count_and_numbers_are_not_places(
    session: Session, journal: Journal, harness: sqlite3.Connection
) -> None:
    for text in ("one", "two", "three"):
        whole_turn(session, journal, harness, text)
    journal.rewind(1, primer=None)
    harness.execute("DELETE FROM steps WHERE idx > 1")
    harness.execute("DELETE FROM executor_metadata WHERE idx > 0")
    found = evidence.gather(session, journal)
    assert [(stored.turn, stored.depth) for stored in found.checkpoints] == [(1, 1)]
    assert (found.turns, found.last_turn, found.live) == (1, 1, Live.EQUAL)
    assert whole_turn(session, journal, harness, "another two") == 4
    found = evidence.gather(session, journal)
    assert [(stored.turn, stored.depth) for stored in found.checkpoints] == [(4, 2), (1, 1)]
    plan = resume.decide(found)
    assert (plan.outcome, plan.reason, plan.turns, plan.turns_in_context) == (
        Outcome.RESUMED,
        Reason.VERIFIED,
        2,
        2,
    )


def test_a_checkpoint_of_a_turn_that_the_journal_lost_still_counts(
    session: Session, journal: Journal, harness: sqlite3.Connection
) -> None:
    for text in ("one", "two"):
        whole_turn(session, journal, harness, text)
    with session.transaction(durable=True) as db:
        db.execute("DELETE FROM turn WHERE turn = 2")
        db.execute("UPDATE session SET head = 1")
    harness.execute("DELETE FROM steps")
    plan = resume.decide(evidence.gather(session, Journal(session)))
    assert (plan.outcome, plan.turns, plan.turns_in_context) == (Outcome.RECOVERED, 2, 2)


def test_what_the_conversation_was_primed_with_counts(
    session: Session, journal: Journal, harness: sqlite3.Connection
) -> None:
    for _ in range(3):
        prompt(journal, "lost")
    session.set_primer("a transcript", 2)
    turn = prompt(journal, "four")
    harness_db.add_turn(harness)
    take(session, journal, turn)
    found = evidence.gather(session, journal)
    assert (found.primed, [stored.primed for stored in found.checkpoints]) == (2, [2])
    plan = resume.decide(found)
    assert (plan.turns, plan.turns_in_context, plan.turns_primed, plan.turns_lost) == (4, 3, 2, 1)
    session.use_primer(None)
    found = evidence.gather(session, journal)
    assert (found.primed, [stored.primed for stored in found.checkpoints]) == (0, [2])


def test_the_transcript_is_counted_when_it_is_needed(session: Session, journal: Journal) -> None:
    for text in ("one", "two", "three"):
        prompt(journal, text)
    session.trajectory_path.write_bytes(b"garbage" * 99)
    found = evidence.gather(session, journal)
    assert found.transcript is None
    assert resume.needs_transcript(found)
    plan = resume.decide(evidence.with_transcript(found, journal, KEEP))
    assert (plan.outcome, plan.reason, plan.turns_in_context) == (Outcome.REBUILT, Reason.CORRUPT, 3)
    assert carried_turns(evidence.transcript(found, journal, KEEP).text) == ["one", "two", "three"]
    # A turn that is rolled back is not in it.
    plan = resume.decide(evidence.with_transcript(found, journal, ROLLBACK), ROLLBACK)
    assert (plan.turns_in_context, plan.turns_lost, plan.rolled_back) == (2, 1, True)
    assert carried_turns(evidence.transcript(found, journal, ROLLBACK).text) == ["one", "two"]


def test_the_transcript_is_not_made_when_it_is_not_needed(
    session: Session, journal: Journal, harness: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_turn(session, journal, harness, "one")
    found = evidence.gather(session, journal)
    monkeypatch.setattr(Journal, "entries", None)
    assert evidence.with_transcript(found, journal, KEEP) is found


def test_a_salvaged_store_is_told_of_and_an_empty_rest_of_it_is_not_taken_for_a_new_session(
    session: Session, journal: Journal, harness: sqlite3.Connection
) -> None:
    session.salvaged = Salvaged(turns=0, entries=0, checkpoints=0, detail="a page is gone")
    found = evidence.gather(session, journal)
    assert (found.store_damage, found.live, found.problem) == ("a page is gone", Live.UNUSABLE, Reason.EMPTY)
    plan = resume.decide(evidence.with_transcript(found, journal, KEEP))
    assert (plan.outcome, plan.reason, plan.store_damaged) == (Outcome.FRESH, Reason.EMPTY, True)
    # What only the live trajectory knows is counted.
    harness_db.add_turn(harness)
    harness_db.add_turn(harness)
    plan = resume.decide(evidence.gather(session, journal))
    assert (plan.outcome, plan.turns, plan.turns_in_context, plan.store_damaged) == (Outcome.RESUMED, 2, 2, True)


def test_when_a_turn_began_is_known_while_the_journal_knows_it(session: Session, journal: Journal) -> None:
    turn = prompt(journal, "one")
    began = evidence.began(journal, turn)
    assert began is not None
    assert 0 <= began - datetime.fromisoformat(session.info.created_at).timestamp() < 60
    assert evidence.began(journal, turn + 1) is None


def test_an_answer_that_was_shown_must_be_in_the_trajectory(
    session: Session, journal: Journal, harness: sqlite3.Connection
) -> None:
    whole_turn(session, journal, harness, "one")
    turn = prompt(journal, "two")
    assert evidence.gather(session, journal).live is Live.EQUAL
    journal.stream("agent_message", f"message-{turn}", "I will")
    found = evidence.gather(session, journal)
    assert (found.live, found.open_turn_shown) == (Live.SHORTER, True)
    harness_db.add_step(harness, 14)
    assert evidence.gather(session, journal).live is Live.CUT
