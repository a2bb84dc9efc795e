"""What happened to a session is recorded with what it happened with, bounded, and never invented."""

from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from sessions import events
from sessions.events import ITEMS, TEXT, Kind
from sessions.journal import Journal
from sessions.report import Check, Interrupted, Orphan, Outcome, Reason, ResumeReport, Unfinished
from sessions.store import Session, StoreDamaged, StoreRefused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20).map(lambda text: text * 200),
    lambda inner: st.lists(inner, max_size=4).map(lambda each: each * 9) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def report(outcome: Outcome, reason: Reason) -> ResumeReport:
    return ResumeReport(
        outcome=outcome,
        reason=reason,
        summary="Turn 2 was cut.",
        turns=2,
        turns_in_context=2,
        turns_lost=0,
        interrupted=Interrupted(turn=2, unfinished=(Unfinished(kind="execute", title="`sleep`" * 999),) * 99),
        checks=(Check(name="trajectory", ok=True, detail="whole"),),
    )


def test_a_session_knows_that_it_is_new(session: Session) -> None:
    (made,) = session.events()
    assert (made.kind, made.turn, made.detail) == (Kind.MADE, 0, {"as": "new"})
    assert made.at == session.info.created_at


def test_a_load_is_recorded_with_its_report_and_the_turn_that_the_session_is_on(session: Session) -> None:
    Journal(session).begin_turn("one")
    told = report(Outcome.RESUMED, Reason.INTERRUPTED)
    detail = events.loaded(told, client="zed", again=False, note="It was cut.")
    session.record_outcome(told.outcome, told.reason, detail)
    loaded = session.events()[-1]
    assert (loaded.kind, loaded.turn) == (Kind.LOADED, 1)
    assert (loaded.detail["client"], loaded.detail["note"]) == ("zed", "It was cut.")
    kept = loaded.detail["report"]
    assert isinstance(kept, dict)
    assert (kept["turns"], kept["turnsInContext"], kept["summary"]) == (2, 2, "Turn 2 was cut.")
    interrupted = kept["interrupted"]
    assert isinstance(interrupted, dict)
    unfinished = interrupted["unfinished"]
    assert isinstance(unfinished, list)
    assert unfinished[-1] == {"leftOut": 99 - ITEMS}
    assert len(json.dumps(loaded.detail)) < 2 * ITEMS * TEXT


def test_the_command_lines_of_processes_are_not_kept(session: Session) -> None:
    left = Orphan(pid=4711, command="weather-server --token s3cr3t", since="2026-11-22T10:04:02.120Z", ended=True)
    told = report(Outcome.RESUMED, Reason.INTERRUPTED).model_copy(update={"orphans": (left,)})
    session.record_outcome(told.outcome, told.reason, events.loaded(told, client="zed", again=False, note=None))
    kept = session.events()[-1].detail["report"]
    assert isinstance(kept, dict)
    assert kept["orphans"] == [{"pid": 4711, "since": "2026-11-22T10:04:02.120Z", "ended": True}]
    for path in session.folder.iterdir():
        assert path.is_dir() or b"s3cr3t" not in path.read_bytes()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("reason", [Reason.VERIFIED, Reason.AHEAD])
def test_of_a_harness_that_was_only_opened_anew_no_report_is_kept(again: bool, reason: Reason) -> None:
    detail = events.loaded(report(Outcome.RESUMED, reason), client="zed", again=again, note=None)
    assert ("report" in detail) == (not again or reason is not Reason.VERIFIED)
    assert detail.get("again", False) == again


def test_what_the_disk_refuses_is_wholly_refused(session: Session) -> None:
    session.set_title("kept")
    other = sqlite3.connect(session.folder / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreRefused, match="locked"):
        session.record_outcome(Outcome.FRESH, Reason.EMPTY)
    with pytest.raises(StoreRefused, match="locked"):
        session.record(Kind.FORKED, {"session": "f" * 32, "turn": 1})
    other.close()
    assert session.info.outcome is None
    assert [event.kind for event in session.events()] == [Kind.MADE]


@given(JSON)
def test_a_bounded_value_is_the_same_but_for_what_is_too_long(value: JsonValue) -> None:
    def check(kept: JsonValue, given: JsonValue) -> None:
        if isinstance(given, str):
            assert kept == (given if len(given) <= TEXT else given[: TEXT - 1] + "…")
        elif isinstance(given, list):
            assert isinstance(kept, list)
            for one, two in zip(kept, given[:ITEMS], strict=False):
                check(one, two)
            assert kept[ITEMS:] == ([{"leftOut": len(given) - ITEMS}] if len(given) > ITEMS else [])
        elif isinstance(given, dict):
            assert isinstance(kept, dict)
            assert kept.keys() == given.keys()
            for key, inner in given.items():
                check(kept[key], inner)
        else:
            assert kept == given

    check(events.bounded(value), value)


@pytest.mark.parametrize("change", ["kind = 'imagined'", "detail = '[]'", "detail = '{'"])
def test_an_event_that_is_none_is_damage(session: Session, change: str) -> None:
    with session.transaction(durable=True) as db:
        db.execute(f"UPDATE event SET {change}")  # noqa: S608
    with pytest.raises(StoreDamaged):
        session.events()


def test_a_tool_call_has_the_times_that_were_seen(session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("one")
    journal.append("agent_message", "m", {}, "words")
    journal.put("tool_call", "seen", {"status": "pending"})
    journal.put("tool_call", "at once", {"status": "failed"})
    journal.put("tool_call", "seen", {"status": "completed"})
    journal.put("tool_call", "seen", {"status": "completed", "content": []})
    journal.put("tool_call", "found later", {"status": "completed"}, live=False)
    journal.put("tool_call", "ended unseen", {"status": "in_progress"})
    journal.put("tool_call", "ended unseen", {"status": "completed"}, live=False)
    found = {entry.key: entry for entry in journal.entries()}
    assert (found["m"].began_at, found["m"].ended_at) == (None, None)
    seen = found["seen"]
    assert seen.began_at is not None and seen.ended_at is not None
    assert seen.began_at < seen.ended_at
    assert found["at once"].began_at == found["at once"].ended_at is not None
    assert (found["found later"].began_at, found["found later"].ended_at) == (None, None)
    assert found["ended unseen"].began_at is not None
    assert found["ended unseen"].ended_at is None
