"""Modes, config options and rules through the real process: what runs, what is asked, and what the model gets."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from pydantic import JsonValue

from acp_agent.chat.transcript import ToolCall
from tests.agent.driver import Agent, Json, World, never

pytestmark = pytest.mark.anyio


def write(path: Path, text: str = "x") -> str:
    return f"!write_to_file {path} {text}"


def option(options: object, option_id: str) -> Json:
    """One of the config options in an answer or an update."""
    assert isinstance(options, list)
    (found,) = [each for each in options if isinstance(each, dict) and each["id"] == option_id]
    return found


async def always(_: Json) -> str | None:
    return "allow_always"


async def models_known(agent: Agent) -> Json:
    """The first update with the list of models."""
    await agent.until(lambda: bool(agent.option_updates))
    return agent.option_updates[0]


async def test_options_are_offered_checked_and_kept(world: World) -> None:
    async with world.agent("--mode", "auto-edit") as agent:
        new = await agent.call("session/new", {"cwd": str(world.workspace), "mcpServers": []})
        session_id = str(new["sessionId"])
        assert isinstance(new["modes"], dict)
        assert new["modes"]["currentModeId"] == "auto-edit"
        # Nothing waits for the list of models; it is told once it has come, and never before the session itself.
        assert option(new["configOptions"], "model")["options"] == [{"value": "default", "name": "default"}]
        listed = await models_known(agent)
        assert all(b'"result":' in line for line in agent.lines[:2])
        offered = option(listed["configOptions"], "model")["options"]
        assert isinstance(offered, list)
        assert [each["value"] for each in offered if isinstance(each, dict)] == [
            "default",
            "offline",
            "offline-second",
        ]
        for config_id, value in (("mode", "yolo"), ("model", "gpt-99"), ("colour", "red"), ("thinking", "high")):
            asked: Json = {"sessionId": session_id, "configId": config_id, "value": value}
            error = await agent.refused("session/set_config_option", asked)
            assert error.code == -32602
            assert isinstance(error.data, dict)
            assert error.data["reason"] == "invalid_option"
        switch: Json = {"sessionId": session_id, "configId": "mode", "type": "boolean", "value": True}
        assert (await agent.refused("session/set_config_option", switch)).code == -32602
        assert (await agent.refused("session/set_mode", {"sessionId": session_id, "modeId": "x"})).code == -32602
        for method in ("session/set_mode", "session/set_config_option"):
            unknown: Json = {"sessionId": "0" * 32, "modeId": "ask", "configId": "mode", "value": "ask"}
            assert (await agent.refused(method, unknown)).code == -32002

        await agent.prompt(session_id, "My name is Ada.")
        second: Json = {"sessionId": session_id, "configId": "model", "value": "offline-second"}
        result = await agent.call("session/set_config_option", second)
        assert option(result["configOptions"], "model")["currentValue"] == "offline-second"
        await agent.prompt(session_id, "And now?")
        request = world.model.requests[-1]
        assert (request.model, request.user_turns) == ("offline-second", ("My name is Ada.", "And now?"))
        assert [request.model for request in world.model.requests] == ["default", "offline-second"]
        assert await agent.call("session/set_mode", {"sessionId": session_id, "modeId": "plan"}) == {}
        told = agent.option_updates[-1]
        assert option(told["configOptions"], "mode")["currentValue"] == "plan"
        await agent.kill()
    async with world.agent() as agent:
        loaded = await agent.call(
            "session/load", {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        )
        assert isinstance(loaded["modes"], dict)
        assert loaded["modes"]["currentModeId"] == "plan"
        assert option(loaded["configOptions"], "model")["currentValue"] == "offline-second"
        asks: Json = {"sessionId": session_id, "configId": "mode", "value": "ask"}
        await agent.call("session/set_config_option", asks)
        assert agent.updates()[-1] == {"sessionUpdate": "current_mode_update", "currentModeId": "ask"}
        fork = await agent.call(
            "session/fork", {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        )
        assert option(fork["configOptions"], "model")["currentValue"] == "offline-second"
        await agent.prompt(session_id, "Still there?")
        request = world.model.requests[-1]
        assert (request.model, len(request.user_turns)) == ("offline-second", 3)


async def test_each_mode_lets_run_what_it_says(world: World) -> None:
    inside, outside = world.workspace / "in.txt", world.root / "out.txt"
    link = world.workspace / "link"
    link.symlink_to(world.root)
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        artifact = world.session_folder(session_id) / "harness" / "brain" / session_id / "implementation_plan.md"
        asked: dict[str, list[str]] = {}
        for mode in ("ask", "auto-edit", "plan", "autonomous"):
            await agent.call("session/set_mode", {"sessionId": session_id, "modeId": mode})
            for prompt in (
                write(inside, mode),
                write(outside, mode),
                write(link / "linked.txt", mode),
                write(artifact, mode),
                f"!run_command echo {mode} >> commands",
            ):
                agent.questions.clear()
                await agent.prompt(session_id, prompt)
                for question in agent.questions:
                    tool_call = question["toolCall"]
                    assert isinstance(tool_call, dict)
                    asked.setdefault(mode, []).append(str(tool_call["title"]))
            assert artifact.read_text() == f"{mode}\n"
            expected = "auto-edit\n" if mode == "plan" else f"{mode}\n"
            for path in (inside, outside, world.root / "linked.txt"):
                assert path.read_text() == expected
            turn = world.model.requests[-1].turns[-1]
            assert (turn.plan, turn.prompt) == (mode == "plan", f"!run_command echo {mode} >> commands")
        command = "`echo ask >> commands`"
        assert asked["ask"] == ["Write in.txt", f"Write {outside}", "Write link/linked.txt", command]
        assert asked["auto-edit"] == [f"Write {outside}", "Write link/linked.txt", "`echo auto-edit >> commands`"]
        assert set(asked) == {"ask", "auto-edit"}
        assert (world.workspace / "commands").read_text().split() == ["ask", "auto-edit", "autonomous"]
        told = [message.text for request in world.model.requests for message in request.messages]
        assert any("plan mode, which is read-only" in text for text in told)
        refused = [item for item in agent.shown() if isinstance(item, ToolCall) and item.status == "failed"]
        assert len(refused) == 4
        await agent.call("session/close", {"sessionId": session_id})
        assert (await agent.load(session_id, world.workspace))["turnsInContext"] == 20


async def test_a_change_of_mode_settles_the_question_that_is_open(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        agent.choose = never
        prompt = asyncio.ensure_future(agent.prompt(session_id, "!run_command touch one\n!run_command touch two"))
        await agent.until(lambda: bool(agent.questions))
        await agent.call("session/set_mode", {"sessionId": session_id, "modeId": "autonomous"})
        assert (await prompt)["stopReason"] == "end_turn"
        assert (world.workspace / "one").exists()
        assert (world.workspace / "two").exists()
        await agent.until(lambda: len(agent.withdrawn) == len(agent.questions) == 1)
        await agent.call("session/set_mode", {"sessionId": session_id, "modeId": "ask"})
        prompt = asyncio.ensure_future(agent.prompt(session_id, "!run_command touch three"))
        await agent.until(lambda: len(agent.questions) == 2)
        await agent.call("session/set_mode", {"sessionId": session_id, "modeId": "plan"})
        await prompt
        assert not (world.workspace / "three").exists()


async def test_rules_last_are_listed_and_taken_back(world: World) -> None:
    async def always_prefix(question: Json) -> str | None:
        options = question["options"]
        assert isinstance(options, list)
        ids = [each["optionId"] for each in options if isinstance(each, dict)]
        return "allow_always_prefix" if "allow_always_prefix" in ids else "allow_always"

    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        agent.choose = always_prefix
        await agent.prompt(session_id, "!run_command git init --quiet a\n!run_command git init --quiet b")
        await agent.prompt(session_id, f"{write(world.workspace / 'a.txt')}\n{write(world.workspace / 'a.txt')}")
        assert len(agent.questions) == 2
    async with world.agent() as agent:
        await agent.load(session_id, world.workspace)
        agent.choose = never
        await agent.prompt(session_id, f"!run_command git init --quiet c\n{write(world.workspace / 'a.txt')}")
        before = len(agent.updates())
        await agent.prompt(session_id, "/permissions")
        listed = str(agent.updates()[before:])
        assert "commands that begin with `git init`" in listed
        assert f"edits of `{world.workspace / 'a.txt'}`" in listed
        await agent.prompt(session_id, "/permissions remove 7")
        assert "There is no rule 7." in str(agent.updates()[-1])
        await agent.prompt(session_id, "/permissions remove 1")
        for wrong in ("/permissions remove", "/permissions all of it", "/mode a b"):
            await agent.prompt(session_id, wrong)
            assert "it is written `/" in str(agent.updates()[-1])
        await agent.prompt(session_id, "/mode yolo")
        assert "There is no mode 'yolo'" in str(agent.updates()[-1])
        await agent.prompt(session_id, "/mode plan")
        assert "*plan* mode" in str(agent.updates()[-1])
        await agent.prompt(session_id, "/mode ask")
        prompt = asyncio.ensure_future(agent.prompt(session_id, "!run_command git init --quiet d"))
        await agent.until(lambda: len(agent.questions) == 1)
        await agent.cancel(session_id)
        assert (await prompt)["stopReason"] == "cancelled"
        await agent.prompt(session_id, "/permissions clear")
        assert "No answer with “always”" in str(agent.updates()[-1])
    assert not (world.workspace / "d").exists()


async def test_nothing_runs_but_what_was_decided_about(world: World) -> None:
    inside, outside = world.workspace / "in.txt", world.root / "out.txt"
    (world.workspace / "a" / "b").mkdir(parents=True)
    (world.workspace / "link").symlink_to(world.workspace / "a" / "b")
    pipe = world.workspace / "pipe"
    os.mkfifo(pipe)

    def call(tool: str, **arguments: JsonValue) -> str:
        return f"!call {tool} {json.dumps({**arguments, 'toolSummary': 's', 'toolAction': 'a'})}"

    def create(path: Path | str, **more: JsonValue) -> str:
        written: Json = {"TargetFile": str(path), "Overwrite": True, "CodeContent": "x", "Description": "d"}
        return call("write_to_file", **written, **more)

    def run(line: str, **more: JsonValue) -> str:
        return call("run_command", CommandLine=line, Cwd=str(world.workspace), WaitMsBeforeAsync=9000, **more)

    async with world.agent("--mode", "auto-edit") as agent:
        session_id = await agent.new(world.workspace)
        agent.choose = always
        await agent.prompt(session_id, run("git --version"))
        agent.choose = never
        agent.questions.clear()
        # The harness would take the last of these for the argument, and say nothing.
        unclear = [
            create(inside, targetfile=str(outside)),
            run("git --version", commandline=f"touch {outside}"),
            run("git --version", cwd=str(world.root)),
        ]
        await agent.prompt(session_id, "\n".join(unclear))
        refused = [
            message.text for message in world.model.requests[-1].messages if "spelled exactly" in message.text
        ]
        assert len(refused) >= len(unclear)
        assert not agent.questions
        for prompt, title in (
            (create(outside, file_path=str(inside)), f"Write {outside}"),
            (run(f"touch {outside}", command_line="git --version", TargetFile="x"), f"`touch {outside}`"),
            (create(f"{world.workspace}/link/../../out.txt"), "Write link/../../out.txt"),
            (run("git --version", RunPersistent=True), "`git --version`"),
        ):
            running = asyncio.ensure_future(agent.prompt(session_id, prompt))
            await agent.until(lambda: bool(agent.questions))
            tool_call = agent.questions.pop()["toolCall"]
            assert isinstance(tool_call, dict)
            assert tool_call["title"] == title
            await agent.cancel(session_id)
            await running
        assert not outside.exists()
        assert not inside.exists()
        await agent.call("session/set_mode", {"sessionId": session_id, "modeId": "plan"})
        # A pipe that nobody writes to would be read for ever.
        assert (await agent.prompt(session_id, create(pipe)))["stopReason"] == "end_turn"
