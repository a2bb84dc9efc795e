"""Files that may not be read or written, as harness-facts section 4 has them: nothing lost, nothing untrue."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.bad_states import Said
from tests.agent.driver import Json, World, checkpoint_report
from tests.agent.proof import promise_holds, said
from tests.agent.test_kills import FIRST, SECOND, two_turns

pytestmark = pytest.mark.anyio


class Obedient(World):
    """A world whose agents obey the modes of files, which root's do not by themselves."""

    def command(self, *more: str) -> tuple[str, ...]:
        """The command line of an agent in this world."""
        if os.geteuid() != 0:
            return super().command(*more)
        return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", *super().command(*more))


@pytest.fixture
def obedient(world: World) -> Obedient:
    """A world in which modes count."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root is refused nothing, and setpriv, which takes that from it, is not there")
    return Obedient(world.root, world.model)


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """A file or folder with another mode for a while."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        if path.exists():
            path.chmod(before)


async def test_a_database_that_may_not_be_read_is_recovered(obedient: Obedient) -> None:
    async with obedient.agent() as agent:
        session_id = await two_turns(agent, obedient)
    obedient.trajectory(session_id).chmod(0)
    async with obedient.agent() as agent:
        report = await agent.load(session_id, obedient.workspace)
        assert said(report) == Said("recovered", "corrupt", turns=2, in_context=2, lost=0)
        await promise_holds(obedient, agent, session_id, report, finished=[FIRST, SECOND])


async def test_a_database_that_may_not_be_written_is_found_out_in_the_first_turn(obedient: Obedient) -> None:
    async with obedient.agent() as agent:
        session_id = await two_turns(agent, obedient)
    with mode(obedient.trajectory(session_id), 0o400):
        async with obedient.agent() as agent:
            report = await agent.load(session_id, obedient.workspace)
            assert report["turnsInContext"] == 2
            answer = await agent.prompt(session_id, "Is this kept?")
            assert answer["stopReason"] == "end_turn"
            durable = checkpoint_report(answer)["durable"]
    async with obedient.agent() as agent:
        report = await agent.load(session_id, obedient.workspace)
        kept = 3 if durable else 2
        assert (report["turns"], report["turnsInContext"], report["turnsLost"]) == (3, kept, 3 - kept)
        await promise_holds(obedient, agent, session_id, report, finished=[FIRST, SECOND])


async def test_a_folder_that_may_not_be_written_refuses_the_load_and_loses_nothing(obedient: Obedient) -> None:
    async with obedient.agent() as agent:
        session_id = await two_turns(agent, obedient)
    params: Json = {"sessionId": session_id, "cwd": str(obedient.workspace), "mcpServers": []}
    with mode(obedient.trajectory(session_id).parent, 0o500):
        async with obedient.agent() as agent:
            error = await agent.refused("session/load", params)
            assert error.code in (-31006, -31007), error
    async with obedient.agent() as agent:
        report = await agent.load(session_id, obedient.workspace)
        assert said(report) == Said("resumed", "verified", turns=2, in_context=2, lost=0)
        await promise_holds(obedient, agent, session_id, report, finished=[FIRST, SECOND])


async def test_a_store_that_may_not_be_written_costs_no_answer(obedient: Obedient) -> None:
    async with obedient.agent() as agent:
        session_id = await two_turns(agent, obedient)
    folder = obedient.session_folder(session_id)
    with mode(folder / "store.db", 0o400):
        async with obedient.agent() as agent:
            report = await agent.load(session_id, obedient.workspace)
            assert said(report) == Said("resumed", "verified", turns=2, in_context=2, lost=0)
            answer = await agent.prompt(session_id, "Is this kept?")
            assert answer["stopReason"] == "end_turn"
            checkpoint = checkpoint_report(answer)
            assert checkpoint["durable"] is False
            assert isinstance(checkpoint["reason"], str)
            (folder / "store.db").chmod(0o600)
            answer = await agent.prompt(session_id, "And this?")
            assert checkpoint_report(answer)["durable"] is True, checkpoint_report(answer)["reason"]
    async with obedient.agent() as agent:
        report = await agent.load(session_id, obedient.workspace)
        assert said(report) == Said("resumed", "verified", turns=4, in_context=4, lost=0)
        await promise_holds(
            obedient, agent, session_id, report, finished=[FIRST, SECOND, "Is this kept?", "And this?"]
        )


async def test_two_agents_race_for_a_session(world: World) -> None:
    async with world.agent() as one, world.agent() as other:
        session_id = await two_turns(one, world)
        await one.call("session/close", {"sessionId": session_id})
        params: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        for _ in range(10):
            answers = await asyncio.gather(
                *(agent.call("session/load", params) for agent in (one, other)), return_exceptions=True
            )
            lost = [answer for answer in answers if isinstance(answer, BaseException)]
            assert len(lost) == 1, answers
            assert getattr(lost[0], "code", None) == -31001
            winner = one if answers[1] is lost[0] else other
            await winner.call("session/close", {"sessionId": session_id})
        report = await one.load(session_id, world.workspace)
        await promise_holds(world, one, session_id, report, finished=[FIRST, SECOND])
