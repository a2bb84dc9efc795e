"""Damaged stores: whatever SQLite still reads is saved, the rest is made sound, and nothing is touched before."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions import checkpoint, schema
from sessions.checkpoint import CheckpointUnusable
from sessions.events import Kind
from sessions.journal import Journal
from sessions.store import Session, Store, StoreDamaged, StoreRefused, StoreTooNew, UnknownSession
from tests.sessions import harness_db
from tests.sessions.conftest import SESSION_ID, ticking_clock
from tests.sessions.stores import SESSIONS, unpack
from tests.sessions.stores.make import fill

PAGE = 4096
Row = tuple[object, ...]
TABLES = ("memory", "primer", "turn", "entry", "delta", "checkpoint", "checkpoint_row", "event")


def path_in(data: Path) -> Path:
    return data / "sessions" / SESSION_ID / "store.db"


def make_large(data: Path) -> None:
    """A store with several pages in every table that can be large."""
    with Store(data, clock=ticking_clock()).create(SESSION_ID, cwd="/work", client="editor") as session:
        fill(session)
        journal = Journal(session)
        for number in range(60):
            journal.append("agent_message", f"m{number}", {"number": number}, "words " * 100)
        for number in range(30):
            session.remember(f"key {number}", "x" * 700)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("large")
    make_large(data)
    return data


def select(path: Path, table: str) -> set[Row] | None:
    """What a plain SELECT gives, None if it fails."""
    with closing(schema.connect(path, "immutable=1")) as db:
        try:
            return set(db.execute(f"SELECT * FROM {table}"))  # noqa: S608
        except (sqlite3.Error, ValueError):
            return None


def is_sound(session: Session) -> None:
    """Everything that a load does with a store can be done."""
    journal = Journal(session)
    turns = journal.turns()
    assert [turn.depth for turn in turns] == list(range(1, len(turns) + 1))
    assert [turn.parent for turn in turns] == [0, *(turn.turn for turn in turns)][: len(turns)]
    assert journal.turn_count == len(turns) == session.info.turns
    known = {turn.turn for turn in journal.all_turns()}
    assert all(turn.parent in known | {0} for turn in journal.all_turns())
    assert {entry.turn for entry in journal.entries()} <= {0, *(turn.turn for turn in turns)}
    for turn in known:
        assert all(entry.turn == turn for entry in journal.entries(turn))
    assert session.info.id == session.id
    assert session.primer is None or session.primer.text
    with session.reading() as db:
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def usable(session: Session) -> set[int]:
    found = set()
    with tempfile.TemporaryDirectory() as folder:
        for stored in checkpoint.every(session):
            try:
                checkpoint.restore(session, stored, Path(folder) / "restored.db")
                found.add(stored.seq)
            except CheckpointUnusable:
                pass
    return found


def salvage(data: Path) -> None:
    """Open what is left, prove it, write to it, and open it again."""
    store = Store(data, clock=ticking_clock())
    path = path_in(data)
    before = harness_db.fingerprint(data / "sessions", ignore="-shm")
    expected = {table: select(path, table) for table in TABLES} if path.is_file() else {}
    with store.open_salvaged(SESSION_ID, cwd="/wherever") as session:
        is_sound(session)
        assert session.salvaged is not None
        assert session.salvaged.detail
        for table, wanted in expected.items():
            with session.reading() as db:
                saved = set(db.execute(f"SELECT * FROM {table}"))  # noqa: S608
            if wanted is not None:
                assert harmed(data) or not lost(table, wanted - saved, expected), f"{table} could be read"
    assert harness_db.fingerprint(data / "sessions", ignore="-shm") == before
    with store.open_salvaged(SESSION_ID, cwd="/wherever") as session:
        saved_turns = Journal(session).all_turns()
        saved_entries = list(Journal(session).entries())
        checkpoints = usable(session)
        session.remember("after", 1)
        is_sound(session)
        assert (Journal(session).all_turns(), list(Journal(session).entries())) == (saved_turns, saved_entries)
    with store.open(SESSION_ID) as session:
        assert session.salvaged is None
        is_sound(session)
        assert (Journal(session).all_turns(), list(Journal(session).entries())) == (saved_turns, saved_entries)
        assert usable(session) == checkpoints
        assert session.recall("after") == 1
    kept = {digest for name, digest in before.items() if "store.db" in name}
    aside = harness_db.fingerprint(path.parent / "aside", ignore="-shm")
    assert kept <= set(aside.values()), "the damaged files are kept"
    assert [entry.name for entry in (data / "sessions").iterdir()] == [SESSION_ID]


def lost(table: str, rows: set[Row], readable: dict[str, set[Row] | None]) -> set[Row]:
    """Which of these rows should have been saved: those whose places were not mended and that refer to others."""
    if table in ("turn", "checkpoint"):
        return {row for row in rows if row[0] not in {kept[0] for kept in rows}}
    known = {
        row[0] for row in readable[{"delta": "entry", "checkpoint_row": "checkpoint"}.get(table, table)] or ()
    }
    return {row for row in rows if row[2 if table == "checkpoint_row" else 1 if table == "delta" else 0] in known}


def harmed(data: Path) -> bool:
    """Whether bytes of rows were changed, so that what a SELECT gives need not be what was stored."""
    return (data / "harmed").exists()


@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6),
    header=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_flipped_bytes(large: Path, flips: list[tuple[int, int]], header: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        shutil.copytree(large / "sessions", data / "sessions")
        (data / "harmed").touch()
        content = bytearray(path_in(data).read_bytes())
        first = 0 if header else 100
        for place, change in flips:
            content[first + place % (len(content) - first)] ^= change
        path_in(data).write_bytes(content)
        with suppress(StoreDamaged, UnknownSession, StoreTooNew):
            Store(data).open(SESSION_ID).close()
        try:
            salvage(data)
        except StoreTooNew:
            assert header


@given(page=st.integers(0, 10**6), count=st.integers(1, 3), fill_with=st.sampled_from([0, 0x55, 0xFF]))
@settings(max_examples=40, deadline=None)
def test_pages_that_are_gone(large: Path, page: int, count: int, fill_with: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        shutil.copytree(large / "sessions", data / "sessions")
        content = bytearray(path_in(data).read_bytes())
        pages = len(content) // PAGE
        for number in range(count):
            at = (page + number * 7) % pages * PAGE
            content[at : at + PAGE] = bytes([fill_with]) * PAGE
        path_in(data).write_bytes(content)
        salvage(data)


def test_every_single_page_that_can_be_read_is_saved(large: Path, tmp_path: Path) -> None:
    """With one page of entries gone, all other entries are there."""
    whole = {row[0] for row in select(path_in(large), "entry") or ()}
    with closing(sqlite3.connect(path_in(large))) as db:
        try:
            leaves = [
                number
                for (number,) in db.execute("SELECT pageno FROM dbstat WHERE name = 'entry' AND pagetype = 'leaf'")
            ]
        except sqlite3.OperationalError:
            leaves = _leaves(path_in(large), b"words words")
    assert len(leaves) > 5
    for number in leaves:
        data = tmp_path / str(number)
        shutil.copytree(large / "sessions", data / "sessions")
        content = bytearray(path_in(data).read_bytes())
        content[(number - 1) * PAGE : number * PAGE] = bytes([0x55]) * PAGE
        path_in(data).write_bytes(content)
        with Store(data).open_salvaged(SESSION_ID, cwd="/work") as session:
            saved = {entry.seq for turn in (0, 1, 2, 3) for entry in Journal(session).entries(turn)}
            lost = whole - saved
            assert len(lost) <= 12, f"page {number}"
            assert session.salvaged is not None
            assert session.salvaged.entries == len(saved)
            is_sound(session)
            assert usable(session) == {1, 2, 3}


def _leaves(path: Path, words: bytes) -> list[int]:
    content = path.read_bytes()
    pages = [content[at : at + PAGE] for at in range(0, len(content), PAGE)]
    return [number for number, page in enumerate(pages, start=1) if page[:1] == b"\x0d" and words in page]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def block(path: Path) -> None:
    for name in ("aside", "harness"):
        (path.parent / name).rmdir()
        (path.parent / name).write_text(name)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x17" * 8192),
    "a folder": put_folder,
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "all but the last page": lambda path: path.write_bytes(path.read_bytes()[:-PAGE]),
    "a garbage log": lambda path: (
        (path.parent / "store.db-wal").write_bytes(b"\x33" * 9000) and path.write_bytes(b"")
    ),
    "no application": lambda path: execute(path, "PRAGMA application_id = 0"),
    "no version": lambda path: execute(path, "PRAGMA user_version = 0"),
    **{
        f"no {table}": lambda path, table=table: execute(path, "PRAGMA foreign_keys = OFF", f"DROP TABLE {table}")  # type: ignore[misc]
        for table in ("session", *TABLES)
    },
    **{
        f"no rows of {table}": lambda path, table=table: execute(path, f"DELETE FROM {table}")  # type: ignore[misc]  # noqa: S608
        for table in ("session", *TABLES)
    },
    "turn 1 is missing": lambda path: execute(path, "DELETE FROM turn WHERE turn = 1"),
    "turn 3 is missing": lambda path: execute(path, "DELETE FROM turn WHERE turn = 3"),
    "turns and entries are missing": lambda path: execute(path, "DELETE FROM turn", "DELETE FROM entry"),
    "a wrong head": lambda path: execute(path, "UPDATE session SET head = 77, outcome = 'superb'"),
    "a folder is a file": block,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_known_damage(large: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(large / "sessions", tmp_path / "sessions")
    DAMAGE[name](path_in(tmp_path))
    salvage(tmp_path)


def test_turns_that_are_spoken_of_keep_their_place(large: Path, tmp_path: Path) -> None:
    shutil.copytree(large / "sessions", tmp_path / "sessions")
    execute(path_in(tmp_path), "DELETE FROM turn WHERE turn = 1", "DELETE FROM session")
    with pytest.raises(StoreDamaged):
        Store(tmp_path).open(SESSION_ID)
    with Store(tmp_path).open_salvaged(SESSION_ID, cwd="/from/the/request") as session:
        journal = Journal(session)
        assert [(turn.turn, turn.parent, turn.depth, turn.prompt_excerpt) for turn in journal.all_turns()] == [
            (1, 0, 1, ""),
            (2, 1, 2, "Write engine.txt."),
            (3, 1, 2, "What is my name?"),
        ]
        assert (journal.head, journal.open_turn) == (3, None)
        assert session.info.cwd == "/from/the/request"
        assert usable(session) == {1, 2, 3}


def test_a_definition_that_is_damaged_does_not_hide_the_other_tables(large: Path, tmp_path: Path) -> None:
    shutil.copytree(large / "sessions", tmp_path / "sessions")
    content = path_in(tmp_path).read_bytes()
    path_in(tmp_path).write_bytes(content.replace(b"CREATE TABLE memory", b"CREATE T\xf4BLE memory"))
    with pytest.raises(StoreDamaged):
        Store(tmp_path).open(SESSION_ID)
    with Store(tmp_path).open_salvaged(SESSION_ID, cwd="/work") as session:
        assert session.salvaged is not None
        assert session.salvaged.entries == len(select(path_in(large), "entry") or ())
        assert usable(session) == {1, 2, 3}


def test_events_that_make_sense_are_saved(large: Path, tmp_path: Path) -> None:
    shutil.copytree(large / "sessions", tmp_path / "sessions")
    execute(path_in(tmp_path), "UPDATE event SET detail = '{' WHERE kind = 'restored'", "DELETE FROM session")
    with Store(tmp_path).open_salvaged(SESSION_ID, cwd="/work") as session:
        assert [event.kind for event in session.events()] == [Kind.MADE, Kind.LOADED, Kind.FORKED]


def test_a_damaged_store_of_version_2_is_saved_as_what_it_was(tmp_path: Path) -> None:
    folder = unpack(2, tmp_path)
    with Store(tmp_path).open(SESSIONS[2]) as session:
        before = list(Journal(session).entries())
    execute(folder / "store.db", "DELETE FROM session")
    with Store(tmp_path).open_salvaged(SESSIONS[2], cwd="/work") as session:
        assert [*Journal(session).entries(2), *Journal(session).entries()]
        kept = {entry.key for entry in Journal(session).entries()}
        assert {entry.key for entry in before} <= kept
        assert usable(session) == {1, 2, 3}
        session.set_title("saved")
    with Store(tmp_path).open(SESSIONS[2]) as session:
        assert session.events() == []


def test_nothing_left_is_an_empty_session(tmp_path: Path) -> None:
    make_large(tmp_path)
    path_in(tmp_path).write_bytes(b"\x99" * 20_000)
    with Store(tmp_path, clock=ticking_clock()).open_salvaged(SESSION_ID, cwd="/work") as session:
        assert session.salvaged is not None
        found = session.salvaged
        assert (found.turns, found.entries, found.checkpoints) == (0, 0, 0)
        assert "not a database" in found.detail
        assert (session.info.cwd, session.info.turns) == ("/work", 0)


def test_an_older_store_is_salvaged_too(tmp_path: Path) -> None:
    folder = unpack(1, tmp_path)
    execute(folder / "store.db", "DELETE FROM session")
    with pytest.raises(StoreDamaged):
        Store(tmp_path).open(SESSIONS[1])
    with Store(tmp_path).open_salvaged(SESSIONS[1], cwd="/work") as session:
        assert [turn.depth for turn in Journal(session).turns()] == [1, 2]
        assert len(list(Journal(session).entries())) == 5
        assert usable(session) == {1, 2}
        session.remember("key", 1)
    with Store(tmp_path).open(SESSIONS[1]) as session:
        assert usable(session) == {1, 2}


def test_a_log_that_holds_the_newest_is_read(tmp_path: Path) -> None:
    """As a killed process leaves it, with a page of the database damaged besides."""
    with Store(tmp_path, clock=ticking_clock()).create(SESSION_ID, cwd="/work") as session:
        fill(session)
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "sessions", copy / "sessions")
    assert (path_in(copy).parent / "store.db-wal").stat().st_size > 0
    with closing(sqlite3.connect(path_in(tmp_path))) as db:
        expected = db.execute("SELECT count(*) FROM entry").fetchone()[0]
    content = bytearray(path_in(copy).read_bytes())
    content[18] = 7  # no version of the file format that SQLite reads; the log holds this page anew
    path_in(copy).write_bytes(content)
    with Store(copy).open_salvaged(SESSION_ID, cwd="/work") as session:
        assert session.salvaged is not None
        assert session.salvaged.entries == expected
        is_sound(session)
    salvage(copy)


def test_a_store_that_may_not_be_read_now_is_not_called_damaged(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(large / "sessions", tmp_path / "sessions")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(StoreRefused, match="may not be read"):
        Store(tmp_path).open_salvaged(SESSION_ID, cwd="/work")
    assert [entry.name for entry in (tmp_path / "sessions").iterdir()] == [SESSION_ID]


def test_a_disk_that_takes_no_salvaged_store_loses_nothing(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(large / "sessions", tmp_path / "sessions")
    path_in(tmp_path).write_bytes(b"garbage")
    before = harness_db.fingerprint(tmp_path)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sessions.durable.make_file", full)
    with pytest.raises(StoreRefused, match="No space"):
        Store(tmp_path).open_salvaged(SESSION_ID, cwd="/work")
    assert harness_db.fingerprint(tmp_path) == before


TAKE_PLACE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from sessions.store import Store

left = int(sys.argv[3])

def watch(event, args):
    global left
    if event in ("os.rename", "os.mkdir", "os.remove", "open", "sqlite3.connect"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

with Store(Path(sys.argv[1])).open_salvaged(sys.argv[2], cwd="/work") as session:
    sys.addaudithook(watch)
    session.remember("key", "value")
    print(left)
"""


def test_a_process_that_is_killed_while_a_salvaged_store_takes_its_place_loses_nothing(
    large: Path, tmp_path: Path
) -> None:
    def attempt(steps: int) -> tuple[Path, subprocess.CompletedProcess[str]]:
        data = tmp_path / str(steps)
        shutil.copytree(large / "sessions", data / "sessions")
        execute(path_in(data), "DELETE FROM session")
        path_in(data).with_name("store.db-shm").write_bytes(b"left behind")
        command = [sys.executable, "-c", TAKE_PLACE_AND_DIE, str(data), SESSION_ID, str(steps)]
        return data, subprocess.run(command, check=False, capture_output=True, text=True)

    _, ran = attempt(10**9)
    total = 10**9 - int(ran.stdout)
    assert total > 8
    for steps in range(1, total + 1):
        data, killed = attempt(steps)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        store = Store(data)
        assert len(store.page().summaries) == 1
        try:
            session = store.open(SESSION_ID)
        except StoreDamaged:
            session = store.open_salvaged(SESSION_ID, cwd="/work")
        with session:
            assert len(list(Journal(session).entries())) + 3 == len(select(path_in(large), "entry") or ())
            assert usable(session) == {1, 2, 3}
            session.remember("key", "value")
        with store.open(SESSION_ID) as session:
            assert usable(session) == {1, 2, 3}
        assert not (data / "sessions" / SESSION_ID / "store.db.salvaged").exists()
