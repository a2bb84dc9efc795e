"""The log file of real agents: its *info* lines alone tell a session's life, and nothing that was said."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat.rpc import PeerGone, RpcError
from acp_agent.logs import line
from acp_agent.logs.file import ROTATE_BYTES
from tests.agent.driver import Json, World, checkpoint_report, comes_true, never, settled
from tests.agent.processes import harnesses

pytestmark = pytest.mark.anyio

EDIT = "!write_to_file secret-plan.txt steam-and-smoke"


def events(path: Path) -> list[dict[str, str]]:
    """The events of a log file; every line must be whole."""
    return [line.read(each) for each in path.read_text(encoding="utf-8").splitlines()]


@dataclass(slots=True)
class Life:
    """What the log says of one session."""

    processes: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    """Processes that have no last line."""
    turns: dict[int, str] = field(default_factory=dict)
    """How each turn ended; `cut` if nothing says."""
    checkpoints: list[tuple[int, int, bool]] = field(default_factory=list)
    permissions: list[tuple[int, str]] = field(default_factory=list)
    brought_back: list[tuple[str, str, int, int]] = field(default_factory=list)


def life(log: list[dict[str, str]], session_id: str) -> Life:
    """Tell a session's life from the log of all processes that it lived in."""
    told = Life()
    for event in log:
        name = event["event"]
        if event.get("session") != session_id:
            continue
        if event["pid"] not in told.processes:
            told.processes.append(event["pid"])
        match name:
            case "prompt.began":
                told.turns[int(event["turn"])] = "cut"
            case "prompt.ended":
                told.turns[int(event["turn"])] = event["stop_reason"]
            case "checkpoint.taken":
                found = int(event["turn"]), int(event["steps"]), event["durable"] == "true"
                told.checkpoints.append(found)
            case "permission.answered":
                told.permissions.append((int(event["turn"]), event["allowed"]))
            case "session.brought_back":
                counts = int(event["turns"]), int(event["turns_in_context"])
                told.brought_back.append((event["outcome"], event["reason"], *counts))
    ended = {event["pid"] for event in log if event["event"] == "process.ended"}
    told.killed = [pid for pid in told.processes if pid not in ended]
    return told


async def test_a_life_can_be_told_from_the_info_lines_of_both_processes(world: World) -> None:
    log = world.root / "logs" / "agent.log"
    reports: list[Json] = []
    async with world.agent("--log-file", str(log)) as first:
        session_id = await first.new(world.workspace)
        reports.append(checkpoint_report(await first.prompt(session_id, "My name is Ada.")))
        reports.append(checkpoint_report(await first.prompt(session_id, EDIT)))
        first.choose = never
        turn = asyncio.create_task(first.prompt(session_id, "!run_command echo never-told"))
        await first.until(lambda: len(first.questions) == 2)
        await first.kill()
        with suppress(PeerGone):
            await turn
    async with world.agent("--log-file", str(log)) as second:
        report = await second.load(session_id, world.workspace)
        reports.append(checkpoint_report(await second.prompt(session_id, "Who am I?")))
        pids = [str(first.process.pid), str(second.process.pid)]
    found = events(log)
    told = life(found, session_id)
    assert told.processes == pids
    assert told.killed == pids[:1]
    assert told.turns == {1: "end_turn", 2: "end_turn", 3: "cut", 4: "end_turn"}
    assert told.checkpoints == [(each["turn"], each["steps"], each["durable"]) for each in reports]
    assert told.permissions == [(2, "true")]
    assert told.brought_back == [
        ("resumed", "never_prompted", 0, 0),
        (report["outcome"], report["reason"], report["turns"], report["turnsInContext"]),
    ]
    assert {event["level"] for event in found} <= {"info", "warning"}
    text = log.read_text()
    for said in ("Ada", "secret-plan", "steam-and-smoke", "never-told", "Who am I", str(world.workspace)):
        assert said not in text


async def test_the_whole_log_of_a_short_life(world: World, snapshot: SnapshotAssertion) -> None:
    log = world.root / "agent.log"
    async with world.agent("--log-file", str(log)) as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, EDIT)
        await agent.prompt(session_id, "/mode plan")
        await agent.refused(
            "session/prompt", {"sessionId": session_id, "prompt": [{"type": "text", "text": "!fail 400 no"}]}
        )
        await agent.refused("session/load", {"sessionId": "0" * 32, "cwd": str(world.workspace), "mcpServers": []})
        await agent.call("session/close", {"sessionId": session_id})
    assert normal(world, log) == snapshot


def normal(world: World, log: Path) -> str:
    """The log without what differs from run to run, and in an order that chance does not change."""
    text = log.read_text()
    text = text.replace(str(world.root), "<root>").replace(world.model.openai_url, "<model>")
    text = re.sub(r"\b[0-9a-f]{32}\b(?<!0{32})", "<session>", text)
    text = re.sub(r"^time=\S+ ", "", text, flags=re.MULTILINE)
    text = re.sub(r"\b(pid|ms|harness|python|version|client_version|antigravity|acp|platform)=\S+", r"\1=…", text)
    return re.sub(r"\b((?:in|out)put_tokens)=\d+", r"\1=…", text)


def test_secrets_in_the_settings_and_the_environment_are_not_in_the_log(world: World) -> None:
    log = world.root / "agent.log"
    url = "http://ada:hunter22@localhost:1/v1?key=abcdef"
    command = (*world.command()[:3], "--base-url", url, "--log-file", str(log), "--log-level", "debug")
    environment = {**os.environ, "OTHER_TOKEN": "token-of-another"}
    client = {"name": "a client with a\ntoken-of-another", "version": "1"}
    params = {"protocolVersion": 1, "clientInfo": client}
    line_ = json.dumps({"id": 1, "method": "initialize", "params": params})
    subprocess.run(command, input=line_, capture_output=True, text=True, check=True, timeout=60, env=environment)
    found = {event["event"]: event for event in events(log)}
    assert found["process.started"]["base_url"] == "http://[hidden]@localhost:1/v1?key=[hidden]"
    assert found["client.connected"]["client"] == "a client with a\n[hidden]"
    assert "token-of-another" not in log.read_text()


async def test_two_agents_that_rotate_one_file_lose_and_tear_no_line(world: World) -> None:
    log = world.root / "agent.log"
    filler = line.made([("event", "process.started"), ("filler", "x" * 80)]) + "\n"
    # The first lines of the agents fill it up.
    log.write_text(filler * ((ROTATE_BYTES - 1000) // len(filler)))
    filled = len(log.read_text().splitlines())
    async with world.agent("--log-file", str(log)) as one, world.agent("--log-file", str(log)) as two:
        sessions = [await one.new(world.workspace), await two.new(world.workspace)]
        await asyncio.gather(one.prompt(sessions[0], "Hello."), two.prompt(sessions[1], "Hello."))
    full = log.with_name("agent.log.1")
    before, after = events(full), events(log)
    assert full.stat().st_size >= ROTATE_BYTES
    assert len(before) > filled
    for session_id in sessions:
        told = life(before + after, session_id)
        assert (told.turns, len(told.checkpoints), told.killed) == ({1: "end_turn"}, 1, [])
    assert not log.with_name("agent.log.2").exists()


@pytest.mark.parametrize("flag", ["--log-file", "--trace"])
def test_a_path_that_cannot_be_written_is_a_clear_error_at_the_start(world: World, flag: str) -> None:
    for path, why in ((world.root, "Is a directory"), (Path("/dev/null/x"), "Not a directory")):
        command = world.command(flag, str(path))
        done = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert done.stdout == ""
        assert f"Error: The log or trace cannot be kept: {path} cannot be written: {why}." in done.stderr
    same = world.command("--log-file", str(world.root / "x"), "--trace", str(world.root / "x"))
    done = subprocess.run(same, input="", capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "choose another file" in done.stderr) == (2, True)


async def test_an_agent_whose_log_is_taken_away_goes_on(world: World) -> None:
    folder = world.root / "logs"
    async with world.agent("--log-file", str(folder / "agent.log")) as agent:
        (folder / "agent.log").unlink()
        folder.rmdir()
        session_id = await agent.new(world.workspace)
        assert checkpoint_report(await agent.prompt(session_id, "Hello."))["durable"] is True
        words = await agent.end()
    assert len([each for each in words if "agent.log cannot be written" in each]) == 1


async def test_what_goes_wrong_and_what_is_given_up_is_told_at_its_level(world: World) -> None:
    log = world.root / "agent.log"
    async with world.agent("--log-file", str(log), "--hibernate", "0.05") as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "My name is Ada.")
        await comes_true(lambda: "harness.hibernated" in log.read_text())
        agent.choose = never
        turn = asyncio.create_task(agent.prompt(session_id, EDIT))
        await agent.until(lambda: len(agent.questions) == 1)
        await agent.cancel(session_id)
        assert (await turn)["stopReason"] == "cancelled"
        cut = asyncio.ensure_future(settled(agent.prompt(session_id, EDIT)))
        await agent.until(lambda: len(agent.questions) == 2)
        (harness,) = harnesses(session_id)
        harness.kill()
        assert isinstance(await cut, RpcError)
        await agent.refused("session/set_mode", {"sessionId": session_id, "modeId": 5})
    found = [event for event in events(log) if event.get("session") == session_id]
    told = [(event["event"], event["level"], event.get("turn")) for event in found]
    for expected in (
        ("harness.hibernated", "info", None),
        ("prompt.cancel_asked", "info", "2"),
        ("permission.answered", "info", "2"),
        ("harness.died", "error", "3"),
        ("prompt.failed", "error", "3"),
        ("request.failed", "error", None),
        ("request.refused", "info", None),
    ):
        assert expected in told
    refused = [
        (event["method"], event["code"], event["reason"]) for event in found if event["event"] == "request.refused"
    ]
    assert refused == [("session/set_mode", "-32602", "invalid_params")]
    answers = [(event["by"], event["allowed"]) for event in found if event["event"] == "permission.answered"]
    assert answers == [("nobody", "false"), ("nobody", "false")]
    back = [event for event in found if event["event"] == "session.brought_back"]
    assert [(event["reason"], event["turns_in_context"]) for event in back][:2] == [
        ("never_prompted", "0"),
        ("verified", "1"),
    ]
