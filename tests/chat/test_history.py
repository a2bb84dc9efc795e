"""What was typed is kept in a private file of bounded size, or the client goes on without."""

from pathlib import Path

import pytest

from acp_agent.chat import history
from acp_agent.chat.history import kept_history


def lines(path: Path) -> list[str]:
    kept, trouble = kept_history(path)
    assert trouble is None
    return list(kept.load_history_strings())


def test_it_is_kept_privately_over_the_end_of_the_client(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    kept, _ = kept_history(path)
    kept.append_string("one\ntwo")
    kept.append_string("three")
    assert lines(path) == ["three", "one\ntwo"]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.chmod(0o644)
    assert lines(path) == ["three", "one\ntwo"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_older_half_goes_when_there_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history"
    kept, _ = kept_history(path)
    for number in range(100):
        kept.append_string(f"prompt {number}\nof two lines")
    monkeypatch.setattr(history, "LIMIT", 2000)
    left = lines(path)
    assert 0 < len(left) < 60
    assert left == [f"prompt {number}\nof two lines" for number in range(99, 99 - len(left), -1)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["history"]


def test_a_folder_that_cannot_be_made_is_told_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    path = tmp_path / "file" / "folder" / "history"
    kept, trouble = kept_history(path)
    assert trouble == f"What you type is not kept in {path}: Not a directory."
    kept.append_string("one")
    assert kept.get_strings() == ["one"]


def test_a_damaged_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(b"\xff\xfe\0\n\n# now\n+good\n")
    assert lines(path) == ["good"]
