"""Settings files of other programs: changed in one step, or left as they are with a sentence that says why."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from acp_agent.ides import settings_file
from acp_agent.ides.settings_file import MOST_BYTES, Untouched
from sessions import durable

NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
KEPT = "settings.json.20261122-101500.acp-agent-backup"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_bytes(b"old")
    return path


def listing(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def test_a_change_keeps_the_old_content_and_the_permissions(path: Path) -> None:
    path.chmod(0o644)
    for content, old, kept in ((b"new", b"old", KEPT), (b"newer", b"new", f"{KEPT}-2")):
        assert settings_file.write(settings_file.read(path), content, NOW) == path.with_name(kept)
        assert (path.read_bytes(), path.with_name(kept).read_bytes()) == (content, old)
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o644}
    assert settings_file.kept(settings_file.read(path)) == ["new", "old"]


def test_a_file_stays_its_owners(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, 12345, 12346)
    owner = (path.stat().st_uid, path.stat().st_gid)
    settings_file.write(settings_file.read(path), b"new", NOW)
    assert {(each.stat().st_uid, each.stat().st_gid) for each in path.parent.iterdir()} == {owner}


def test_a_new_file_is_private_and_so_are_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "settings.json"
    assert settings_file.write(settings_file.read(path), b"new", NOW) is None
    assert listing(path.parent) == {"settings.json": b"new"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_a_killed_process_left_goes_with_the_next_change(path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, others = (path.with_name(f".settings.json.acp-agent-{pid}.new") for pid in (gone.pid, os.getppid()))
    left.touch()
    others.touch()
    settings_file.write(settings_file.read(path), b"new", NOW)
    assert listing(path.parent).keys() == {"settings.json", KEPT, others.name}


def test_a_file_is_removed_and_kept(path: Path) -> None:
    settings_file.write(settings_file.read(path), None, NOW)
    assert listing(path.parent) == {KEPT: b"old"}


def test_a_link_stays_a_link_and_its_repository_gets_no_copies(path: Path, tmp_path: Path) -> None:
    own = tmp_path / "config"
    own.mkdir()
    link = own / "settings.json"
    link.symlink_to("../settings.json")
    settings_file.write(settings_file.read(link), b"new", NOW)
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == ["settings.json"]
    assert (own / KEPT).read_bytes() == b"old"


def test_a_file_that_changed_meanwhile_is_left_alone(path: Path) -> None:
    read = settings_file.read(path)
    path.write_bytes(b"saved by the IDE")
    with pytest.raises(Untouched, match="was changed meanwhile"):
        settings_file.write(read, b"new", NOW)
    assert listing(path.parent) == {"settings.json": b"saved by the IDE"}


def test_a_file_that_came_meanwhile_is_left_alone(path: Path) -> None:
    path.unlink()
    read = settings_file.read(path)
    path.write_bytes(b"made by the IDE")
    with pytest.raises(Untouched, match="was changed meanwhile"):
        settings_file.write(read, b"new", NOW)
    assert listing(path.parent) == {"settings.json": b"made by the IDE"}


def test_a_read_only_file_is_left_alone(path: Path) -> None:
    path.chmod(0o444)
    with pytest.raises(Untouched, match="is read-only; it is left alone"):
        settings_file.write(settings_file.read(path), b"new", NOW)
    assert listing(path.parent) == {"settings.json": b"old"}


@pytest.mark.parametrize("call", ["replace_file", "make_file", "sync_file"])
def test_what_the_system_refuses_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    # As Windows does with a file that another program holds open, and any system with a full disk.
    def refused(*_: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    read = settings_file.read(path)
    monkeypatch.setattr(durable, call, refused)
    with pytest.raises(Untouched) as told:
        settings_file.write(read, b"new", NOW)
    assert str(told.value) == f"{path} could not be changed: Permission denied."
    assert listing(path.parent) == {"settings.json": b"old"}


def test_copies_are_never_written_over(path: Path) -> None:
    for number in range(1, 1000):
        path.with_name(KEPT if number == 1 else f"{KEPT}-{number}").write_bytes(b"kept")
    before = listing(path.parent)
    with pytest.raises(Untouched, match="too many kept copies"):
        settings_file.write(settings_file.read(path), b"new", NOW)
    assert listing(path.parent) == before


def test_what_is_no_settings_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"

    def reason() -> str:
        with pytest.raises(Untouched) as told:
            _ = settings_file.read(path).text
        return str(told.value).removeprefix(f"{path} ")

    path.mkdir()
    assert reason() == "is a folder; it is left alone."
    path.rmdir()
    os.mkfifo(path)
    assert reason() == "is not a file; it is left alone."
    path.unlink()
    path.write_bytes(b'{"a": "\xff"}')
    assert reason() == "is not UTF-8 (at byte 7); it is left alone."
    path.write_text("{}", encoding="utf-16")
    assert reason() == "is not UTF-8 (at byte 0); it is left alone."
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert reason() == "has 1048577 bytes, too many for settings (1048576); it is left alone."
    path.unlink()
    path.symlink_to("gone.json")
    assert reason() == "is a link to gone.json, which is not there; it is left alone."
    path.unlink()
    path.symlink_to(path.name)
    assert "could not be read" in reason() or "is not there" in reason()
    path = tmp_path / "settings.json" / "settings.json"
    assert reason().startswith("could not be read: ")
    path = tmp_path / ("x" * 300)
    assert reason() == "could not be read: File name too long."


def test_kept_copies_that_cannot_be_read_are_passed_over(path: Path) -> None:
    path.with_name(KEPT).write_bytes(b"\xff")
    path.with_name(f"{KEPT}-2").mkdir()
    path.with_name("other.json.20261122-101500.acp-agent-backup").write_bytes(b"of another")
    path.with_name(f"{KEPT}-3").write_bytes(b"older")
    assert settings_file.kept(settings_file.read(path)) == ["older"]
