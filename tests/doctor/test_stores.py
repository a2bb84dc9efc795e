"""Stored sessions, damaged by real bytes; and that nothing is changed by looking."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing

import pytest

from acp_agent.doctor import stores
from acp_agent.doctor.findings import State
from sessions import catalog, schema
from sessions.journal import Journal
from sessions.lease import Holder, Lease
from sessions.report import Outcome, Reason
from sessions.store import DELETED, NEW
from sessions.timeline import INTENT
from tests.doctor.conftest import Machine, states, worst
from tests.sessions import stores as released
from tests.sessions.histories import add_turn
from tests.sessions.test_health import digests, made


def test_no_sessions_are_well(machine: Machine) -> None:
    for name in ("stores", "session-list", "unfinished", "open-sessions"):
        assert machine.check(name).state is State.OK, name
    assert machine.check("verification").state is State.SKIPPED


def test_sessions_that_are_well(machine: Machine) -> None:
    for _ in range(2):
        made(machine.store)
    released.unpack(1, machine.data_dir)
    assert worst(machine.check("stores")).found.startswith("3 sessions, ")
    assert "1 of an older version" in worst(machine.check("stores")).found
    assert "3 sessions verified" in worst(machine.check("verification")).found


def test_a_damaged_store_and_a_newer_one(machine: Machine) -> None:
    damaged, newer = made(machine.store), made(machine.store)
    (machine.store.folder(damaged) / "store.db").write_bytes(b"damaged" * 1000)
    with closing(sqlite3.connect(machine.store.folder(newer) / "store.db")) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    done = machine.check("stores")
    assert states(done) == [State.PROBLEM, State.PROBLEM, State.OK]
    assert done.findings[0].found == f"The store of session {damaged} cannot be read: file is not a database."
    assert done.findings[1].found == f"1 session of a newer version of the agent: {newer}."


def test_many_damaged_stores_are_counted(machine: Machine) -> None:
    for _ in range(stores.NAMED + 2):
        (machine.store.folder(made(machine.store)) / "store.db").write_bytes(b"")
    done = machine.check("stores")
    assert states(done) == [State.PROBLEM] * (stores.NAMED + 1) + [State.OK]
    assert done.findings[-2].found == "2 more sessions cannot be read."


def test_how_sessions_came_back(machine: Machine) -> None:
    for outcome, reason in ((Outcome.RECOVERED, Reason.MISSING), (Outcome.FRESH, Reason.EMPTY)):
        with machine.store.open(made(machine.store)) as session:
            session.record_outcome(outcome, reason)
    done = machine.check("stores")
    assert states(done) == [State.WARNING, State.OK, State.OK]
    assert "came back last as rebuilt or fresh" in done.findings[0].found
    assert "1 of the sessions came back last from a checkpoint" in done.findings[1].found


def test_work_that_was_cut(machine: Machine) -> None:
    session_id = made(machine.store)
    folder = machine.store.folder(session_id)
    (folder / INTENT).write_text("{}", encoding="utf-8")
    (folder / "store.db").rename(folder / "store.db.salvaged")
    done = machine.check("stores")
    assert states(done) == [State.WARNING, State.WARNING, State.OK]
    lease = Lease.acquire(folder, Holder(pid=os.getpid(), client="zed", since="2026-11-26T10:00:00.000Z"))
    assert machine.check("stores").state is State.OK, "whoever has it open is at it"
    assert worst(machine.check("open-sessions")).found == (
        f"Session {session_id} is open in process {os.getpid()} (zed) since 2026-11-26T10:00:00.000Z"
    )
    lease.release()


def test_what_was_left_unfinished(machine: Machine) -> None:
    session_id = made(machine.store)
    root = machine.data_dir / "sessions"
    (root / f"{DELETED}{session_id}-0").mkdir()
    (root / f"{NEW}{session_id}").mkdir()
    (machine.data_dir / ".doctor-abc").mkdir()
    done = machine.check("unfinished")
    assert states(done) == [State.WARNING] * 3
    assert done.findings[0].remedy == "The next `acp-agent sessions delete` or `prune` removes them."


def test_much_that_was_moved_aside(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with machine.store.open(made(machine.store)) as session:
        session.move_aside("for-a-test")
    monkeypatch.setattr(stores, "MUCH_ASIDE", 1000)
    assert "moved aside, in 1 session." in worst(machine.check("stores")).found


def test_a_damaged_list_of_sessions(machine: Machine) -> None:
    made(machine.store)
    machine.store.page()
    (machine.data_dir / catalog.NAME).write_bytes(b"no database" * 500)
    done = machine.check("session-list")
    assert done.state is State.WARNING
    assert len(machine.store.page().summaries) == 1, "as the remedy says, nothing needs to be done"
    assert machine.check("session-list").state is State.OK


def test_verification_finds_what_a_look_does_not(machine: Machine) -> None:
    session_id = made(machine.store)
    folder = machine.store.folder(session_id)
    with closing(sqlite3.connect(folder / "store.db")) as db:
        db.execute("UPDATE checkpoint_row SET content = zeroblob(8) WHERE table_name = 'steps'")
        db.commit()
    trajectory = folder / "trajectory" / f"{session_id}.db"
    with closing(sqlite3.connect(trajectory)) as db:
        db.execute("DELETE FROM steps WHERE idx = 1")
        db.commit()
    assert machine.check("stores").state is State.OK
    done = machine.check("verification")
    assert set(states(done)) == {State.PROBLEM}
    assert all(session_id in finding.found for finding in done.findings)
    assert any(": trajectory: step 1 is missing" in finding.found for finding in done.findings)


def test_pages_that_only_a_thorough_look_reads(machine: Machine) -> None:
    session_id = made(machine.store, turns=3)
    path = machine.store.folder(session_id) / "store.db"
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'delta'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\x55" * size
    path.write_bytes(content)
    done = machine.check("verification")
    assert done.state is State.PROBLEM
    assert f"The store of session {session_id} cannot be read" in worst(done).found


def test_only_the_newest_are_verified_unless_all_are_wanted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "NEWEST", 1)
    old, new = made(machine.store), made(machine.store)
    assert old != new
    with machine.store.open(old) as session:
        journal = Journal(session)
    (machine.store.folder(old) / "trajectory" / f"{old}.db").unlink()
    done = machine.check("verification")
    assert done.state is State.OK
    assert worst(done).found == (
        "1 session verified: checkpoints, journal and the harness's database; 1 older ones were not looked through"
        " (--deep does that)"
    )
    assert machine.check("verification", deep=True).state is State.PROBLEM
    with machine.store.open(old) as session:
        journal = Journal(session)
        add_turn(session, journal, save=False)
    assert machine.check("verification").state is State.PROBLEM, "it is the newest now"


def test_doctor_changes_nothing(machine: Machine) -> None:
    sound, damaged, open_now = (made(machine.store, turns=2) for _ in range(3))
    (machine.store.folder(damaged) / "store.db").write_bytes(b"damaged" * 1000)
    machine.store.page()
    machine.write(machine.config_file, 'model = "m"\n')
    machine.write(machine.key_file, "no key")
    session = machine.store.open(open_now)
    session.set_title("open")  # its log is not folded in
    before = digests(machine.root)
    assert any(name.endswith("store.db-wal") for name in before)
    done = machine.run("--json", "--deep", "--offline", "--skip", "offline-turn")
    assert done.exit_code == 1, done.output
    found = {check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]}
    assert (found["stores"], found["verification"], found["locks"]) == ("problem", "ok", "ok")
    # Where readers of a log are noted is memory that is shared, and no content.
    after = digests(machine.root)
    assert {name: after.get(name) for name in before if not name.endswith("-shm")} == {
        name: digest for name, digest in before.items() if not name.endswith("-shm")
    }
    assert set(after) == set(before)
    session.close()
    assert sound
