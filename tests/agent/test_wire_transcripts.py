"""Whole transcripts of the wire, as snapshots: what a client of this agent really receives."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat.rpc import PeerGone
from tests.agent.driver import World, never
from tests.agent.normal import transcript

pytestmark = pytest.mark.anyio

EDIT = "!write_to_file engine.txt steam"
CHANGE = '!replace_file_content engine.txt "steam" "electric"'
COMMAND = "!run_command cat engine.txt; exit 3"


async def test_first_session_with_an_edit_and_a_command(world: World, snapshot: SnapshotAssertion) -> None:
    async with world.agent() as agent:
        answers = [agent.initialized]
        session_id = await agent.new(world.workspace)
        for text in ("My name is Ada.", EDIT, CHANGE, COMMAND):
            answers.append(await agent.prompt(session_id, text))
        assert (world.workspace / "engine.txt").read_text() == "electric\n"
        assert transcript(world, agent, answers) == snapshot


async def test_load(world: World, snapshot: SnapshotAssertion) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        for text in ("My name is Ada.", EDIT, COMMAND):
            await agent.prompt(session_id, text)
    async with world.agent() as agent:
        answer = await agent.call(
            "session/load", {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        )
        await agent.until(lambda: agent.updates()[-1]["sessionUpdate"] == "available_commands_update")
        assert transcript(world, agent, [answer]) == snapshot


async def test_interrupted_load(world: World, snapshot: SnapshotAssertion) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "My name is Ada.")
        agent.choose = never
        turn = asyncio.create_task(agent.prompt(session_id, EDIT))
        await agent.until(lambda: len(agent.questions) == 1)
        await agent.kill()
        with suppress(PeerGone):
            await turn
    async with world.agent(capabilities={"session": {"notices": {}}}) as agent:
        answer = await agent.call(
            "session/load", {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        )
        await agent.until(lambda: agent.updates()[-1]["sessionUpdate"] == "available_commands_update")
        assert transcript(world, agent, [answer]) == snapshot


async def test_recovered_load(world: World, snapshot: SnapshotAssertion) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        for text in ("My name is Ada.", EDIT):
            await agent.prompt(session_id, text)
    world.trajectory(session_id).write_bytes(b"not a database" * 1000)
    async with world.agent() as agent:
        answer = await agent.call(
            "session/load", {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        )
        await agent.until(lambda: agent.updates()[-1]["sessionUpdate"] == "available_commands_update")
        assert transcript(world, agent, [answer]) == snapshot
