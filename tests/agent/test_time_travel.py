"""Going back, branching off and throwing away from the client: slash commands, `session/fork|delete`."""

from __future__ import annotations

import asyncio

import pytest

from acp_agent.chat.rpc import RpcError
from sessions.timeline import BACK_NOTE
from tests.agent.driver import Agent, Json, World, settled
from tests.agent.proof import QUESTION, promise_holds, prompts

pytestmark = pytest.mark.anyio

TURNS = ("My name is Ada.", "!write_to_file engine.txt steam", "I like engines.")


async def three_turns(agent: Agent, world: World) -> str:
    session_id = await agent.new(world.workspace)
    for text in TURNS:
        await agent.prompt(session_id, text)
    return session_id


async def command(agent: Agent, session_id: str, text: str) -> tuple[str, Json]:
    """What a slash command answers, and the `_meta` of its response."""
    answer = await agent.prompt(session_id, text)
    assert answer["stopReason"] == "end_turn"
    (shown,) = agent.updates()[-1:]
    assert shown["_meta"] == {"acp-agent/command": True}
    content, meta = shown["content"], answer["_meta"]
    assert isinstance(content, dict)
    assert isinstance(meta, dict)
    return str(content["text"]), meta


async def model_has(world: World, agent: Agent, session_id: str, *turns: str) -> None:
    """Assert that the model gets exactly these turns with the next prompt."""
    await agent.prompt(session_id, QUESTION)
    assert world.model.requests[-1].user_turns == (*turns, QUESTION)


async def test_commands_are_offered_and_listed(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.until(lambda: bool(agent.updates()))
        assert agent.order()[-2:] == ["answer", "available_commands_update"]
        offered = agent.updates()[0]["availableCommands"]
        assert isinstance(offered, list)
        assert [entry["name"] for entry in offered if isinstance(entry, dict)] == [
            "turns",
            "rewind",
            "fork",
            "session",
            "mode",
            "permissions",
            "plan",
        ]
        assert await command(agent, session_id, "/turns") == ("This session has no turns yet.", {})
        await agent.prompt(session_id, TURNS[0])
        text, _ = await command(agent, session_id, "/turns")
        assert TURNS[0] in text
        text, _ = await command(agent, session_id, "/session")
        assert session_id in text
        assert "Turn 1 is checkpointed" in text
        for bad in ("/rewind", "/rewind x", "/rewind -1", "/rewind 1 2", "/turns 1", "/rewind ٣", "/rewind 99"):
            text, meta = await command(agent, session_id, bad)
            assert meta == {}, bad
            assert "written" in text or "no turn" in text, text
        # None of this reached the model or the journal; a path does.
        await agent.prompt(session_id, "/etc/hosts is a file")
        assert world.model.requests[-1].user_turns == (TURNS[0], "/etc/hosts is a file")
        agent.received.clear()
        await agent.load(session_id, world.workspace)
        assert prompts(agent.shown()) == [TURNS[0], "/etc/hosts is a file"]


async def test_rewind_and_return(world: World) -> None:
    async with world.agent() as agent:
        session_id = await three_turns(agent, world)
        text, meta = await command(agent, session_id, "/rewind 1")
        assert "taken back to the end of turn 1" in text
        report = meta["acp-agent/resume"]
        assert isinstance(report, dict)
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (1, 1, 0)
        await model_has(world, agent, session_id, TURNS[0])
        assert world.model.requests[-1].turns[-1].note == BACK_NOTE
        listed, _ = await command(agent, session_id, "/turns")
        assert len([line for line in listed.splitlines() if line.endswith("| left |")]) == 2
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "verified", 2)
        assert prompts(agent.shown()) == [TURNS[0], QUESTION], "the replay is of the line that the session is on"
        await promise_holds(world, agent, session_id, report, finished=[TURNS[0], QUESTION])
        # The turns that were left can be returned to, all of them.
        await command(agent, session_id, "/rewind 3")
        await model_has(world, agent, session_id, *TURNS)
        await command(agent, session_id, "/rewind 0")
        await model_has(world, agent, session_id)


async def test_fork_by_command_and_by_request(world: World) -> None:
    async with world.agent() as agent:
        session_id = await three_turns(agent, world)
        _, meta = await command(agent, session_id, "/fork 2")
        made = meta["acp-agent/fork"]
        assert isinstance(made, dict)
        by_command = str(made["sessionId"])
        params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        answer = await agent.call("session/fork", {**params, "_meta": {"acp-agent/turn": 1}})
        by_request = str(answer["sessionId"])
        assert answer["_meta"] == {"acp-agent/fork": {"from": session_id, "turn": 1, "turns": 1}}
        await model_has(world, agent, by_request, TURNS[0])
        # In the middle of a turn a fork has what the last checkpoint has, and disturbs nothing.
        turn = asyncio.create_task(agent.prompt(session_id, "!stream 60 20"))
        await agent.until(lambda: "word" in agent.text())
        last = str((await agent.call("session/fork", params))["sessionId"])
        assert (await turn)["stopReason"] == "end_turn"
        await model_has(world, agent, last, *TURNS)
        await model_has(world, agent, session_id, *TURNS, "!stream 60 20")
        for bad in (99, -1, "1", True):
            error = await agent.refused("session/fork", {**params, "_meta": {"acp-agent/turn": bad}})
            assert error.code == -32602
        assert (await agent.refused("session/fork", {**params, "sessionId": "f" * 32})).code == -32002
    async with world.agent() as agent:
        report = await agent.load(by_command, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "verified", 2)
        assert prompts(agent.shown()) == list(TURNS[:2])
        await promise_holds(world, agent, by_command, report, finished=TURNS[:2])


async def test_delete(world: World) -> None:
    async with world.agent() as agent, world.agent() as other:
        assert "delete" in str(agent.initialized["agentCapabilities"])
        session_id = await three_turns(agent, world)
        error = await other.refused("session/delete", {"sessionId": session_id})
        assert error.code == -31001
        turn = asyncio.create_task(settled(agent.prompt(session_id, "!stream 400 20")))
        await agent.until(lambda: "word" in agent.text())
        assert await agent.call("session/delete", {"sessionId": session_id}) == {}
        answer = await turn
        assert isinstance(answer, RpcError) or answer["stopReason"] == "cancelled"
        assert not world.session_folder(session_id).exists()
        assert (await agent.call("session/list", {}))["sessions"] == []
        for gone in (session_id, "../../etc"):
            assert await agent.call("session/delete", {"sessionId": gone}) == {}
        assert (await agent.refused("session/delete", {})).code == -32602
        params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        assert (await agent.refused("session/load", params)).code == -32002


async def test_a_session_that_is_closed_while_it_is_forked(world: World) -> None:
    async with world.agent() as agent:
        for _ in range(5):
            session_id = await agent.new(world.workspace)
            of_session: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
            fork = await agent.begin("session/fork", of_session)
            close = await agent.begin("session/close", {"sessionId": session_id})
            assert isinstance(await fork.answer, dict)
            assert await close.answer == {}
