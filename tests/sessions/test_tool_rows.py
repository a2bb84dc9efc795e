"""What a harness's database says of tool calls is read, or left out; it never fails a turn."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from sessions import tool_rows
from sessions.outline import DONE, PLANNER_RESPONSE, USER_INPUT
from sessions.tool_rows import ToolRow

COMMAND_TYPE = 21


def field(number: int, value: bytes | int) -> bytes:
    """A field of a protocol buffer; small numbers only."""
    kind = 0 if isinstance(value, int) else 2
    return _varint(number << 3 | kind) + (
        _varint(value) if isinstance(value, int) else _varint(len(value)) + value
    )


def _varint(value: int) -> bytes:
    head = b""
    while value >= 0x80:
        head, value = head + bytes([value & 0x7F | 0x80]), value >> 7
    return head + bytes([value])


def call(name: str, args: object) -> bytes:
    return field(5, field(4, field(1, b"call_1") + field(2, name.encode()) + field(3, json.dumps(args).encode())))


def database(folder: Path, *rows: tuple[int, bytes | None]) -> Path:
    path = folder / "it.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE steps (idx INTEGER PRIMARY KEY, step_type, status, step_payload)")
        for idx, (step_type, payload) in enumerate(rows):
            db.execute("INSERT INTO steps VALUES (?, ?, ?, ?)", (idx, step_type, DONE, payload))
    return path


def test_calls_are_counted_from_the_prompt_on(tmp_path: Path) -> None:
    usage = field(5, field(9, field(2, 300) + field(3, 20)))
    running = call("run_command", {"CommandLine": "make", "toolSummary": "Make"}) + field(
        28, field(21, field(1, b"one\r\n"))
    )
    viewed = call("view_file", {}) + field(14, field(11, 41))
    told = call("call_mcp_tool", {}) + field(47, field(3, b"21 degrees"))
    listed = call("manage_task", {}) + field(140, field(2, field(1, b"No tasks.")))
    path = database(
        tmp_path,
        *[(USER_INPUT, b""), (8, viewed), (USER_INPUT, b""), (PLANNER_RESPONSE, b""), (COMMAND_TYPE, running)],
        *[(8, viewed), (38, told), (132, listed), (PLANNER_RESPONSE, usage)],
    )
    assert (tool_rows.last_prompt(path), tool_rows.newest(path), tool_rows.used_tokens(path)) == (2, 8, 320)
    assert [tool_rows.read(path, after=2, number=number) for number in range(5)] == [
        ToolRow("run_command", {"CommandLine": "make"}, output="one\r\n"),
        ToolRow("view_file", {}, total_lines=41),
        ToolRow("call_mcp_tool", {}, result="21 degrees"),
        ToolRow("manage_task", {}, result="No tasks."),
        None,
    ]


parts = st.binary(max_size=20) | st.builds(
    call, st.text(max_size=4), st.none() | st.text(max_size=4) | st.lists(st.none())
)


@given(st.lists(parts, max_size=4).map(b"".join) | st.none(), st.integers(0, 40))
def test_what_cannot_be_read_is_left_out(payload: bytes | None, cut: int) -> None:
    payload = payload and payload[: len(payload) - cut]
    with TemporaryDirectory() as folder:
        path = database(Path(folder), (COMMAND_TYPE, payload), (PLANNER_RESPONSE, payload))
        row = tool_rows.read(path, after=-1, number=0)
        assert row is None or (row.name and isinstance(row.args, dict))
        tool_rows.used_tokens(path)


def test_a_database_that_is_none_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "it.db"
    for content in (None, b"", b"no database" * 100):
        if content is not None:
            path.write_bytes(content)
        assert tool_rows.read(path, after=-1, number=0) is None
        assert tool_rows.used_tokens(path) is None
        assert (tool_rows.newest(path), tool_rows.last_prompt(path)) == (-1, -1)
