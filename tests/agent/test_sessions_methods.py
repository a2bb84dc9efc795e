"""Resume, list, close, status, and permissions that last: the session methods beside load and prompt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.agent.driver import Json, World, checkpoint_report, resume_report
from tests.agent.proof import promise_holds

pytestmark = pytest.mark.anyio

COMMANDS = "available_commands_update"


async def test_session_is_loadable_before_any_prompt_and_elsewhere(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.kill()
    for method in ("session/load", "session/resume"):
        async with world.agent() as agent:
            result = await agent.call(
                method, {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
            )
            report = resume_report(result)
            assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "never_prompted", 0)
            assert agent.shown() == ()


async def test_resume_replays_nothing(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        await agent.kill()
    async with world.agent() as agent:
        # mcpServers may be left out here, other than in a load (acp-facts 1.1).
        result = await agent.call("session/resume", {"sessionId": session_id, "cwd": str(world.workspace)})
        await agent.until(lambda: agent.updates()[-1]["sessionUpdate"] == COMMANDS)
        assert agent.order()[1:] == ["session_info_update", "answer", COMMANDS], "after that of initialize"
        await promise_holds(world, agent, session_id, resume_report(result), finished=["one"])


async def test_resume_of_a_damaged_session_tells_after_the_response(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
    world.trajectory(session_id).unlink()
    async with world.agent() as agent:
        result = await agent.call("session/resume", {"sessionId": session_id, "cwd": str(world.workspace)})
        assert resume_report(result)["outcome"] == "recovered"
        await agent.until(lambda: agent.updates()[-1]["sessionUpdate"] == COMMANDS)
        assert agent.order()[-4:] == ["session_info_update", "answer", "agent_message_chunk", COMMANDS]


@pytest.mark.parametrize(("flag", "told"), [("always", True), ("problems", False), ("never", False)], ids=str)
async def test_announcement_of_a_verified_load(world: World, flag: str, told: bool) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
    async with world.agent("--announce", flag) as agent:
        await agent.load(session_id, world.workspace)
        await agent.until(lambda: agent.updates()[-1]["sessionUpdate"] == COMMANDS)
        assert (agent.updates()[-2]["sessionUpdate"] == "agent_message_chunk") is told


async def test_list_by_cwd_in_pages(world: World) -> None:
    other = world.root / "other"
    other.mkdir()
    async with world.agent() as agent:
        here = [await agent.new(world.workspace) for _ in range(53)]
        there = await agent.new(other)
        await agent.prompt(here[0], "What is an engine?")

        first = await agent.call("session/list", {"cwd": str(world.workspace)})
        second = await agent.call("session/list", {"cwd": str(world.workspace), "cursor": first["nextCursor"]})
        assert "nextCursor" not in second
        entries = entries_of(first) + entries_of(second)
        assert sorted(str(entry["sessionId"]) for entry in entries) == sorted(here)
        newest = entries[0]
        assert (newest["sessionId"], newest["title"]) == (here[0], "What is an engine?")
        meta = newest["_meta"]
        assert isinstance(meta, dict)
        session = meta["acp-agent/session"]
        assert isinstance(session, dict)
        assert session["turns"] == 1
        holder = session["openIn"]
        assert isinstance(holder, dict)
        assert holder["client"] == "test-client"
        await agent.call("session/close", {"sessionId": here[0]})
        closed = entries_of(await agent.call("session/list", {"cwd": str(world.workspace)}))[0]["_meta"]
        assert isinstance(closed, dict)
        assert isinstance(closed["acp-agent/session"], dict)
        assert closed["acp-agent/session"]["openIn"] is None

        assert [
            entry["sessionId"] for entry in entries_of(await agent.call("session/list", {"cwd": str(other)}))
        ] == [there]
        assert entries_of(await agent.call("session/list", {"cwd": str(Path("/nowhere/at/all"))})) == []
        error = await agent.refused("session/list", {"cursor": "made up"})
        assert error.code == -32602


async def test_close_cancels_the_running_turn(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        turn = asyncio.create_task(agent.prompt(session_id, "!stream 2000 20"))
        await agent.until(lambda: "word" in agent.text())
        assert await agent.call("session/close", {"sessionId": session_id}) == {}
        assert (await turn)["stopReason"] == "cancelled"
        report = await agent.load(session_id, world.workspace)
        assert (report["reason"], report["turnsInContext"]) == ("verified", 1)


async def test_status_opens_nothing(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        status = await agent.call("_acp-agent/session_status", {"sessionId": session_id})
        assert (status["open"], status["busy"], status["turns"]) == (True, False, 1)
        assert await agent.call("session/status", {"sessionId": session_id}) == {"status": "open"}
    async with world.agent() as agent:
        assert await agent.call("session/status", {"sessionId": session_id}) == {"status": "saved"}
        status = await agent.call("_acp-agent/session_status", {"sessionId": session_id})
        assert (status["open"], status["turns"]) == (False, 1)
        for method in ("_acp-agent/session_status", "session/status"):
            error = await agent.refused(method, {"sessionId": "f" * 32})
            assert error.code == -32002
            assert isinstance(error.data, dict)
            assert error.data["sessionId"] == "f" * 32
        error = await agent.refused("_acp-agent/other", {})
        assert error.code == -32601


@pytest.mark.parametrize(
    ("option", "allowed", "lasts"),
    [
        ("allow_once", True, False),
        ("allow_always", True, True),
        ("allow_always_folders", True, True),
        ("reject_once", False, False),
        ("reject_always", False, True),
    ],
)
async def test_permission_answers(world: World, option: str, allowed: bool, lasts: bool) -> None:
    async def choose(_: Json) -> str | None:
        return option

    widely = option == "allow_always_folders"
    async with world.agent() as agent:
        agent.choose = choose
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "!write_to_file a.txt one")
        assert (world.workspace / "a.txt").exists() is allowed
        await agent.prompt(session_id, "!write_to_file a.txt two")
        assert len(agent.questions) == (1 if lasts else 2)
        options = agent.questions[0]["options"]
        assert isinstance(options, list)
        assert [item["kind"] for item in options if isinstance(item, dict)] == [
            "allow_once",
            "allow_always",
            "allow_always",
            "reject_once",
            "reject_always",
        ]
        asked = len(agent.questions)
        await agent.prompt(session_id, "!write_to_file b.txt three")
        assert len(agent.questions) == asked + (not widely)
        asked = len(agent.questions)
        await agent.prompt(session_id, "!run_command touch c.txt")
        assert len(agent.questions) == asked + 1, "a rule about edits says nothing about commands"
        await agent.kill()
    async with world.agent() as agent:
        agent.choose = choose
        await agent.load(session_id, world.workspace)
        await agent.prompt(session_id, "!write_to_file a.txt four")
        assert len(agent.questions) == (0 if lasts else 1)
        assert (world.workspace / "a.txt").exists() is allowed


async def test_model_failure_is_an_error_and_the_session_goes_on(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        error = await agent.refused(
            "session/prompt",
            {"sessionId": session_id, "prompt": [{"type": "text", "text": "!fail 400 out of steam"}]},
        )
        assert error.code == -31006
        assert isinstance(error.data, dict)
        assert "out of steam" in str(error.data["details"])
        assert checkpoint_report(error.data)["durable"] is True
        answer = await agent.prompt(session_id, "and now?")
        assert (answer["stopReason"], checkpoint_report(answer)["turn"]) == ("end_turn", 2)
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["reason"] == "verified"
        await promise_holds(world, agent, session_id, report, finished=["!fail 400 out of steam", "and now?"])


async def test_harness_that_dies_in_a_turn_is_reopened(world: World) -> None:
    import psutil  # noqa: PLC0415

    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        turn = asyncio.create_task(
            agent.refused(
                "session/prompt",
                {"sessionId": session_id, "prompt": [{"type": "text", "text": "!stream 2000 20"}]},
            )
        )
        await agent.until(lambda: "word" in agent.text()[-60:])
        (harness,) = psutil.Process(agent.process.pid).children()
        harness.kill()
        error = await turn
        assert isinstance(error.data, dict)
        assert checkpoint_report(error.data)["durable"] is False
        answer = await agent.prompt(session_id, "still there?")
        assert answer["stopReason"] == "end_turn"
        request = world.model.requests[-1]
        assert request.user_turns == ("one", "!stream 2000 20", "still there?")
        assert request.turns[-1].note is not None


async def test_compacted_turns_are_counted_apart(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        # Long enough for the harness to summarise twice; the offline model answers its request for a summary.
        prompts = [f"{number} " + "word " * 37_000 for number in range(9)]
        for text in prompts:
            await agent.prompt(session_id, text)
        assert sum(not request.tools_allowed for request in world.model.requests) == 2
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "verified")
        in_context, summarised = report["turnsInContext"], report["turnsSummarised"]
        assert isinstance(in_context, int)
        assert isinstance(summarised, int)
        assert summarised > 0
        assert (report["turns"], in_context + summarised, report["turnsLost"]) == (9, 9, 0)
        await promise_holds(world, agent, session_id, report, finished=prompts[summarised:])
    world.trajectory(session_id).unlink()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["turnsInContext"]) == ("recovered", in_context + 1)
        await promise_holds(world, agent, session_id, report, finished=prompts[summarised:])


def entries_of(result: Json) -> list[Json]:
    """The entries of a list response."""
    sessions = result["sessions"]
    assert isinstance(sessions, list)
    return [entry for entry in sessions if isinstance(entry, dict)]
