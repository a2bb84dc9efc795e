"""A look at all sessions tells the state of each, and changes nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sessions import catalog, health, schema
from sessions.events import Kind
from sessions.journal import Journal
from sessions.lease import Holder, Lease
from sessions.report import Outcome, Reason
from sessions.session import SALVAGED_NAME
from sessions.store import DELETED, NEW, SALVAGED, Store, new_session_id
from sessions.timeline import INTENT
from tests.sessions import stores
from tests.sessions.histories import add_turn


def digests(folder: Path) -> dict[str, str]:
    """What is in a folder, by a digest of each file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


def made(store: Store, *, turns: int = 1) -> str:
    session_id = new_session_id()
    with store.create(session_id, cwd="/work", client="zed") as session:
        journal = Journal(session)
        for _ in range(turns):
            add_turn(session, journal)
    return session_id


def test_every_state_of_a_session(store: Store, tmp_path: Path) -> None:
    names = ["well", "damaged", "new", "copy", "restoring", "salvaging", "missing"]
    ids = {name: made(store) for name in names}
    folders = {name: store.folder(session_id) for name, session_id in ids.items()}
    with store.open(ids["well"]) as session:
        session.record_outcome(Outcome.RECOVERED, Reason.CORRUPT)
        session.move_aside("for-a-test")
    (folders["damaged"] / "store.db").write_bytes(b"damaged" * 1000)
    with closing(sqlite3.connect(folders["new"] / "store.db")) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    shutil.copy(folders["well"] / "store.db", folders["copy"] / "store.db")
    (folders["restoring"] / INTENT).touch()
    (folders["salvaging"] / "store.db").rename(folders["salvaging"] / SALVAGED_NAME)
    (folders["missing"] / "store.db").unlink()
    before = digests(tmp_path)
    found = {each.session_id: each for each in health.look(store)}
    looked = {name: found[session_id] for name, session_id in ids.items()}
    assert digests(tmp_path) == before
    assert [each.session_id for each in health.look(store)] == sorted(ids.values())
    well = looked["well"]
    assert (well.version, well.problem, well.client, well.busy) == (schema.VERSION, None, "zed", None)
    assert well.summary is not None
    assert (well.summary.turns, well.summary.outcome) == (1, Outcome.RECOVERED)
    assert dict(well.rows)["checkpoint"] == 1
    happened = [(each.kind, each.turn, each.outcome, each.reason) for each in well.events]
    assert happened == [(Kind.MADE, 0, None, None), (Kind.LOADED, 1, Outcome.RECOVERED, Reason.CORRUPT)]
    assert 0 < well.aside < well.bytes
    assert [each.aside for name, each in looked.items() if name != "well"] == [0] * 6
    assert looked["damaged"].problem == "file is not a database"
    assert looked["missing"].problem == "store.db is missing"
    assert looked["copy"].problem == f"it is the store of session {ids['well']}"
    assert looked["new"].too_new
    assert looked["new"].version == schema.VERSION + 1
    assert {name for name, each in looked.items() if each.problem} == {"damaged", "missing", "copy", "new"}
    assert [name for name, each in looked.items() if each.restoring] == ["restoring"]
    assert [name for name, each in looked.items() if each.salvaging] == ["salvaging"]


def test_who_has_it_open(store: Store) -> None:
    session_id = made(store)
    lease = Lease.acquire(store.folder(session_id), Holder(pid=os.getpid(), client="zed", since="then"))
    (found,) = health.look(store)
    assert found.busy is not None
    assert found.busy.holder == Holder(pid=os.getpid(), client="zed", since="then")
    lease.release()
    (found,) = health.look(store)
    assert found.busy is None


def test_stores_of_older_versions_are_looked_at_too(tmp_path: Path) -> None:
    for version in stores.SESSIONS:
        stores.unpack(version, tmp_path)
    found = {each.version: each for each in health.look(Store(tmp_path))}
    assert set(found) == set(stores.SESSIONS)
    assert not [each for each in found.values() if each.problem or each.summary is None]


def test_what_is_left_of_work_that_was_cut(store: Store, tmp_path: Path) -> None:
    session_id = made(store)
    data = tmp_path / "data"
    root = data / "sessions"
    assert health.remains(data) == health.Remains((), ())
    assert health.remains(tmp_path / "nowhere") == health.Remains((), ())
    for name in (f"{DELETED}{session_id}-0", f"{NEW}{session_id}", f"{SALVAGED}{session_id}", f"{NEW}another"):
        (root / name).mkdir()
    left = health.remains(data)
    assert left.deleted == (root / f"{DELETED}{session_id}-0",)
    assert left.unfinished == (root / f"{NEW}{session_id}", root / f"{SALVAGED}{session_id}")


def test_what_may_be_wrong_with_the_catalog(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert catalog.problem(data) is None, "there is none"
    made(store)
    store.page()
    assert catalog.problem(data) is None
    path = data / catalog.NAME
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x55" * len(content[4096:])
    path.write_bytes(content)
    before = digests(data)
    assert catalog.problem(data) is not None
    assert digests(data) == before
    path.write_bytes(b"no database" * 500)
    assert catalog.problem(data) == "file is not a database"
    path.write_bytes(b"")
    assert catalog.problem(data) is None, "it was being made"
    path.unlink()
    path.mkdir()
    assert catalog.problem(data) == "it is no file"
