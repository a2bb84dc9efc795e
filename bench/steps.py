"""The steps that are timed, each beside its baseline, the two taking turns so that both meet the same machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench import typescript_sdk
from bench.figures import Figure, Sample
from bench.process import LineProcess, StepFailed
from bench.sides import AgentSide, Place, RawSide, StoredSession

STARTS = 11
CHEAP, DEAR = 5, 3
"""Repetitions of a step that takes well below a second, and of others."""

_LONG = 500  # turns from which a session's steps are dear


def start(place: Place) -> Iterator[Figure]:
    """From the start of the process to its first answer."""
    others = {
        "answer with nothing imported": (sys.executable, "-m", "bench.minimal_agent"),
        **({} if (typescript := typescript_sdk.agent_command()) is None else {"TypeScript SDK": typescript}),
        "import the SDK": place.raw_command("import"),
        "import the SDK and the ACP library": place.raw_command("import", "acp"),
    }
    agent: list[float] = []
    baselines: dict[str, list[float]] = {name: [] for name in others}
    # The first of each is not counted: it may find the files of its imports not yet in memory.
    for counted in range(-1, STARTS):
        # Every child is sent the request as soon as it runs; one that only imports does not read it.
        elapsed = _first_answer(place.agent_command(place.root / "start"), place)
        agent += [elapsed] if counted >= 0 else []
        for name, command in others.items():
            elapsed = _first_answer(command, place)
            baselines[name] += [elapsed] if counted >= 0 else []
    for name, values in baselines.items():
        yield Figure("start to initialize response", None, Sample((*agent,)), name, Sample((*values,)))


def load(place: Place, session: StoredSession) -> Figure:
    """From the request to load a session to the response, the whole conversation verified and replayed."""
    agent: list[float] = []
    raw: list[float] = []
    for _ in range(_repetitions(session)):
        copy = session.copy(place.root / "copy")
        with AgentSide(place, copy.data_dir) as ours:
            ours.initialize()
            agent.append(ours.load(copy))
        copy = session.copy(place.root / "copy")
        with RawSide(place) as theirs:
            raw.append(theirs.load(copy))
    return Figure("load: request to response", session.turns, Sample((*agent,)), "Agent, RESUME", Sample((*raw,)))


def turns(place: Place, session: StoredSession) -> Iterator[Figure]:
    """From a prompt to the response, and the part of it that the checkpoint takes."""
    ours_on, theirs_on = session.copy(place.root / "copy"), session.copy(place.root / "raw-copy")
    logs = (ours_on.folder / "store.db-wal", ours_on.trajectory.with_name(f"{ours_on.trajectory.name}-wal"))
    agent: list[float] = []
    checkpoint: list[float] = []
    written: list[int] = []
    raw: list[float] = []
    with AgentSide(place, ours_on.data_dir) as ours, RawSide(place) as theirs:
        ours.initialize()
        ours.load(ours_on)
        theirs.load(theirs_on)
        # The first turn after an open is not counted; the model's own count of turns proves that all are there.
        _expect_turns(place, lambda: ours.turn(session.session_id), session.turns + 1)
        _expect_turns(place, theirs.turn, session.turns + 1)
        for _ in range(_repetitions(session)):
            before = _sizes(logs)
            elapsed, taken = ours.turn(session.session_id)
            agent.append(elapsed)
            checkpoint.append(taken)
            written.append(_sizes(logs) - before)
            raw.append(theirs.turn())
    size = round(median(written))
    if size <= 0:
        raise StepFailed(f"the logs grew by {written} bytes with the turns")
    bare = [_write_and_sync(ours_on.folder / "bare", size) for _ in range(CHEAP)]
    yield Figure("turn: prompt to response", session.turns, Sample((*agent,)), "send to idle", Sample((*raw,)))
    name = f"write and fsync {size // 1024:,} KiB"
    yield Figure("checkpoint: idle to synced", session.turns, Sample((*checkpoint,)), name, Sample((*bare,)))


def _repetitions(session: StoredSession) -> int:
    return DEAR if session.turns >= _LONG else CHEAP


def _first_answer(command: tuple[str, ...], place: Place) -> float:
    began = time.perf_counter()
    with LineProcess(command, place.workspace) as child:
        child.send(
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "initialize",
                "params": {"protocolVersion": 1, "clientCapabilities": {}},
            }
        )
        child.read()
        return (time.perf_counter() - began) * 1000


def _expect_turns(place: Place, run: Callable[[], object], expected: int) -> None:
    run()
    found = len(place.model.requests[-1].turns)
    if found != expected:
        raise StepFailed(f"the model was sent {found} user turns, expected were {expected}")


def _sizes(paths: tuple[Path, ...]) -> int:
    return sum(path.stat().st_size for path in paths if path.exists())


def _write_and_sync(path: Path, size: int) -> float:
    content = os.urandom(size)
    began = time.perf_counter()
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return (time.perf_counter() - began) * 1000
