"""Sessions that are deleted: which, how much that frees, and what a kill in between leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sessions import housekeeping
from sessions.housekeeping import Fate
from sessions.journal import Journal
from sessions.lease import Holder, Lease, SessionBusy, refusal
from sessions.store import DELETED, Store, UnknownSession
from tests.sessions import cut
from tests.sessions.conftest import SESSION_ID
from tests.sessions.histories import add_turn

HOLDER = Holder(pid=os.getpid(), client="test", since="2026-01-01T00:00:00.000Z")


def made(store: Store, number: int) -> str:
    """One more session, used after the ones before."""
    session_id = f"{number:032x}"
    with store.create(session_id, cwd="/work") as session:
        add_turn(session, Journal(session))
    return session_id


def test_a_deleted_session_is_gone_and_its_size_was_told(store: Store) -> None:
    kept, gone = made(store, 1), made(store, 2)
    folder = store.folder(gone)
    on_disk = sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))
    assert abs(housekeeping.delete(store, gone, HOLDER).freed - on_disk) <= 8192  # the lease and its note
    assert [path.name for path in folder.parent.iterdir()] == [kept]
    assert [each.id for each in store.page().summaries] == [kept]
    with pytest.raises(UnknownSession):
        housekeeping.delete(store, gone, HOLDER)
    assert [path.name for path in folder.parent.iterdir()] == [kept]


def test_an_open_session_is_neither_deleted_nor_pruned(store: Store) -> None:
    session_id = made(store, 1)
    lease = Lease.acquire(store.folder(session_id), HOLDER)
    found = refusal(store.folder(session_id))
    assert found is not None
    assert found.holder == HOLDER
    with pytest.raises(SessionBusy):
        housekeeping.delete(store, session_id, HOLDER)
    for dry_run in (True, False):
        (pruned,) = housekeeping.prune(store, HOLDER, older_than=None, keep=0, dry_run=dry_run)
        assert (pruned.fate, pruned.summary.id) == (Fate.OPEN, session_id)
    lease.release()
    assert refusal(store.folder(session_id)) is None
    (pruned,) = housekeeping.prune(store, HOLDER, older_than=None, keep=0)
    assert pruned.fate is Fate.DELETED
    assert store.ids() == []


def test_prune_takes_what_is_old_and_not_among_the_newest(store: Store) -> None:
    ids = [made(store, number) for number in range(5)]
    moment = store.moment()
    with store.open(ids[1]) as session:
        age = moment - (moment.fromisoformat(session.info.updated_at) + timedelta(milliseconds=1))
    # The clock ticks on with each look, so the second is older than that, and the third is not.
    dry = list(housekeeping.prune(store, HOLDER, older_than=age, keep=1, dry_run=True))
    assert [each.summary.id for each in dry] == [ids[1], ids[0]]
    assert store.ids() == ids
    dry = list(housekeeping.prune(store, HOLDER, older_than=age, keep=4, dry_run=True))
    assert [each.summary.id for each in dry] == [ids[0]]
    done = list(housekeeping.prune(store, HOLDER, older_than=age, keep=1))
    assert [each.summary.id for each in done] == [ids[1], ids[0]]
    assert all(each.size > 0 and each.fate is Fate.DELETED for each in done)
    assert store.ids() == ids[2:]


def test_a_session_that_cannot_be_read_is_deleted_but_not_pruned(store: Store) -> None:
    session_id = made(store, 1)
    (store.folder(session_id) / "store.db").write_bytes(b"garbage")
    assert list(housekeeping.prune(store, HOLDER, older_than=None, keep=0)) == []
    housekeeping.delete(store, session_id, HOLDER)
    assert store.ids() == []


def test_what_the_disk_refuses_is_told_and_the_rest_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made(store, 1), made(store, 2)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == second:
            raise OSError(30, "Read-only file system")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    done = {each.summary.id: each for each in housekeeping.prune(store, HOLDER, older_than=None, keep=0)}
    assert (done[second].fate, done[first].fate) == (Fate.FAILED, Fate.DELETED)
    assert "Read-only" in done[second].detail
    assert refusal(store.folder(second)) is None


def test_a_delete_that_is_killed_is_finished_by_the_next(store: Store) -> None:
    def prepare() -> Callable[[], None]:
        if SESSION_ID not in store.ids():
            with store.create(SESSION_ID, cwd="/work") as session:
                add_turn(session, Journal(session))

        def run() -> None:
            housekeeping.delete(store, SESSION_ID, HOLDER)

        return run

    other = made(store, 1)
    left_behind = False
    for _ in cut.everywhere(prepare):
        left_behind = left_behind or bool(store.deleted())
        if SESSION_ID in store.ids():
            with store.open(SESSION_ID) as session:
                assert session.info.turns == 1
    assert left_behind
    assert store.ids() == [other]
    assert not list(store.folder(other).parent.glob(f"{DELETED}*"))
