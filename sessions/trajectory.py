"""Reads a harness's database: its steps, how far they got, and digests to compare them by. Never writes one.

The harness stores a conversation, which it calls a trajectory, as rows of `steps` in one SQLite database, and one
row of `executor_metadata` for each execution that ended (facts, section 1). It opens much that is damaged without
a word (facts, section 4), so what is read here is checked: a database that is not a whole trajectory of the right
conversation is a problem with a reason, not a shorter trajectory.
"""

from __future__ import annotations

import sqlite3
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sessions import protobuf, rows, schema
from sessions.outline import (
    CANCELED,
    COMPACTION,
    DONE,
    ERROR,
    ERROR_MESSAGE,
    FINISHED,
    NOT_STARTED,
    PENDING,
    PLANNER_RESPONSE,
    QUEUED,
    SYSTEM_MESSAGE,
    USER_INPUT,
    WAITING,
    Outline,
    as_byte,
)
from sessions.report import Reason
from sessions.rows import Image, SqlValue, Table

__all__ = [
    "CANCELED",
    "COMPACTION",
    "DONE",
    "ERROR",
    "ERROR_MESSAGE",
    "FINISHED",
    "HARNESS_VERSION",
    "NOT_STARTED",
    "PENDING",
    "PLANNER_RESPONSE",
    "QUEUED",
    "SYSTEM_MESSAGE",
    "USER_INPUT",
    "WAITING",
    "Execution",
    "Step",
    "Trajectory",
    "TrajectoryProblem",
    "check_identity",
    "check_tables",
    "execution",
    "of_image",
    "opened",
    "read",
    "read_image",
]

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
class Execution:
    """The record of an execution: the idx of the step that it ended with, None if that cannot be read.

    `halted` says that it did not end by itself.
    """

    ended_at: int | None
    halted: bool


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What a harness's database holds; its steps are numbered from 0 without a gap.

    For `executions`, `ended_at` and `halted` see `sessions.outline.Outline`.
    """

    trajectory_id: str
    steps: tuple[Step, ...]
    executions: int
    ended_at: int | None
    halted: bool = False

    @property
    def outline(self) -> Outline:
        """The types and states of the steps without the rest."""
        return Outline(
            types=bytes(as_byte(step.step_type) for step in self.steps),
            statuses=bytes(as_byte(step.status) for step in self.steps),
            executions=self.executions,
            ended_at=self.ended_at,
            halted=self.halted,
        )

    @property
    def user_turns(self) -> int:
        """As in `Outline`."""
        return self.outline.user_turns

    @property
    def surely_shown(self) -> int:
        """As in `Outline`."""
        return self.outline.surely_shown

    @property
    def summarised_turns(self) -> int:
        """As in `Outline`."""
        return self.outline.summarised_turns

    @property
    def last_turn(self) -> tuple[Step, ...]:
        """The steps from the last of the user's messages on."""
        return self.steps[self.outline.last_turn :]

    @property
    def not_started(self) -> tuple[Step, ...]:
        """The steps that were allowed but not begun. The harness runs a pending tool when the next turn starts."""
        return tuple(step for step in self.steps if step.status in NOT_STARTED)

    @property
    def whole(self) -> bool:
        """As in `Outline`."""
        return self.outline.whole


def read(path: Path, *, conversation_id: str, live: bool) -> Trajectory:
    """The trajectory in a harness's database.

    Args:
        path: the database file.
        conversation_id: whose it must be.
        live: whether a harness has it open, idle. Then it is read in place in one short transaction. If not,
            every page of it is checked too, and nothing in its folder changes.

    Raises:
        TrajectoryProblem: it is missing, empty, corrupt, foreign, or newer than the harness can open (rejected).
        OSError: there is no room for the copy that is needed to read it.
    """
    return of_image(read_image(path, live=live), conversation_id)


def read_image(path: Path, *, live: bool) -> Image:
    """All rows of a harness's database. Arguments and errors as for `read`; it may still be foreign."""
    with opened(path, live=live) as db:
        if not live and (found := db.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
            raise TrajectoryProblem(Reason.CORRUPT, str(found[0]))
        return rows.read(db)


@contextmanager
def opened(path: Path, *, live: bool) -> Iterator[sqlite3.Connection]:
    """A connection to a harness's database, to read it. Arguments and errors as for `read`."""
    _check_file(path)
    try:
        with _open(path, live=live) as db:
            yield db
    except _NoRoom as error:
        raise OSError(f"{path.name} cannot be read, for want of room for a copy: {error}") from error
    except (sqlite3.Error, OSError) as error:
        raise TrajectoryProblem(Reason.CORRUPT, str(error)) from error


def of_image(image: Image, conversation_id: str) -> Trajectory:
    """The trajectory in a database that has been read. Errors as for `read`."""
    check_tables(image.tables, image.user_version)
    check_identity(_values(image, "trajectory_meta", ("trajectory_id", "cascade_id")), conversation_id)
    executions = list(_values(image, "executor_metadata", ("idx", "data")))
    last = execution(executions[-1][1] if executions else None)
    return Trajectory(
        trajectory_id=conversation_id,
        steps=_steps(image),
        executions=len(executions),
        ended_at=last.ended_at,
        halted=last.halted,
    )


def check_tables(tables: Mapping[str, Table], user_version: int) -> None:
    """Raises `TrajectoryProblem` if they are not such as the harness makes, or it would not open them."""
    for table, columns in _COLUMNS.items():
        if table not in tables or not columns <= set(tables[table].columns):
            raise TrajectoryProblem(Reason.FOREIGN, f"it has no table {table} as the harness makes it")
    if user_version > HARNESS_VERSION:
        raise TrajectoryProblem(Reason.REJECTED, f"its version is {user_version}, newer than {HARNESS_VERSION}")


def check_identity(names: Iterable[tuple[SqlValue, ...]], conversation_id: str) -> None:
    """Raises `TrajectoryProblem` if no row of (trajectory_id, cascade_id) is this conversation's."""
    # The harness opens another conversation's file and then stores nothing of any turn (facts, section 4).
    if (conversation_id, conversation_id) not in names:
        raise TrajectoryProblem(Reason.FOREIGN, "it does not name this conversation as its own")


def execution(record: SqlValue) -> Execution:
    """What an execution's record says; None stands for no record."""
    return Execution(_field(record, _LAST_STEP), _field(record, _HOW) == _HALTED)


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
    try:
        folder = tempfile.TemporaryDirectory(prefix="trajectory-")
    except OSError as error:
        raise _NoRoom(str(error)) from error
    with folder:
        copy = Path(folder.name) / path.name
        for suffix in ("", "-wal"):
            _copy(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
        with closing(schema.connect(copy, parameter)) as db:
            yield db


class _NoRoom(Exception):
    """A copy that is needed to read a database could not be made; that is no fault of the database."""


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as held:
        while block := held.read(1 << 20):
            try:
                with target.open("ab") as copy:
                    copy.write(block)
            except OSError as error:
                raise _NoRoom(str(error)) from error


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
    places = [image.tables[table].columns.index(column) for column in columns]
    for row in image.rows:
        if row.table == table:
            values = rows.decode(row.encoded)
            yield tuple(values[place] for place in places)


def _field(record: SqlValue, number: int) -> int | None:
    """A number in an execution's record, in which a zero is not written; None if the record is unreadable."""
    found = protobuf.fields(record)
    if found is None:
        return None
    numbers = [value for field, value in found if field == number and isinstance(value, int)]
    return numbers[-1] if numbers else 0
