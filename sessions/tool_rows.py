"""What a harness's database says of the tool calls of the turn that runs, and its steps do not.

The harness tells its client little of some calls: nothing of what a command has put out so far, no result of an
MCP tool, not even the name of a tool that has no form of its own (`schedule`, `manage_task` and the like). All of
that is in the payload of the step's row, which is committed before the step's event is sent (measured with
0.1.22). Nothing is taken for granted: what cannot be read is left out.

Read in short transactions, never written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from sessions import protobuf
from sessions.outline import COMPACTION, DONE, ERROR_MESSAGE, PLANNER_RESPONSE, SYSTEM_MESSAGE, USER_INPUT
from sessions.trajectory import TrajectoryProblem, opened

_NO_TOOLS = (USER_INPUT, PLANNER_RESPONSE, ERROR_MESSAGE, SYSTEM_MESSAGE, COMPACTION)

# Numbers of fields in a step's payload (measured with 0.1.22).
_METADATA, _CALL, _USAGE = 5, 4, 9
_NAME, _ARGUMENTS = 2, 3
_PROMPT_TOKENS, _OUTPUT_TOKENS = 2, 3
_VIEWED, _TOTAL_LINES = 14, 11
_COMMAND, _OUTPUT = 28, 21
_MCP, _MCP_RESULT = 47, 3
_FOR_PEOPLE = ("toolSummary", "toolAction")
_GENERIC, _GENERIC_RESULT = 140, 2


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool call as it is stored.

    `name` and `args` are the model's own, without the words for people that the harness has it put in. `output`
    is what a command has put out so far, `result` what an MCP tool or one without a form of its own answered,
    `total_lines` the lines of a file that was read, all None if it says nothing of that.
    """

    name: str
    args: dict[str, JsonValue]
    output: str | None = None
    result: str | None = None
    total_lines: int | None = None


def newest(path: Path) -> int:
    """The idx of the newest step, -1 if there is none or it cannot be read."""
    try:
        with opened(path, live=True) as db:
            (idx,) = db.execute("SELECT coalesce(max(idx), -1) FROM steps").fetchone()
    except (TrajectoryProblem, OSError):
        return -1
    return int(idx)


def last_prompt(path: Path) -> int:
    """The idx of the last of the user's messages, -1 if there is none or it cannot be read."""
    try:
        with opened(path, live=True) as db:
            query = "SELECT coalesce(max(idx), -1) FROM steps WHERE step_type = ?"
            (idx,) = db.execute(query, (USER_INPUT,)).fetchone()
    except (TrajectoryProblem, OSError):
        return -1
    return int(idx)


def read(path: Path, *, after: int, number: int) -> ToolRow | None:
    """A tool call after a step; None if there is none such, or it cannot be read.

    Args:
        path: the database, which a harness has open.
        after: the idx of the step.
        number: how many tool calls are between them.
    """
    query = (
        f"SELECT step_payload FROM steps WHERE idx > ? AND step_type NOT IN ({', '.join(map(str, _NO_TOOLS))})"  # noqa: S608
        " ORDER BY idx LIMIT 1 OFFSET ?"
    )
    try:
        with opened(path, live=True) as db:
            found = db.execute(query, (after, number)).fetchone()
    except (TrajectoryProblem, OSError):
        return None
    return _row(found[0]) if found else None


def used_tokens(path: Path) -> int | None:
    """The tokens of the newest finished request to the model, prompt and answer, as the endpoint counted them."""
    query = "SELECT step_payload FROM steps WHERE step_type = ? AND status = ? ORDER BY idx DESC LIMIT 1"
    try:
        with opened(path, live=True) as db:
            found = db.execute(query, (PLANNER_RESPONSE, DONE)).fetchone()
    except (TrajectoryProblem, OSError):
        return None
    usage = _inner(found[0] if found else None, _METADATA, _USAGE)
    counts = [
        value for field, value in usage if field in (_PROMPT_TOKENS, _OUTPUT_TOKENS) and isinstance(value, int)
    ]
    return sum(counts) or None


def _row(payload: object) -> ToolRow | None:
    call = dict(_inner(payload, _METADATA, _CALL))
    name = _text(call.get(_NAME))
    if not name:
        return None
    return ToolRow(
        name,
        {key: value for key, value in _object(_text(call.get(_ARGUMENTS))).items() if key not in _FOR_PEOPLE},
        output=_text(dict(_inner(payload, _COMMAND, _OUTPUT)).get(1)),
        result=_text(dict(_inner(payload, _MCP)).get(_MCP_RESULT))
        or _text(dict(_inner(payload, _GENERIC, _GENERIC_RESULT)).get(1)),
        total_lines=_number(dict(_inner(payload, _VIEWED)).get(_TOTAL_LINES)),
    )


def _inner(record: object, *path: int) -> list[protobuf.Field]:
    """The fields of a record in a record in …; none if there is no such."""
    for number in path:
        record = next((value for field, value in protobuf.fields(record) or [] if field == number), None)
    return protobuf.fields(record) or []


def _text(value: object) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _object(text: str | None) -> dict[str, JsonValue]:
    try:
        value: JsonValue = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
