"""A copy of a trajectory without what the harness would still start.

A tool that was allowed but had not begun when its process was killed is a pending step. The harness runs it when
the next turn begins, without asking again (measured with 0.1.22): an old command, minutes or days later, in the
middle of something else. So a cut turn is opened up to its first pending step. The database itself is never
written; the copy takes its place, and it is kept aside.
"""

from __future__ import annotations

from pathlib import Path

from sessions import rows, trajectory
from sessions.rows import Row
from sessions.trajectory import Trajectory


def first_pending(found: Trajectory) -> int | None:
    """The idx of the first step that the harness would still start, None if there is none."""
    return min((step.idx for step in found.not_started), default=None)


def without_pending(database: Path, conversation_id: str, target: Path) -> None:
    """Make a copy of a database that nobody has open, without its first pending step and all after it.

    Raises:
        TrajectoryProblem: the database cannot be read.
        OSError: the disk refused.
    """
    image = trajectory.read_image(database, live=False)
    end = first_pending(trajectory.of_image(image, conversation_id))
    place = image.tables["steps"].columns.index("idx")

    def kept(row: Row) -> bool:
        if row.table != "steps" or end is None:
            return True
        idx = rows.decode(row.encoded)[place]
        return isinstance(idx, int) and idx < end

    held = [row for row in image.rows if kept(row)]
    rows.write(target, held, page_size=image.page_size, user_version=image.user_version)
