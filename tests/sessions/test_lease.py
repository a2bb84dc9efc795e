"""The lease: one holder a session among processes and within one, released by the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sessions.lease import Holder, Lease, SessionBusy, holder

ME = Holder(pid=os.getpid(), client="editor", since="2026-11-23T00:00:00.000Z")

HOLD = """
import os, sys
from pathlib import Path
from sessions.lease import Holder, Lease
lease = Lease.acquire(Path(sys.argv[1]), Holder(os.getpid(), "other editor", "2026-11-22T00:00:00.000Z"))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease until its standard input ends or it is killed."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_another_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        with pytest.raises(SessionBusy) as caught:
            Lease.acquire(tmp_path, ME)
        assert caught.value.holder == Holder(process.pid, "other editor", "2026-11-22T00:00:00.000Z")
        assert str(process.pid) in str(caught.value)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None], ids=["killed", "terminated", "ends"])
def test_the_lease_ends_with_its_holder(tmp_path: Path, how: signal.Signals | None) -> None:
    with another_process(tmp_path) as process:
        assert process.stdin is not None
        process.stdin.close() if how is None else process.send_signal(how)
        process.wait()
        lease = Lease.acquire(tmp_path, ME)
        with pytest.raises(SessionBusy) as caught:
            Lease.acquire(tmp_path, ME)
        assert caught.value.holder == ME
        lease.release()


def test_a_second_lease_in_the_same_process_is_refused_in_every_thread(tmp_path: Path) -> None:
    lease = Lease.acquire(tmp_path, ME)
    refused: list[Holder | None] = []

    def try_it() -> None:
        with pytest.raises(SessionBusy) as caught:
            Lease.acquire(tmp_path, ME)
        refused.append(caught.value.holder)

    try_it()
    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert refused == [ME, ME]
    # Another thread than the one that took it may give it up.
    thread = threading.Thread(target=lease.release)
    thread.start()
    thread.join()
    Lease.acquire(tmp_path, ME).release()


def test_a_released_lease_leaves_only_the_lock_file(tmp_path: Path) -> None:
    lease = Lease.acquire(tmp_path, ME)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "lease": 0o600,
        "lease.json": 0o600,
    }
    lock_file = (tmp_path / "lease").stat().st_ino
    lease.release()
    lease.release()
    assert [path.name for path in tmp_path.iterdir()] == ["lease"]
    assert (tmp_path / "lease").stat().st_ino == lock_file


@pytest.mark.parametrize("note", [None, b"", b"\xff{", b'{"pid": "x"}', b"[]"])
def test_a_holder_whose_note_is_unreadable_is_unknown(tmp_path: Path, note: bytes | None) -> None:
    lease = Lease.acquire(tmp_path, ME)
    (tmp_path / "lease.json").unlink()
    if note is not None:
        (tmp_path / "lease.json").write_bytes(note)
    with pytest.raises(SessionBusy) as caught:
        Lease.acquire(tmp_path, ME)
    assert caught.value.holder is None
    lease.release()


def test_a_note_that_cannot_be_written_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text('{"pid": 1, "client": "killed", "since": "then"}')
    (tmp_path / "lease.json.new").mkdir()
    lease = Lease.acquire(tmp_path, ME)
    with pytest.raises(SessionBusy) as caught:
        Lease.acquire(tmp_path, ME)
    assert caught.value.holder is None
    lease.release()


def test_a_lock_file_that_cannot_be_locked_is_an_error_of_the_file_system(tmp_path: Path) -> None:
    (tmp_path / "lease").mkdir()
    with pytest.raises(OSError, match="lease"):
        Lease.acquire(tmp_path, ME)


RACE = """
import os, sys
from pathlib import Path
from sessions.lease import Holder, Lease, SessionBusy
for line in sys.stdin:
    me = Holder(os.getpid(), f"editor {line.strip()}", "2026-11-22T00:00:00.000Z")
    try:
        lease = Lease.acquire(Path(sys.argv[1]), me)
    except SessionBusy as busy:
        other = busy.holder
        print("busy", other and other.pid, other and other.client, other and other.since, sep="|", flush=True)
        sys.stdin.readline()
    else:
        print("held", os.getpid(), sep="|", flush=True)
        sys.stdin.readline()
        lease.release()
    print("free", flush=True)
"""


def test_of_two_processes_that_race_exactly_one_wins(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for _ in "ab"
    ]

    def say(word: str) -> list[list[str]]:
        for process in both:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
        return [process.stdout.readline().strip().split("|") for process in both if process.stdout is not None]

    try:
        winners: set[str] = set()
        for number in range(200):
            (one, two) = sorted(say(str(number)))
            assert (one[0], two[0]) == ("busy", "held")
            # The loser is told who won, in this round and not in an older one.
            assert one[1:] == [two[1], f"editor {number}", "2026-11-22T00:00:00.000Z"]
            winners.add(two[1])
            assert say("go on") == [["free"], ["free"]]
    finally:
        for process in both:
            process.communicate()


def test_a_note_of_a_process_that_was_killed_names_nobody_else(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        process.kill()
        process.wait()
        old = (tmp_path / "lease.json").read_bytes()
    lease = Lease.acquire(tmp_path, ME)
    new = (tmp_path / "lease.json").read_bytes()
    (tmp_path / "lease.json").write_bytes(old)
    # As seen in the moment between the lock and the note: what is there is read again until it is the holder's.
    timer = threading.Timer(0.02, (tmp_path / "lease.json").write_bytes, [new])
    timer.start()
    with pytest.raises(SessionBusy) as caught:
        Lease.acquire(tmp_path, ME)
    assert caught.value.holder == ME
    timer.join()
    lease.release()


def test_a_list_is_told_who_holds_a_lease_while_it_is_held(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    now = Holder(os.getpid(), "editor", datetime.now(UTC).isoformat())
    lease = Lease.acquire(tmp_path, now)
    assert holder(tmp_path) == now
    lease.release()
    assert holder(tmp_path) is None
    with another_process(tmp_path) as process:
        process.kill()
        process.wait()
        assert holder(tmp_path) is None  # its note is still there


@pytest.mark.parametrize("since", ["2000-01-01T00:00:00Z", "some time ago"])
def test_a_later_process_with_the_number_of_a_killed_one_holds_nothing(tmp_path: Path, since: str) -> None:
    lease = Lease.acquire(tmp_path, Holder(os.getpid(), "editor", since))
    assert (tmp_path / "lease.json").exists()
    assert holder(tmp_path) is None
    lease.release()
