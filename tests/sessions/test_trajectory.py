"""Reading a harness's database: whole ones, and every bad state with its reason and without touching a byte."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions import rows, trajectory, trim
from sessions.report import Reason
from sessions.trajectory import TrajectoryProblem
from tests.sessions import harness_db

ID = "0123456789abcdef0123456789abcdef"


def make(path: Path, *statements: str) -> None:
    """An orderly closed trajectory of one turn, changed by some statements."""
    db = harness_db.make(path, ID)
    for statement in statements:
        db.execute(statement)
    db.close()


def leave_log(path: Path, *, executions: tuple[int, ...] = (1,), steps: harness_db.Steps = ()) -> None:
    """What a killed process leaves: a database of empty tables, and everything else in its log."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir()
    db = harness_db.make(elsewhere / path.name, ID, executions=executions)
    for step_type, status in steps:
        harness_db.add_step(db, step_type, status)
    for file in elsewhere.iterdir():
        shutil.copyfile(file, path.with_name(file.name))
    db.close()
    shutil.rmtree(elsewhere)


def flip_pages(path: Path) -> None:
    make(path)
    content = bytearray(path.read_bytes())
    content[32768 + 4 : 32768 + 400] = bytes(396)
    path.write_bytes(content)


def make_plain_database(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE notes (text)")
    db.close()


def cut(path: Path, size: int) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[:size])


def put_a_file_for_its_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


def put_a_folder_for_its_log(path: Path) -> None:
    make(path)
    (path.with_name(f"{path.name}-wal") / "file").mkdir(parents=True)


def lose_its_log(path: Path) -> None:
    leave_log(path)
    path.with_name(f"{path.name}-wal").unlink()


def leave_garbage_log(path: Path) -> None:
    """The harness then silently has nothing, not even a name in `trajectory_meta` (facts, section 4)."""
    leave_log(path)
    path.with_name(f"{path.name}-wal").write_bytes(b"\x55" * 50000)


BAD: dict[str, tuple[Reason, Callable[[Path], object]]] = {
    "no file": (Reason.MISSING, lambda path: None),
    "only a log": (Reason.MISSING, lambda path: path.with_name(f"{path.name}-wal").write_bytes(b"log")),
    "dangling link": (Reason.MISSING, lambda path: path.symlink_to("nowhere")),
    "zero length": (Reason.EMPTY, lambda path: path.touch()),
    "directory": (Reason.CORRUPT, lambda path: path.mkdir()),
    "parent is a file": (Reason.CORRUPT, put_a_file_for_its_folder),
    "garbage": (Reason.CORRUPT, lambda path: path.write_bytes(b"\x17garbage" * 1000)),
    "cut to 100 bytes": (Reason.CORRUPT, lambda path: cut(path, 100)),
    "cut to half": (Reason.CORRUPT, lambda path: cut(path, 6 * 32768)),
    "pages overwritten": (Reason.CORRUPT, flip_pages),
    "log is a directory": (Reason.CORRUPT, put_a_folder_for_its_log),
    "index without its row": (
        Reason.CORRUPT,
        lambda path: make(
            path,
            "PRAGMA writable_schema = ON",
            "DELETE FROM sqlite_master WHERE name = 'idx_steps_status'",
            "PRAGMA writable_schema = RESET",
            "INSERT INTO steps (idx, step_type, status) VALUES (2, 14, 3)",
        ),
    ),
    "first step missing": (Reason.CORRUPT, lambda path: make(path, "DELETE FROM steps WHERE idx = 0")),
    "gap": (Reason.CORRUPT, lambda path: make(path, "UPDATE steps SET idx = 2 WHERE idx = 1")),
    "negative step": (Reason.CORRUPT, lambda path: make(path, "INSERT INTO steps (idx) VALUES (-1)")),
    "status is text": (Reason.CORRUPT, lambda path: make(path, "UPDATE steps SET status = 'done'")),
    "text is not UTF-8": (
        Reason.CORRUPT,
        lambda path: make(path, "UPDATE steps SET metadata = CAST(x'ff41' AS TEXT)"),
    ),
    "another program's": (Reason.FOREIGN, make_plain_database),
    "no table": (Reason.FOREIGN, lambda path: make(path, "DROP TABLE executor_metadata")),
    "other columns": (Reason.FOREIGN, lambda path: make(path, "ALTER TABLE steps RENAME COLUMN status TO state")),
    "names nothing": (Reason.FOREIGN, lambda path: make(path, "DELETE FROM trajectory_meta")),
    "names another": (Reason.FOREIGN, lambda path: make(path, "UPDATE trajectory_meta SET trajectory_id = 'b'")),
    "half renamed": (Reason.FOREIGN, lambda path: make(path, "UPDATE trajectory_meta SET cascade_id = 'b'")),
    "log missing": (Reason.FOREIGN, lose_its_log),
    "log is garbage": (Reason.FOREIGN, leave_garbage_log),
    "newer": (Reason.REJECTED, lambda path: make(path, "PRAGMA user_version = 2")),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_state_has_its_reason_and_is_left_as_it_was(tmp_path: Path, name: str) -> None:
    reason, spoil = BAD[name]
    path = tmp_path / "trajectory" / f"{ID}.db"
    path.parent.mkdir()
    spoil(path)
    before = harness_db.fingerprint(tmp_path)
    with pytest.raises(TrajectoryProblem) as caught:
        trajectory.read(path, conversation_id=ID, live=False)
    assert caught.value.reason is reason
    assert caught.value.detail
    assert harness_db.fingerprint(tmp_path) == before


@pytest.mark.parametrize("leave", [make, leave_log], ids=["closed in order", "killed"])
def test_a_whole_trajectory_is_read_and_left_as_it_was(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    path = tmp_path / f"{ID}.db"
    leave(path)
    before = harness_db.fingerprint(tmp_path)
    found = trajectory.read(path, conversation_id=ID, live=False)
    assert harness_db.fingerprint(tmp_path) == before
    assert [(step.idx, step.step_type, step.status) for step in found.steps] == [(0, 14, 3), (1, 15, 3)]
    assert (found.trajectory_id, found.user_turns, found.executions, found.ended_at) == (ID, 1, 1, 1)
    assert found.whole
    assert not any(step.unfinished for step in found.steps)


def test_a_database_that_is_open_is_read_in_place_with_its_log(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.db"
    db = harness_db.make(path, ID)
    before = harness_db.fingerprint(tmp_path, ignore="-shm")
    assert len(trajectory.read(path, conversation_id=ID, live=True).steps) == 2
    assert harness_db.fingerprint(tmp_path, ignore="-shm") == before
    harness_db.add_turn(db)
    assert len(trajectory.read(path, conversation_id=ID, live=True).steps) == 4
    db.close()


def test_a_conversation_without_a_turn_is_whole(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.db"
    harness_db.make(path, ID, steps=(), executions=()).close()
    found = trajectory.read(path, conversation_id=ID, live=False)
    assert (found.steps, found.executions, found.ended_at, found.whole) == ((), 0, None, True)


@pytest.mark.parametrize("column", ["metadata", "step_payload", "step_format", "has_subtrajectory", "status"])
def test_the_digest_of_a_step_tells_a_change_of_any_column(tmp_path: Path, column: str) -> None:
    path = tmp_path / f"{ID}.db"
    make(path)
    before = trajectory.read(path, conversation_id=ID, live=False)
    db = sqlite3.connect(path)
    db.execute(f"UPDATE steps SET {column} = 7 WHERE idx = 1")  # noqa: S608
    db.commit()
    db.close()
    after = trajectory.read(path, conversation_id=ID, live=False)
    assert before.steps[0] == after.steps[0]
    assert before.steps[1].digest != after.steps[1].digest


# The rows below were measured with 0.1.22: steps, ends of executions, whether the last turn has its end.
ENDS: dict[str, tuple[harness_db.Steps, tuple[int, ...], bool]] = {
    "text turn": (((14, 3), (15, 3)), (1,), True),
    "tool turn": (((14, 3), (15, 3), (21, 3), (15, 3)), (3,), True),
    "cancelled in a tool": (((14, 3), (15, 3), (21, 6)), (2,), True),
    "failed at once": (((14, 3), (17, 3)), (0,), True),
    "failed later": (((14, 3), (15, 3), (14, 3), (17, 3)), (1, 2), True),
    "background work woke the model": (((14, 3), (15, 3), (21, 3), (15, 3), (101, 3), (15, 3)), (3, 5), True),
    "compacted": (((14, 3), (15, 3), (23, 3)), (2,), True),
    "killed while streaming": (((14, 3), (15, 3), (14, 3), (15, 8)), (1,), False),
    "killed between a tool and the next answer": (((14, 3), (15, 3), (21, 3)), (), False),
    "killed after its prompt": (((14, 3), (15, 3), (14, 3)), (1,), False),
    "killed after its last step": (((14, 3), (15, 3), (14, 3), (15, 3)), (1,), False),
    "cut turn before a whole one": (((14, 3), (15, 8), (14, 3), (15, 3)), (3,), True),
    "step 300": ((*[(15, 3)] * 300, (15, 3)), (300,), True),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_turn_is_whole_if_the_harness_recorded_its_end(tmp_path: Path, name: str) -> None:
    steps, executions, whole = ENDS[name]
    path = tmp_path / f"{ID}.db"
    harness_db.make(path, ID, steps, executions).close()
    found = trajectory.read(path, conversation_id=ID, live=False)
    assert found.whole == whole
    assert found.ended_at == (executions[-1] if executions else None)


@given(st.one_of(st.binary(), st.integers(-(2**63), 2**63 - 1), st.none(), st.text()))
def test_an_execution_record_in_another_form_is_not_believed(record: rows.SqlValue) -> None:
    with sqlite3.connect(":memory:", isolation_level=None) as db:
        db.executescript(harness_db.TABLES)
        db.execute("INSERT INTO trajectory_meta VALUES (?, ?, 4, 0)", (ID, ID))
        harness_db.add_step(db, 14)
        db.execute("INSERT INTO executor_metadata VALUES (0, ?)", (record,))
        found = trajectory.of_image(rows.read(db), ID)
    assert found.executions == 1
    assert found.ended_at is None or (isinstance(record, bytes) and found.ended_at >= 0)
    assert isinstance(found.whole, bool)


# Measured with 0.1.22: a request after compactions holds the last user message before the newest of them, its
# summary, and what came after.
TURN = ((14, 3), (15, 3))
COMPACTED: dict[str, tuple[harness_db.Steps, int]] = {
    "never": ((*TURN, *TURN), 0),
    "in the first turn": ((*TURN, (23, 3)), 0),
    "in the third turn": ((*TURN, *TURN, *TURN, (23, 3)), 2),
    "in the third of four": ((*TURN, *TURN, *TURN, (23, 3), *TURN), 2),
    "twice": ((*TURN, *TURN, (23, 3), *TURN, *TURN, (23, 3), *TURN), 3),
}


@pytest.mark.parametrize("name", COMPACTED)
def test_turns_before_a_compaction_are_summarised_but_for_the_last(tmp_path: Path, name: str) -> None:
    steps, summarised = COMPACTED[name]
    path = tmp_path / f"{ID}.db"
    harness_db.make(path, ID, steps, (len(steps) - 1,)).close()
    assert trajectory.read(path, conversation_id=ID, live=False).summarised_turns == summarised


# Protocol buffers: field 3 among others of every kind, and records that are none or are cut.
RECORDS: dict[bytes, int | None] = {
    b"": 0,
    b"\x08\x07": 0,
    b"\x18\x05": 5,
    b"\x18\xac\x02": 300,
    b"\x09" + bytes(8) + b"\x18\x05": 5,
    b"\x0d" + bytes(4) + b"\x18\x05": 5,
    b"\x52\x02\x18\x09\x18\x05": 5,
    b"\x18": None,
    b"\x18\x80": None,
    b"\x18\x05\x52\x03ab": None,
    b"\x18\x05\x09" + bytes(7): None,
    b"\x18\x05\x13": None,
}


@pytest.mark.parametrize("record", RECORDS, ids=bytes.hex)
def test_the_end_of_an_execution_is_read_from_its_record(tmp_path: Path, record: bytes) -> None:
    path = tmp_path / f"{ID}.db"
    db = harness_db.make(path, ID)
    db.execute("UPDATE executor_metadata SET data = ?", (record,))
    db.close()
    assert trajectory.read(path, conversation_id=ID, live=False).ended_at == RECORDS[record]


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / f"{ID}.db").mkdir()
    with pytest.raises(TrajectoryProblem, match="is not a file"):
        trajectory.read(tmp_path / f"{ID}.db", conversation_id=ID, live=False)


def test_steps_without_a_user_message_are_all_of_one_turn(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.db"
    harness_db.make(path, ID, ((101, 3), (15, 3))).close()
    found = trajectory.read(path, conversation_id=ID, live=False)
    assert found.last_turn == found.steps


def test_the_last_turn_begins_with_the_last_user_message(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.db"
    harness_db.make(path, ID, ((14, 3), (15, 8), (14, 3), (15, 3), (21, 2), (21, 1))).close()
    found = trajectory.read(path, conversation_id=ID, live=False)
    assert [step.idx for step in found.last_turn] == [2, 3, 4, 5]
    assert [step.idx for step in found.steps if step.unfinished] == [1, 4, 5]
    assert [step.idx for step in found.not_started] == [5]


def test_a_copy_without_pending_steps_ends_before_the_first_of_them(tmp_path: Path) -> None:
    path, copy = tmp_path / f"{ID}.db", tmp_path / "trimmed.db"
    leave_log(path, steps=((14, 3), (15, 3), (21, 1), (8, 3)))
    before = harness_db.fingerprint(tmp_path)
    trim.without_pending(path, ID, copy)
    assert {
        name: digest for name, digest in harness_db.fingerprint(tmp_path).items() if name != copy.name
    } == before
    whole, trimmed = harness_db.contents(path), harness_db.contents(copy)
    assert trimmed == whole | {"steps": whole["steps"][:4]}


def test_a_damaged_trajectory_is_not_trimmed(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.db"
    flip_pages(path)
    with pytest.raises(TrajectoryProblem):
        trim.without_pending(path, ID, tmp_path / "trimmed.db")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
