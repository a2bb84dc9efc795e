"""Stores of older versions: read without being changed, migrated wholly or not at all, and never made better."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sessions import checkpoint, schema
from sessions.checkpoint import CheckpointUnusable
from sessions.events import Kind
from sessions.journal import INTERRUPTED, Journal, JournalError
from sessions.report import Outcome, Reason
from sessions.store import Session, Store
from tests.sessions import harness_db
from tests.sessions.stores import SESSIONS, unpack

OLD = SESSIONS[1]


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as db:
        db.execute(statement)


def version(path: Path) -> int:
    with closing(schema.connect(path, "immutable=1")) as db:
        return schema.version(db)


def told(session: Session) -> object:
    """All that a load takes from a store."""
    journal = Journal(session)
    return (
        session.info,
        session.summary(),
        session.primer,
        journal.turns(),
        journal.all_turns(),
        list(journal.entries()),
        [(stored.turn, stored.steps, stored.at) for stored in checkpoint.newest_first(session)],
    )


def restorable(session: Session, target: Path) -> dict[int, bool]:
    """Which checkpoints a database can be made of."""
    found: dict[int, bool] = {}
    for stored in checkpoint.newest_first(session):
        try:
            checkpoint.restore(session, stored, target)
        except CheckpointUnusable:
            found[stored.seq] = False
        else:
            found[stored.seq] = True
    return found


def dump(path: Path) -> list[str]:
    with closing(schema.connect(path, "immutable=1")) as db:
        return list(db.iterdump())


def rows_of(path: Path) -> dict[str, list[object]]:
    return {name: found for name, found in harness_db.contents(path).items() if name != "pragmas"}


@pytest.mark.parametrize("number", SESSIONS)
def test_a_store_of_every_released_format_is_read_as_it_lies(tmp_path: Path, number: int) -> None:
    folder = unpack(number, tmp_path)
    before = harness_db.fingerprint(folder)
    with Store(tmp_path).open(SESSIONS[number]) as session:
        journal = Journal(session)
        turns = journal.turns()
        assert turns[0].prompt_excerpt == "My name is Ada."
        assert [turn.depth for turn in turns] == [1, 2]
        assert (journal.open_turn, journal.turn_count) == (None, 2)
        users = [entry for entry in journal.entries() if entry.kind == "user_message"]
        assert [entry.turn for entry in users] == [turn.turn for turn in turns]
        newest = checkpoint.newest_first(session)[0]
        checkpoint.restore(session, newest, tmp_path / "restored.db")
        assert rows_of(tmp_path / "restored.db") == rows_of(session.trajectory_path)
        assert all(restorable(session, tmp_path / "again.db").values())
        assert session.summary() == Store(tmp_path).page().summaries[0]
        assert session.summary().turns == 2
    assert harness_db.fingerprint(folder) == before


def test_the_first_write_migrates_and_keeps_the_old_store(tmp_path: Path) -> None:
    folder = unpack(1, tmp_path)
    old = dump(folder / "store.db")
    with Store(tmp_path).open(OLD) as session:
        before = told(session)
        session.remember("key", "value")
        assert told(session) == before
        (kept,) = session.aside_dir.iterdir()
        assert kept.name.endswith("Z-version-1")
        assert dump(kept / "store.db") == old
        assert version(kept / "store.db") == 1
        assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    assert version(folder / "store.db") == schema.VERSION
    with Store(tmp_path).open(OLD) as session:
        assert told(session) == before
        assert all(restorable(session, tmp_path / "restored.db").values())
        assert Journal(session).begin_turn("next") == 3
        assert len(list(session.aside_dir.iterdir())) == 1


def shape(path: Path) -> object:
    """What SQLite makes of a schema; the words of its statements may differ."""
    with closing(schema.connect(path, "immutable=1")) as db:
        tables = sorted(name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        described = []
        for name in tables:
            indexes = sorted(row[1:] for row in db.execute(f"PRAGMA index_list({name})"))
            described.append(
                (
                    name,
                    db.execute(f"PRAGMA table_xinfo({name})").fetchall(),
                    [(index, db.execute(f"PRAGMA index_xinfo({index[0]})").fetchall()) for index in indexes],
                    db.execute(f"PRAGMA foreign_key_list({name})").fetchall(),
                    [row for row in db.execute("PRAGMA table_list") if row[1] == name],
                )
            )
        return described, db.execute("PRAGMA foreign_key_check").fetchall()


@pytest.mark.parametrize("number", [1, 2])
def test_a_migrated_store_is_like_a_new_one(tmp_path: Path, number: int) -> None:
    folder = unpack(number, tmp_path)
    with Store(tmp_path).open(SESSIONS[number]) as session:
        session.set_title("a title")
    with Store(tmp_path).create("a" * 32, cwd="/work") as new:
        pass
    assert shape(folder / "store.db") == shape(new.folder / "store.db")


@pytest.mark.parametrize("number", [1, 2])
def test_of_what_happened_before_only_the_last_outcome_is_known(tmp_path: Path, number: int) -> None:
    folder = unpack(number, tmp_path)
    change(folder, "UPDATE session SET outcome = NULL, reason = NULL")
    with Store(tmp_path).open(SESSIONS[number]) as session:
        assert session.events() == []
        assert all(entry.began_at is None and entry.ended_at is None for entry in Journal(session).entries())
    change(folder, "UPDATE session SET outcome = 'recovered', reason = 'corrupt'")
    with Store(tmp_path).open(SESSIONS[number]) as session:
        (known,) = session.events()
        assert (known.at, known.kind, known.turn) == (None, Kind.LOADED, Journal(session).head)
        assert known.detail == {"outcome": "recovered", "reason": "corrupt"}
        session.record_outcome(Outcome.RESUMED, Reason.VERIFIED)
        assert [event.at is None for event in session.events()] == [True, False]


BROKEN: dict[str, tuple[str, dict[int, bool]]] = {
    "nothing": ("SELECT 1", {1: True, 2: True}),
    "the first checkpoint": ("UPDATE checkpoint SET visible = visible + 1 WHERE seq = 1", {1: False, 2: False}),
    "the second checkpoint": ("UPDATE checkpoint SET at = 'then' WHERE seq = 2", {1: True, 2: False}),
    "the first digest": ("UPDATE checkpoint SET digest = zeroblob(32) WHERE seq = 1", {1: False, 2: False}),
    "a row's digest": (
        "UPDATE checkpoint_row SET digest = zeroblob(32) WHERE table_name = 'steps' AND seq = 2",
        {1: True, 2: False},
    ),
    "a missing row": ("DELETE FROM checkpoint_row WHERE table_name = 'steps' AND seq = 1", {1: False, 2: False}),
    "a row's content": (
        "UPDATE checkpoint_row SET content = zeroblob(9) WHERE table_name = 'gen_metadata' AND seq = 2",
        {1: True, 2: False},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("written", [False, True], ids=["read", "written"])
def test_damage_does_not_become_whole_by_being_migrated(tmp_path: Path, name: str, written: bool) -> None:
    statement, expected = BROKEN[name]
    change(unpack(1, tmp_path), statement)
    with Store(tmp_path).open(OLD) as session:
        if written:
            session.remember("key", "value")
        assert restorable(session, tmp_path / "restored.db") == expected


MIGRATE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from sessions import schema
from sessions.store import Store

left = int(sys.argv[3])
connect = schema.open_writable

def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(path):
    db = connect(path)
    db.set_progress_handler(count, 1)
    return db

schema.open_writable = watched
with Store(Path(sys.argv[1])).open(sys.argv[2]) as session:
    session.remember("key", "value")
print(left)
"""


def test_a_process_that_is_killed_while_it_migrates_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    def attempt(name: str, steps: int) -> tuple[Path, subprocess.CompletedProcess[str]]:
        unpack(1, tmp_path / name)
        command = [sys.executable, "-c", MIGRATE_AND_DIE, str(tmp_path / name), OLD, str(steps)]
        return tmp_path / name, subprocess.run(command, check=False, capture_output=True, text=True)

    whole, ran = attempt("whole", 10**9)
    total = 10**9 - int(ran.stdout)
    with Store(whole).open(OLD) as session:
        expected = told(session)
    for number in range(1, 9):
        data, killed = attempt(str(number), 1 + total * number // 9)
        assert killed.returncode == -signal.SIGKILL
        for write in (False, True, False):
            with Store(data).open(OLD) as session:
                assert told(session) == expected
                assert all(restorable(session, tmp_path / "restored.db").values())
                if write:
                    session.remember("key", "value")
        shutil.rmtree(data)


def full_disk(path: Path, session: Session) -> None:
    raise OSError(28, "No space left on device")


def locked(path: Path, session: Session) -> None:
    raise sqlite3.OperationalError("database is locked")


@pytest.mark.parametrize("refusal", [full_disk, locked])
def test_a_store_that_cannot_be_migrated_now_is_read_on_and_migrated_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[[Path, Session], None]
) -> None:
    folder = unpack(1, tmp_path)
    before = (folder / "store.db").read_bytes()
    with Store(tmp_path).open(OLD) as session:
        journal = Journal(session)
        monkeypatch.setattr("sessions.migrate.migrate", lambda db: refusal(folder, session))
        assert journal.begin_turn("kept") == 3
        with pytest.raises(JournalError):
            journal.flush()
        monkeypatch.undo()
        assert (folder / "store.db").read_bytes() == before
        assert list(session.aside_dir.iterdir()) == [], "no copy is left of an attempt that came to nothing"
        journal.append("user_message", "u", {})
        journal.flush()
        assert [turn.prompt_excerpt for turn in journal.turns()][2:] == ["kept"]
        journal.begin_turn("after")
        assert journal.turns()[2].stop_reason == INTERRUPTED
    assert version(folder / "store.db") == schema.VERSION
