# ruff: noqa: S608 — the names of tables are those of this file
"""What was written is found without reading everything: whatever happens to a database, nothing is missed.

The database is a real one in WAL mode, with small pages, so that trees have several levels and rows overflow, and
with a small cache, so that a transaction reaches the log before it is committed.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sessions import chain, changes, rows, schema, trajectory
from sessions.chain import Checkpoint, Held
from sessions.changes import Reading, Tracker
from sessions.trajectory import TrajectoryProblem
from tests.sessions import harness_db

ID = "0123456789abcdef0123456789abcdef"


class Followed:
    """A database that changes, what is stored of it, and a tracker; `turn` finds changes in two ways."""

    def __init__(self, folder: Path, *, page_size: int = 512, cache: int = 10) -> None:
        self.path = folder / "live.db"
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute(f"PRAGMA page_size = {page_size}")
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA cache_size = {cache}")
        self.db.executescript(f"{harness_db.TABLES} CREATE TABLE notes (a, b UNIQUE);")
        self.db.execute("INSERT INTO trajectory_meta VALUES (?, ?, 4, 0)", (ID, ID))
        harness_db.add_turn(self.db)
        self.store = sqlite3.connect(":memory:", isolation_level=None)
        self.store.executescript(schema.TABLES)
        self.tracker = Tracker(self.path)
        self.latest: Checkpoint | None = None

    def close(self) -> None:
        self.db.close()
        self.tracker.close()
        self.store.close()

    def turn(self) -> Reading:
        """Compare, store and settle, as a checkpoint does."""
        found = self.read()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            image = rows.read(db)
        held = Held(self.store, self.latest).all()
        present = {(row.table, row.row_id): row for row in image.rows}
        expected: dict[chain.Key, rows.Row | None] = {
            key: row for key, row in present.items() if held.get(key) != row.digest
        }
        expected |= dict.fromkeys(held.keys() - present.keys())
        assert found.changed == expected
        assert found.outline == trajectory.of_image(image, ID).outline
        assert (found.page_size, found.user_version) == (image.page_size, image.user_version)
        self.settle(found)
        return found

    def read(self) -> Reading:
        held = Held(self.store, self.latest)
        return changes.read(self.path, ID, since=self.latest, held=held, tracker=self.tracker)

    def settle(self, found: Reading) -> None:
        base = self.latest.base if self.latest else 0
        made = Checkpoint(0, base, 1, 1, None, 0, 0, 0, 0, 0, "", found.page_size, found.user_version, b"")
        self.latest = chain.store(self.store, made, found.changed)
        self.tracker.settle(found, self.latest.seq)


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    made = Followed(tmp_path)
    made.turn()
    try:
        yield made
    finally:
        made.close()


SIZES = st.sampled_from([0, 1, 5, 40, 100, 300, 450, 477, 478, 500, 900, 2000, 5000])
IDS = st.integers(-3, 60)
TABLES = st.sampled_from(["gen_metadata", "executor_metadata", "notes"])
OPERATIONS = st.one_of(
    *[st.tuples(st.just("put"), TABLES, IDS, SIZES)] * 4,
    *[st.tuples(st.just("overwrite"), TABLES, IDS, st.just(0))] * 2,
    *[st.tuples(st.just("overwrite end"), TABLES, IDS, st.just(0))] * 3,
    *[st.tuples(st.just("fill"), TABLES, IDS, SIZES)] * 2,
    *[st.tuples(st.just("delete"), TABLES, IDS, st.integers(1, 80))] * 3,
    st.tuples(st.just("renumber"), TABLES, IDS, st.just(0)),
    *[st.tuples(st.just("step"), st.just("steps"), IDS, SIZES)] * 3,
    st.tuples(st.just("drop steps"), st.just("steps"), st.integers(1, 5), st.just(0)),
    *[st.tuples(st.sampled_from(["poll", "turn"]))] * 10,
    *[st.tuples(st.sampled_from(["begin", "rollback", "commit", "commit"]))] * 2,
    st.one_of(
        st.tuples(st.just("clear"), TABLES, st.just(0), st.just(0)),
        st.tuples(st.sampled_from(["PASSIVE", "PASSIVE", "RESTART", "TRUNCATE", "VACUUM"])),
    ),
)


def apply(followed: Followed, random: Random, operation: tuple[object, ...]) -> None:
    """One operation; one that cannot be done within a transaction is left out there."""
    match operation:
        case ("step", _, int(row_id), int(size)):
            put_step(followed.db, random, row_id, size)
        case ("drop steps", _, int(count), _):
            followed.db.execute("DELETE FROM steps WHERE idx > (SELECT max(idx) FROM steps) - ?", (count,))
        case (str(what), str(table), int(row_id), int(number)):
            change_table(followed.db, random, what, table, row_id=row_id, number=number)
        case ("poll",):
            followed.tracker.poll()
        case ("turn",):
            full = followed.turn().full
            event("every row compared" if full else "only what was written")
        case ("commit" | "rollback" as end,) if followed.db.in_transaction:
            followed.db.execute(end)
        case ("begin" | "VACUUM" as statement,) if not followed.db.in_transaction:
            followed.db.execute(statement)
        case ("PASSIVE" | "RESTART" | "TRUNCATE" as mode,) if not followed.db.in_transaction:
            followed.db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()


def put_step(db: sqlite3.Connection, random: Random, idx: int, size: int) -> None:
    values = (random.choice([14, 15, 21, 300]), random.choice([3, 8]), random.randbytes(size))
    (count,) = db.execute("SELECT count(*) FROM steps").fetchone()
    if 0 <= idx < count:
        db.execute("UPDATE steps SET step_type = ?, status = ?, step_payload = ? WHERE idx = ?", (*values, idx))
    else:
        db.execute(
            "INSERT INTO steps (step_type, status, step_payload, idx) VALUES (?, ?, ?, ?)", (*values, count)
        )


def change_table(
    db: sqlite3.Connection, random: Random, what: str, table: str, *, row_id: int, number: int
) -> None:
    data = "a" if table == "notes" else "data"
    update = f"UPDATE {table} SET {data} = ? WHERE rowid = ?"
    (old,) = db.execute(f"SELECT max({data}) FROM {table} WHERE rowid = ?", (row_id,)).fetchone()
    match what:
        case "put":
            row = (row_id, random.randbytes(number))
            db.execute(f"INSERT OR REPLACE INTO {table} (rowid, {data}) VALUES (?, ?)", row)
        case "overwrite" if old:
            db.execute(update, (random.randbytes(len(old)), row_id))
        case "overwrite end" if old:
            # The same size and beginning: SQLite then writes overflow pages and not the leaf.
            db.execute(update, (old[:-4] + random.randbytes(min(len(old), 4)), row_id))
        case "fill":
            filled = [(each, random.randbytes(number)) for each in range(row_id, row_id + 30)]
            db.executemany(f"INSERT OR IGNORE INTO {table} (rowid, {data}) VALUES (?, ?)", filled)
        case "delete":
            db.execute(f"DELETE FROM {table} WHERE rowid >= ? AND rowid < ?", (row_id, row_id + number))
        case "renumber":
            db.execute(f"UPDATE OR IGNORE {table} SET rowid = ? WHERE rowid = ?", (random.randint(-5, 99), row_id))
        case "clear":
            db.execute(f"DELETE FROM {table}")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(OPERATIONS, min_size=15, max_size=80),
    st.integers(0, 3),
    st.sampled_from([512, 1024]),
    st.sampled_from([0, 20]),
)
def test_nothing_that_was_written_is_missed(
    operations: list[tuple[object, ...]], seed: int, page_size: int, autocheckpoint: int
) -> None:
    folder = Path(tempfile.mkdtemp())
    followed = Followed(folder, page_size=page_size)
    try:
        followed.db.execute(f"PRAGMA wal_autocheckpoint = {autocheckpoint}")
        random = Random(seed)
        followed.turn()
        for operation in operations:
            apply(followed, random, operation)
        if followed.db.in_transaction:
            followed.db.execute("COMMIT")
        followed.turn()
        # An open transaction of the writer's may have held back a turn's end; the one after it finds all of it.
        followed.turn()
    finally:
        followed.close()
        shutil.rmtree(folder)


# What makes it impossible to know what was written; the first turn after it must compare every row.
UNKNOWN: dict[str, tuple[Callable[[Followed], object], str]] = {
    "an overflow page alone": (
        lambda made: made.db.execute("UPDATE notes SET a = ? WHERE rowid = 1", (bytes(2000) + b"new",)),
        "part of a row that is not known",
    ),
    "a table emptied": (lambda made: made.db.execute("DELETE FROM notes"), "part of a row that is not known"),
    "another table": (lambda made: made.db.execute("CREATE TABLE more (a)"), "not known"),
    "another column": (lambda made: made.db.execute("ALTER TABLE notes ADD COLUMN c DEFAULT 1"), "not known"),
    "vacuum": (lambda made: made.db.execute("VACUUM"), "not known|cut off"),
    "the log begun anew unseen": (lambda made: begin_anew(made, seen=False), "not known"),
}


def begin_anew(made: Followed, *, seen: bool) -> None:
    """Write, have SQLite begin its log anew over what was written, and write again."""
    for _ in range(2):
        made.db.execute("INSERT INTO notes (a) VALUES (1)")
        if seen:
            made.tracker.poll()
        made.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@pytest.mark.parametrize("name", UNKNOWN)
def test_every_row_is_compared_once_where_it_must_be(followed: Followed, name: str) -> None:
    followed.db.execute("INSERT INTO notes (rowid, a) VALUES (1, ?)", (bytes(2003),))
    assert followed.turn().full is None
    change, words = UNKNOWN[name]
    change(followed)
    full = followed.turn().full
    assert full is not None
    assert re.search(words, full)
    harness_db.add_turn(followed.db)
    assert followed.turn().full is None


def test_a_log_that_is_begun_anew_is_followed_by_what_is_left_of_it(followed: Followed) -> None:
    begin_anew(followed, seen=True)
    assert followed.turn().full is None
    # Not polled, but few new pages: what was written before still lies behind them.
    followed.db.executemany("INSERT INTO notes (a) VALUES (?)", [(bytes(300),)] * 20)
    followed.tracker.poll()
    harness_db.add_turn(followed.db)
    followed.db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    followed.db.execute("INSERT INTO notes (a) VALUES (2)")
    found = followed.turn()
    assert (found.full, len(found.changed)) == (None, 24)


ALWAYS: dict[str, Callable[[Followed], object]] = {
    "a table without rowids": lambda made: made.db.execute("CREATE TABLE k (a PRIMARY KEY, b) WITHOUT ROWID"),
    "auto_vacuum": lambda made: [made.db.execute("PRAGMA auto_vacuum = FULL"), made.db.execute("VACUUM")],
    "no index of the log": lambda made: made.path.with_name("live.db-shm").rename(made.path.with_name("away")),
    "another file": lambda made: shutil.move(shutil.copy(made.path, made.path.with_name("copy")), made.path),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_every_row_is_compared_where_pages_say_nothing(followed: Followed, name: str) -> None:
    if name == "auto_vacuum":  # it cannot be changed in WAL mode
        followed.db.execute("PRAGMA journal_mode = DELETE")
    ALWAYS[name](followed)
    if name == "auto_vacuum":
        followed.db.execute("PRAGMA journal_mode = WAL")
    for _ in range(2):
        found = followed.read()
        assert found.full is not None
        followed.settle(found)


def test_rows_without_rowids_are_found_by_their_content(followed: Followed) -> None:
    followed.db.execute("CREATE TABLE k (a PRIMARY KEY, b) WITHOUT ROWID")
    followed.db.execute("INSERT INTO k VALUES ('x', 1), ('y', 2)")
    followed.turn()
    followed.db.execute("UPDATE k SET b = 3 WHERE a = 'y'")
    assert sorted(row is None for row in followed.turn().changed.values()) == [False, True]


def test_what_is_written_while_it_is_read_is_found_the_next_time(followed: Followed) -> None:
    harness_db.add_turn(followed.db)
    found = followed.read()
    harness_db.add_turn(followed.db, text="later")
    followed.tracker.poll()
    followed.settle(found)
    later = followed.turn()
    assert (later.full, len(later.changed)) == (None, 3)


def test_a_reading_that_was_not_stored_is_read_again(followed: Followed) -> None:
    harness_db.add_turn(followed.db)
    assert followed.read().changed == followed.turn().changed


def test_what_was_lost_while_a_reading_was_stored_is_not_taken_as_known(followed: Followed) -> None:
    found = followed.read()
    begin_anew(followed, seen=False)
    followed.tracker.poll()
    followed.settle(found)
    assert followed.turn().full is not None


def test_another_checkpoint_than_the_last_is_compared_with_in_full(followed: Followed) -> None:
    older = followed.latest
    harness_db.add_turn(followed.db)
    followed.turn()
    followed.latest = older
    assert followed.read().full is not None


def test_what_is_no_whole_trajectory_is_found_by_what_was_written(followed: Followed) -> None:
    harness_db.add_turn(followed.db)
    followed.turn()
    for statement in (
        "UPDATE steps SET idx = 9 WHERE idx = 3",
        "UPDATE steps SET idx = 3, status = 'done' WHERE idx = 9",
        "UPDATE trajectory_meta SET cascade_id = 'b'",
    ):
        followed.db.execute(statement)
        with pytest.raises(TrajectoryProblem):
            followed.read()


WRITER = """
import sys
from pathlib import Path
from tests.sessions import harness_db
db = harness_db.make(Path(sys.argv[1]), sys.argv[2], (), ())
db.execute("PRAGMA synchronous = NORMAL")
for number, line in enumerate(sys.stdin):
    if line.strip() == "turn":
        harness_db.add_turn(db, text="an answer " * 40)
        db.execute("INSERT INTO gen_metadata (idx, data) SELECT count(*), zeroblob(7000) FROM gen_metadata")
    else:
        (last,) = db.execute("SELECT max(idx) FROM steps").fetchone()
        db.execute("UPDATE steps SET status = 8, step_payload = ? WHERE idx = ?", (line, last))
        db.execute("UPDATE steps SET status = 3 WHERE idx = ?", (last,))
    print(number, flush=True)
"""


def test_turns_of_another_process_are_read_by_what_was_written(tmp_path: Path) -> None:
    """Like a harness: many small commits, and SQLite's own checkpoint every thousand pages."""
    path = tmp_path / "live.db"
    command = [sys.executable, "-c", WRITER, str(path), ID]
    place = Path(__file__).parents[2]
    store = sqlite3.connect(":memory:", isolation_level=None)
    store.executescript(schema.TABLES)
    compared: list[int] = []
    generations: set[bytes] = set()
    with subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def ask(what: str) -> None:
            assert writer.stdin is not None
            assert writer.stdout is not None
            print(what, file=writer.stdin, flush=True)
            writer.stdout.readline()

        ask("turn")
        tracker = Tracker(path)
        latest: Checkpoint | None = None
        for turn in range(80):
            ask("turn")
            for piece in range(10):
                ask(f"piece {turn} {piece}")
                tracker.poll()
            found = changes.read(path, ID, since=latest, held=Held(store, latest), tracker=tracker)
            assert (found.full is None) == (turn > 0), found.full
            base = latest.base if latest else 0
            made = Checkpoint(0, base, 1, 1, None, 0, 0, 0, 0, 0, "", found.page_size, 1, b"")
            latest = chain.store(store, made, found.changed)
            tracker.settle(found, latest.seq)
            compared.append(len(found.changed))
            moment = tracker.moment()
            assert moment is not None
            generations.add(moment.position.salts)
        held = Held(store, latest).all()
        image = trajectory.read_image(path, live=True)
        assert held == {(row.table, row.row_id): row.digest for row in image.rows}
        tracker.close()
    store.close()
    assert compared[1:] == [4] * 79
    assert len(generations) > 1
