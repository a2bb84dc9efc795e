"""`sessions.system`: here, and as far as it can be run here, its branches for macOS and Windows."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sessions.lease import Holder, Lease, refusal
from sessions.system import files, flushing, locks
from tests.system import elsewhere
from tests.system.elsewhere import branch

HOLDER = Holder(1, "editor", "2026-11-26T00:00:00.000Z")


def test_a_place_in_a_file_is_read_as_it_is_now(tmp_path: Path, system: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\r\ntwo\x1athree")
    handle = branch(files, system).open_to_read(path)
    try:
        for place, size in ((8, 6), (0, 5), (3, 2), (12, 100)):
            assert branch(files, system).read_at(handle, size, place) == path.read_bytes()[place : place + size]
        assert not os.get_inheritable(handle)
    finally:
        os.close(handle)


def test_a_strange_file_is_opened_unless_it_is_a_link(tmp_path: Path, system: str) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"content")
    link.symlink_to(path)
    handle = branch(files, system).open_strange(path)
    assert os.read(handle, 10) == b"content"
    os.close(handle)
    with pytest.raises(OSError) as caught:
        branch(files, system).open_strange(link)
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(FileNotFoundError):
        branch(files, system).open_strange(tmp_path / "none")


def test_a_strange_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    handle = files.open_strange(tmp_path / "pipe")
    assert os.read(handle, 1) == b""
    os.close(handle)


def test_lines_are_appended_to_what_is_there(tmp_path: Path, system: str) -> None:
    path = tmp_path / "log"
    for text in (b"one\n", b"two\n"):
        handle = branch(files, system).open_to_append(path, 0o600)
        os.write(handle, text)
        os.close(handle)
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError) as caught:
        files.open_to_append(tmp_path / "pipe", 0o600)
    assert caught.value.errno == errno.ENXIO


def test_whose_a_file_is_and_how_many_more_there_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = elsewhere.load(files.__name__, "win32")
    own = tmp_path.stat()
    assert files.other_owner(own) is None
    monkeypatch.setattr(os, "geteuid", lambda: own.st_uid + 1)
    assert files.other_owner(own) == own.st_uid
    assert there.other_owner(own) is None
    for total, expected in ((1000, 70), (0, None)):
        named = SimpleNamespace(f_files=total, f_favail=70)
        monkeypatch.setattr(os, "statvfs", lambda _, named=named: named)
        assert files.files_left(tmp_path) == expected
    assert there.files_left(tmp_path) is None


def test_a_file_is_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda *to: given.append(to))
    elsewhere.load(files.__name__, "win32").give(tmp_path, 3, 4)
    assert given == []
    files.give(tmp_path, 3, 4)
    assert given == [(tmp_path, 3, 4)]


def test_a_file_takes_the_place_of_another(tmp_path: Path, system: str) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "new").write_text("new")
    branch(files, system).replace(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "new"


class Busy:
    """A file that refuses to be replaced, so and so many times, as one that is open does on Windows."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals
        self.tried = 0

    def replace(self, _target: object) -> None:
        self.tried += 1
        self.left -= 1
        if self.left >= 0:
            raise PermissionError(errno.EACCES, "it is open")


def test_windows_is_asked_again_to_replace_a_file_that_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    there = elsewhere.load(files.__name__, "win32")
    busy = Busy(refusals=3)
    there.replace(busy, Path("target"))
    assert busy.tried == 4
    monkeypatch.setattr(there, "REPLACE_SECONDS", 0.05)
    with pytest.raises(PermissionError, match="it is open"):
        there.replace(Busy(refusals=10**9), Path("target"))


def test_modes_that_let_others_in_are_told_and_taken_away(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.touch()
    link.symlink_to(path)
    for mode, expected in ((0o600, 0o600), (0o640, 0o600), (0o755, 0o700), (0o602, 0o600)):
        path.chmod(mode)
        files.shut_others_out(link)
        assert files.others_may(path.stat()) == (mode != expected)
        files.shut_others_out(path)
        assert path.stat().st_mode & 0o777 == expected


def test_modes_say_nothing_on_windows(tmp_path: Path) -> None:
    there = elsewhere.load(files.__name__, "win32")
    tmp_path.chmod(0o755)
    assert not there.others_may(tmp_path.stat())
    there.shut_others_out(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_hole_takes_no_space_here_and_counts_on_windows(tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    found = (tmp_path / "hole").stat()
    assert files.space(found) < 1 << 20
    assert elsewhere.load(files.__name__, "win32").space(found) == 1 << 30


def test_no_write_leaves_the_stamp_of_a_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=(10**18, 10**18))
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # as coarse as the file system counts
        path.write_bytes(b"two")
        os.utime(path, ns=(10**18, 10**18))
    now = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
    assert files.stamp(before) != files.stamp(now)
    assert files.changed_ns(before) < files.changed_ns(now)


def test_windows_has_no_stamp_and_counts_writes_as_changes(tmp_path: Path) -> None:
    there = elsewhere.load(files.__name__, "win32")
    os.utime(tmp_path, ns=(7, 7))
    assert there.stamp(tmp_path.stat()) is None
    assert there.changed_ns(tmp_path.stat()) == 7


def test_without_stamps_everything_is_synced_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sessions import synced  # noqa: PLC0415

    flushed: list[Path] = []
    monkeypatch.setattr(flushing, "flush_file", flushed.append)
    path = tmp_path / "file"
    path.touch()
    os.utime(path, ns=(10**18, 10**18))
    monkeypatch.setattr(synced, "files", elsewhere.load(files.__name__, "win32"))
    known = synced.Synced()
    known.content(path)
    known.content(path)
    assert flushed == [path, path]


@pytest.fixture
def synced_handles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `fsync` is called for, in order."""
    seen: list[str] = []

    def fsync(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        seen.append(f"{name} for writing" if _flags(handle) & os.O_RDWR else name)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def _flags(handle: int) -> int:
    flags = Path(f"/proc/self/fdinfo/{handle}").read_text().splitlines()[1]
    return int(flags.partition(":")[2], 8)


def test_files_and_folders_are_flushed(tmp_path: Path, system: str, synced_handles: list[str]) -> None:
    there = branch(flushing, system)
    (tmp_path / "file").touch()
    there.flush_file(tmp_path / "file")
    there.flush_folder(tmp_path)
    # Windows syncs nothing that is open for reading only, and has no call for folders.
    expected = ["file", tmp_path.name] if system == "here" else ["file for writing"]
    assert synced_handles == expected
    for flush in (there.flush_file, there.flush_folder):
        with pytest.raises(FileNotFoundError):
            flush(tmp_path / "none")
    with pytest.raises(NotADirectoryError):
        there.flush_folder(tmp_path / "file")


FULL = 51
"""F_FULLFSYNC of macOS."""


@pytest.mark.parametrize("answer", [None, errno.ENOTSUP, errno.EIO])
def test_macos_flushes_the_cache_of_the_disk(
    tmp_path: Path, answer: int | None, synced_handles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    fcntl = ModuleType("fcntl")

    def control(_handle: int, command: int) -> int:
        called.append(command)
        if answer is not None:
            raise OSError(answer, os.strerror(answer))
        return 0

    fcntl.F_FULLFSYNC, fcntl.fcntl = FULL, control  # type: ignore[attr-defined]
    there = elsewhere.load(flushing.__name__, "darwin", {"fcntl": fcntl})
    if answer == errno.EIO:
        # A disk that fails is not asked again in a way in which it may say yes.
        with pytest.raises(OSError, match="Input/output"):
            there.flush_folder(tmp_path)
    else:
        there.flush_folder(tmp_path)
    assert called == [FULL]
    assert synced_handles == ([tmp_path.name] if answer == errno.ENOTSUP else [])


HOLD = """
import sys
from pathlib import Path
from sessions.lease import Holder, Lease
lease = Lease.acquire(Path(sys.argv[1]), Holder(1, "editor", "2026-11-26T00:00:00.000Z"))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[None]:
    """The lease is held by another process."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.kill()


def test_a_lease_is_seen_to_be_held_until_its_holder_ends(
    tmp_path: Path, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.lease.locks", branch(locks, system))
    assert refusal(tmp_path) is None
    with held_elsewhere(tmp_path):
        found = refusal(tmp_path)
        assert found is not None
        assert found.holder == HOLDER
    assert refusal(tmp_path) is None
    # Whoever looked has left nothing behind that keeps others out, or that only a look would see.
    Lease.acquire(tmp_path, HOLDER).release()
    started = time.monotonic()
    assert not branch(locks, system).is_held(tmp_path / "lease")
    assert time.monotonic() - started < 60


def test_two_who_only_look_do_not_see_each_other(tmp_path: Path) -> None:
    import fcntl  # noqa: PLC0415

    (tmp_path / "lease").touch()
    with (tmp_path / "lease").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not locks.is_held(tmp_path / "lease")
