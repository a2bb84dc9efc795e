"""A session that has been through everything, made with the real agent, harness and model; and a long one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from acp_agent.chat.rpc import PeerGone
from sessions.store import Store
from tests.agent.driver import Agent, Json, World

KILLED = "!stream 400 20"


@dataclass(frozen=True, slots=True)
class Lived:
    """The session, its fork, the reports of its loads in order, and how many turns the model had after each."""

    session_id: str
    fork_id: str
    reports: tuple[Json, ...]


async def live(world: World) -> Lived:
    """Eight turns: two cut by SIGKILL, of which damage takes one, a recovery, a rewind, a fork."""
    reports: list[Json] = []
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "My name is Ada.")
        await agent.prompt(session_id, "!write_to_file engine.txt steam")
        await agent.prompt(session_id, "!run_command echo one; echo two")
        await cut(agent, session_id)
    # Whole again, with the beginning of turn 4.
    async with world.agent() as agent:
        reports.append(await agent.load(session_id, world.workspace))
        await agent.prompt(session_id, "What did you write?")
        await cut(agent, session_id)
    # Turn 6 is nowhere but here, so the checkpoint of turn 5 comes back without it.
    world.trajectory(session_id).write_bytes(b"garbage" * 5_000)
    async with world.agent() as agent:
        reports.append(await agent.load(session_id, world.workspace))
        await agent.prompt(session_id, "What do you still know?")
        await agent.prompt(session_id, "/rewind 2")
        await agent.prompt(session_id, "Take *another* way: see <https://example.org/> & `code`.")
        answer = await agent.prompt(session_id, "/fork 1")
    meta = answer["_meta"]
    assert isinstance(meta, dict)
    made = meta["acp-agent/fork"]
    assert isinstance(made, dict)
    async with world.agent() as agent:
        reports.append(await agent.load(session_id, world.workspace))
    return Lived(session_id, str(made["sessionId"]), tuple(reports))


async def cut(agent: Agent, session_id: str) -> None:
    """Kill the agent in the middle of an answer."""
    before = len(agent.text())
    turn = asyncio.create_task(agent.prompt(session_id, KILLED))
    await agent.until(lambda: len(agent.text()) > before + 40)
    await agent.kill()
    with suppress(PeerGone):
        await turn


def make_long(store: Store, session_id: str, text: str) -> None:
    """A session of 1,000 turns, each with this text in ten messages; nothing but its journal."""
    times = ("2026-11-23T00:00:00.000Z", "2026-11-23T00:00:01.000Z")
    with store.create(session_id, cwd="/work") as session, session.transaction(durable=False) as db:
        db.executemany(
            "INSERT INTO turn (turn, parent, depth, started_at, ended_at, stop_reason, prompt_excerpt)"
            " VALUES (?, ?, ?, ?, ?, 'end_turn', 'a prompt')",
            ((turn, turn - 1, turn, *times) for turn in range(1, 1001)),
        )
        db.executemany(
            "INSERT INTO entry (turn, kind, key, payload, text) VALUES (?, 'agent_message', ?, '{}', ?)",
            ((1 + number // 10, b"%d" % number, text.encode()) for number in range(10_000)),
        )
        db.execute("UPDATE session SET head = 1000")
