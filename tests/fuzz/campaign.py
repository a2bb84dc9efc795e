"""Runs agent processes over hostile input, one after the other, and looks at what each of them left behind.

Every process works in a data folder of its own, where a canary is stored: a session with a few turns that
nothing in the input may open. When the process has ended, the canary's files are the same to the byte, but for the
notes of forks that were made of it, and it is loaded by another process and asked for what the model gets.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from acp_agent.offline.server import OfflineModel
from sessions import schema
from sessions.events import Kind
from sessions.session import STORE_NAME
from tests.agent.driver import World
from tests.agent.proof import promise_holds
from tests.fuzz.client import Client
from tests.fuzz.lines import Source
from tests.protocol.shapes import Json

CANARY_TURNS: Final = ("first canary turn", "!view_file f.txt", "!say third")
CHUNK: Final = 100
"""About so many lines are sent before all answers are waited for."""

UNREAD: Final = 1_000
"""About so many are sent while the client does not read: their answers are more than a pipe holds."""

WARM: Final = 10
"""Chunks after which the memory is first looked at: everything has been imported and used by then."""

HIBERNATE: Final = "0.5"
"""Seconds after which the agent gives up the harness of an idle session."""

MOST_GROWTH: Final = 96
"""MiB that an agent may hold at the end above what it held when it was warm."""

MOST_CHILDREN: Final = 24
"""Processes that an agent may have at once: at most eight sessions are open and used at a time."""

SECONDS_TO_END: Final = 2.0
"""How long an agent may take to end after its input or output was closed; `docs/reliability.md`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done. `only` names one process of the campaign by its number."""

    seed: int
    lines: int
    lines_of_process: int = 10_000
    only: int | None = None
    seconds_to_end: float = SECONDS_TO_END


@dataclass(slots=True)
class Figures:
    """What was seen, over all processes. Memory is in MiB."""

    processes: int = 0
    lines: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    peak: int = 0
    growth: int = 0
    children: int = 0
    slowest_end: float = 0.0
    seconds: float = 0.0


async def campaign(root: Path, plan: Plan, *, say: Callable[[str], None]) -> Figures:
    """Send so many lines. Raises `Broken`, or another `AssertionError`, with the process's number in a note."""
    figures, began, number = Figures(), time.monotonic(), plan.only or 0
    while figures.lines < plan.lines and (plan.only is None or not figures.processes):
        wanted = min(plan.lines_of_process, plan.lines - figures.lines)
        try:
            await _process(root / str(number), plan, number, wanted, figures)
        except AssertionError as error:
            error.add_note(f"seed {plan.seed}, process {number}")
            raise
        say(f"process {number}: {figures.lines} of {plan.lines} lines, {sum(figures.answers.values())} answers")
        number += 1
    figures.seconds = time.monotonic() - began
    return figures


async def _process(root: Path, plan: Plan, number: int, lines: int, figures: Figures) -> None:
    with OfflineModel() as model:
        world = _world(root, model)
        canary = await _canary(world)
        before = _contents(world.session_folder(canary))
        rng = random.Random(f"{plan.seed}/{number}")
        source = Source(rng, world.workspace, canary)
        await asyncio.to_thread(_attack, world, source, lines, plan, figures)
        after = _contents(world.session_folder(canary))
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert not changed, f"files of a session that was not open were changed: {changed}"
        async with world.agent() as agent:
            report = await agent.load(canary, world.workspace)
            assert (report["outcome"], report["reason"]) == ("resumed", "verified"), report
            await promise_holds(world, agent, canary, report, finished=CANARY_TURNS)
    figures.processes += 1


def _world(root: Path, model: OfflineModel) -> World:
    world = World(root, model, flags=("--hibernate", HIBERNATE))
    world.workspace.mkdir(parents=True)
    (world.workspace / "f.txt").write_text("text\n")
    return world


async def _canary(world: World) -> str:
    async with world.agent() as agent:
        canary = await agent.new(world.workspace)
        for turn in CANARY_TURNS:
            await agent.prompt(canary, turn)
    return canary


def _attack(world: World, source: Source, lines: int, plan: Plan, figures: Figures) -> None:
    rng = source.rng

    def heard(message: Json) -> bytes | None:
        if "method" in message:
            return source.reply(message) if "id" in message else None
        result = message.get("result")
        session_id = result.get("sessionId") if isinstance(result, dict) else None
        if isinstance(session_id, str) and session_id not in (source.canary, *source.sessions):
            source.sessions.append(session_id)
            figures.sessions += 1
        return None

    client = Client(world.command(), world.workspace, _environment(world.root), heard)
    try:
        client.write(source.before_initialize())
        client.settle()
        warm = None
        for turn in range(1, lines):
            if client.ledger.lines >= lines:
                break
            if turn == 2 * WARM:
                client.write(source.too_long())
            if pause := turn % 7 == 0:
                client.pause_reading()
            _in_pieces(client, rng, source.chunk(UNREAD if pause else CHUNK))
            if pause:
                client.resume_reading()
            client.settle()
            children = client.children()
            figures.children = max(figures.children, children)
            assert children <= MOST_CHILDREN, client.broken(f"{children} processes are held")
            if turn == WARM:
                warm, _ = client.memory()
        now, most = client.memory()
        figures.peak = max(figures.peak, most)
        if warm is not None:
            figures.growth = max(figures.growth, now - warm)
            assert now - warm <= MOST_GROWTH, client.broken(f"{warm} MiB became {now} MiB")
        figures.lines += client.ledger.lines
        figures.answers += client.ledger.codes
        # It ends in the middle of whatever it does.
        _in_pieces(client, rng, source.chunk(CHUNK)[: rng.randrange(20_000)])
        input_, output = rng.choice(((True, False), (False, True), (True, True)))
        took = client.close(input_=input_, output=output)
        figures.slowest_end = max(figures.slowest_end, took)
        assert took <= plan.seconds_to_end, client.broken(f"it took {took:.2f} s to end")
    finally:
        client.kill()


def _in_pieces(client: Client, rng: random.Random, data: bytes) -> None:
    """Send bytes in pieces that end anywhere."""
    while data:
        size = rng.choice((1, 10, 4_096, 65_536, len(data)))
        client.write(data[:size])
        data = data[size:]


def _environment(home: Path) -> Mapping[str, str]:
    """Whatever this person has configured or stored is not to be found, nor to be forgotten by a `logout`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
        "HOME": str(home),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }


def _contents(folder: Path) -> dict[str, str]:
    """The files below a folder and a digest of each, of the store what it holds but for notes of forks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            _held(path) if path.name == STORE_NAME else path.read_bytes()
        ).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _held(store: Path) -> bytes:
    with closing(schema.open_readonly(store)) as db:
        rows = [row for row in db.iterdump() if not (row.startswith('INSERT INTO "event"') and Kind.FORKED in row)]
    return "\n".join(rows).encode("utf-8", "surrogateescape")
