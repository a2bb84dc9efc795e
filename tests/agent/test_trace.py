"""Traces of real agents: all that crossed the wire is in them, and people can read them."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from syrupy.assertion import SnapshotAssertion

from acp_agent import cli, config
from acp_agent.chat.rpc import PeerGone
from acp_agent.cli import main
from acp_agent.trace_command import gist, records
from acp_agent.trace_command.sequence import Folding, Row, Sequence
from tests.agent.driver import Agent, World, comes_true, never

EDIT = "!write_to_file engine.txt steam"


def shown(*arguments: str | Path) -> Result:
    """What `acp-agent trace` prints."""
    return CliRunner().invoke(main, ["trace", *map(str, arguments)])


def recorded(path: Path) -> list[dict[str, JsonValue]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def a_life_with_a_kill(world: World, trace: Path) -> tuple[Agent, Agent]:
    """Two turns, one that is cut by a kill, a load and a refused request; the agents of it."""
    async with world.agent("--trace", str(trace)) as first:
        session_id = await first.new(world.workspace)
        await first.until(lambda: _ends_the_opening(first))
        await first.prompt(session_id, "My name is Ada.")
        await first.prompt(session_id, EDIT)
        first.choose = never
        turn = asyncio.create_task(first.prompt(session_id, "!run_command sleep 600"))
        await first.until(lambda: len(first.questions) == 2)
        # What a killed process had not written yet of its trace is lost.
        await comes_true(lambda: _messages_of_the_agent(trace) == len(first.lines))
        await first.kill()
        with suppress(PeerGone):
            await turn
    async with world.agent("--trace", str(trace)) as second:
        await second.load(session_id, world.workspace)
        await second.refused(
            "session/load", {"sessionId": "0" * 32, "cwd": str(world.workspace), "mcpServers": []}
        )
        await second.until(lambda: _ends_the_opening(second))
    return first, second


def _messages_of_the_agent(trace: Path) -> int:
    return sum(record.get("from") == "agent" for record in recorded(trace))


def _ends_the_opening(agent: Agent) -> bool:
    """Whether the update has come that is the last one after a session was opened."""
    return [update["sessionUpdate"] for update in agent.updates()][-1:] == ["available_commands_update"]


@pytest.mark.anyio
async def test_all_that_a_client_received_is_in_the_trace_and_reads_well(
    world: World, snapshot: SnapshotAssertion
) -> None:
    trace = world.root / "traces" / "t.jsonl"
    agents = await a_life_with_a_kill(world, trace)
    found = recorded(trace)
    for agent in agents:
        mine = [record for record in found if record["pid"] == agent.process.pid]
        sent = [record for record in mine if record.get("from") == "agent"]
        assert [record["message"] for record in sent] == [json.loads(line) for line in agent.lines]
        assert [record["bytes"] for record in sent] == [len(line) for line in agent.lines]
        assert [record["at"] for record in mine] == sorted(record["at"] for record in mine)  # type: ignore[type-var]
    result = shown(trace)
    assert (result.exit_code, result.stderr) == (0, "")
    assert normal(world, result.stdout) == snapshot


def normal(world: World, text: str) -> str:
    """The rows without what differs from run to run, and without those whose moment or number is chance."""
    text = text.replace(str(world.workspace), "<workspace>")
    text = re.sub(r"\b[0-9a-f]{32}\b(?<!0{32})", "<session>", text)
    text = re.sub(r"([→←·]) [0-9a-f]{8} ", r"\1 <session> ", text)
    text = re.sub(r"\b(process) \d+", r"\1 <pid>", text)
    text = re.sub(r"\bacp-agent \d\S+", "acp-agent <version>", text)
    text = re.sub(r" \u00d7\d+, [\d.]+ k?B", "", re.sub(r"\b[\d.]+ ms", "<ms>", text))
    text = re.sub(r"(“Created file) .*", r"\1 …", text)  # it is cut at a length, and has a path in it
    rows = [row for row in text.splitlines() if not re.search("usage_update|config_option_update", row)]
    return "\n".join(re.sub(r"^ *[\d.]+ ", "", row) for row in rows)


@pytest.mark.anyio
async def test_filters_json_and_a_last_line_that_is_cut(world: World) -> None:
    trace = world.root / "t.jsonl"
    await a_life_with_a_kill(world, trace)
    session_id = next(str(record["session"]) for record in recorded(trace) if "session" in record)
    whole = [json.loads(row) for row in shown("--json", trace).stdout.splitlines()]
    prompts = [row for row in whole if row["kind"] == "session/prompt"]
    assert [(row["to"], row["turn"], row["failed"]) for row in prompts] == [
        ("agent", None, False),
        ("client", 1, False),
        ("agent", None, False),
        ("client", 2, False),
        ("agent", None, False),
        (None, None, True),
    ]
    assert prompts[-1]["gist"].startswith("was not answered in process")
    assert all(row["ms"] > 0 for row in prompts if row["to"] == "client")
    for part in (session_id[:6], session_id[-6:]):
        of_session = [json.loads(row) for row in shown("--json", trace, "--session", part).stdout.splitlines()]
        assert {row["session"] for row in of_session} == {None, session_id}
        assert all(row["session"] or row["kind"].startswith("process") for row in of_session)
    wanted = shown("--json", trace, "--method", "session/request_*", "--method", "tool_call").stdout.splitlines()
    kinds = {json.loads(row)["kind"].split()[0] for row in wanted}
    assert kinds == {"process", "session/request_permission", "tool_call"}
    with trace.open("a") as file:
        file.write('{"time": "2026-01-01T00:00:00.000Z", "at": 1')
    cut = shown(trace)
    assert (cut.exit_code, cut.stderr.count("The last line is cut")) == (0, 1)
    os.truncate(trace, trace.stat().st_size - 10)
    with trace.open("a") as file:
        file.write("\n[1]\n")
    assert "2 lines are no records of a trace and passed over." in shown(trace).stderr
    trace.write_text(trace.read_text().replace("[1]\n", ""))
    assert "1 line is no record of a trace and passed over." in shown(trace).stderr


@pytest.mark.anyio
async def test_a_trace_can_be_followed_while_it_is_recorded(world: World) -> None:
    trace = world.root / "t.jsonl"
    async with world.agent("--trace", str(trace)) as agent:
        command = (sys.executable, "-m", "acp_agent", "trace", "--follow", "--json", str(trace))
        with (
            (world.root / "rows").open("wb") as rows,
            subprocess.Popen(  # noqa: ASYNC220
                command, stdout=rows
            ) as follower,
        ):
            session_id = await agent.new(world.workspace)
            await comes_true(lambda: session_id in (world.root / "rows").read_text())
            follower.send_signal(2)
            assert follower.wait(30) == 0


def test_garbage_is_recorded_and_so_is_its_answer(world: World) -> None:
    trace = world.root / "t.jsonl"
    command = world.command("--trace", str(trace), "--trace-content", "none")
    garbage = b'{"id":1,"method":"initialize","params":{"protocolVersion":1}}\nnot json\n[1]\n'
    subprocess.run(command, input=garbage, capture_output=True, check=True, timeout=60)
    found = recorded(trace)
    assert found[2].get("unreadable", found[3].get("unreadable")) == "[8 bytes]"
    rows = shown(trace).stdout
    assert "(no message)  [8 bytes]" in rows
    assert "error -32700: Parse error (parse_error)" in rows


def test_chat_hands_the_flags_on_to_its_agents(tmp_path: Path) -> None:
    flags = {"trace": str(tmp_path / "t"), "trace_content": "none", "log_file": str(tmp_path / "l")}
    given = cli._arguments(config.load(flags, {}))
    assert [given[given.index(flag) + 1] for flag in ("--trace", "--trace-content", "--log-file")] == [
        *flags.values()
    ]


def test_what_is_no_trace_is_refused_with_the_reason(tmp_path: Path) -> None:
    empty, binary, other = tmp_path / "empty", tmp_path / "binary", tmp_path / "other"
    empty.write_text("\n")
    binary.write_bytes(bytes(range(256)) * 4096)
    other.write_text('{"level": "info"}\n' * 1000)
    for path, why in (
        (empty, "is empty: nothing was recorded."),
        (binary, "is not a trace."),
        (other, "is not a trace."),
        (tmp_path / "nothing", "cannot be read: No such file or directory."),
        (tmp_path, "cannot be read: Is a directory."),
    ):
        result = shown(path)
        assert (result.exit_code, result.stderr) == (1, f"Error: {path} {why}\n")


def rows(*values: dict[str, JsonValue]) -> list[Row]:
    sequence, folding = Sequence(), Folding()
    found: list[Row] = []
    for value in values:
        record = records.read(json.dumps({"at": 1.5, "pid": 7, "time": "", **value}))
        assert record is not None
        for row in sequence.rows(record):
            found += folding.rows(row)
    for row in sequence.end():
        found += folding.rows(row)
    return [*found, *folding.end()]


def test_newer_traces_lost_messages_and_strange_ones_are_told() -> None:
    newer = rows({"trace": 2, "program": "acp-agent 9", "unknown": {}}, {"dropped": 3}, {"stopped": "full"})
    assert [row.gist for row in newer] == [
        "acp-agent 9 begins (a newer form: what is not known here is left out)",
        "3 messages were not recorded",
        "nothing more was recorded: full",
    ]
    strange = rows(
        {"from": "agent", "message": {"id": 5, "result": {}}},
        {"from": "client", "message": {"id": 6, "method": "x/y", "params": [1]}},
        {"from": "client", "message": {"method": "session/update", "params": {"update": [1]}}},
        {"from": "client", "message": {"id": {"a": 1}, "method": "session/prompt", "params": {"prompt": [1, {}]}}},
        {"from": "agent", "message": {"id": {"a": 1}, "error": {"code": -1, "message": "a\x1b[31m\nb"}}},
        {"from": "agent", "message": 5},
    )
    assert [(row.kind, row.gist) for row in strange[1:]] == [
        ("(answer)", "an answer to a request that is not in the trace"),
        ("x/y", ""),
        ("session/update", ""),
        ("session/prompt", ""),
        ("session/prompt", "error -1: a [31m b"),
        ("(answer)", "an answer to a request that is not in the trace"),
        ("x/y", "was not answered in process 7"),
    ]


def test_a_stream_is_one_row_with_its_beginning() -> None:
    def chunk(text: str, message_id: str = "m") -> dict[str, JsonValue]:
        content: dict[str, JsonValue] = {"type": "text", "text": text}
        update: dict[str, JsonValue] = {"sessionUpdate": "agent_message_chunk", "messageId": message_id}
        params: dict[str, JsonValue] = {"sessionId": "s", "update": {**update, "content": content}}
        return {"from": "agent", "bytes": 100, "message": {"method": "session/update", "params": params}}

    _, one, other = rows(*(chunk(f"word{number} ") for number in range(500)), chunk("end", "n"))
    assert (one.count, one.size, one.gist[:18], len(one.gist)) == (500, 50_000, "“word0 word1 word2", gist.LIMIT)
    assert (other.count, other.gist) == (1, "“end”")


def test_a_narrow_terminal_without_colour_gets_whole_rows_that_fit(tmp_path: Path) -> None:
    trace = tmp_path / "t"
    message = {"id": 1, "method": "session/prompt", "params": {"prompt": [{"type": "text", "text": "word " * 40}]}}
    head = {"at": 0, "pid": 7, "time": ""}
    lines = [{**head, "trace": 1, "program": "acp-agent 1"}, {**head, "from": "client", "message": message}]
    trace.write_text("".join(json.dumps(each) + "\n" for each in lines))
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    environment.pop("COLUMNS", None)
    subprocess.run(
        (sys.executable, "-m", "acp_agent", "trace", str(trace)),
        stdout=theirs,
        env=environment,
        check=True,
        timeout=60,
    )
    os.close(theirs)
    shown_rows = os.read(ours, 10_000).decode("ascii").splitlines()
    os.close(ours)
    assert len(shown_rows) == 3, shown_rows
    assert all(len(re.sub(r"\x1b\[[\d;]*m", "", row)) <= 50 for row in shown_rows)
    assert not re.search(r"\x1b\[(\d;)*(3|4|9)\d", "".join(shown_rows)), "no colour"
    assert "-> " in shown_rows[1]


def test_nothing_in_a_trace_steers_the_terminal_or_breaks_a_row(tmp_path: Path) -> None:
    trace, evil = tmp_path / "t", "a\x1b]0;owned\x07\nb\u2028"
    head: dict[str, JsonValue] = {"at": 0, "pid": 7, "time": evil}
    params: dict[str, JsonValue] = {"sessionId": evil, "update": {"sessionUpdate": evil}}
    written: list[dict[str, JsonValue]] = [
        {**head, "trace": 1, "program": evil, "stopped": evil},
        {**head, "from": "client", "message": {"id": evil, "method": evil, "params": params}},
        {**head, "from": "agent", "message": {"id": evil, "result": {"sessionId": evil}}},
        {**head, "from": "agent", "message": {"method": "session/update", "params": params}},
        {**head, "from": "client", "message": {"id": 1, "method": evil}},
        {**head, "from": "agent", "message": {"id": 1, "result": {"sessionId": evil}}},
        {**head, "from": "client", "message": {"id": "2", "method": evil}},
        # Neither the time nor the size nor the process can be so large.
        *({**head, "from": "agent", name: 10**400} for name in ("at", "pid", "bytes")),
    ]
    trace.write_text("".join(json.dumps(each) + "\n" for each in written))
    result = shown(trace)
    assert result.exit_code == 0
    assert "2 lines are no records" in result.stderr
    assert len(result.stdout.split("\n")) == len(written) + 1
    assert all(row.isprintable() for row in result.stdout.split("\n"))
    # An id that is a text is not the number; one that is cut where it is shown is still told from another.
    longest = "x" * 40
    questions: list[dict[str, JsonValue]] = [{"id": key, "method": "m"} for key in (1, "1", f"{longest}a")]
    asked: list[dict[str, JsonValue]] = [{"from": "client", "message": each} for each in questions]
    found = rows(*asked)
    assert [row.kind for row in found if row.gist.startswith("was not answered")] == ["m"] * 3


NAMES = (
    *(
        "id",
        "method",
        "params",
        "result",
        "error",
        "sessionId",
        "update",
        "sessionUpdate",
        "content",
        "text",
        "type",
    ),
    *("prompt", "_meta", "acp-agent/checkpoint", "acp-agent/resume", "outcome", "options", "toolCall", "data"),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just("session/update"))
anything: st.SearchStrategy[JsonValue] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=15,
)
METHODS = sorted({*gist._PARAMS, *gist._RESULTS, "session/update"})


@given(st.sampled_from(METHODS), st.sampled_from(["client", "agent"]), anything, anything)
def test_whatever_was_sent_has_rows_of_one_line(
    method: str, sender: str, params: JsonValue, result: JsonValue
) -> None:
    other = "agent" if sender == "client" else "client"
    found = rows(
        {"from": sender, "message": {"id": 1, "method": method, "params": params}},
        {"from": other, "message": {"id": 1, "result": result}},
        {"from": sender, "message": {"method": "session/update", "params": {"sessionId": "s", "update": params}}},
        {"from": other, "message": {"id": 1, "error": result}},
        {"from": other, "message": result},
    )
    assert len(found) >= 5
    for row in found:
        assert row.gist.isprintable()
        assert len(row.gist) <= gist.LIMIT + 40
    for name in gist._UPDATES:
        update: dict[str, JsonValue] = {**(params if isinstance(params, dict) else {}), "sessionUpdate": name}
        assert gist.of_params("session/update", {"update": update}).isprintable()
