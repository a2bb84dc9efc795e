"""The store: what was handed out is there, what is bad is told from what is missing, a list changes nothing."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from sessions import schema
from sessions.journal import Journal
from sessions.report import Outcome, Reason
from sessions.store import (
    InvalidCursor,
    Session,
    SessionExists,
    SessionInfo,
    SessionSummary,
    Store,
    StoreDamaged,
    StoreRefused,
    StoreTooNew,
    UnknownSession,
    new_session_id,
    now,
    valid_session_id,
)
from tests.sessions import harness_db
from tests.sessions.conftest import SESSION_ID, ticking_clock

JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(st.characters())),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


def folder_of(store_dir: Path, session_id: str = SESSION_ID) -> Path:
    return store_dir / "sessions" / session_id


def test_a_new_session_is_known_to_another_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "data", clock=ticking_clock())
    made = store.create(SESSION_ID, cwd="/wörk", additional_directories=["/a", "/b"], client="editor\ud800")
    made.close()
    expected = SessionInfo(
        id=SESSION_ID,
        cwd="/wörk",
        additional_directories=("/a", "/b"),
        client="editor?",
        title=None,
        created_at="2026-11-23T00:00:00.000Z",
        updated_at="2026-11-23T00:00:00.000Z",
        turns=0,
        outcome=None,
        reason=None,
    )
    with Store(tmp_path / "data").open(SESSION_ID) as found:
        assert found.info == expected
        assert (found.id, found.folder) == (SESSION_ID, folder_of(tmp_path / "data"))
        assert found.trajectory_path == found.trajectory_dir / f"{SESSION_ID}.db"
    kinds = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").rglob("*")}
    assert kinds == {
        **dict.fromkeys(["sessions", SESSION_ID, "trajectory", "harness", "aside"], 0o700),
        "store.db": 0o600,
    }


CREATE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from sessions.store import Store
Store(Path(sys.argv[1])).create(sys.argv[2], cwd="/work")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_session_whose_process_dies_at_once_can_be_opened(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CREATE_AND_DIE, str(tmp_path), SESSION_ID]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with Store(tmp_path).open(SESSION_ID) as session:
        assert session.info.cwd == "/work"


def test_an_id_is_given_once(store: Store, session: Session) -> None:
    before = harness_db.fingerprint(session.folder)
    with pytest.raises(SessionExists):
        store.create(SESSION_ID, cwd="/other")
    assert harness_db.fingerprint(session.folder) == before


@pytest.mark.parametrize("bad", ["", "a" * 31, "a" * 129, "../" * 11, "a" * 32 + "/", "a" * 32 + "\n", "ä" * 32])
def test_what_cannot_be_an_id_never_becomes_a_path(store: Store, session: Session, bad: str) -> None:
    assert not valid_session_id(bad)
    with pytest.raises(UnknownSession):
        store.open(bad)
    with pytest.raises(ValueError, match="not a session id"):
        store.create(bad, cwd="/work")
    assert valid_session_id(new_session_id())


def test_an_id_that_was_never_given_is_unknown(store: Store) -> None:
    with pytest.raises(UnknownSession):
        store.open(SESSION_ID)


def test_another_id_s_folder_is_not_this_session(tmp_path: Path) -> None:
    """As on a file system that ignores case."""
    store = Store(tmp_path)
    store.create("a" * 32, cwd="/work").close()
    folder_of(tmp_path, "A" * 32).symlink_to(folder_of(tmp_path, "a" * 32))
    with pytest.raises(UnknownSession):
        store.open("A" * 32)


@pytest.mark.parametrize("blocked", ["sessions", "data"])
def test_a_disk_that_refuses_a_new_session_keeps_no_part_of_it(tmp_path: Path, blocked: str) -> None:
    data = tmp_path / "data"
    if blocked == "sessions":
        data.mkdir()
        (data / "sessions").touch()
    else:
        data.touch()
    before = harness_db.fingerprint(tmp_path)
    with pytest.raises(StoreRefused):
        Store(data).create(SESSION_ID, cwd="/work")
    assert harness_db.fingerprint(tmp_path) == before


def test_a_path_that_cannot_be_stored_keeps_no_part_of_the_session(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        Store(tmp_path).create(SESSION_ID, cwd="/\udcff")
    assert list((tmp_path / "sessions").iterdir()) == []


def change(path: Path, statement: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement)
    db.close()


def overwrite_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\x55" * 8192
    path.write_bytes(content)


def overwrite_a_page_of_entries(path: Path) -> None:
    change(
        path,
        "INSERT INTO memory WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 100)"
        " SELECT n, hex(zeroblob(500)) FROM n",
    )
    content = bytearray(path.read_bytes())
    content[-8192:-4096] = b"\x55" * 4096
    path.write_bytes(content)


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_a_file_for_a_folder(path: Path) -> None:
    (path.parent / "aside").rmdir()
    (path.parent / "aside").touch()


DAMAGED: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x17" * 8192),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:6000]),
    "overwritten": overwrite_pages,
    "overwritten where it is not read at once": overwrite_a_page_of_entries,
    "directory": put_a_folder,
    "another program's": lambda path: change(path, "PRAGMA application_id = 7"),
    "no version": lambda path: change(path, "PRAGMA user_version = 0"),
    "no session": lambda path: change(path, "DELETE FROM session"),
    "no table": lambda path: change(path, "DROP TABLE turn"),
    "unknown outcome": lambda path: change(path, "UPDATE session SET outcome = 'superb'"),
    "no list": lambda path: change(path, "UPDATE session SET additional_directories = '['"),
    "file for a folder": put_a_file_for_a_folder,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_store_is_told_from_an_unknown_session(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    store.create(SESSION_ID, cwd="/work").close()
    DAMAGED[name](folder_of(tmp_path) / "store.db")
    before = harness_db.fingerprint(tmp_path)
    with pytest.raises(StoreDamaged) as caught:
        store.open(SESSION_ID)
    assert caught.value.session_id == SESSION_ID
    assert caught.value.detail
    assert harness_db.fingerprint(tmp_path) == before


def test_a_newer_store_is_not_touched(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create(SESSION_ID, cwd="/work").close()
    change(folder_of(tmp_path) / "store.db", "PRAGMA user_version = 999")
    before = harness_db.fingerprint(tmp_path / "sessions")
    with pytest.raises(StoreTooNew) as caught:
        store.open(SESSION_ID)
    assert (caught.value.session_id, caught.value.found, caught.value.supported) == (
        SESSION_ID,
        999,
        schema.VERSION,
    )
    assert store.page().summaries[0].damaged
    with pytest.raises(StoreTooNew):
        store.open_salvaged(SESSION_ID, cwd="/work")
    assert harness_db.fingerprint(tmp_path / "sessions") == before


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.text(st.characters()))
@settings(max_examples=20, deadline=None)
def test_what_is_remembered_outlives_the_process(memory: dict[str, JsonValue], title: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), clock=ticking_clock())
        with store.create(SESSION_ID, cwd="/work") as session:
            for key, value in memory.items():
                session.remember(key, "something before")
                session.remember(key, value)
            session.remember("gone", 1)
            session.remember("gone", None)
            session.set_title(title)
            session.record_outcome(Outcome.RECOVERED, Reason.TRUNCATED)
            copy = Path(folder) / "copy"
            # What is there if the process ends now: the files as they are.
            shutil.copytree(Path(folder) / "sessions", copy / "sessions")
        with Store(copy).open(SESSION_ID) as session:
            assert {key: session.recall(key) for key in (*memory, "gone", "never")} == {
                "gone": None,
                "never": None,
                **memory,
            }
            info = session.info
            assert info.title == title.encode(errors="replace").decode()
            assert (info.outcome, info.reason) == (Outcome.RECOVERED, Reason.TRUNCATED)
            assert info.updated_at > info.created_at


def test_a_change_that_the_disk_refuses_is_an_error_and_changes_nothing(session: Session) -> None:
    session.remember("key", "kept")
    other = sqlite3.connect(session.folder / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    attempts: list[Callable[[], None]] = [
        lambda: session.remember("key", "lost"),
        lambda: session.set_title("lost"),
        lambda: session.record_outcome(Outcome.FRESH, Reason.EMPTY),
    ]
    for attempt in attempts:
        with pytest.raises(StoreRefused, match="locked"):
            attempt()
    other.close()
    assert session.recall("key") == "kept"
    session.remember("key", "changed")
    assert session.recall("key") == "changed"


def test_a_session_that_was_closed_is_not_called_damaged(session: Session) -> None:
    session.close()
    with pytest.raises(sqlite3.ProgrammingError):
        session.recall("key")


def test_memory_that_is_no_json_is_damage(session: Session) -> None:
    session.remember("key", 1)
    with session.transaction(durable=True) as db:
        db.execute("UPDATE memory SET value = '{'")
    with pytest.raises(StoreDamaged):
        session.recall("key")


def test_a_transaction_happens_wholly_or_not(session: Session) -> None:
    with pytest.raises(ZeroDivisionError), session.transaction(durable=True) as db:
        db.execute("UPDATE session SET title = 'half'")
        raise ZeroDivisionError
    assert session.info.title is None


def test_damaged_trajectories_are_moved_together_and_all_kept(session: Session) -> None:
    assert session.move_aside("missing") is None
    kept: dict[Path, dict[str, str]] = {}
    for number in range(2):
        session.trajectory_path.write_bytes(b"database %d" % number)
        for suffix in ("-wal", "-shm"):
            (session.trajectory_dir / f"{SESSION_ID}.db{suffix}").write_bytes(suffix.encode())
        (session.trajectory_dir / "restored.db").write_bytes(b"stays")
        before = harness_db.fingerprint(session.trajectory_dir)
        folder = session.move_aside("corrupt")
        assert folder is not None
        assert folder.parent == session.aside_dir
        kept[folder] = {name: digest for name, digest in before.items() if name != "restored.db"}
        assert [path.name for path in session.trajectory_dir.iterdir()] == ["restored.db"]
    assert {folder: harness_db.fingerprint(folder) for folder in kept} == kept
    assert sorted(path.name for path in session.aside_dir.iterdir()) == [
        "20261123T000001.000Z-corrupt",
        "20261123T000002.000Z-corrupt",
    ]


def test_files_moved_aside_in_one_moment_are_all_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, clock=lambda: datetime(2026, 11, 23, tzinfo=UTC))
    with store.create(SESSION_ID, cwd="/work") as session:
        for content in (b"one", b"two"):
            session.trajectory_path.write_bytes(content)
            session.move_aside("empty")
        found = {path.parent.name: path.read_bytes() for path in session.aside_dir.rglob("*.db")}
    assert found == {"20261123T000000.000Z-empty": b"one", "20261123T000000.000Z-empty-2": b"two"}


@pytest.mark.parametrize("odd", ["directory", "dangling link", "only a log"])
def test_whatever_has_the_database_s_name_is_moved(session: Session, odd: str) -> None:
    if odd == "directory":
        session.trajectory_path.mkdir()
    elif odd == "dangling link":
        session.trajectory_path.symlink_to("nowhere")
    else:
        (session.trajectory_dir / f"{SESSION_ID}.db-wal").touch()
    folder = session.move_aside("corrupt")
    assert folder is not None
    assert len(list(folder.iterdir())) == 1
    assert list(session.trajectory_dir.iterdir()) == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["/a", "/b"])), max_size=7),
    st.integers(0, 3),
    st.sampled_from([None, "/a", "/b"]),
    st.integers(1, 4),
)
@settings(max_examples=15, deadline=None)
def test_pages_together_are_the_whole_list_newest_first(
    made: list[tuple[int, str]], broken: int, cwd: str | None, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "sessions"
        expected: list[tuple[str, str]] = []
        for hour, where in made:
            moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
            session_id = new_session_id()
            Store(Path(folder), clock=lambda: moment).create(session_id, cwd=where).close()  # noqa: B023
            if cwd in (None, where):
                expected.append((f"2026-01-01T0{hour}:00:00.000Z", session_id))
        for _ in range(broken):
            (root / new_session_id()).mkdir(parents=True)
        if root.exists():
            (root / ".new-unfinished").mkdir()
            (root / "no session").touch()
        before = harness_db.fingerprint(root)
        found: list[SessionSummary] = []
        cursor: str | None = None
        while True:
            page = Store(Path(folder)).page(cwd=cwd, cursor=cursor, limit=limit)
            assert len(page.summaries) <= limit
            assert not set(page.summaries) & set(found), "no session is listed twice"
            found += page.summaries
            cursor = page.next_cursor
            if cursor is None:
                break
            assert page.summaries
        assert harness_db.fingerprint(root) == before
    whole = [summary for summary in found if not summary.damaged]
    assert [(summary.updated_at, summary.id) for summary in whole] == sorted(expected, reverse=True)
    damaged = [summary for summary in found if summary.damaged]
    assert found == whole + damaged
    assert len(damaged) == (broken if cwd is None else 0)
    assert all((summary.cwd, summary.updated_at) == (None, None) for summary in damaged)


def test_a_list_has_what_an_open_session_has_written_and_changes_nothing(store: Store, session: Session) -> None:
    session.set_title("a title")
    session.record_outcome(Outcome.RESUMED, Reason.VERIFIED)
    Journal(session).begin_turn("hello")
    before = harness_db.fingerprint(session.folder, ignore="-shm")
    (summary,) = store.page().summaries
    assert harness_db.fingerprint(session.folder, ignore="-shm") == before
    assert summary == session.summary()
    assert (summary.title, summary.turns, summary.checkpoint) == ("a title", 1, None)
    assert (summary.outcome, summary.reason) == (Outcome.RESUMED, Reason.VERIFIED)


def test_a_log_without_content_does_not_make_a_list_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create(SESSION_ID, cwd="/work").close()
    (folder_of(tmp_path) / "store.db-wal").touch()
    before = harness_db.fingerprint(tmp_path / "sessions")
    assert [summary.damaged for summary in store.page().summaries] == [False]
    assert harness_db.fingerprint(tmp_path / "sessions") == before


def test_a_list_does_not_read_past_what_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create(SESSION_ID, cwd="/work").close()
    change(folder_of(tmp_path) / "store.db", "UPDATE session SET outcome = 'superb'")
    (summary,) = store.page().summaries
    assert (summary.id, summary.damaged) == (SESSION_ID, True)


@given(st.one_of(st.text(), st.sampled_from(["W10=", "WzEsMl0=", "e30=", "W1tbW1tb", "W1tb" * 50_000])))
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        Store(Path("nowhere")).page(cursor=cursor)


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert datetime.fromisoformat(now()).utcoffset() == timedelta(0)
    assert len(now()) == len("2026-11-23T00:00:00.000Z")
