"""Random kills: random conversations, each agent process killed at a random moment, and what the next one finds.

A life of an agent brings back what the life before left, asks the model one more question, does some operations
and is killed in one of them, which may be the load itself. Between two lives the live trajectory is sometimes
damaged. Everything is drawn from a seed; what is not determined by it is how far the agent has come when the
signal arrives, and that is the point.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from acp_agent.offline.server import OfflineModel
from sessions.leftovers import HARNESS_NAME, MARKER_VARIABLE
from tests.agent.driver import World
from tests.agent.processes import end_orphans
from tests.crash import time_travel
from tests.crash.damage import DAMAGES
from tests.crash.operations import ANSWERED, OPERATIONS, Operation, ask
from tests.crash.play import Back, Fuse, Play
from tests.crash.truth import Truth, expect

LIVES = 20
"""How many lives a data folder has; then a new one is begun, so that figures do not depend on its size."""

TURNS = 15
"""A session with more turns than this is left alone, and a new one is begun."""

GONE_SECONDS = 10.0
"""How long a harness whose agent was killed may take to end before that counts as a failure."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill: the moment, what was damaged afterwards, and how the session was brought back.

    `back` is None if the next agent was killed before it had brought it back.
    """

    moment: str
    damage: str | None
    back: Back | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A promise that did not hold: where, what was done, what was seen, and the data folder."""

    seed: str
    what: str
    history: tuple[str, ...]
    folder: Path


@dataclass(slots=True)
class Results:
    """What came of a campaign so far; `prompts` counts the requests that were checked at the model endpoint."""

    kills: list[Kill] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    requests: int = 0
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Budget:
    """When a campaign ends: after so many kills, or at this moment of the monotonic clock."""

    kills: int
    until: float

    def left(self, results: Results) -> bool:
        """Whether there is more to do."""
        return len(results.kills) < self.kills and time.monotonic() < self.until


async def campaign(
    root: Path, seed: int, budget: Budget, jobs: int, results: Results, *, say: Callable[[str], None]
) -> None:
    """Kill agents until the budget is spent, `jobs` at a time.

    What came of it is in `results`; a world with a failure keeps its folder. `say` is told now and then how far
    it is.
    """

    async def worker(job: int) -> None:
        number = 0
        while budget.left(results):
            await _world(root, f"{seed}-{job}-{number}", budget, results)
            say(f"{len(results.kills)} kills, {len(results.failures)} promises broken")
            number += 1

    async with asyncio.TaskGroup() as group:
        for job in range(jobs):
            group.create_task(worker(job))


async def _world(root: Path, seed: str, budget: Budget, results: Results) -> None:
    """Some lives on one data folder, and at the end an orderly one that looks at every session."""
    folder = root / seed
    folder.mkdir()
    history: list[str] = []
    with OfflineModel() as model:
        world = World(folder, model)
        world.workspace.mkdir()
        try:
            await _lives(world, Random(seed), history, budget, results)
        # Whatever goes wrong is a failure of this world; the others go on.
        except Exception as error:
            results.failures.append(Failure(seed, f"{type(error).__name__}: {error}", tuple(history), folder))
        finally:
            end_orphans(world)
        results.requests += len(model.requests)


async def _lives(world: World, random: Random, history: list[str], budget: Budget, results: Results) -> None:
    truths: list[Truth] = []
    last: tuple[str, str | None, str | None] | None = None
    for _ in range(LIVES):
        if not budget.left(results):
            break
        async with world.agent() as agent:
            play = Play(world, agent, random, truths, history)
            history.append("--- a new agent")
            with _noted(play, last, results):
                current = await _life(play)
            moment = play.killed_at
            assert moment is not None
        await _harness_gone(truths)
        damage = _damage(world, random, current, history) if current else None
        last = (moment, damage, current.session_id if current else None)
        if random.random() < 0.7:  # sometimes a command that was left behind still runs at the next load
            end_orphans(world)
    async with world.agent() as agent:
        play = Play(world, agent, random, truths, history)
        with _noted(play, last, results):
            for truth in truths:
                await play.bring_back(truth)
                await ask(play, truth)
    await _harness_gone(truths)


@contextmanager
def _noted(play: Play, last: tuple[str, str | None, str | None] | None, results: Results) -> Iterator[None]:
    """Add the last life's kill to the results, with how this life brought the session back."""
    try:
        yield
    finally:
        if last is not None:
            moment, damage, session_id = last
            results.kills.append(Kill(moment, damage, play.backs.get(session_id or "")))


async def _life(play: Play) -> Truth | None:
    """Everything from the start of an agent to its kill; the session that was used last, if its id is known."""
    random = play.random
    current = play.truths[-1] if play.truths else None
    fatal = random.choices(("load", "ask", "operation"), (3 if current and current.damaged else 2, 1, 6))[0]
    if current is None or (current.state.turns[1] > TURNS and not current.damaged and not current.unanswered):
        if fatal == "load":
            # `new` is over in no time; it is killed where it begins.
            await _die_in(play, play.new(), Fuse("begin", 0, random.uniform(0, 0.1)))
            return play.truths[-1] if play.truths else None
        current = await play.new()
    else:
        method = random.choices(("session/load", "session/resume"), (4, 1))[0]
        if fatal == "load":
            await _die_in(play, play.bring_back(current, method), Fuse("begin", 0, random.uniform(0, 0.6)))
            return current
        await play.bring_back(current, method)
        await _one_harness(current)
    if fatal == "ask":
        await _die_in(play, ask(play, current), _fuse(random))
        return current
    await ask(play, current)
    for _ in range(random.choices((0, 1, 2), (4, 2, 1))[0]):
        await _operation(random).run(play, current)
    fuse = _fuse(random)
    fatal_operation = _operation(random) if fuse.event in ("begin", "end") else random.choice(ANSWERED)
    await _die_in(play, fatal_operation.run(play, current), fuse)
    return current


def _operation(random: Random) -> Operation:
    table = (*OPERATIONS, *time_travel.OPERATIONS)
    return random.choices(table, [operation.weight for operation in table])[0]


def _fuse(random: Random) -> Fuse:
    """A random moment of an operation."""
    match random.choices(("begin", "update", "question", "written", "end"), (3, 6, 2, 4, 2))[0]:
        case "begin":
            return Fuse("begin", 0, random.uniform(0, 0.15))
        case "update":
            return Fuse("update", random.choice((1, 1, 2, 3, 5, 8)), random.choice((0, random.uniform(0, 0.05))))
        case "question":
            return Fuse("question", 1, random.uniform(0, 0.05))
        case "written":
            return Fuse("written", 1, random.uniform(0, 0.03))
        case _:
            return Fuse("end", 1, random.choice((0, 0, random.uniform(0, 0.02))))


async def _die_in(play: Play, operation: Awaitable[object], fuse: Fuse) -> None:
    async def run() -> None:
        await operation

    await play.run_until_killed(asyncio.create_task(run()), fuse)


def _damage(world: World, random: Random, truth: Truth, history: list[str]) -> str | None:
    """Sometimes damage the trajectory of a session; what was done."""
    database = world.trajectory(truth.session_id)
    if random.random() >= 0.25 or not database.parent.exists() or not truth.state.turns[1]:
        return None
    damage = random.choice(DAMAGES)
    history.append(f"  DAMAGE: {damage.__name__}")
    damage(database)
    truth.damaged = True
    return damage.__name__


def harnesses(truths: list[Truth]) -> list[psutil.Process]:
    """The harnesses of these sessions that run."""
    ids = {truth.session_id for truth in truths}
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == HARNESS_NAME:
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARKER_VARIABLE) in ids and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
    return found


async def _harness_gone(truths: list[Truth]) -> None:
    """Wait until no harness of the sessions is left, as is promised when their agent is gone."""
    left = harnesses(truths)
    if left:
        _, alive = await asyncio.to_thread(psutil.wait_procs, left, GONE_SECONDS)
        expect(not alive, "no harness is left behind", alive)


async def _one_harness(truth: Truth) -> None:
    found = await asyncio.to_thread(harnesses, [truth])
    expect(len(found) == 1, "an open session has one harness", found)
