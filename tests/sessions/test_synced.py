"""Nothing that changed is taken for synced, and nothing is synced twice for nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sessions.synced import Synced
from sessions.system import flushing


@pytest.fixture
def synced_paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is synced, in order; it is synced all the same."""
    seen: list[str] = []

    def watched(flush: Callable[[Path], None], path: Path) -> None:
        seen.append(path.name)
        flush(path)

    for name in ("flush_file", "flush_folder"):
        monkeypatch.setattr(flushing, name, partial(watched, getattr(flushing, name)))
    return seen


def long_ago(path: Path) -> None:
    os.utime(path, ns=(10**18, 10**18))


def test_a_file_that_was_written_is_synced_until_it_is_left_alone(tmp_path: Path, synced_paths: list[str]) -> None:
    synced, path = Synced(), tmp_path / "file"
    path.write_bytes(b"one")
    for _ in range(2):  # just written: a write in the same moment could not be told
        synced.content(path)
    assert synced_paths == ["file", "file"]


def test_a_file_that_was_left_alone_is_synced_once_and_again_when_it_changed(
    tmp_path: Path, synced_paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, path = Synced(), tmp_path / "file"
    path.write_bytes(b"one")
    later = path.stat().st_ctime_ns + 5 * 10**9
    monkeypatch.setattr("sessions.synced.time.time_ns", lambda: later)
    for _ in range(3):
        synced.content(path)
    assert synced_paths == ["file"]
    long_ago(path)
    synced.content(path)
    path.unlink()
    path.write_bytes(b"one")
    synced.content(path)
    assert synced_paths == ["file"] * 3


def test_a_folder_is_synced_for_names_that_are_new(tmp_path: Path, synced_paths: list[str]) -> None:
    synced, path, log = Synced(), tmp_path / "file", tmp_path / "file-wal"
    path.touch()
    for _ in range(2):
        synced.names(tmp_path, (path, log))
    assert synced_paths == [tmp_path.name]
    log.touch()
    synced.names(tmp_path, (path, log))
    kept = log.with_name("kept")
    log.rename(kept)  # so that the new file cannot have its inode
    log.touch()
    synced.names(tmp_path, (path, log))
    assert synced_paths == [tmp_path.name] * 3
