"""A session is read before it is written to: until then every byte stays as it was, whatever lies there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessions import checkpoint
from sessions.journal import Journal
from sessions.lease import Holder, Lease
from sessions.report import Outcome, Reason
from sessions.session import Primer, StoreRefused
from sessions.store import Session, Store, UnknownSession, now
from tests.sessions import harness_db
from tests.sessions.conftest import SESSION_ID
from tests.sessions.stores import unpack
from tests.sessions.stores.make import fill

WORK = """
import os, signal, sys
from pathlib import Path
from sessions.store import Store
from tests.sessions.stores.make import fill
session = Store(Path(sys.argv[1])).create(sys.argv[2], cwd="/work")
fill(session)
if sys.argv[3] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
session.close()
"""


@pytest.fixture(params=["killed", "closed"])
def left_behind(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The data folder of a process that was killed, or ended in order, after a few turns."""
    command = [sys.executable, "-c", WORK, str(tmp_path), SESSION_ID, request.param]
    ended = subprocess.run(command, check=False).returncode
    assert ended == (-signal.SIGKILL if request.param == "killed" else 0)
    log = tmp_path / "sessions" / SESSION_ID / "store.db-wal"
    assert log.exists() == (request.param == "killed")
    return tmp_path


def read_everything(session: Session) -> list[object]:
    journal = Journal(session)
    entries = list(journal.entries())
    assert [entry.turn for entry in entries if entry.kind == "user_message"] == [1, 3]
    return [
        session.info,
        session.summary(),
        session.recall("rule"),
        session.primer,
        entries,
        list(journal.entries(turn=2)),
        journal.turns(),
        journal.all_turns(),
        journal.open_turn,
        checkpoint.newest_first(session),
    ]


def test_a_session_that_is_only_read_stays_as_it_was_to_the_byte(left_behind: Path) -> None:
    before = harness_db.fingerprint(left_behind, ignore="-shm")
    store = Store(left_behind)
    with store.open(SESSION_ID) as session:
        first = read_everything(session)
    with store.open(SESSION_ID) as session:
        assert read_everything(session) == first
    assert harness_db.fingerprint(left_behind, ignore="-shm") == before
    with store.open(SESSION_ID) as session:
        session.record_outcome(Outcome.RESUMED, Reason.VERIFIED)
        info = session.info
        assert (info.outcome, info.turns) == (Outcome.RESUMED, 2)
        assert [entry.turn for entry in Journal(session).entries()] == [1, 1, 3, 3]
    with store.open(SESSION_ID) as session:
        assert read_everything(session)[2:] == first[2:]


def test_the_first_write_makes_the_folders_that_are_missing(store: Store, session: Session) -> None:
    session.close()
    for name in ("trajectory", "harness", "aside"):
        (session.folder / name).rmdir()
    before = harness_db.fingerprint(session.folder)
    with store.open(SESSION_ID) as again:
        assert again.recall("key") is None
        assert harness_db.fingerprint(session.folder) == before
        again.remember("key", 1)
        assert {path.name for path in session.folder.iterdir() if path.is_dir()} == {
            "trajectory",
            "harness",
            "aside",
        }


def test_a_write_that_is_refused_leaves_a_session_that_can_be_read_and_written_later(
    store: Store, session: Session
) -> None:
    session.remember("key", "kept")
    session.close()
    with store.open(SESSION_ID) as again:
        (again.folder / "aside").rmdir()
        (again.folder / "aside").touch()
        with pytest.raises(StoreRefused, match="aside"):
            again.remember("key", "lost")
        assert again.recall("key") == "kept"
        (again.folder / "aside").unlink()
        again.remember("key", "changed")
        assert again.recall("key") == "changed"


def test_a_changed_folder_and_a_primer_outlive_the_process(store: Store, session: Session) -> None:
    session.update_folders("/elsewhere", [])
    assert session.primer is None
    first = session.set_primer("an old \ud800 talk", 3)
    assert first == Primer(1, first.at, 3, "an old ? talk")
    second = session.set_primer("another", 5)
    session.use_primer(first.id)
    with pytest.raises(ValueError, match="surrogates"):
        session.update_folders("/\udcff", [])
    with pytest.raises(StoreRefused, match="FOREIGN KEY"):
        session.use_primer(99)
    session.close()
    with store.open(SESSION_ID) as again:
        assert (again.info.cwd, again.primer) == ("/elsewhere", first)
        assert (again.stored_primer(second.id), again.stored_primer(99)) == (second, None)
        again.use_primer(None)
        assert again.primer is None


@pytest.fixture
def careless_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("careless_umask")
def test_everything_that_is_made_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store = Store(data)
    seen: dict[str, int] = {}

    def look() -> None:
        for path in [data, *data.rglob("*")]:
            seen[str(path.relative_to(tmp_path))] = stat.S_IMODE(path.stat().st_mode)

    with store.create(SESSION_ID, cwd="/work") as session:
        lease = Lease.acquire(session.folder, Holder(os.getpid(), "editor", now()))
        fill(session)
        session.trajectory_path.chmod(0o600)  # the harness's own
        session.move_aside("corrupt")
        store.page()
        look()
    lease.release()
    (session.folder / "store.db").write_bytes(b"garbage")
    with store.open_salvaged(SESSION_ID, cwd="/work") as salvaged:
        look()
        salvaged.remember("key", 1)
        look()
    old = unpack(1, data)
    for path in (data / "sessions", old, *old.iterdir()):
        path.chmod(0o700 if path.is_dir() else 0o600)
    with store.open(old.name) as migrated:
        migrated.remember("key", 1)
        look()
    store.page()
    look()
    wrong = {
        name: oct(mode)
        for name, mode in seen.items()
        if mode != (0o600 if "." in Path(name).name.lstrip(".") or name.endswith("lease") else 0o700)
        and not Path(name).name.startswith("20")
        and not name.endswith(("-wal", "-shm"))
    }
    assert {name: mode for name, mode in wrong.items() if "trajectory/" not in name} == {}
    assert {mode for name, mode in seen.items() if Path(name).name.startswith("20")} == {0o700}
    assert any(name.endswith("store.db-wal") for name in seen)
    assert {mode for name, mode in seen.items() if name.endswith(("store.db-wal", "store.db-shm"))} == {0o600}


HOSTILE = st.one_of(
    st.text(),
    st.text("./\\~$\0%\n -_aA1", min_size=30, max_size=130),
    st.builds(
        lambda way, name: f"{way}{name}",
        st.sampled_from(["../", "..\\", "/", "~/", "./", "\0", "%2e%2e/", "sessions/", ".salvage-", ".new-"]),
        st.just(SESSION_ID),
    ),
    st.builds(
        lambda name, end: f"{name}{end}", st.just(SESSION_ID), st.sampled_from(["/", "\n", "/..", "\0", " "])
    ),
)


@pytest.fixture(scope="module")
def one_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("hostile") / "data"
    Store(data).create(SESSION_ID, cwd="/work").close()
    return data


@given(hostile=HOSTILE)
@example(hostile="..")
@example(hostile="")
def test_no_id_but_a_valid_one_becomes_a_path(one_session: Path, hostile: str) -> None:
    store = Store(one_session)
    before = harness_db.fingerprint(one_session.parent)
    with pytest.raises(UnknownSession):
        store.folder(hostile)
    with pytest.raises(UnknownSession):
        store.open(hostile)
    with pytest.raises(UnknownSession):
        store.open_salvaged(hostile, cwd="/work")
    with pytest.raises(ValueError, match="not a session id"):
        store.create(hostile, cwd="/work")
    assert harness_db.fingerprint(one_session.parent) == before
