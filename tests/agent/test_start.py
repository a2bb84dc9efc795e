"""The start of the real process: what it answers before it imports what takes long; and withdrawn requests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from acp_agent.chat.rpc import RpcError
from tests.agent.driver import Json, World, comes_true, never
from tests.agent.processes import harnesses

SLOW = ("acp", "google.antigravity", "google.genai", "pydantic")


def test_initialize_is_answered_before_anything_slow_is_imported(world: World) -> None:
    command = (sys.executable, "-X", "importtime", *world.command()[1:])
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        assert agent.stderr is not None
        for params in (
            {"protocolVersion": "1"},
            {"protocolVersion": -1},
            {},
            {"protocolVersion": 1, "clientInfo": 1},
        ):
            agent.stdin.write(json.dumps({"id": 0, "method": "initialize", "params": params}) + "\n")
            agent.stdin.flush()
            refused = json.loads(agent.stdout.readline())
            assert (refused["error"]["code"], refused["error"]["data"]["reason"]) == (-32602, "invalid_params")
        # A client may go on without waiting for the answer; nothing of that is lost.
        requests = [
            ("initialize", {"protocolVersion": 65535}),
            ("session/list", {}),
            ("session/list", {"cursor": "x"}),
        ]
        for request_id, (method, request) in enumerate(requests, start=1):
            agent.stdin.write(json.dumps({"id": request_id, "method": method, "params": request}) + "\n")
        agent.stdin.close()
        answers = sorted((json.loads(line) for line in agent.stdout), key=lambda answer: int(answer["id"]))
        imported = agent.stderr.read()
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert answers[0]["result"]["protocolVersion"] == 1
    assert (answers[1]["result"], answers[2]["error"]["code"]) == ({"sessions": []}, -32602)
    assert agent.returncode == 0
    for name in SLOW:
        assert f" {name}\n" in imported


def test_nothing_slow_is_loaded_while_a_client_says_nothing(world: World) -> None:
    process = subprocess.Popen(
        (sys.executable, "-X", "importtime", *world.command()[1:]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, imported = process.communicate("")
    assert process.returncode == 0
    assert " acp_agent.wire.transport\n" in imported
    for name in SLOW:
        assert f" {name}\n" not in imported


@pytest.mark.anyio
async def test_withdrawn_requests(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "My name is Ada.")
        agent.choose = never
        text: Json = {"type": "text", "text": "!write_to_file a.txt A"}
        prompt = await agent.begin("session/prompt", {"sessionId": session_id, "prompt": [text]})
        await agent.until(lambda: bool(agent.questions))
        await agent.withdraw(prompt)
        answer = await prompt.answer
        assert isinstance(answer, dict)
        assert answer["stopReason"] == "cancelled"
        # Nobody waits for the question any more, and the client is told so.
        await agent.until(lambda: agent.withdrawn == agent.questions)
        assert not (world.workspace / "a.txt").exists()
        load: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        await agent.call("session/close", {"sessionId": session_id})
        loading = await agent.begin("session/load", load)
        # What a load does to the files is finished; it stops before it replays.
        await comes_true(lambda: bool(harnesses(session_id)))
        await agent.withdraw(loading)
        with pytest.raises(RpcError) as withdrawn:
            await loading.answer
        assert withdrawn.value.code == -32800
        assert isinstance(withdrawn.value.data, dict)
        assert withdrawn.value.data["sessionId"] == session_id
        assert await agent.call("session/status", {"sessionId": session_id}) == {"status": "saved"}
        assert (await agent.load(session_id, world.workspace))["turnsInContext"] == 2
