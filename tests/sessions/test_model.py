"""Whatever is done with sessions, the model sees what a simple model in memory says that it sees.

The harness's databases are real SQLite files; what the model would get is read from them without any of the code
under test. After each operation every session is decided upon as a load decides, and the decision must be true.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sessions import checkpoint, evidence, housekeeping, portable, resume, timeline
from sessions.checkpoint import Streamed
from sessions.journal import Journal
from sessions.lease import Holder
from sessions.report import Outcome, Reason
from sessions.store import Session, Store
from tests.sessions import harness_db
from tests.sessions.conftest import ticking_clock

HOLDER = Holder(pid=1, client="test", since="2026-01-01T00:00:00.000Z")
PROMPT = re.compile(rb"<prompt (\d+)>")
WHOLE, UNSAVED, CUT = "whole", "unsaved", "cut"


def visible(path: Path) -> list[int]:
    """The prompts in a harness's database, in order; none if there is no database."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        payloads = db.execute("SELECT step_payload FROM steps WHERE step_type = 14 ORDER BY idx").fetchall()
    return [int(found[1]) for (payload,) in payloads if (found := PROMPT.search(payload))]


@dataclass
class Modelled:
    """A session: by turn its line's prompts, the turns with a checkpoint, and the line that it is on."""

    lines: dict[int, list[int]] = field(default_factory=lambda: {0: []})
    saved: set[int] = field(default_factory=lambda: {0})
    head: int = 0

    @property
    def history(self) -> list[int]:
        """What the model gets of it."""
        return self.lines[self.head]


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ticking_clock()
        self.store = Store(self.folder, clock=self.clock)
        self.model: dict[str, Modelled] = {}
        self.prompts = 0
        self.ids = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def chosen(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(list(self.model)))

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:032x}"

    def point(self, data: st.DataObject, session_id: str) -> int:
        return data.draw(st.sampled_from(sorted(self.model[session_id].saved)))

    def settle(self, session: Session, journal: Journal) -> None:
        """What a load does of what the decision says: nothing but a checkpoint of what has none."""
        timeline.finish_interrupted(session, journal)
        found = evidence.gather(session, journal)
        plan = resume.decide(found)
        known = self.model[session.id]
        assert plan.outcome is Outcome.RESUMED, plan
        assert plan.turns_in_context == plan.turns == len(known.history)
        assert plan.turns_lost == 0
        if plan.reason is Reason.AHEAD:
            streamed = Streamed(visible=0, user_turns=found.live_user_turns)
            checkpoint.take(session, journal, turn=journal.head, stop_reason="end_turn", streamed=streamed)
            known.saved.add(known.head)

    @initialize()
    def first(self) -> None:
        self.new()

    @rule()
    def new(self) -> None:
        session_id = self.new_id()
        self.store.create(session_id, cwd="/work").close()
        self.model[session_id] = Modelled()

    @precondition(lambda self: self.model)
    @rule(data=st.data(), ending=st.sampled_from([WHOLE, WHOLE, UNSAVED, CUT]))
    def turn(self, data: st.DataObject, ending: str) -> None:
        session_id = self.chosen(data)
        known = self.model[session_id]
        with self.store.open(session_id) as session:
            journal = Journal(session)
            self.settle(session, journal)
            exists = session.trajectory_path.exists()
            session.make_folders()
            with closing(
                sqlite3.connect(session.trajectory_path, isolation_level=None)
                if exists
                else harness_db.make(session.trajectory_path, session_id, (), ())
            ) as harness:
                self.prompts += 1
                turn = journal.begin_turn(f"prompt {self.prompts}")
                assert turn not in known.lines
                journal.append("user_message", f"user-{turn}", {"prompt": self.prompts})
                harness_db.add_step(harness, 14, text=f"<prompt {self.prompts}>")
                if ending == CUT:
                    harness_db.add_step(harness, 15, status=8)
                else:
                    harness_db.add_step(harness, 15, text=f"answer {self.prompts}")
                    (steps,) = harness.execute("SELECT count(*) FROM steps").fetchone()
                    harness_db.add_execution(harness, steps - 1)
                journal.append("agent_message", f"answer-{turn}", {}, f"answer {self.prompts}")
                known.lines[turn] = [*known.history, self.prompts]
                known.head = turn
                if ending == WHOLE:
                    streamed = Streamed(visible=0, user_turns=len(known.history))
                    checkpoint.take(session, journal, turn=turn, stop_reason="end_turn", streamed=streamed)
                    known.saved.add(turn)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        session_id = self.chosen(data)
        turn = self.point(data, session_id)
        known = self.model[session_id]
        with self.store.open(session_id) as session:
            restored = timeline.restore(session, Journal(session), turn=turn)
        assert (restored.turn, restored.turns, restored.left) == (turn, len(known.lines[turn]), known.head)
        known.saved.add(known.head)
        known.head = turn

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        session_id = self.chosen(data)
        turn = self.point(data, session_id)
        with self.store.open(session_id) as session:
            made = timeline.fork(self.store, session, turn=turn, session_id=self.new_id())
        self.copied(session_id, made.session_id, turn, only_line=True)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def carry(self, data: st.DataObject) -> None:
        session_id = self.chosen(data)
        known = self.model[session_id]
        file = self.folder / "carried"
        file.unlink(missing_ok=True)
        with self.store.open(session_id) as session:
            self.settle(session, Journal(session))
            if known.head not in known.saved:
                return  # what no checkpoint has is not carried, and the load on the other side says so
            portable.export(session, file)
        made = portable.import_(self.store, file, as_id=self.new_id())
        self.copied(session_id, made.session_id, known.head, only_line=False)

    def copied(self, source: str, made: str, turn: int, *, only_line: bool) -> None:
        known = self.model[source]
        kept = {
            each
            for each in known.lines
            if not only_line or (known.lines[each] == known.lines[turn][: len(known.lines[each])])
        }
        self.model[made] = Modelled(
            lines={each: known.lines[each] for each in kept},
            saved={0, turn} if only_line else set(known.saved),
            head=turn,
        )

    @precondition(lambda self: len(self.model) > 2)
    @rule(keep=st.integers(1, 3), dry_run=st.booleans())
    def prune(self, keep: int, dry_run: bool) -> None:
        by_use = [each.id for each in self.store.page(limit=1000).summaries]
        found = [*housekeeping.prune(self.store, HOLDER, older_than=None, keep=keep, dry_run=dry_run)]
        assert [each.summary.id for each in found] == by_use[keep:]
        assert all(each.size > 0 for each in found)
        if not dry_run:
            for gone in by_use[keep:]:
                del self.model[gone]

    @invariant()
    def every_session_is_as_modelled(self) -> None:
        assert sorted(each.id for each in self.store.page(limit=1000).summaries) == sorted(self.model)
        for session_id, known in self.model.items():
            with self.store.open(session_id) as session:
                journal = Journal(session)
                assert visible(session.trajectory_path) == known.history
                prompts = [entry.payload["prompt"] for entry in journal.entries() if entry.kind == "user_message"]
                assert prompts == known.history
                assert {each.turn for each in journal.all_turns()} == known.lines.keys() - {0}
                plan = resume.decide(evidence.gather(session, journal))
                assert (plan.outcome, plan.turns_in_context, plan.turns_lost) == (
                    Outcome.RESUMED,
                    len(known.history),
                    0,
                )


Sessions.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
test_history_is_what_a_simple_model_says = Sessions.TestCase
