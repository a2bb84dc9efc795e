"""Untoward events: a harness that does not start, requests that cross, sub-agents."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Self

import pytest

from acp_agent.chat.rpc import RpcError
from acp_agent.chat.transcript import ToolCall
from acp_agent.offline.decide import decide, steps_done
from acp_agent.offline.model_request import ModelRequest
from acp_agent.offline.reply import Answer, Chunk, Reply
from acp_agent.offline.script import Script, read_script
from acp_agent.offline.tools import tool_call
from sessions.leftovers import HARNESS_NAME
from sessions.trajectory import PENDING
from tests.agent.driver import Agent, Json, World, checkpoint_report, comes_true, resume_report, settled
from tests.agent.processes import harnesses
from tests.agent.proof import assert_replay_equals, promise_holds
from tests.agent.test_kills import FIRST, SECOND, cut, two_turns

pytestmark = pytest.mark.anyio

STREAM = "!stream 400 20"
FOR_EVER = 1_000_000

WRAPPER = """#!/bin/sh
echo $$ >> "{folder}/starts"
read -r left how < "{folder}/failures"
[ "$left" -gt 0 ] || exec "{harness}" "$@"
echo "$((left - 1)) $how" > "{folder}/failures"
if [ "$how" = hangs ]; then kill -STOP $$; fi
if [ "$how" = late ]; then
    exec 3<&0
    "{harness}" "$@" <&3 > "{folder}/said" &
    while [ ! -s "{folder}/said" ]; do sleep 0.01; done
    kill -KILL $!
    cat "{folder}/said"
fi
kill -KILL $$
"""
"""Counts how often the harness is started, and fails in its place as often as `failures` says: it dies at once,
dies late (when the harness has said where it listens, before anybody can have connected), or hangs."""


@dataclass(frozen=True, slots=True)
class Starts:
    """What happens when the harness is started."""

    folder: Path

    @classmethod
    def watched(cls, world: World, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Put the wrapper around the harness of all agents that are started from now on."""
        (harness,) = (file.locate() for file in files("google-antigravity") or () if file.name == HARNESS_NAME)
        starts = cls(world.root / "wrapper")
        starts.folder.mkdir()
        starts.then(failures=0)
        wrapper = starts.folder / "wrapper.sh"
        wrapper.write_text(WRAPPER.format(folder=starts.folder, harness=harness))
        wrapper.chmod(0o700)
        monkeypatch.setenv("ANTIGRAVITY_HARNESS_PATH", str(wrapper))
        return starts

    def then(self, *, failures: int, how: str = "dies") -> None:
        """Let so many of the next starts fail, and count from nothing again."""
        (self.folder / "failures").write_text(f"{failures} {how}\n")
        (self.folder / "starts").write_text("")

    @property
    def count(self) -> int:
        """How often the harness was started."""
        return len((self.folder / "starts").read_text().splitlines())


# --- A harness that does not start --------------------------------------------------------------------------


async def cut_in_an_answer(world: World) -> str:
    """A session whose third turn was cut in a streamed answer."""
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        before = len(agent.text())
        await cut(agent, session_id, STREAM, when="", seen=lambda: len(agent.text()) > before + 40)
    return session_id


async def cut_before_a_command(world: World) -> str:
    """A session whose third turn was cut when its command was allowed and had not begun."""

    def allowed() -> bool:
        return any(update.get("status") == "in_progress" for update in agent.updates())

    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        await cut(agent, session_id, "!run_command true", when="", seen=allowed)
    # How far the command had come when the signal came is chance; this makes it the same every time.
    with closing(sqlite3.connect(world.trajectory(session_id), isolation_level=None)) as database:
        database.execute("UPDATE steps SET status = ? WHERE idx = (SELECT max(idx) FROM steps)", (PENDING,))
    return session_id


async def damaged(world: World) -> str:
    """A session of two turns whose trajectory is no database any more."""
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
    world.trajectory(session_id).write_bytes(b"garbage" * 5000)
    return session_id


@dataclass(frozen=True, slots=True)
class Before:
    """A state of a session, how to get there, and what a load makes of it."""

    name: str
    make: Callable[[World], Awaitable[str]]
    outcome: str
    reason: str
    turns: int


STATES = [
    Before("cut in an answer", cut_in_an_answer, "resumed", "interrupted", 3),
    Before("cut before a command", cut_before_a_command, "resumed", "interrupted", 3),
    Before("damaged", damaged, "recovered", "corrupt", 2),
]


def on_disk(world: World, session_id: str) -> dict[str, bytes]:
    """Every file of the live trajectory and of what was moved aside."""
    folder = world.session_folder(session_id)
    found = [path for name in ("trajectory", "aside") for path in (folder / name).rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


def essence(report: Json) -> Json:
    """What a report says, without how that was found out."""
    return {key: value for key, value in report.items() if key not in ("checks", "orphans")}


@pytest.mark.parametrize("how", ["dies", "late", "hangs"])
async def test_harness_that_once_does_not_start_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    starts = Starts.watched(world, monkeypatch)
    session_id = await cut_in_an_answer(world)
    async with world.agent() as agent:
        undisturbed = await agent.load(session_id, world.workspace)
        await agent.kill()
    assert (undisturbed["outcome"], undisturbed["reason"]) == ("resumed", "interrupted")
    starts.then(failures=1, how=how)
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert starts.count == 2
        assert essence(report) == essence(undisturbed)
        await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])


@pytest.mark.parametrize("flags", [(), ("--require", "recovered")], ids=["", "require"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
async def test_harness_that_never_starts_is_an_error_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, state: Before, flags: tuple[str, ...]
) -> None:
    starts = Starts.watched(world, monkeypatch)
    session_id = await state.make(world)
    before = on_disk(world, session_id)
    starts.then(failures=FOR_EVER)
    async with world.agent(*flags) as agent:
        params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        error = await agent.refused("session/load", params)
        assert error.code == -31006
        assert on_disk(world, session_id) == before
        starts.then(failures=0)
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == (state.outcome, state.reason)
        counted = (report["turns"], report["turnsInContext"], report["turnsLost"])
        assert counted == (state.turns, state.turns, 0)
        await promise_holds(world, agent, session_id, report, finished=[FIRST, SECOND])


# --- Requests that cross ------------------------------------------------------------------------------------


def load_request(agent: Agent, world: World, session_id: str) -> Awaitable[Json]:
    """A load whose result is not looked at yet."""
    params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
    return agent.call("session/load", params)


async def test_prompt_behind_a_load(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts.watched(world, monkeypatch)
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
    starts.then(failures=0)
    async with world.agent() as agent:
        loaded, answered = await asyncio.gather(
            settled(load_request(agent, world, session_id)), settled(agent.prompt(session_id, "Third."))
        )
        assert isinstance(loaded, dict)
        report = resume_report(loaded)
        assert (report["reason"], report["turns"]) == ("verified", 2)
        asked = [FIRST, SECOND]
        if isinstance(answered, RpcError):
            assert answered.code == -32002
            assert isinstance(answered.data, dict)
            assert answered.data["reason"] == "not_open"
        else:
            assert answered["stopReason"] == "end_turn"
            assert checkpoint_report(answered)["turn"] == 3
            asked.append("Third.")
        answer = await agent.prompt(session_id, "The last.")
        assert checkpoint_report(answer)["durable"] is True
        assert world.model.requests[-1].user_turns == (*asked, "The last.")
        assert starts.count == 1, "two harnesses on one conversation overwrite each other's steps"


@pytest.mark.parametrize("while_starting", [False, True], ids=["at once", "while the harness starts"])
async def test_close_behind_a_load(world: World, monkeypatch: pytest.MonkeyPatch, while_starting: bool) -> None:
    starts = Starts.watched(world, monkeypatch)
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
    starts.then(failures=0)
    async with world.agent() as agent:
        loading = asyncio.create_task(settled(load_request(agent, world, session_id)))
        if while_starting:
            await comes_true(lambda: starts.count == 1)
        close: Json = {"sessionId": session_id}
        await asyncio.gather(loading, settled(agent.call("session/close", close)))
        assert harnesses(session_id) == []
        async with world.agent() as other:
            report = await other.load(session_id, world.workspace)
            assert (report["reason"], report["turns"]) == ("verified", 2)
            await promise_holds(world, other, session_id, report, finished=[FIRST, SECOND])


async def test_two_closes_in_a_turn(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        turn = asyncio.create_task(agent.prompt(session_id, STREAM))
        await agent.until(lambda: "word" in agent.text())
        close: Json = {"sessionId": session_id}
        answers = await asyncio.gather(*(settled(agent.call("session/close", close)) for _ in range(2)))
        assert {} in answers
        assert all(answer.code == -32002 for answer in answers if isinstance(answer, RpcError))
        assert (await turn)["stopReason"] == "cancelled"
        assert harnesses(session_id) == []
        async with world.agent() as other:
            report = await other.load(session_id, world.workspace)
            assert (report["reason"], report["turnsInContext"]) == ("verified", 1)


@pytest.mark.parametrize("open_already", [False, True], ids=["not open", "open already"])
async def test_two_loads(world: World, open_already: bool) -> None:
    async with world.agent() as agent:
        session_id = await two_turns(agent, world)
        if not open_already:
            await agent.call("session/close", {"sessionId": session_id})
        answers = await asyncio.gather(*(settled(load_request(agent, world, session_id)) for _ in range(2)))
        reports = [resume_report(answer) for answer in answers if isinstance(answer, dict)]
        assert [report["reason"] for report in reports] in (["verified"], ["verified", "verified"])
        assert all(answer.code == -31004 for answer in answers if isinstance(answer, RpcError))
        assert len(harnesses(session_id)) == 1
        await promise_holds(world, agent, session_id, reports[0], finished=[FIRST, SECOND])


# --- Sub-agents ---------------------------------------------------------------------------------------------

SUBAGENT_SAYS = "The engine has four valves."
SEND_A_SUBAGENT = (
    '!call invoke_subagent {"Subagents":[{"TypeName":"self","Role":"reader","Prompt":"Read the engine."}]}\n'
    "!say I have sent for help."
)


def with_subagent(world: World, directives: str) -> Callable[[ModelRequest], Reply]:
    """A model that does these things as a sub-agent, and for a user what it does anyway."""
    script = read_script(directives)
    assert isinstance(script, Script)

    def reply(request: ModelRequest) -> Reply:
        if request.turns or not request.tools_allowed:
            return decide(request)
        done = steps_done(request)
        if done == len(script.tools):
            return Answer(chunks=(Chunk(SUBAGENT_SAYS),))
        call = tool_call(script.tools[done].tool, (str(world.workspace),), f"call_{len(request.messages)}")
        return Answer(tool_call=call)

    return reply


@pytest.mark.parametrize(
    "directives", ["", "!write_to_file engine.txt steam\n!view_file engine.txt"], ids=["talks", "uses tools"]
)
async def test_turn_with_a_subagent(world: World, directives: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acp_agent.offline.server.decide", with_subagent(world, directives))
    asked = [SEND_A_SUBAGENT, FIRST, SECOND]
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        for number, text in enumerate(asked, 1):
            report = checkpoint_report(await agent.prompt(session_id, text))
            assert (report["turn"], report["durable"], report["reason"]) == (number, True, None)
        assert any(not request.turns for request in world.model.requests), "a sub-agent has worked"
        assert (world.workspace / "engine.txt").exists() is bool(directives)
        assert len(agent.questions) == bool(directives), "a sub-agent asks like anybody before it writes"
        assert SUBAGENT_SAYS not in agent.text()
        live = agent.shown()
        assert all(item.status == "completed" for item in live if isinstance(item, ToolCall))
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "verified", 3)
        assert_replay_equals(live, agent.shown())
        await promise_holds(world, agent, session_id, report, finished=asked)
