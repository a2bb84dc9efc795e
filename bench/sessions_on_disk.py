"""Makes the sessions that are loaded: the first turns really, the rest as copies of the last of them.

The harness's turn takes longer the longer the conversation is, about a second at 1,000 turns, so a thousand
real ones take most of ten minutes. Turns beyond `REAL_TURNS` are therefore rows like those of the last real turn,
in the harness's database as the harness leaves it at idle; the journal and a checkpoint a turn are then written by
the agent's own code. Whether the harness takes that for a conversation of so many turns is not assumed: every load
compares its history with the report, and the next request to the model is counted (`bench.steps`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from acp_agent import prompts, showing
from bench.process import Json, StepFailed
from bench.sides import ANSWER, PROMPT, AgentSide, Place, StoredSession
from sessions import checkpoint
from sessions.checkpoint import CheckpointError, Streamed, Tracker
from sessions.journal import Journal
from sessions.lease import Holder, Lease
from sessions.store import Store, now

REAL_TURNS = 100
"""How many turns of a session are run through the agent at most."""

CHECKPOINTS = 1000
"""How many checkpoints a session that is made of rows has at most; several turns share one in a longer one."""

_STEP_COLUMNS = (
    "step_type, status, has_subtrajectory, metadata, error_details, permissions, task_details, render_info,"
    " step_payload, step_format"
)


def build(place: Place, sizes: list[int]) -> Iterator[StoredSession]:
    """A session of each size, which ascend; each grows out of the one before."""
    session: StoredSession | None = None
    for size in sizes:
        have = session.turns if session else 0
        for target in sorted({min(size, REAL_TURNS), size} - set(range(have + 1))):
            extend = _run_turns if target <= REAL_TURNS else _add_rows
            session = extend(place, session, target)
        assert session is not None
        # What is measured changes it, and the next one grows out of it.
        yield session.copy(place.root / f"measured-{size}")


def _run_turns(place: Place, session: StoredSession | None, turns: int) -> StoredSession:
    data_dir = place.root / f"session-{turns}"
    if session is not None and session.turns == turns:
        return session
    if session is not None:
        session = session.copy(data_dir)
    with AgentSide(place, data_dir) as agent:
        agent.initialize()
        if session is None:
            session = StoredSession(data_dir, agent.new(), 0)
        else:
            agent.load(session)
        for _ in range(session.turns, turns):
            agent.turn(session.session_id)
    return StoredSession(data_dir, session.session_id, turns)


def _add_rows(place: Place, session: StoredSession | None, turns: int) -> StoredSession:
    assert session is not None
    grown = session.copy(place.root / f"session-{turns}", turns=turns)
    with ExitStack() as stack:
        lease = Lease.acquire(grown.folder, Holder(pid=os.getpid(), client="bench", since=now()))
        stack.callback(lease.release)
        store = stack.enter_context(Store(grown.data_dir).open(grown.session_id))
        journal = Journal(store)
        tracker = Tracker(grown.trajectory)
        stack.callback(tracker.close)  # after the connection to the database
        db = stack.enter_context(closing(_connect(grown.trajectory)))
        every = turns // CHECKPOINTS + 1
        block: Json = {"type": "text", "text": PROMPT}
        for turn in range(session.turns + 1, turns + 1):
            journal.begin_turn(prompts.excerpt([block]))
            journal.append("user_message", showing.user_message(turn), {"content": [block]})
            journal.stream("agent_message", f"message-{turn}-1", ANSWER)
            _add_turn(db, turn - 1)
            if turn % every and turn != turns:
                journal.end_turn(turn, "end_turn")
                continue
            streamed = Streamed(visible=2 * turn, user_turns=turn, last_text=ANSWER)
            try:
                checkpoint.take(
                    store, journal, turn=turn, stop_reason="end_turn", streamed=streamed, tracker=tracker
                )
            except CheckpointError as error:
                raise StepFailed(f"turn {turn} could not be added: {error}") from error
    return grown


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = NORMAL")  # as the harness has it
    return db


def _add_turn(db: sqlite3.Connection, turn: int) -> None:
    """Add the rows of turn `turn`, counted from 0; they are those of the turn before, with the next numbers."""
    first = 2 * turn
    db.execute("BEGIN")
    for idx in (first, first + 1):
        db.execute(
            f"INSERT INTO steps (idx, {_STEP_COLUMNS}) SELECT ?, {_STEP_COLUMNS} FROM steps WHERE idx = ?",  # noqa: S608
            (idx, idx - 2),
        )
    # The harness keeps the model's settings with the newest generation only: the one before it shrinks.
    db.execute("INSERT INTO gen_metadata SELECT ?, data, size FROM gen_metadata WHERE idx = ?", (turn, turn - 1))
    db.execute(
        "UPDATE gen_metadata SET (data, size) = (SELECT data, size FROM gen_metadata WHERE idx = ?) WHERE idx = ?",
        (turn - 2, turn - 1),
    )
    (record,) = db.execute("SELECT data FROM executor_metadata WHERE idx = ?", (turn - 1,)).fetchone()
    ended = record.replace(_last_step(first - 1), _last_step(first + 1), 1)
    if ended == record:
        raise StepFailed("the harness records the end of a turn in another way than this expects")
    db.execute("INSERT INTO executor_metadata (idx, data) VALUES (?, ?)", (turn, ended))
    db.execute("COMMIT")


def _last_step(idx: int) -> bytes:
    """The field of an execution's record that says with which step it ended (see `sessions.trajectory`)."""
    field = bytearray([0x18])
    while idx > 0x7F:
        field.append(idx & 0x7F | 0x80)
        idx >>= 7
    field.append(idx)
    return bytes(field)
