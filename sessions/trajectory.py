"""Reads a harness's database: its steps, how far they got, and digests to compare them by. Never writes one.

The harness stores a conversation, which it calls a trajectory, as rows of `steps` in one SQLite database, and one
row of `executor_metadata` for each execution that ended (facts, section 1). It opens much that is damaged without
a word (facts, section 4), so what is read here is checked: a database that is not a whole trajectory of the right
conversation is a problem with a reason, not a shorter trajectory.
"""

from __future__ import annotations

import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sessions import rows, schema
from sessions.report import Reason
from sessions.rows import Image, SqlValue

# Values of steps.step_type (facts, section 1).
USER_INPUT = 14
PLANNER_RESPONSE = 15
"""A message of the model. One that only asks for a tool has a row, but the harness does not show it."""
ERROR_MESSAGE = 17
SYSTEM_MESSAGE = 101
COMPACTION = 23
"""A summary that takes the place of what was before it, except for the user's last message."""

# Values of steps.status (facts, section 1).
PENDING = 1
DONE = 3
CANCELED = 6
ERROR = 7
WAITING = 9
QUEUED = 11
FINISHED = frozenset({DONE, CANCELED, ERROR})
NOT_STARTED = frozenset({PENDING, WAITING, QUEUED})

HARNESS_VERSION = 1
"""The newest `PRAGMA user_version` that the harness opens (facts, section 1)."""

# Fields of an execution's record, and a value of the first: it was halted, by a cancel or an orderly close in the
# middle of a turn (measured with 0.1.22; 4 is a regular end, 1 a failure).
_HOW = 1
_LAST_STEP = 3
_HALTED = 2

_COLUMNS = {
    "trajectory_meta": {"trajectory_id", "cascade_id"},
    "steps": {"idx", "step_type", "status"},
    "executor_metadata": {"idx", "data"},
}


class TrajectoryProblem(Exception):
    """The database is no usable trajectory of this conversation: the reason, and what was found."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Step:
    """A row of `steps`. The digest is the SHA-256 of all its columns, so it tells any change of the row."""

    idx: int
    step_type: int
    status: int
    digest: bytes

    @property
    def unfinished(self) -> bool:
        """Whether it was begun, or allowed, and has no end yet."""
        return self.status not in FINISHED


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What a harness's database holds; its steps are numbered from 0 without a gap.

    `executions` counts the executions whose end is recorded: mostly one a turn, more if background work woke the
    model up again, none for a turn that was cut. `ended_at` is the idx of the step that the last of them ended
    with, None if there is none or its record cannot be read; `halted` that it did not end by itself.
    """

    trajectory_id: str
    steps: tuple[Step, ...]
    executions: int
    ended_at: int | None
    halted: bool = False

    @property
    def user_turns(self) -> int:
        """The number of the user's messages."""
        return sum(step.step_type == USER_INPUT for step in self.steps)

    @property
    def surely_shown(self) -> int:
        """How many of the steps the harness shows in any case.

        It does not show a message that is nothing but a tool request, and may or may not show what sub-agents and
        background work report.
        """
        return sum(step.step_type not in (PLANNER_RESPONSE, SYSTEM_MESSAGE) for step in self.steps)

    @property
    def summarised_turns(self) -> int:
        """How many of the user's messages the model gets only as part of a summary.

        After a compaction a request holds the summary, the user's last message before it, and what came after
        (measured with 0.1.22).
        """
        compacted = max((step.idx for step in self.steps if step.step_type == COMPACTION), default=0)
        before = sum(step.step_type == USER_INPUT for step in self.steps[:compacted])
        return max(before - 1, 0)

    @property
    def last_turn(self) -> tuple[Step, ...]:
        """The steps from the last of the user's messages on."""
        start = max((step.idx for step in self.steps if step.step_type == USER_INPUT), default=0)
        return self.steps[start:]

    @property
    def not_started(self) -> tuple[Step, ...]:
        """The steps that were allowed but not begun. The harness runs a pending tool when the next turn starts."""
        return tuple(step for step in self.steps if step.status in NOT_STARTED)

    @property
    def whole(self) -> bool:
        """Whether the end of its last turn is recorded; that is so at idle, however the turn ended.

        An execution that failed records the step before its error message as its last.
        """
        if self.ended_at is None:
            return not self.steps
        return all(step.step_type == ERROR_MESSAGE for step in self.steps[self.ended_at + 1 :])


def read(path: Path, *, conversation_id: str, live: bool) -> Trajectory:
    """The trajectory in a harness's database.

    Args:
        path: the database file.
        conversation_id: whose it must be.
        live: whether a harness has it open, idle. Then it is read in place in one short transaction. If not,
            every page of it is checked too, and nothing in its folder changes.

    Raises:
        TrajectoryProblem: it is missing, empty, corrupt, foreign, or newer than the harness can open (rejected).
    """
    return of_image(read_image(path, live=live), conversation_id)


def read_image(path: Path, *, live: bool) -> Image:
    """All rows of a harness's database. Arguments and errors as for `read`; it may still be foreign."""
    _check_file(path)
    try:
        with _open(path, live=live) as db:
            if not live and (found := db.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
                raise TrajectoryProblem(Reason.CORRUPT, str(found[0]))
            return rows.read(db)
    except (sqlite3.Error, OSError) as error:
        raise TrajectoryProblem(Reason.CORRUPT, str(error)) from error


def of_image(image: Image, conversation_id: str) -> Trajectory:
    """The trajectory in a database that has been read. Errors as for `read`."""
    for table, columns in _COLUMNS.items():
        if not columns <= set(image.columns.get(table, ())):
            raise TrajectoryProblem(Reason.FOREIGN, f"it has no table {table} as the harness makes it")
    if image.user_version > HARNESS_VERSION:
        raise TrajectoryProblem(
            Reason.REJECTED, f"its version is {image.user_version}, newer than {HARNESS_VERSION}"
        )
    _check_identity(image, conversation_id)
    executions = list(_values(image, "executor_metadata", ("idx", "data")))
    return Trajectory(
        trajectory_id=conversation_id,
        steps=_steps(image),
        executions=len(executions),
        ended_at=_field(executions[-1][1], _LAST_STEP) if executions else None,
        halted=bool(executions) and _field(executions[-1][1], _HOW) == _HALTED,
    )


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise TrajectoryProblem(Reason.MISSING, f"there is no {path.name}") from error
    except OSError as error:
        raise TrajectoryProblem(Reason.CORRUPT, str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise TrajectoryProblem(Reason.CORRUPT, f"{path.name} is not a file")
    if not found.st_size:
        raise TrajectoryProblem(Reason.EMPTY, f"{path.name} has no content")


@contextmanager
def _open(path: Path, *, live: bool) -> Iterator[sqlite3.Connection]:
    parameter = "mode=ro" if live else schema.quiet_mode(path)
    if live or parameter == "immutable=1":
        with closing(schema.connect(path, parameter)) as db:
            yield db
        return
    # Reading a database that has a log changes the files beside it, so a copy is read.
    with tempfile.TemporaryDirectory(prefix="trajectory-") as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            shutil.copyfile(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
        with closing(schema.connect(copy, parameter)) as db:
            yield db


def _check_identity(image: Image, conversation_id: str) -> None:
    # The harness opens another conversation's file and then stores nothing of any turn (facts, section 4).
    if (conversation_id, conversation_id) not in _values(
        image, "trajectory_meta", ("trajectory_id", "cascade_id")
    ):
        raise TrajectoryProblem(Reason.FOREIGN, "it does not name this conversation as its own")


def _steps(image: Image) -> tuple[Step, ...]:
    digests = [row.digest for row in image.rows if row.table == "steps"]
    steps: list[Step] = []
    for values, digest in zip(_values(image, "steps", ("idx", "step_type", "status")), digests, strict=True):
        match values:
            case (int(idx), int(step_type), int(status)):
                steps.append(Step(idx, step_type, status, digest))
            case _:
                raise TrajectoryProblem(
                    Reason.CORRUPT, f"step {values[0]!r} has a type or status that is no number"
                )
        if idx != len(steps) - 1:
            raise TrajectoryProblem(Reason.CORRUPT, f"step {len(steps) - 1} is missing")
    return tuple(steps)


def _values(image: Image, table: str, columns: Sequence[str]) -> Iterator[tuple[SqlValue, ...]]:
    places = [image.columns[table].index(column) for column in columns]
    for row in image.rows:
        if row.table == table:
            values = rows.decode(row.encoded)
            yield tuple(values[place] for place in places)


def _field(record: SqlValue, number: int) -> int | None:
    """A number in an execution's record, a protocol buffer, in which a zero is not written; None if unreadable."""
    if not isinstance(record, bytes):
        return None
    found, at = 0, 0
    try:
        while at < len(record):
            tag, at = _varint(record, at)
            match tag & 7:
                case 0:
                    value, at = _varint(record, at)
                    found = value if tag >> 3 == number else found
                case 1:
                    at += 8
                case 2:
                    length, at = _varint(record, at)
                    at += length
                case 5:
                    at += 4
                case _:
                    return None
    except IndexError:
        return None
    return found if at == len(record) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
