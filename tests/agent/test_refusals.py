"""What is refused, and that a refusal disturbs nothing: sessions, prompts, loads, bytes on the wire."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sqlite3
import struct
import sys
import zlib
from contextlib import suppress

import psutil
import pytest

from acp_agent.chat.process import AgentProcess
from acp_agent.chat.rpc import PeerGone
from tests.agent.driver import Agent, Json, World, checkpoint_report, never
from tests.agent.processes import commands_in
from tests.agent.proof import assert_replay_equals, promise_holds

pytestmark = pytest.mark.anyio

UNKNOWN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("method", ["session/load", "session/resume"])
@pytest.mark.parametrize("session_id", [UNKNOWN, "../../etc/passwd", "x", "a" * 500])
async def test_unknown_session(world: World, method: str, session_id: str) -> None:
    async with world.agent() as agent:
        error = await agent.refused(
            method, {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        )
        assert error.code == -32002
        assert isinstance(error.data, dict)
        assert error.data["sessionId"] == session_id
        assert not world.session_folder(UNKNOWN).exists()


@pytest.mark.parametrize("method", ["session/prompt", "session/close"])
async def test_session_that_is_not_open(world: World, method: str) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.call("session/close", {"sessionId": session_id})
        params: Json = {"sessionId": session_id}
        if method == "session/prompt":
            params["prompt"] = [{"type": "text", "text": "hello"}]
        error = await agent.refused(method, params)
        assert error.code == -32002
        assert isinstance(error.data, dict)
        assert error.data["sessionId"] == session_id
        # Closed is not gone.
        report = await agent.load(session_id, world.workspace)
        assert report["reason"] == "never_prompted"


async def test_session_open_in_another_process(world: World) -> None:
    async with world.agent() as first:
        session_id = await first.new(world.workspace)
        await first.prompt(session_id, "one")
        turn = asyncio.create_task(first.prompt(session_id, "!stream 60 20"))
        await first.until(lambda: "word" in first.text()[-60:])
        async with world.agent() as second:
            for method in ("session/load", "session/resume"):
                error = await second.refused(
                    method, {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
                )
                assert error.code == -31001
                assert "not found" not in error.message
                assert isinstance(error.data, dict)
                holder = error.data["holder"]
                assert isinstance(holder, dict)
                assert (holder["pid"], holder["client"]) == (first.process.pid, "test-client")
                assert str(first.process.pid) in str(error.data["details"])
        assert (await turn)["stopReason"] == "end_turn"
        await first.prompt(session_id, "three")
        assert world.model.requests[-1].user_turns == ("one", "!stream 60 20", "three")
        await first.kill()
    async with world.agent() as third:  # the lease died with its holder
        report = await third.load(session_id, world.workspace)
        assert report["reason"] == "verified"


@pytest.mark.parametrize("method", ["session/new", "session/load", "session/resume", "session/list"])
async def test_relative_cwd(world: World, method: str) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        params: Json = {"sessionId": session_id, "cwd": "some/where", "mcpServers": []}
        if method in ("session/new", "session/list"):
            del params["sessionId"]
        error = await agent.refused(method, params)
        assert error.code == -32602
        assert isinstance(error.data, dict)
        assert error.data["reason"] == "relative_cwd"
        for path in ("/d" * 3_000, "/" + "d" * 256):
            error = await agent.refused(method, {**params, "cwd": path})
            assert isinstance(error.data, dict)
            assert (error.code, error.data["reason"]) == (-32602, "invalid_folder")


async def test_new_session_in_a_folder_that_does_not_exist(world: World) -> None:
    async with world.agent() as agent:
        error = await agent.refused("session/new", {"cwd": str(world.root / "gone"), "mcpServers": []})
        assert error.code == -32602
        assert (await agent.call("session/list", {}))["sessions"] == []


async def test_second_prompt_during_a_prompt(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        turn = asyncio.create_task(agent.prompt(session_id, "!stream 60 20"))
        await agent.until(lambda: "word" in agent.text())
        params: Json = {"sessionId": session_id, "prompt": [{"type": "text", "text": "second"}]}
        error = await agent.refused("session/prompt", params)
        assert error.code == -31004
        assert (await turn)["stopReason"] == "end_turn"
        assert [request.user_turns for request in world.model.requests] == [("!stream 60 20",)]


async def test_second_load_in_the_same_process(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        live = agent.shown()
        for _ in range(2):
            agent.received.clear()
            report = await agent.load(session_id, world.workspace)
            assert report["reason"] == "verified"
            assert_replay_equals(live, agent.shown())
        turn = asyncio.create_task(agent.prompt(session_id, "!stream 60 20"))
        await agent.until(lambda: "word" in agent.text())
        params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        error = await agent.refused("session/load", params)
        assert error.code == -31004
        assert (await turn)["stopReason"] == "end_turn"
        report = await agent.load(session_id, world.workspace)
        await promise_holds(world, agent, session_id, report, finished=["one", "!stream 60 20"])


@pytest.mark.parametrize(
    "prompt",
    [
        [],
        [{"type": "text", "text": "  \n "}],
        [{"type": "image", "mimeType": "image/png", "data": "not base64!"}],
        [{"type": "image", "mimeType": "image/x-unheard-of", "data": "AAAA"}],
    ],
)
async def test_prompt_that_cannot_be_sent(world: World, prompt: list[Json]) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        error = await agent.refused("session/prompt", {"sessionId": session_id, "prompt": list(prompt)})
        assert error.code == -32602
        assert isinstance(error.data, dict)
        assert error.data["reason"] == "bad_prompt"
        answer = await agent.prompt(session_id, "hello")
        assert checkpoint_report(answer)["turn"] == 1, "the refused prompt began no turn"


async def test_prompt_of_20_megabytes(world: World) -> None:
    picture = base64.b64encode(base64.b64decode(png()) + b"\0" * 20_000_000).decode()
    blocks: list[Json] = [
        {"type": "text", "text": "Look:"},
        {"type": "image", "mimeType": "image/png", "data": picture},
    ]
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        answer = await agent.call("session/prompt", {"sessionId": session_id, "prompt": list(blocks)})
        assert checkpoint_report(answer)["durable"] is True
        (image,) = world.model.requests[-1].turns[-1].images
        assert image.size > 20_000_000
        await agent.kill()
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["reason"] == "verified"
        left_out = {"type": "text", "text": "[image/png: 20,000,070 bytes, left out here]"}
        assert [u["content"] for u in agent.updates()[:2]] == [blocks[0], left_out]
        await promise_holds(world, agent, session_id, report, finished=["Look:"])


async def test_text_that_the_harness_cannot_store_is_refused_before_the_turn(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        text = "x" * 20_000_000
        error = await agent.refused(
            "session/prompt", {"sessionId": session_id, "prompt": [{"type": "text", "text": text}]}
        )
        assert error.code == -32602
        assert isinstance(error.data, dict)
        assert "20,000,000 bytes" in str(error.data["details"])
        assert "12,000,000" in str(error.data["details"])
        answer = await agent.prompt(session_id, "hello")
        assert checkpoint_report(answer)["turn"] == 1, "the refused prompt began no turn"


async def test_text_that_the_harness_does_not_pass_on_whole_is_told(world: World) -> None:
    text = "x" * 300_000
    async with world.agent(capabilities={"session": {"notices": {}}}) as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "y" * 190_000)
        assert world.model.requests[-1].user_turns == ("y" * 190_000,)
        assert not [update for update in agent.updates() if update["sessionUpdate"] == "notice"]
        answer = await agent.prompt(session_id, text)
        assert checkpoint_report(answer)["durable"] is True
        received = world.model.requests[-1].messages[-1].text
        assert received.count("x") < len(text)
        (notice,) = [update for update in agent.updates() if update["sessionUpdate"] == "notice"]
        assert notice["severity"] == "warning"
        assert "300,000 bytes" in str(notice["description"])


@pytest.mark.parametrize(
    ("line", "code"),
    [(b"[]", -32600), (b"1", -32600), (b"null", -32600), (b"\xff\xfe", -32700), (b"{", -32700)],
)
async def test_line_that_is_no_message(world: World, line: bytes, code: int) -> None:
    async with world.agent() as agent:
        agent.process.writer.write(line + b"\n")
        await agent.process.writer.drain()
        await agent.until(lambda: len(agent.garbage) == 1)
        assert f'"code": {code}' in agent.garbage[0].replace('"code":', '"code": ').replace("  ", " ")
        assert await agent.new(world.workspace)


async def test_cancel_in_a_streamed_answer(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        turn = asyncio.create_task(agent.prompt(session_id, "!stream 2000 20"))
        await agent.until(lambda: "word" in agent.text())
        await agent.cancel(session_id)
        answer = await turn
        assert answer["stopReason"] == "cancelled"
        assert checkpoint_report(answer)["durable"] is True
        shown = agent.text()
        answer = await agent.prompt(session_id, "go on")
        assert answer["stopReason"] == "end_turn"
        assert world.model.requests[-1].user_turns == ("!stream 2000 20", "go on")
        assert any(message.text == shown for message in world.model.requests[-1].messages)


async def test_cancel_in_a_running_command(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        turn = asyncio.create_task(agent.prompt(session_id, "!run_command sleep 301"))
        await agent.until(lambda: any(update.get("status") == "in_progress" for update in agent.updates()))
        await agent.cancel(session_id)
        answer = await turn
        assert answer["stopReason"] == "cancelled"
        assert checkpoint_report(answer)["durable"] is True
        assert agent.updates()[-1].get("status") == "failed" or agent.shown()[-1].status == "failed"  # type: ignore[union-attr]
        assert not any("sleep 301" in command for command in commands_in(world))
        answer = await agent.prompt(session_id, "go on")
        assert answer["stopReason"] == "end_turn"


async def test_cancel_while_a_question_is_open(world: World) -> None:
    async with world.agent() as agent:
        agent.choose = never
        session_id = await agent.new(world.workspace)
        turn = asyncio.create_task(agent.prompt(session_id, "!write_to_file a.txt hello"))
        await agent.until(lambda: len(agent.questions) == 1)
        await agent.cancel(session_id)
        assert (await turn)["stopReason"] == "cancelled"
        assert not (world.workspace / "a.txt").exists()
        agent.choose = _allow
        assert (await agent.prompt(session_id, "!write_to_file a.txt hello"))["stopReason"] == "end_turn"
        assert (world.workspace / "a.txt").read_text() == "hello\n"


async def test_cancel_of_nothing_is_ignored(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.cancel(session_id)
        await agent.cancel(UNKNOWN)
        assert (await agent.prompt(session_id, "hello"))["stopReason"] == "end_turn"


@pytest.mark.parametrize("text", ["!stream 2000 20", "!run_command sleep 302"])
async def test_end_of_input_in_the_middle_of_a_turn(world: World, text: str) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        turn = asyncio.create_task(agent.prompt(session_id, text))
        await agent.until(
            lambda: "word" in agent.text() or any(u.get("status") == "in_progress" for u in agent.updates())
        )
        assert await agent.stop() == 0
        with suppress(PeerGone):
            await turn
    assert not any("sleep 302" in command for command in commands_in(world))
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "interrupted")
        await promise_holds(world, agent, session_id, report, finished=["one"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_closes_the_harness_in_order(world: World, number: signal.Signals) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        harnesses = psutil.Process(agent.process.pid).children(recursive=True)
        assert [process.name() for process in harnesses] == ["localharness"]
        os.kill(agent.process.pid, number)
        assert (await agent.process.ended()).status == 0
        assert not any(process.is_running() for process in harnesses)
    database = world.trajectory(session_id)
    assert not database.with_name(database.name + "-wal").exists(), "an orderly close folds the log in"


async def test_meta_overrides_no_parameter(world: World) -> None:
    async with world.agent() as agent:
        other = world.root / "other"
        other.mkdir()
        result = await agent.call(
            "session/new",
            {"cwd": str(world.workspace), "mcpServers": [], "_meta": {"cwd": str(other), "self": 1, "x": None}},
        )
        listed = await agent.call("session/list", {"cwd": str(world.workspace)})
        assert [entry["sessionId"] for entry in listed["sessions"]] == [result["sessionId"]]  # type: ignore[union-attr,index,call-overload]


async def test_no_credentials(world: World) -> None:
    command = (sys.executable, "-m", "acp_agent", "--data-dir", str(world.data_dir))
    for variable in ("GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"):
        assert variable not in os.environ, "the test needs an environment without credentials"
    agent = Agent(await AgentProcess.start(command, world.workspace))
    try:
        assert (await agent.initialize())["protocolVersion"] == 1
        error = await agent.refused("session/new", {"cwd": str(world.workspace), "mcpServers": []})
        assert error.code == -32000
        assert isinstance(error.data, dict)
        assert "GEMINI_API_KEY" in str(error.data["details"])
    finally:
        await agent.stop()


async def test_store_of_a_newer_version(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
    with sqlite3.connect(world.session_folder(session_id) / "store.db") as store:
        store.execute("PRAGMA user_version = 999")
    store.close()
    async with world.agent() as agent:
        error = await agent.refused(
            "session/load", {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        )
        assert error.code == -31003


async def test_requests_before_initialize(world: World) -> None:
    async with world.agent(initialize=False) as agent:
        error = await agent.refused("session/new", {"cwd": str(world.workspace), "mcpServers": []})
        assert error.code == -32600
        await agent.initialize()
        assert await agent.new(world.workspace)


def png() -> str:
    """A valid picture of one pixel, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


async def test_images_and_resources_reach_the_model_and_the_replay(world: World) -> None:
    blocks: list[Json] = [
        {"type": "text", "text": "Compare "},
        {"type": "resource_link", "name": "engine.txt", "uri": "file:///engine.txt"},
        {"type": "text", "text": " with"},
        {
            "type": "resource",
            "resource": {"uri": "file:///notes.md", "text": "steam", "mimeType": "text/markdown"},
        },
        {"type": "image", "mimeType": "image/png", "data": png()},
    ]
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.call("session/prompt", {"sessionId": session_id, "prompt": list(blocks)})
        turn = world.model.requests[-1].turns[-1]
        assert turn.prompt.startswith(
            "Compare [@engine.txt](file:///engine.txt) with[@notes.md](file:///notes.md)"
        )
        assert '<resource uri="file:///notes.md">\nsteam\n</resource>' in turn.prompt
        assert [image.mime for image in turn.images] == ["image/png"]
        await agent.kill()
    async with world.agent() as agent:
        await agent.load(session_id, world.workspace)
        replayed = [u["content"] for u in agent.updates() if u["sessionUpdate"] == "user_message_chunk"]
        assert replayed == blocks


async def _allow(_: Json) -> str | None:
    return "allow_once"
