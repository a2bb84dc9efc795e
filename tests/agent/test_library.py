"""Resumable agents without ACP: what the library page promises, on the real harness."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from google.antigravity.connections.connection import AgentConfig as AnyConfig
from google.antigravity.connections.local.local_openai_connection_config import LocalOpenAIAgentConfig
from google.antigravity.hooks import policy

from acp_agent.antigravity import Outcome, Reason, ResumableAgent, ResumeRefused, TurnInProgress, Wishes
from acp_agent.showing import MessageShown, Shown
from sessions.lease import SessionBusy
from sessions.report import ResumeReport
from sessions.store import Store
from tests.agent.driver import World, comes_true

pytestmark = pytest.mark.anyio

UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from tests.agent.test_library import configuration
from acp_agent.antigravity import ResumableAgent

async def main(url, data_dir, saved):
    async with ResumableAgent.open(configuration(url, data_dir), data_dir=Path(data_dir)) as agent:
        await agent.chat("My name is Ada.")
        if saved == "saved":
            checkpoint = await agent.save_trajectory()
            assert checkpoint.durable, checkpoint
        print(agent.session.id, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


class Onlooker:
    """An audience that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.tokens = 0

    async def show(self, shown: Shown) -> None:
        self.shown.append(shown)

    async def used(self, tokens: int) -> None:
        self.tokens = tokens

    async def reopened(self, report: ResumeReport) -> None:
        raise AssertionError(f"nothing was to be reopened: {report}")


def configuration(url: str, workspace: str) -> LocalOpenAIAgentConfig:
    return LocalOpenAIAgentConfig(
        model="any",
        base_url=url,
        system_instructions="Answer in the manner of engineers.",
        policies=[policy.allow_all()],
        workspaces=[workspace],
    )


@pytest.mark.parametrize(("saved", "reason"), [("saved", Reason.VERIFIED), ("not saved", Reason.AHEAD)])
async def test_a_killed_process_leaves_the_turn(world: World, saved: str, reason: Reason) -> None:
    url, data = world.model.openai_url, str(world.data_dir)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        UNTIL_KILLED,
        url,
        data,
        saved,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    session_id = (await process.stdout.readline()).decode().strip()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    onlooker = Onlooker()
    async with ResumableAgent.open(
        configuration(url, data), data_dir=world.data_dir, session_id=session_id, audience=onlooker
    ) as agent:
        assert agent.report is not None
        assert (agent.report.outcome, agent.report.reason) == (Outcome.RESUMED, reason)
        assert agent.report.turns_in_context == 1
        end = await agent.chat("What is my name?")
        assert end.text == "".join(item.delta for item in onlooker.shown if isinstance(item, MessageShown))
        assert world.model.requests[-1].user_turns == ("My name is Ada.", "What is my name?")
        assert "in the manner of engineers" in world.model.requests[-1].system


async def test_a_session_is_open_once_and_runs_one_turn_at_a_time(world: World) -> None:
    config = configuration(world.model.openai_url, str(world.workspace))
    async with ResumableAgent.open(config, data_dir=world.data_dir) as agent:
        again = ResumableAgent.open(config, data_dir=world.data_dir, session_id=agent.session.id)
        with pytest.raises(SessionBusy):
            await again.__aenter__()
        turn = asyncio.create_task(agent.chat("!stream 200 20"))
        while not world.model.requests:  # noqa: ASYNC110  (nothing announces a request to the model)
            await asyncio.sleep(0.01)
        with pytest.raises(TurnInProgress):
            await agent.chat("two")
        await agent.cancel()
        assert (await turn).stop_reason == "cancelled"
        checkpoint = await agent.save_trajectory()
        assert (checkpoint.turn, checkpoint.durable) == (1, True)
        assert (await agent.save_trajectory()).durable, "again, with nothing new"


async def test_require_is_kept_and_releases_the_session(world: World) -> None:
    config = configuration(world.model.openai_url, str(world.workspace))
    async with ResumableAgent.open(config, data_dir=world.data_dir) as agent:
        session_id = agent.session.id
        await agent.chat("My name is Ada.")
        await agent.save_trajectory()
    world.trajectory(session_id).unlink()
    strict = ResumableAgent.open(
        config, data_dir=world.data_dir, session_id=session_id, wishes=Wishes(require=Outcome.RESUMED)
    )
    with pytest.raises(ResumeRefused):
        await strict.__aenter__()
    async with ResumableAgent.open(config, data_dir=world.data_dir, session_id=session_id) as agent:
        assert agent.report is not None
        assert agent.report.outcome is Outcome.RECOVERED


async def test_a_configuration_without_a_harness_here_is_refused(tmp_path: Path) -> None:
    class Remote(AnyConfig):  # type: ignore[misc]
        def create_strategy(self, **_: object) -> None:
            raise AssertionError("it is not started")

    remote = ResumableAgent.open(Remote(), data_dir=tmp_path)
    with pytest.raises(TypeError, match="Remote has no harness on this machine"):
        await remote.__aenter__()
    assert Store(tmp_path).page().summaries == ()


async def test_a_harness_that_opens_while_its_agent_is_closed_is_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()
    wanted = configuration(world.model.openai_url, str(world.workspace))
    async with ResumableAgent.open(wanted, data_dir=world.data_dir) as agent:
        await agent.drop_harness()
        # The close looks for what is being started, and meanwhile that has been.
        monkeypatch.setattr("acp_agent.antigravity.starting.end_started", lambda _: opened.wait(60))
        turn = asyncio.ensure_future(agent.chat("Hello."))
        await comes_true(lambda: agent._keeper._opening is not None)
        assert agent._keeper._opening is not None
        agent._keeper._opening.add_done_callback(lambda _: opened.set())
    with suppress(Exception, asyncio.CancelledError):
        await turn
    assert opened.is_set()
