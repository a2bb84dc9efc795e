"""Every system call: a checkpoint, recoveries, a restore and a fork, disturbed at each call that changes the disk.

First the operation runs undisturbed and its calls are counted. Then, for each call and each fault, it runs on a
fresh copy of the same session, made once with the real harness, and is killed at that call, or the call is
answered with an error. After each one a real agent loads the session, and the next request to the model is
compared with what was durable before.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from acp_agent.chat.rpc import RpcError
from acp_agent.offline.server import OfflineModel
from tests.agent.driver import Agent, Json, World, checkpoint_report
from tests.crash import damage, strace
from tests.crash.actor import Actor, Ended
from tests.crash.strace import Disturbance
from tests.crash.truth import check_counts, expect

PROMPTS = (
    "My name is Ada.",
    "!write_to_file engine.txt steam\n!view_file engine.txt",
    "I like engines.\n!run_command echo engines",
)
NEXT = "What do you remember?"
KILLED = -9
ATTEMPTS = 3
"""How often a call is tried that was not reached: a database may have grown by a page since it was counted."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An operation that is disturbed: the session that it runs on, and how many of its prompts are durable before.

    `made` says what the session is like: `sound`, `damaged` (no database), `unsaved` (the last turn has ended, but
    has no checkpoint) or `pending` (the last turn was cut before a command that had been allowed).
    `turns` are the numbers of turns that the model may have when the operation was not finished, and when it was.
    """

    name: str
    durable: int
    made: str
    turns: tuple[int, int] = (3, 3)
    command: tuple[str, ...] = ()


SUBJECTS = (
    Subject("checkpoint", 2, "unsaved"),
    Subject("recovery", 3, "damaged"),
    Subject("trim", 2, "pending"),
    Subject("restore", 3, "sound", turns=(3, 2), command=("--turn", "2", "--yes", "--json")),
    Subject("fork", 3, "sound", command=("--turn", "2", "--json")),
)


@dataclass(frozen=True, slots=True)
class Disturbed:
    """What came of a disturbance: how the operation ended, and what was not as promised, if anything."""

    subject: str
    disturbance: Disturbance
    ending: str
    failure: str | None


@dataclass(slots=True)
class Bench:
    """A world with a running agent, which loads one session after the other, and the session's original."""

    world: World
    agent: Agent
    actor: Actor
    subject: Subject
    session_id: str
    original: Path
    results: list[Disturbed] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, root: Path, subject: Subject) -> AsyncIterator[Bench]:
        """Make the session that the operation runs on, and start the agent that looks at what it left."""
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(root.mkdir, parents=True)
            world = World(root, stack.enter_context(OfflineModel()))
            world.workspace.mkdir()
            actor = await stack.enter_async_context(Actor.start(root))
            session_id = await _make(world, actor, subject)
            original = root / "original"
            world.session_folder(session_id).rename(original)
            agent = await stack.enter_async_context(world.agent())
            yield cls(world, agent, actor, subject, session_id, original)

    async def disturbances(self) -> list[Disturbance]:
        """Every fault at every call of the operation."""
        counted = []
        for _ in range(3):  # the first makes what is made once, such as an index over all sessions
            self._lay_out()
            ended, calls = await self.actor.count(self._words(), self.world.data_dir)
            expect(ended.result.get("ok") is True, "it succeeds when nothing is disturbed", ended)
            counted.append(calls)
        _, before, last = counted
        same = {(call.name, call.path) for call in before}
        return [
            Disturbance(call, fault, (call.name, call.path) in same) for call in last for fault in strace.FAULTS
        ]

    async def disturb(self, disturbance: Disturbance) -> None:
        """Disturb the operation and check what is left; what came of it is added to `results`."""
        for _ in range(ATTEMPTS):
            self._lay_out()
            ended = await self.actor.run(self._words(), disturbance)
            if ended.hit:
                break
        ending = "?"
        failure: str | None = None
        try:
            expect(ended.hit, "the call was reached", ended)
            ending = _ending(disturbance, ended)
            done = ending == "done all the same"
            if self.subject.name == "checkpoint":
                await self._look_at_checkpoints(done=done)
            if disturbance.fault != "KILL":
                again = await self.actor.run(self._words())
                expect(again.result.get("ok") is True, "the next attempt succeeds", again)
                done = True
            await self._look(done=done)
        # Whatever goes wrong is what this campaign is for; the other calls follow.
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            with suppress(RpcError):  # it may not be open
                await self._close()
        self.results.append(Disturbed(self.subject.name, disturbance, ending, failure))

    async def _look(self, *, done: bool) -> None:
        """Load the session and see what the model gets."""
        report = await self.agent.load(self.session_id, self.world.workspace)
        expect(report["outcome"] in ("resumed", "recovered"), "nothing starts fresh", report)
        cut = report["interrupted"] is not None
        expect(cut is (self.subject.made == "pending"), "a turn that was cut is named, and no other", report)
        await self._ask(report, self.subject.turns[1:] if done else self.subject.turns)
        await self._close()

    async def _look_at_checkpoints(self, *, done: bool) -> None:
        """Look at the checkpoints alone, on a copy of what was left: those taken before must still be good."""
        folder, left = self.world.session_folder(self.session_id), self.world.root / "left"
        shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(folder, left)
        damage.remove(self.world.trajectory(self.session_id))
        report = await self.agent.load(self.session_id, self.world.workspace)
        expect(report["outcome"] == "recovered", "a checkpoint is restored", report)
        await self._ask(report, (3,) if done else (2, 3))
        await self._close()
        shutil.rmtree(folder)
        left.rename(folder)

    async def _close(self) -> None:
        await self.agent.call("session/close", {"sessionId": self.session_id})

    def _lay_out(self) -> None:
        """A fresh copy of the session."""
        for folder in (self.world.data_dir / "sessions").iterdir():
            shutil.rmtree(folder)
        shutil.copytree(self.original, self.world.session_folder(self.session_id))

    def _words(self) -> tuple[str, ...]:
        where = (str(self.world.data_dir), self.session_id)
        match self.subject.name:
            case "checkpoint":
                return ("checkpoint", *where, str(len(PROMPTS)))
            case "recovery" | "trim":
                return ("load", *where, self.world.model.openai_url, str(self.world.workspace))
            case name:
                data_dir, session_id = where
                return ("command", "--data-dir", data_dir, "sessions", name, session_id, *self.subject.command)

    async def _ask(self, report: Json, kept: Sequence[int]) -> None:
        before = len(self.world.model.requests)
        answer = await self.agent.prompt(self.session_id, NEXT)
        *earlier, last = self.world.model.requests[before].user_turns
        expect(last == NEXT, "the prompt reaches the model", last)
        expect(earlier in [list(PROMPTS[:count]) for count in kept], "no durable turn is lost", earlier, report)
        check_counts(report, len(earlier))
        expect(checkpoint_report(answer)["durable"] is True, "the next turn is durable", answer)


async def campaign(
    root: Path, *, jobs: int, sample: int | None = None, say: Callable[[str], None]
) -> list[Disturbed]:
    """Disturb every operation at every call.

    Args:
        root: a folder to be made.
        jobs: how many operations are disturbed at a time.
        sample: only so many disturbances of each operation, spread evenly; None for all.
        say: is told now and then how far it is.
    """
    results: list[Disturbed] = []
    for subject in SUBJECTS:
        async with AsyncExitStack() as stack:
            folders = [root / f"{subject.name}-{job}" for job in range(jobs)]
            benches = [await stack.enter_async_context(Bench.open(folder, subject)) for folder in folders]
            await asyncio.gather(
                *(_disturb_all(bench, job, jobs, sample, say) for job, bench in enumerate(benches))
            )
            for bench in benches:
                results += bench.results
    return results


async def _disturb_all(bench: Bench, job: int, jobs: int, sample: int | None, say: Callable[[str], None]) -> None:
    """Disturb one of `jobs` equal parts of all calls."""
    todo = await bench.disturbances()
    if sample is not None:
        todo = [todo[place * len(todo) // sample] for place in range(min(sample, len(todo)))]
    for done, disturbance in enumerate(todo[job::jobs], 1):
        await bench.disturb(disturbance)
        if done % 20 == 0:
            say(f"{bench.subject.name}: {done * jobs} of {len(todo)} disturbances")


async def _make(world: World, actor: Actor, subject: Subject) -> str:
    """The session that an operation runs on."""
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        for text in PROMPTS[: subject.durable]:
            checkpoint = checkpoint_report(await agent.prompt(session_id, text))
            expect(checkpoint["durable"] is True, "a turn is durable", checkpoint)
        if subject.made == "pending":
            turn = asyncio.create_task(agent.prompt(session_id, PROMPTS[subject.durable]))
            seen = len(agent.updates())
            await agent.until(lambda: any(up.get("status") == "in_progress" for up in agent.updates()[seen:]))
            await agent.kill()
            await asyncio.gather(turn, return_exceptions=True)
            damage.make_pending(world.trajectory(session_id))
        await agent.kill()
    if subject.made == "unsaved":
        where = (str(world.data_dir), session_id, world.model.openai_url, str(world.workspace))
        ended = await actor.run(("unsaved", *where, PROMPTS[subject.durable]))
        expect(ended.status == KILLED, "the turn ends and is not checkpointed", ended)
    elif subject.made == "damaged":
        damage.garbage(world.trajectory(session_id))
    return session_id


def _ending(disturbance: Disturbance, ended: Ended) -> str:
    if disturbance.fault == "KILL":
        expect(ended.status == KILLED, "it was killed", ended)
        return "killed"
    if ended.result.get("ok") is True:
        report = ended.result.get("report")
        if isinstance(report, dict):
            expect(report["turnsLost"] == 0, "an error of the disk is no reason to give up a durable turn", report)
        return "done all the same"
    expect(isinstance(ended.result.get("error"), str), "a failure is reported", ended)
    return "error reported"
