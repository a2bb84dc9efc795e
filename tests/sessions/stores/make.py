"""Makes the store of the present version that is kept for later ones: two lines, a primer, a tool call, events."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from sessions import checkpoint, portable, schema
from sessions.checkpoint import Streamed
from sessions.events import Kind
from sessions.journal import Journal
from sessions.report import Outcome, Reason
from sessions.store import Session, Store
from tests.sessions import harness_db
from tests.sessions.conftest import ticking_clock
from tests.sessions.stores import SESSIONS, pack, pack_portable


def fill(session: Session) -> None:
    """Three turns, of which the last was begun after going back to the first."""
    journal = Journal(session)
    with closing(harness_db.make(session.trajectory_path, session.id, (), ())) as db:
        for number, excerpt in enumerate(("My name is Ada.", "Write engine.txt.", "What is my name?"), start=1):
            if number == 3:
                primer = session.set_primer("The person's name is Ada.", 1).id
                journal.rewind(1, primer=primer, aside="20261123T000000.000Z-restored")
            turn = journal.begin_turn(excerpt)
            journal.append("user_message", f"user-{turn}", {"content": [{"type": "text", "text": excerpt}]})
            if number == 2:
                journal.put("tool_call", "tool-1", {"title": "Write engine.txt", "status": "completed"})
            harness_db.add_turn(db, f"answer {number}")
            for piece in ("answer ", str(number)):
                journal.stream("agent_message", f"agent-{turn}", piece)
            journal.end_turn(turn, "end_turn", input_tokens=100 * number, output_tokens=10 * number)
            streamed = Streamed(visible=2 * number, user_turns=number, last_text=f"answer {number}")
            checkpoint.take(session, journal, turn=turn, stop_reason="end_turn", streamed=streamed)
    session.remember("rule", {"allow": ["edit"]})
    session.record_outcome(Outcome.RESUMED, Reason.VERIFIED)
    session.record(Kind.FORKED, {"session": "f" * 32, "turn": 1})
    session.set_title("My name is Ada.")


def main() -> None:
    """Write the store."""
    with tempfile.TemporaryDirectory() as data:
        store = Store(Path(data), clock=ticking_clock())
        with store.create(SESSIONS[schema.VERSION], cwd="/work", client="editor") as session:
            fill(session)
            portable.export(session, Path(data) / "session.portable")
        pack(schema.VERSION, session.folder)
        pack_portable(schema.VERSION, Path(data) / "session.portable")


if __name__ == "__main__":
    main()
