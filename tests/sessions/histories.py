"""Sessions with a history whose turns can be told apart, on databases like those of the harness."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from sessions import checkpoint, evidence, resume
from sessions.checkpoint import Checkpoint, Streamed
from sessions.journal import Journal
from sessions.report import Outcome
from sessions.resume import Plan
from sessions.store import Session
from tests.sessions import harness_db

_PROMPT = re.compile(rb"<prompt (\d+)>")


def add_turn(session: Session, journal: Journal, *, save: bool = True, whole: bool = True) -> Checkpoint | None:
    """A turn whose prompt is its number; a checkpoint of it if it is to be saved."""
    session.make_folders()
    path = session.trajectory_path
    with closing(
        sqlite3.connect(path, isolation_level=None) if path.exists() else harness_db.make(path, session.id, (), ())
    ) as harness:
        turn = journal.begin_turn(f"prompt {journal.head + 1}")
        journal.append("user_message", f"prompt-{turn}", {"content": [{"type": "text", "text": f"prompt {turn}"}]})
        harness_db.add_step(harness, 14, text=f"<prompt {turn}>")
        harness_db.add_step(harness, 15, status=3 if whole else 8, text=f"answer {turn}")
        if whole:
            (steps,) = harness.execute("SELECT count(*) FROM steps").fetchone()
            harness_db.add_execution(harness, steps - 1)
        journal.append("agent_message", f"message-{turn}", {}, f"answer {turn}")
        if not save:
            return None
        streamed = Streamed(visible=0, user_turns=len(visible(path)))
        return checkpoint.take(session, journal, turn=turn, stop_reason="end_turn", streamed=streamed)


def visible(path: Path) -> list[int]:
    """The prompts in a harness's database, in order; none if there is no database."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        payloads = db.execute("SELECT step_payload FROM steps WHERE step_type = 14 ORDER BY idx").fetchall()
    return [int(found[1]) for (payload,) in payloads if (found := _PROMPT.search(payload))]


def assert_resumes(session: Session, journal: Journal, prompts: list[int]) -> Plan:
    """Assert that a load would resume the session with exactly these prompts, in the model and in the replay."""
    plan = resume.decide(evidence.gather(session, journal))
    assert (plan.outcome, plan.turns_in_context, plan.turns_lost) == (Outcome.RESUMED, len(prompts), 0)
    assert visible(session.trajectory_path) == prompts
    keys = [entry.key for entry in journal.entries() if entry.kind == "user_message"]
    assert keys == [f"prompt-{number}" for number in prompts]
    return plan
