"""The checkpoint of the same turn in a short and in a long session, and beside bare writes of the same bytes.

The two sessions are measured in turn, in several rounds, so that both meet the same machine. What a turn wrote is
counted by the frames that it added to the logs of the harness and of the store; nothing else is written of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.figures import Figure, Sample
from bench.process import StepFailed
from bench.sides import AgentSide, Place, StoredSession
from sessions.wal import Follower, Position

TURNS = (50, 5000)
"""The sizes that are compared; a turn has two steps."""

ROUNDS, TURNS_A_ROUND = 3, 5

_FRAME_HEADER = 24


@dataclass(slots=True)
class _Measured:
    """Milliseconds and KiB of each turn; `bare` are the milliseconds of the same bytes, written and synced."""

    session: StoredSession
    first: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    store: list[float] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)


def compare(place: Place, short: StoredSession, long: StoredSession) -> Iterator[Figure]:
    """The figures; the sessions themselves are left as they are."""
    sides = [
        _Measured(session.copy(place.root / f"checkpoints-{session.turns}", turns=session.turns))
        for session in (short, long)
    ]
    for _ in range(ROUNDS):
        for side in sides:
            _round(place, side)
    small, large = sides
    steps = f"{2 * long.turns:,} steps beside {2 * short.turns:,}"
    yield _figure(f"checkpoint: {steps}", large, "the same turn", large.taken, small.taken)
    yield _figure(f"store's bytes: {steps}", large, "the same turn", large.store, small.store, unit="KiB")
    yield _figure(f"all bytes: {steps}", large, "the same turn", large.logs, small.logs, unit="KiB")
    for side in sides:
        name = f"write and fsync {median(side.logs):,.0f} KiB to 2 files"
        yield _figure("checkpoint: idle to synced", side, name, side.taken, side.bare)
    for side in sides:
        name = "a later one"
        yield _figure("first checkpoint after a load", side, name, side.first, side.taken)


def _round(place: Place, side: _Measured) -> None:
    session = side.session
    files = (session.folder / "bare", session.trajectory.parent / "bare")
    with AgentSide(place, session.data_dir) as agent:
        agent.initialize()
        agent.open(session)
        side.first.append(agent.turn(session.session_id)[1])
        store, harness = Follower(session.folder / "store.db"), Follower(session.trajectory)
        with closing(store), closing(harness):
            for _ in range(TURNS_A_ROUND):
                before = _position(store), _position(harness)
                side.taken.append(agent.turn(session.session_id)[1])
                sizes = _written(before[0], _position(store)), _written(before[1], _position(harness))
                side.store.append(sizes[0] / 1024)
                side.logs.append(sum(sizes) / 1024)
                side.bare.append(_write_and_sync(dict(zip(files, sizes, strict=True))))


def _figure(
    step: str, side: _Measured, name: str, agent: list[float], baseline: list[float], *, unit: str = "ms"
) -> Figure:
    return Figure(step, side.session.turns, Sample((*agent,)), name, Sample((*baseline,)), unit=unit)


def _position(follower: Follower) -> Position:
    follower.poll()
    if follower.position is None:
        raise StepFailed("a log cannot be followed")
    return follower.position


def _written(before: Position, after: Position) -> int:
    """The bytes that were appended to a log; of one that was begun anew, those since then."""
    frames = after.frames - (before.frames if before.salts == after.salts else 0)
    return frames * (_FRAME_HEADER + after.page_size)


def _write_and_sync(sizes: dict[Path, int]) -> float:
    contents = {path: os.urandom(size) for path, size in sizes.items()}
    began = time.perf_counter()
    for path, content in contents.items():
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return (time.perf_counter() - began) * 1000
