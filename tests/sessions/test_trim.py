"""What was allowed but not begun is not in the copy that is opened; everything else is, and the original stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import trajectory, trim
from tests.sessions import harness_db

ID = "c" * 32


@pytest.mark.parametrize("status", sorted(trajectory.NOT_STARTED))
@pytest.mark.parametrize("behind", [0, 2])
def test_the_copy_ends_before_what_would_still_be_started(tmp_path: Path, status: int, behind: int) -> None:
    path, copy = tmp_path / f"{ID}.db", tmp_path / "copy.db"
    cut = [(14, 3), (15, 8), (21, 2), (21, status), *[(21, status)] * behind]
    harness_db.make(path, ID, [*harness_db.ONE_TURN, *cut], [1]).close()
    before = path.read_bytes()
    found = trajectory.read(path, conversation_id=ID, live=False)
    assert trim.first_pending(found) == 5
    trim.without_pending(path, ID, copy)
    trimmed = trajectory.read(copy, conversation_id=ID, live=False)
    assert trimmed.steps == found.steps[:5]
    assert trimmed.executions == found.executions
    assert path.read_bytes() == before


def test_a_running_step_is_kept(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.db"
    harness_db.make(path, ID, [*harness_db.ONE_TURN, (14, 3), (15, 8), (21, 2)], [1]).close()
    assert trim.first_pending(trajectory.read(path, conversation_id=ID, live=False)) is None
