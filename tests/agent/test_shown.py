"""What a client is shown of a turn, live and again after a load."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from itertools import pairwise

import pytest
from google.antigravity import types
from google.antigravity.connections.local.local_openai_connection_config import LocalOpenAIAgentConfig
from google.antigravity.hooks import policy
from syrupy.assertion import SnapshotAssertion

from acp_agent.antigravity import ResumableAgent
from acp_agent.chat.transcript import Diff, Message, Output, Plan, Role, ToolCall
from acp_agent.offline.decide import decide, steps_done
from acp_agent.offline.gemini_dialect import WINDOW
from acp_agent.offline.model_request import ModelRequest
from acp_agent.offline.model_request import ToolCall as OfferedCall
from acp_agent.offline.reply import Answer, Chunk, Reply
from acp_agent.showing import CompactionShown, Shown, ToolShown
from sessions.report import ResumeReport
from tests.agent.driver import Agent, Json, World, settled
from tests.agent.normal import transcript
from tests.agent.proof import assert_replay_equals
from tests.agent.test_mcp import CALL as MCP
from tests.agent.test_mcp import stdio
from tests.agent.test_untoward import SEND_A_SUBAGENT, SUBAGENT_SAYS, with_subagent

pytestmark = pytest.mark.anyio

MESSAGE_LIMIT = 8 * 1024 * 1024


def calls(agent: Agent) -> list[ToolCall]:
    return [item for item in agent.shown() if isinstance(item, ToolCall)]


def output(call: ToolCall) -> str:
    return "".join(each.text for each in call.content if isinstance(each, Output))


def usages(agent: Agent) -> list[Json]:
    return [update for update in agent.updates() if update["sessionUpdate"] == "usage_update"]


async def test_everything_that_a_session_shows_is_shown_again(
    world: World, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    helped = "!write_to_file engine.txt steam\n!view_file engine.txt\n!run_command cat engine.txt"
    monkeypatch.setattr("acp_agent.offline.server.decide", with_subagent(world, helped))
    (world.workspace / "notes.txt").write_text("".join(f"line {number}\n" for number in range(1, 41)))
    tasks = '!call manage_task {"Action": "list", "toolSummary": "Tasks", "toolAction": "Listing"}'
    lines: Json = {"AbsolutePath": str(world.workspace / "notes.txt"), "StartLine": 5, "EndLine": 9}
    part = f"!call view_file {json.dumps(lines)}"
    params: Json = {"cwd": str(world.workspace), "mcpServers": [stdio()]}
    async with world.agent() as agent:
        session_id = str((await agent.call("session/new", params))["sessionId"])
        artifact = world.session_folder(session_id) / "harness" / "brain" / session_id / "task.md"
        plan = f'!write_to_file {artifact} "# Tasks\\n- [x] Read\\n- [/] Write\\n- [ ] Test\\n"'
        done = f'!replace_file_content {artifact} "[/] Write" "[x] Write"'
        answers = [
            await agent.prompt(session_id, text)
            for text in (f"{part}\n{tasks}\n{MCP}", f"{plan}\n{done}\n!say Planned.")
        ]
        # What a sub-agent does is mixed with what its sender does by chance.
        text = transcript(world, agent, answers)
        await agent.prompt(session_id, SEND_A_SUBAGENT)
        live = agent.shown()
        assert not usages(agent), "the size of this model is not known, and is not made up"
        await agent.kill()
    assert text.replace(str(artifact), "<artifact>") == snapshot

    parent, *children = [
        call for call in live if isinstance(call, ToolCall) and call.tool_call_id.startswith("call-3")
    ]
    assert (parent.title, parent.status, output(parent)) == (
        "Sub-agent: reader",
        "completed",
        f"**reader**\n\n{SUBAGENT_SAYS}",
    )
    assert [call.title for call in children] == [
        "reader: Write engine.txt",
        "reader: Read engine.txt",
        "reader: `cat engine.txt`",
    ]
    assert all(call.fields["_meta"] == {"acp-agent/parent": parent.tool_call_id} for call in children)
    (plan_shown,) = (item for item in live if isinstance(item, Plan))
    assert [entry.status for entry in plan_shown.entries] == ["completed", "completed", "pending"]
    async with world.agent() as agent:
        await agent.call("session/load", {"sessionId": session_id, **params})
        assert_replay_equals(live, agent.shown())


async def test_output_of_a_command_is_shown_while_it_runs(world: World) -> None:
    go = world.workspace / "go"
    command = "echo one; until [ -e go ]; do sleep 0.05; done; seq 1 20000; echo two; exit 3"
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        turn = asyncio.create_task(agent.prompt(session_id, f"!run_command {command}"))
        await agent.until(lambda: any(output(call) == "```\none\n```\n" for call in calls(agent)))
        (running,) = calls(agent)
        assert (running.status, output(running)) == ("in_progress", "```\none\n```\n")
        go.touch()
        await turn
        (ended,) = calls(agent)
        live = agent.shown()
    assert ended.status == "completed"
    # Of a long output the harness keeps the end.
    assert output(ended).startswith("```\n<truncated ")
    assert output(ended).endswith("\n20000\ntwo\n```\nExit code 3.")
    async with world.agent() as agent:
        await agent.load(session_id, world.workspace)
        assert_replay_equals(live, agent.shown())


LARGE = "".join(f"\x01 line {number}\n" for number in range(28_000))
HUGE = LARGE * 23
"""Nine million bytes, and more as JSON. The model must say them in pieces, or the harness does not take them."""


def hugely(request: ModelRequest) -> Reply:
    """A model that writes much into a file, and says more, when it is asked to."""
    asked = request.turns[-1].prompt if request.turns else ""
    if asked == "Speak.":
        return Answer(chunks=(Chunk(LARGE),) * 23)
    if asked != "Write." or steps_done(request):
        return decide(request)
    arguments: Json = {"TargetFile": f"{request.workspaces[0]}/large.txt", "Overwrite": True, "CodeContent": LARGE}
    more: Json = {"Description": "Large", "toolSummary": "Large", "toolAction": "Writing"}
    return Answer(tool_call=OfferedCall("call_1", "write_to_file", {**arguments, **more}))


async def test_no_message_is_larger_than_clients_take_and_what_is_left_out_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acp_agent.offline.server.decide", hugely)
    prompts = ["Write.", HUGE, "Speak."]
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        for prompt in prompts:
            # The harness calls a turn failed whose answer is larger than what the model takes.
            await settled(agent.prompt(session_id, prompt))
        live = agent.shown()
        lines = list(agent.lines)
    assert (world.workspace / "large.txt").read_text() == LARGE
    (call,) = (item for item in live if isinstance(item, ToolCall))
    assert [isinstance(each, Diff) and "bytes left out here" in each.new_text for each in call.content] == [True]
    said = [item.text for item in live if isinstance(item, Message)]
    assert said[-1] == HUGE, "what the model says is whole"
    async with world.agent() as agent:
        await agent.load(session_id, world.workspace)
        again = agent.shown()
        lines += agent.lines
    assert max(map(len, lines)) < MESSAGE_LIMIT
    assert_replay_equals(live, again)
    asked = [item.text for item in again if isinstance(item, Message) and item.role is Role.USER]
    assert asked == prompts


@dataclass(slots=True)
class EmbeddedModel(World):
    """A world whose agents run the model in themselves, in the dialect over which the harness tries again."""

    def command(self, *more: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "acp_agent", "--data-dir", str(self.data_dir), "--offline", *more)


async def test_use_of_the_context_is_told_and_attempts_to_reach_a_model(world: World) -> None:
    embedded = EmbeddedModel(world.root, world.model)
    async with embedded.agent(capabilities={"session": {"notices": {}}}) as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "Hello.")
        # The list of models, with their sizes, is asked for in the background.
        await agent.until(lambda: bool(usages(agent)))
        first = usages(agent)[-1]
        await agent.prompt(session_id, "And more.")
        second = usages(agent)[-1]
        assert (first["size"], second["size"]) == (WINDOW, WINDOW)
        assert isinstance(less := first["used"], int)
        assert isinstance(more := second["used"], int)
        assert 0 < less < more < WINDOW
        turn = asyncio.create_task(agent.prompt(session_id, "!fail 503 The engine is overloaded"))

        def notices() -> list[Json]:
            return [update for update in agent.updates() if update["sessionUpdate"] == "notice"]

        await agent.until(lambda: len(notices()) == 1)
        await agent.cancel(session_id)
        assert (await turn)["stopReason"] == "cancelled"
        (told,) = notices()
        assert told["title"] == "The model does not answer"
        assert str(told["description"]).startswith(
            "The model's endpoint answered 503 (The engine is overloaded). That was attempt 1;"
        )
        assert not calls(agent)
    async with embedded.agent() as agent:
        await agent.load(session_id, world.workspace)
        await agent.until(lambda: bool(usages(agent)))
        assert usages(agent)[0] == second
        assert "The model does not answer" not in str(agent.updates()), (
            "what concerned a moment is not shown again"
        )


class Watcher:
    """An audience that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.tokens: list[int] = []

    async def show(self, shown: Shown) -> None:
        self.shown.append(shown)

    async def used(self, tokens: int) -> None:
        self.tokens.append(tokens)

    async def reopened(self, report: ResumeReport) -> None:
        raise AssertionError(report)


async def test_a_limit_ends_a_turn_as_what_it_is_and_a_summary_is_told(world: World) -> None:
    (world.workspace / "notes.txt").write_text("".join(f"line {number}\n" for number in range(200)))
    config = LocalOpenAIAgentConfig(
        model="any",
        base_url=world.model.openai_url,
        workspaces=[str(world.workspace)],
        policies=[policy.allow("*")],
        compaction_config=types.CompactionConfig(token_threshold=22_000),
        budget_config=types.BudgetConfig(max_model_calls=12),
    )
    statuses: list[str] = []
    for _ in range(3):  # in one run of many 0.1.22 did not summarise; why is not known
        watcher = Watcher()
        async with ResumableAgent.open(config, data_dir=world.data_dir, audience=watcher) as library:
            session_id = library.session.id
            ended = [await library.chat("\n".join(["!view_file notes.txt"] * times)) for times in (3, 4, 6)]
            await library.save_trajectory()
        assert [end.stop_reason for end in ended] == ["end_turn", "end_turn", "max_turn_requests"]
        compactions = [item for item in watcher.shown if isinstance(item, CompactionShown)]
        if statuses := [str(item.payload["status"]) for item in compactions]:
            break
    assert statuses
    assert statuses == ["in_progress", "completed"] * (len(statuses) // 2)
    assert any(later < earlier for earlier, later in pairwise(watcher.tokens)), "a summary takes less"

    for takes in (True, False):
        async with world.agent(capabilities={"session": {"compaction": {}} if takes else {}}) as agent:
            await agent.load(session_id, world.workspace)
            shown = [update for update in agent.updates() if update["sessionUpdate"] == "compaction_update"]
            assert [update["status"] for update in shown] == ["completed"] * (len(statuses) // 2) * takes


async def test_searches_and_listings_are_summarised(world: World) -> None:
    (world.workspace / "notes.txt").write_text("steam\nwater\nsteam\n")
    (world.workspace / "sub").mkdir()
    tools = [tool for tool in types.BuiltinTools if tool is not types.BuiltinTools.FINISH]
    config = LocalOpenAIAgentConfig(
        model="any",
        base_url=world.model.openai_url,
        workspaces=[str(world.workspace)],
        policies=[policy.allow("*")],
        capabilities=types.CapabilitiesConfig(enabled_tools=tools),
    )
    folder = str(world.workspace)
    uses: list[tuple[str, Json]] = [
        ("list_dir", {"DirectoryPath": folder}),
        ("grep_search", {"SearchPath": folder, "Query": "steam", "MatchPerLine": True}),
        ("find_by_name", {"SearchDirectory": folder, "Pattern": "*.txt"}),
        ("read_url_content", {"Url": "http://127.0.0.1:9/"}),
        ("run_workflow", {"Script": "print(6 * 7)", "Description": "Count"}),
    ]
    more: Json = {"toolSummary": "Summary", "toolAction": "Acting"}
    watcher = Watcher()
    async with ResumableAgent.open(config, data_dir=world.data_dir, audience=watcher) as library:
        await library.chat("\n".join(f"!call {name} {json.dumps({**args, **more})}" for name, args in uses))
    shown = {item.key: item.payload for item in watcher.shown if isinstance(item, ToolShown)}
    assert [(call["title"], call["kind"], call["status"]) for call in shown.values()] == [
        ("List .", "read", "completed"),
        ("Search for “steam”", "search", "completed"),
        ("Find *.txt", "search", "completed"),
        ("Fetch http://127.0.0.1:9/", "fetch", "failed"),
        ("Run workflow: Count", "execute", "completed"),
    ]
    words = [json.dumps(call.get("content"), ensure_ascii=False) for call in shown.values()]
    expected = [
        "1 folder, 1 file\\n\\nsub/\\nnotes.txt",
        "2 results",
        "1 result\\n\\nnotes.txt",
        "Failed to fetch",
        "42",
    ]
    assert all(part in whole for part, whole in zip(expected, words, strict=True)), words
