"""The journal: what was shown comes back whole and in order, whatever the disk does, whenever the process ends."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import JsonValue

from sessions import schema
from sessions.journal import INTERRUPTED, Journal, JournalError, MessageKind
from sessions.store import Session, Store
from tests.sessions.conftest import SESSION_ID, ticking_clock

KINDS: st.SearchStrategy[MessageKind] = st.sampled_from(["user_message", "agent_message", "agent_thought"])
KEYS = st.sampled_from(["a", "b", "\ud800"])
TEXT = st.text(st.characters(), max_size=10)  # lone surrogates too
PAYLOADS = st.dictionaries(TEXT, st.one_of(st.none(), st.integers(), TEXT, st.lists(TEXT, max_size=2)), max_size=3)


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    """A disk that refuses is not waited for, so that hypothesis can try many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "BUSY_MILLISECONDS", 0)
        yield


Shown = tuple[int, str, str, dict[str, JsonValue], str]
"""Turn, kind, key, payload and text of an entry."""


def shown(journal: Journal) -> list[Shown]:
    entries = list(journal.entries())
    assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
    return [(entry.turn, entry.kind, entry.key, entry.payload, entry.text) for entry in entries]


class Journals(RuleBasedStateMachine):
    """A journal on a disk that refuses now and then, against plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(self.folder, clock=ticking_clock())
        self.session = self.store.create(SESSION_ID, cwd="/work")
        self.journal = Journal(self.session)
        self.disk: sqlite3.Connection | None = None
        self.entries: list[list[object]] = []
        self.turns: list[tuple[int, str, str | None]] = []
        self.parents: dict[int, int] = {}
        self.head = 0
        self.streaming: tuple[MessageKind, str] | None = None
        self.last_streamed: tuple[MessageKind, str] | None = None

    @rule(kind=KINDS, key=KEYS, payload=PAYLOADS, text=TEXT)
    def append(self, kind: MessageKind, key: str, payload: dict[str, JsonValue], text: str) -> None:
        self.journal.append(kind, key, payload, text)
        self.entries.append([self.head, kind, key, payload, text])
        self.streaming = None

    @rule(kind=KINDS, key=KEYS, delta=TEXT, payload=PAYLOADS)
    def stream(self, kind: MessageKind, key: str, delta: str, payload: dict[str, JsonValue]) -> None:
        self._stream(kind, key, delta, payload)

    def _stream(self, kind: MessageKind, key: str, delta: str, payload: dict[str, JsonValue]) -> None:
        self.journal.stream(kind, key, delta, payload=payload)
        if self.streaming == (kind, key):
            self.entries[-1][4] = str(self.entries[-1][4]) + delta
        else:
            self.entries.append([self.head, kind, key, payload, delta])
        self.streaming = self.last_streamed = (kind, key)

    @rule(delta=TEXT)
    @precondition(lambda self: self.last_streamed is not None)
    def stream_more(self, delta: str) -> None:
        """The same message again, whether or not another entry began since."""
        assert self.last_streamed is not None
        self._stream(*self.last_streamed, delta, {})

    @rule(key=KEYS, payload=PAYLOADS)
    def put(self, key: str, payload: dict[str, JsonValue]) -> None:
        self.journal.put("tool_call", key, payload)
        for entry in self.entries:
            if entry[1:3] == ["tool_call", key]:
                entry[3] = payload
                return
        self.entries.append([self.head, "tool_call", key, payload, ""])
        self.streaming = None

    @rule(excerpt=st.text(max_size=5))
    def begin_turn(self, excerpt: str) -> None:
        self._begin(excerpt, INTERRUPTED)
        assert self.journal.begin_turn(excerpt) == self.head
        self.streaming = None

    def _begin(self, excerpt: str, stop_reason: str) -> None:
        self._end_last(stop_reason)
        self.turns.append((len(self.turns) + 1, excerpt, None))
        self.parents[len(self.turns)] = self.head
        self.head = len(self.turns)

    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        turn = data.draw(st.integers(0, len(self.turns) + 1))
        self.streaming = None
        if self.disk is not None:
            with pytest.raises(JournalError, match="locked"):
                self.journal.rewind(turn, primer=None)
        elif turn > len(self.turns):
            with pytest.raises(LookupError):
                self.journal.rewind(turn, primer=None)
        else:
            self.journal.rewind(turn, primer=None)
            self._end_last(INTERRUPTED)
            self.head = turn

    def _line(self) -> list[int]:
        line: list[int] = []
        turn = self.head
        while turn:
            line.insert(0, turn)
            turn = self.parents[turn]
        return line

    @rule(stop_reason=st.sampled_from(["end_turn", "cancelled"]), fails=st.booleans())
    @precondition(lambda self: self.head and self.turns[self.head - 1][2] is None and self.disk is None)
    def end_turn(self, stop_reason: str, fails: bool) -> None:
        """As a checkpoint does it; one that fails leaves the turn open, and something later ends it."""
        self.journal.flush()
        self.journal.end_turn(self.head, stop_reason)
        self.streaming = None
        if fails:
            with pytest.raises(ZeroDivisionError), self.session.transaction(durable=True) as db:
                self.journal.store_ends(db)
                raise ZeroDivisionError
            self.journal.begin_turn("next")
            self._begin("next", stop_reason)
        else:
            with self.session.transaction(durable=True) as db:
                self.journal.store_ends(db)
                assert db.execute("SELECT count(*) FROM delta").fetchone() == (0,)
            self._end_last(stop_reason)

    @rule()
    @precondition(lambda self: self.disk is None)
    def refuse(self) -> None:
        self.disk = sqlite3.connect(self.session.folder / "store.db", isolation_level=None)
        self.disk.execute("BEGIN IMMEDIATE")

    @rule()
    @precondition(lambda self: self.disk is not None)
    def accept(self) -> None:
        assert self.disk is not None
        self.disk.close()
        self.disk = None

    @rule()
    @precondition(lambda self: self.disk is None)
    def reopen(self) -> None:
        self.journal.flush()
        self.session.close()
        self.session = self.store.open(SESSION_ID)
        self.journal = Journal(self.session)
        self.streaming = None

    @invariant()
    def nothing_is_missing(self) -> None:
        line = self._line()
        assert [(turn.turn, turn.prompt_excerpt) for turn in self.journal.turns()] == [
            self.turns[turn - 1][:2] for turn in line
        ]
        assert (self.journal.head, self.journal.turn_count) == (self.head, len(line))
        assert [turn.depth for turn in self.journal.turns()] == list(range(1, len(line) + 1))
        if self.journal.trouble is not None and self.disk is not None:
            with pytest.raises(JournalError, match="locked"):
                self.journal.flush()
            return
        assert shown(self.journal) == [tuple(entry) for entry in self.entries if entry[0] in {0, *line}]
        for number in (0, *self.parents):
            assert [
                (entry.kind, entry.key, entry.payload, entry.text) for entry in self.journal.entries(number)
            ] == [tuple(entry[1:]) for entry in self.entries if entry[0] == number]
        with self.session.reading() as db:
            in_pieces = {seq for (seq,) in db.execute("SELECT entry FROM delta")}
        assert in_pieces <= {len(self.entries)}, "only the newest entry is kept in pieces"
        assert self.journal.trouble is None
        every = self.journal.all_turns()
        assert [(turn.turn, turn.prompt_excerpt, turn.stop_reason) for turn in every] == self.turns
        assert {turn.turn: turn.parent for turn in every} == self.parents
        assert [turn.turn for turn in every if turn.on_line] == line
        runs = bool(self.head) and self.turns[self.head - 1][2] is None
        assert self.journal.open_turn == (self.head if runs else None)

    def _end_last(self, stop_reason: str) -> None:
        if self.head and self.turns[self.head - 1][2] is None:
            self.turns[self.head - 1] = (*self.turns[self.head - 1][:2], stop_reason)

    def teardown(self) -> None:
        if self.disk is not None:
            self.disk.close()
        self.session.close()
        shutil.rmtree(self.folder)


Journals.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
test_nothing_that_was_shown_is_lost_or_out_of_order = Journals.TestCase


REFUSALS = {
    "full": ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "full"),
    "read-only": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "readonly"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_turn_goes_on_while_the_disk_refuses(session: Session, name: str) -> None:
    refuse, accept, word = REFUSALS[name]
    journal = Journal(session)
    journal.begin_turn("first")
    journal.stream("agent_message", "m", "before ")
    with session.reading() as db:
        db.execute(refuse)
    journal.stream("agent_message", "m", "during " * 10_000)
    journal.put("tool_call", "t", {"status": "pending"})
    journal.put("tool_call", "t", {"status": "completed"})
    journal.begin_turn("second")
    assert journal.trouble is not None
    assert word in journal.trouble
    assert [turn.turn for turn in journal.turns()] == [1, 2]
    assert journal.open_turn == 2
    with pytest.raises(JournalError, match=word):
        list(journal.entries())
    with session.reading() as db:
        db.execute(accept)
    journal.append("user_message", "u", {"content": []})
    journal.flush()
    assert shown(journal) == [
        (1, "agent_message", "m", {}, "before " + "during " * 10_000),
        (1, "tool_call", "t", {"status": "completed"}, ""),
        (2, "user_message", "u", {"content": []}, ""),
    ]


def test_a_payload_is_taken_as_it_is_when_it_is_given(session: Session) -> None:
    journal = Journal(session)
    image: dict[str, JsonValue] = {"data": "x" * 20_000_000}
    journal.append("user_message", "u", image)
    image["data"] = "changed afterwards"
    (entry,) = journal.entries()
    assert entry.payload == {"data": "x" * 20_000_000}


def test_a_piece_of_a_long_message_costs_what_the_piece_weighs(session: Session) -> None:
    journal = Journal(session)
    journal.stream("agent_message", "m", "x" * 1_000_000)
    log = session.folder / "store.db-wal"
    before = log.stat().st_size
    for _ in range(20):
        journal.stream("agent_message", "m", "y")
    assert log.stat().st_size - before < 1_000_000
    assert shown(journal) == [(0, "agent_message", "m", {}, "x" * 1_000_000 + "y" * 20)]


def test_tokens_are_kept_with_the_end_of_a_turn(session: Session) -> None:
    journal = Journal(session)
    for said in ((None, None), (7, 3)):
        turn = journal.begin_turn("hello")
        journal.end_turn(turn, "end_turn", input_tokens=said[0], output_tokens=said[1])
        journal.end_turn(turn, "cancelled")
        with session.transaction(durable=True) as db:
            journal.store_ends(db)
    found = [(turn.stop_reason, turn.input_tokens, turn.output_tokens) for turn in journal.turns()]
    assert found == [("cancelled", None, None), ("cancelled", 7, 3)]


def test_going_back_changes_the_primer_with_the_line(store: Store, session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("first")
    primer = session.set_primer("what was said", 1)
    journal.begin_turn("second")
    journal.rewind(1, primer=None)
    assert session.primer is None
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        journal.rewind(2, primer=99)
    assert (journal.head, session.primer) == (1, None)
    journal.rewind(2, primer=primer.id)
    session.close()
    with store.open(SESSION_ID) as again:
        assert (Journal(again).head, again.primer) == (2, primer)
        assert again.summary().turns == 2


def steps_of(session: Session, work: Callable[[], object]) -> int:
    """How many steps SQLite's machine takes, in tens."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    with session.reading() as db:
        db.set_progress_handler(step, 10)
    work()
    with session.reading() as db:
        db.set_progress_handler(None, 10)
    return count


def test_what_a_turn_costs_does_not_grow_with_the_session(session: Session) -> None:
    journal = Journal(session)
    journal.begin_turn("first")

    def turn() -> None:
        number = journal.begin_turn("a turn")
        journal.append("user_message", "u", {})
        journal.stream("agent_message", "m", "one ")
        journal.stream("agent_message", "m", "two")
        journal.put("tool_call", f"t{number}", {})
        journal.put("tool_call", f"t{number}", {"status": "completed"})
        assert journal.open_turn == number
        assert len(list(journal.entries(number))) == 3
        journal.end_turn(number, "end_turn")
        with session.transaction(durable=False) as db:
            journal.store_ends(db)

    costs = [steps_of(session, turn) for _ in range(300)]
    # To look at each of 300 turns would take more than twice as many; trees of rows grow by a level.
    assert costs[-1] <= 1.5 * costs[10]


def test_entries_are_read_in_the_time_that_they_take(session: Session) -> None:
    journal = Journal(session)

    def fill(count: int) -> None:
        with session.transaction(durable=False) as db:
            db.executemany(
                "INSERT INTO entry (turn, kind, key, payload, text) VALUES (0, 'agent_message', ?, '{}', ?)",
                [(b"%d" % number, b"text") for number in range(count)],
            )
        journal.append("agent_message", "cut", {})
        for _ in range(500):
            journal.stream("agent_message", "cut", "piece ")

    def read() -> None:
        assert sum(1 for _ in journal.entries()) > 0

    fill(2_000)
    few = steps_of(session, read)
    journal.append("agent_message", "next", {})
    fill(20_000)
    many = steps_of(session, read)
    assert many < 15 * few


def test_large_entries_are_not_all_in_memory_at_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(session)
    for number in range(20):
        journal.append("user_message", f"u{number}", {"data": "x" * 600_000})
    entries = journal.entries()
    next(entries)
    journal.append("user_message", "written meanwhile", {})
    assert [entry.key for entry in entries][-1] == "written meanwhile"


def test_a_journal_that_was_closed_says_so(session: Session) -> None:
    journal = Journal(session)
    session.close()
    with pytest.raises(sqlite3.ProgrammingError):
        journal.append("user_message", "u", {})


STREAM_FOREVER = """
import sys
from pathlib import Path
from sessions.journal import Journal
from sessions.store import Store
session = Store(Path(sys.argv[1])).open(sys.argv[2])
journal = Journal(session)
journal.begin_turn("go on")
journal.append("user_message", "u", {"content": "go on"})
for number in range(1_000_000):
    if number % 10:
        journal.stream("agent_message", f"m{number // 10}", f"{number} ")
    else:
        journal.put("tool_call", f"t{number}", {"number": number})
    print(number, flush=True)
"""


@pytest.mark.parametrize("last_seen", [0, 5, 237])
def test_what_was_shown_before_a_kill_is_in_the_journal(tmp_path: Path, last_seen: int) -> None:
    store = Store(tmp_path)
    store.create(SESSION_ID, cwd="/work").close()
    command = [sys.executable, "-c", STREAM_FOREVER, str(tmp_path), SESSION_ID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == last_seen:
                break
        os.kill(process.pid, signal.SIGKILL)
    with store.open(SESSION_ID) as session:
        journal = Journal(session)
        assert (journal.open_turn, journal.trouble) == (1, None)
        user, *rest = shown(journal)
        assert user == (1, "user_message", "u", {"content": "go on"}, "")
        numbers: list[int] = []
        for _, kind, key, payload, text in rest:
            if kind == "tool_call":
                assert key == f"t{payload['number']}"
                numbers.append(int(str(payload["number"])))
            else:
                pieces = [int(piece) for piece in text.split()]
                assert key == f"m{pieces[0] // 10}"
                numbers += pieces
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > last_seen
        journal.begin_turn("again")
        assert [turn.stop_reason for turn in journal.turns()] == [INTERRUPTED, None]
