"""The wire by itself: what a streamed update costs, and how fast a stored conversation is shown again.

The baseline of both is `bench.streaming raw`: the same kind of line, by `json` and asyncio's own writer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from bench.figures import Figure, Sample
from bench.process import LineProcess, StepFailed
from bench.sides import AgentSide, Place, StoredSession
from bench.streaming import WARM_UP

UPDATES = 20_000
ROUNDS, REPLAYS = 7, 3


def updates(place: Place) -> Iterator[Figure]:
    """CPU time of a text update, with the thread that writes it."""
    agent: list[float] = []
    raw: list[float] = []
    for _ in range(ROUNDS):
        agent.append(_stream(place, "agent", UPDATES)[0])
        raw.append(_stream(place, "raw", UPDATES)[0])
    yield Figure("CPU of a text update", None, Sample((*agent,)), "asyncio", Sample((*raw,)), unit="µs")


def replay(place: Place, session: StoredSession) -> Figure:
    """From the first update of a replay to its last; two entries of the journal a turn."""
    agent: list[float] = []
    raw: list[float] = []
    entries = 2 * session.turns
    for _ in range(REPLAYS):
        copy = session.copy(place.root / "copy")
        with AgentSide(place, copy.data_dir) as ours:
            ours.initialize()
            ours.open(copy)
            if len(ours.shown) != entries:
                raise StepFailed(f"of {entries} entries {len(ours.shown)} were replayed")
            agent.append((ours.shown[-1] - ours.shown[0]) * 1000)
        raw.append(_stream(place, "raw", entries)[1])
    return Figure(
        f"replay {entries:,} entries", session.turns, Sample((*agent,)), "asyncio", Sample((*raw,)), unit="ms"
    )


def _stream(place: Place, which: str, count: int) -> tuple[float, float]:
    """Read `count` updates: microseconds of CPU for each, and milliseconds from the first to the last."""
    command = (sys.executable, "-m", "bench.streaming", which, str(count))
    with LineProcess(command, place.workspace) as child:
        for _ in range(WARM_UP):
            child.read()
        child.read()
        began = time.perf_counter()
        for _ in range(count - 1):
            child.read()
        elapsed = time.perf_counter() - began
        params = child.read()["params"]
    taken = params["update"] if isinstance(params, dict) else None
    milliseconds = taken.get("milliseconds") if isinstance(taken, dict) else None
    if not isinstance(milliseconds, float):
        raise StepFailed(f"bench.streaming {which} said {params} at its end")
    return milliseconds * 1000 / count, elapsed * 1000
