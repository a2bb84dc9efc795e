"""The data folder and its disk: real folders where a test can make them, else the one call that would fail."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import pytest
from filelock import FileLock

from acp_agent.doctor import folder
from acp_agent.doctor.findings import State
from sessions import durable, lease, schema
from sessions.store import new_session_id
from tests.doctor.conftest import Machine, states, worst

PROBES = ("locks", "durability", "sqlite")


class Mounted(NamedTuple):
    mountpoint: str
    fstype: str
    opts: str


def test_a_folder_that_is_there_and_private(machine: Machine) -> None:
    with machine.store.create(new_session_id(), cwd="/work"):
        pass
    before = sorted(path for path in machine.root.rglob("*"))
    for name in ("data-folder", "space", "file-system", *PROBES):
        assert machine.check(name).state is State.OK, name
    assert sorted(path for path in machine.root.rglob("*")) == before, "what was tried is gone"


def test_a_folder_that_is_not_there_yet(machine: Machine) -> None:
    machine.flags["data_dir"] = str(machine.root / "a" / "b")
    assert "is made with the first session" in worst(machine.check("data-folder")).found
    for name in PROBES:
        assert machine.check(name).state is State.OK, name
    assert not (machine.root / "a").exists()


def test_files_and_links_in_its_place(machine: Machine) -> None:
    place = machine.data_dir
    place.touch()
    assert worst(machine.check("data-folder")).found == f"The data folder {place} is a file."
    machine.flags["data_dir"] = str(place / "inside")
    assert "is a file" in worst(machine.check("data-folder")).found
    machine.flags["data_dir"] = str(place)
    place.unlink()
    place.symlink_to(machine.root / "gone")
    assert "leads nowhere" in worst(machine.check("data-folder")).found
    (machine.root / "gone").mkdir(mode=0o700)
    assert f"a link to {(machine.root / 'gone').resolve()}" in worst(machine.check("data-folder")).found


def test_a_folder_that_is_bad_is_not_tried(machine: Machine) -> None:
    machine.data_dir.touch()
    done = machine.run("--check", "data-folder", "--check", "locks")
    assert done.exit_code == 1
    assert "Not looked at, because of the problem with data-folder." in done.output


def test_others_can_read_it(machine: Machine) -> None:
    session_id = new_session_id()
    with machine.store.create(session_id, cwd="/work"):
        pass
    (machine.data_dir / "sessions" / session_id / "store.db").chmod(0o640)
    done = machine.check("data-folder")
    assert done.state is State.WARNING
    assert worst(done).remedy == f"Run chmod -R go-rwx {machine.data_dir}."
    assert "store.db." in worst(done).found
    machine.data_dir.chmod(0o755)
    assert f"{machine.data_dir} and 1 more" in worst(machine.check("data-folder")).found


def test_a_folder_of_another_user(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.data_dir.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert "belongs to another user" in worst(machine.check("data-folder")).found


@pytest.mark.parametrize(
    ("refused", "said"), [(os.W_OK, "may not be written"), (os.R_OK, "may not be read"), (os.X_OK, "entered")]
)
def test_a_folder_that_may_not_be_used(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, refused: int, said: str
) -> None:
    # The tests may run as root, who may do anything; so it is the answer of the system that is set.
    machine.data_dir.mkdir(mode=0o700)
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & refused)
    done = machine.check("data-folder")
    assert done.state is State.PROBLEM
    assert said in worst(done).found


def test_a_folder_that_may_not_be_made(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"{machine.root} may not be written" in worst(machine.check("data-folder")).found


@pytest.mark.parametrize(
    ("free", "files", "state"),
    [
        (99_000_000, None, State.PROBLEM),
        (10**12, 99, State.PROBLEM),
        (999_000_000, 10**6, State.WARNING),
        (10**12, 4_999, State.WARNING),
        (10**12, None, State.OK),
        (10**9, 5_000, State.OK),
    ],
)
def test_how_much_room_is_enough(free: int, files: int | None, state: State) -> None:
    found = folder.judge_space(free, files)
    assert found.state is state
    assert (found.remedy is None) == (state is State.OK)


@pytest.mark.parametrize(
    ("mount", "state"),
    [
        (Mounted("/", "ext4", "rw,relatime"), State.OK),
        (Mounted("/", "apfs", "rw"), State.OK),
        (Mounted("/", "nfs4", "rw"), State.WARNING),
        (Mounted("/", "CIFS", "rw"), State.WARNING),
        (Mounted("/", "9p", "rw"), State.WARNING),
        (Mounted("/", "fuse.sshfs", "rw"), State.WARNING),
        (Mounted("/", "tmpfs", "rw"), State.WARNING),
        (Mounted("/", "ext4", "ro,relatime"), State.PROBLEM),
        (Mounted("/", "ext4", "rw,errors=remount-ro"), State.OK),
        (None, State.OK),
    ],
)
def test_kinds_of_file_systems(mount: Mounted | None, state: State) -> None:
    assert folder.judge_file_system(mount).state is state


def test_the_nearest_mount_counts_and_of_two_there_the_last() -> None:
    linux = [
        Mounted("/", "ext4", ""),
        Mounted("/home", "nfs", ""),
        Mounted("/home", "ext4", ""),
        Mounted("/home/ada2", "tmpfs", ""),
        Mounted("/", "overlay", ""),
    ]
    found = folder.mount_of(PurePosixPath("/home/ada/data"), linux)
    assert found is linux[2]
    assert folder.mount_of(PurePosixPath("/var"), linux) is linux[4]
    windows = [Mounted("C:\\", "NTFS", "rw,fixed"), Mounted("Z:\\", "", "rw,remote")]
    assert folder.mount_of(PureWindowsPath("c:/Users/ada"), windows) is windows[0]
    assert folder.mount_of(PureWindowsPath("X:/data"), windows) is None


def test_a_file_system_without_locks(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    # In the other process: the module that it runs stands for a lock that fails.
    monkeypatch.setattr(folder, "_HOLDS", "raise OSError(38, 'Function not implemented')")
    done = machine.check("locks")
    assert done.state is State.PROBLEM
    assert worst(done).found.endswith("Function not implemented.")


def test_a_lock_that_keeps_nobody_out(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "refusal", lambda _: None)
    assert "does not keep another out" in worst(machine.check("locks")).found


def test_a_lock_that_outlives_its_holder(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[FileLock] = []

    def refusal(place: Path) -> lease.SessionBusy:
        # Through a second name of the same file another holder comes in as soon as the first is gone.
        (place / "lease").rename(place / "taken")
        held.append(FileLock(place / "lease"))
        held[0].acquire()
        return lease.SessionBusy(None)

    monkeypatch.setattr(lease, "refusal", refusal)
    monkeypatch.setattr(lease, "NOTE_SECONDS", 0.0)
    assert "killed is not given up" in worst(machine.check("locks")).found
    held[0].release()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO, errno.ENOSPC])
def test_a_disk_that_does_not_sync(machine: Machine, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    done = machine.check("durability")
    assert done.state is State.PROBLEM
    assert os.strerror(code) in worst(done).found
    assert not list(machine.root.glob(f"{folder.PROBE}*"))


def test_a_disk_that_gives_something_else_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "replace_file", lambda *_: None)
    assert machine.check("durability").state is State.PROBLEM


def test_a_disk_that_takes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/somewhere")

    monkeypatch.setattr("tempfile.mkdtemp", refuses)
    for name in PROBES:
        found = worst(machine.check(name))
        assert found.found.endswith(f"{os.strerror(errno.EROFS)}."), name
        assert "--data-dir" in str(found.remedy)


def test_sqlite_without_a_write_ahead_log(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(path: Path) -> sqlite3.Connection:
        db = made(path)
        db.execute("PRAGMA journal_mode = DELETE")
        return db

    made = schema.create
    monkeypatch.setattr(schema, "create", create)
    assert "the journal mode is delete, not wal" in worst(machine.check("sqlite")).found


def test_sqlite_whose_log_is_held_by_another(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[sqlite3.Connection] = []

    def create(path: Path) -> sqlite3.Connection:
        db = made(path)
        reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM memory").fetchall()
        readers.append(reader)
        return db

    made = schema.create
    monkeypatch.setattr(schema, "create", create)
    assert "the log cannot be emptied" in worst(machine.check("sqlite")).found
    with closing(readers[0]):
        pass


def test_an_old_sqlite(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    assert states(machine.check("sqlite")) == [State.PROBLEM]
