"""The list of sessions: a page is what all stores say together, whatever happened to them or to the catalog."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sessions import catalog
from sessions import store as store_module
from sessions.journal import Journal
from sessions.session import Session, SessionSummary
from sessions.store import Store, new_session_id
from tests.sessions.conftest import SESSION_ID, ticking_clock

FOLDERS = st.sampled_from(["/a", "/b"])
FILTERS = st.sampled_from([None, "/a", "/b"])


def everything(store: Store, cwd: str | None = None, limit: int = 50) -> list[SessionSummary]:
    found: list[SessionSummary] = []
    cursor: str | None = None
    while True:
        page = store.page(cwd=cwd, cursor=cursor, limit=limit)
        assert len(page.summaries) <= limit
        found += page.summaries
        cursor = page.next_cursor
        if cursor is None:
            return found


def truth(data: Path, cwd: str | None = None) -> list[SessionSummary]:
    """What every store says, read one after the other."""
    if not (data / "sessions").exists():
        return []
    return list(Store(data)._read_page(cwd=cwd, after=None, limit=1_000))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3 :: 7] = b"\x55" * len(content[len(content) // 3 :: 7])
    path.write_bytes(content)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE session (id)")


def flip_titles(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"title", b"tiger"))


HARM: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x17" * 9000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "damaged": damage,
    "another program's": foreign,
    "other titles": flip_titles,
}


class Lists(RuleBasedStateMachine):
    """Sessions that are made, changed, killed, copied and deleted, with pages in between."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        # Every other stamp is believed at once, so that believing them is tried too.
        self.patch.setattr(catalog, "UNSURE_NANOSECONDS", 10_000_000)
        self.data = Path(tempfile.mkdtemp())
        self.clock = ticking_clock()
        self.store = Store(self.data, clock=self.clock)
        self.open: list[Session] = []
        self.killed: list[Session] = []
        self.titles = 0

    def _closed(self) -> list[Path]:
        root = self.data / "sessions"
        busy = {session.folder for session in (*self.open, *self.killed)}
        return sorted(path for path in root.iterdir() if path not in busy) if root.exists() else []

    def _change(self, session: Session) -> None:
        self.titles += 1
        session.set_title(f"title {self.titles}")

    @rule(cwd=FOLDERS)
    def create(self, cwd: str) -> None:
        self.open.append(self.store.create(new_session_id(), cwd=cwd))

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def change(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.open))
        self._change(session)

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def turn(self, data: st.DataObject) -> None:
        Journal(data.draw(st.sampled_from(self.open))).begin_turn("hello")

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def close(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.open))
        self.open.remove(session)
        session.close()

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def kill(self, data: st.DataObject) -> None:
        """The files stay as they are; nothing is said at the end."""
        session = data.draw(st.sampled_from(self.open))
        self.open.remove(session)
        self.killed.append(session)

    @rule(data=st.data())
    @precondition(lambda self: self._closed())
    def reopen(self, data: st.DataObject) -> None:
        folder = data.draw(st.sampled_from(self._closed()))
        self.open.append(self.store.open(folder.name))

    @rule(data=st.data())
    @precondition(lambda self: self._closed())
    def delete(self, data: st.DataObject) -> None:
        shutil.rmtree(data.draw(st.sampled_from(self._closed())))

    @rule(cwd=FOLDERS, again=st.booleans())
    def bring(self, cwd: str, again: bool) -> None:
        """A session comes from another machine, perhaps in place of what was known under its id."""
        with tempfile.TemporaryDirectory() as other:
            closed = self._closed()
            session_id = closed[0].name if again and closed else new_session_id()
            with Store(Path(other), clock=self.clock).create(session_id, cwd=cwd) as session:
                self._change(session)
            target = self.data / "sessions" / session_id
            incoming = self.data / "sessions" / ".incoming"
            shutil.copytree(session.folder, incoming)
            shutil.rmtree(target, ignore_errors=True)
            incoming.rename(target)

    @rule(harm=st.sampled_from([name for name in HARM if name != "other titles"]))
    @precondition(lambda self: (self.data / "catalog.db").exists())
    def harm(self, harm: str) -> None:
        for suffix in ("-wal", "-shm"):
            (self.data / f"catalog.db{suffix}").unlink(missing_ok=True)
        HARM[harm](self.data / "catalog.db")

    @rule(cwd=FILTERS, limit=st.integers(1, 4))
    def page(self, cwd: str | None, limit: int) -> None:
        assert everything(self.store, cwd, limit) == truth(self.data, cwd)

    @invariant()
    def the_list_is_true(self) -> None:
        if self.titles % 3 == 0:
            assert everything(self.store) == truth(self.data)

    def teardown(self) -> None:
        for session in (*self.open, *self.killed):
            session.close()
        shutil.rmtree(self.data)
        self.patch.undo()


Lists.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
test_a_page_is_what_all_stores_say = Lists.TestCase


def make(data: Path, count: int) -> list[str]:
    store = Store(data, clock=ticking_clock())
    made = [new_session_id() for _ in range(count)]
    for session_id in made:
        with store.create(session_id, cwd="/work") as session:
            session.set_title("a title")
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sessions whose stores were read for a list."""
    names: list[str] = []
    original = store_module._summary

    def counted(folder: Path) -> SessionSummary:
        names.append(folder.name)
        return original(folder)

    monkeypatch.setattr(store_module, "_summary", counted)
    return names


def test_a_page_reads_only_the_stores_that_changed(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "UNSURE_NANOSECONDS", 10_000_000)
    made = make(tmp_path, 30)
    store = Store(tmp_path)
    store.page(limit=10)
    while read:  # until no stamp is too young to be believed
        read.clear()
        store.page(limit=10)
    with store.open(made[3]) as session:
        session.set_title("changed")
        assert store.page(limit=10).summaries[0].title == "changed"
        store.page(limit=10)
        assert set(read) == {made[3]}
    read.clear()
    shutil.rmtree(tmp_path / "sessions" / made[7])
    assert len(everything(store, limit=30)) == 29
    assert made[7] not in read, "what is gone is not read"
    assert [page.title for page in store.page().summaries if page.id == made[3]] == ["changed"]


@pytest.mark.parametrize("name", HARM)
def test_a_harmed_catalog_is_made_anew(tmp_path: Path, name: str) -> None:
    make(tmp_path, 3)
    store = Store(tmp_path)
    expected = everything(store)
    HARM[name](tmp_path / "catalog.db")
    assert everything(store) == expected == truth(tmp_path)
    assert everything(store) == expected
    assert (tmp_path / "catalog.db").stat().st_mode & 0o777 == 0o600


def test_a_locked_catalog_fails_neither_a_list_nor_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "WAIT_MILLISECONDS", 0)
    (session_id,) = make(tmp_path, 1)
    store = Store(tmp_path)
    store.page()
    with closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        session = store.open(session_id)
        session.set_title("changed")
        assert everything(store) == truth(tmp_path)
        assert everything(store)[0].title == "changed"
    # It is marked with a later write, and found by the next page from then on, though never closed.
    session.remember("key", 1)
    session.set_title("changed again")
    assert [summary.title for summary in everything(store)] == ["changed again"]
    session.close()


@pytest.mark.parametrize("odd", ["folder", "dangling link"])
def test_a_catalog_that_cannot_be_made_is_done_without(tmp_path: Path, odd: str) -> None:
    (tmp_path / "catalog.db").mkdir() if odd == "folder" else (tmp_path / "catalog.db").symlink_to("no/where")
    make(tmp_path, 2)
    assert everything(Store(tmp_path)) == truth(tmp_path)
    assert len(truth(tmp_path)) == 2


def test_a_copy_under_another_name_is_no_second_session(tmp_path: Path) -> None:
    Store(tmp_path).create(SESSION_ID, cwd="/work").close()
    shutil.copytree(tmp_path / "sessions" / SESSION_ID, tmp_path / "sessions" / ("a" * 32))
    found = {summary.id: summary.damaged for summary in everything(Store(tmp_path))}
    assert found == {SESSION_ID: False, "a" * 32: True}


def test_a_list_of_nothing_makes_nothing(tmp_path: Path) -> None:
    assert everything(Store(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
