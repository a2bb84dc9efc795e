"""The memory of one process with many open sessions, of which one is active: with harnesses given up, and without.

What is counted is the proportional set size of the agent and of all that it has started: pages that several
processes share are counted once, so that a hundred harnesses are not made to look larger than they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import psutil

from bench.figures import Figure, Sample
from bench.process import StepFailed
from bench.sides import AgentSide, Place

SESSIONS = 100
AWAKE = 20
"""Sessions whose harnesses all stay open, for the comparison; the sum for `SESSIONS` is computed from these."""

HIBERNATE_SECONDS = 1.0
_PATIENCE_SECONDS = 120.0
_MIB = 1 << 20


def of_many_sessions(place: Place) -> Iterator[Figure]:
    """The memory of 100 open sessions with one active, beside the same with all harnesses open."""
    awake = _measured(place, "awake", AWAKE, hibernate=0)
    each = (awake - _measured(place, "one", 1, hibernate=0)) / (AWAKE - 1)
    resting = _measured(place, "resting", SESSIONS, hibernate=HIBERNATE_SECONDS)
    all_open = awake + each * (SESSIONS - AWAKE)
    name = f"memory of {SESSIONS} open sessions, 1 active"
    yield Figure(name, None, Sample((resting,)), f"all harnesses open (from {AWAKE})", Sample((all_open,)), "MiB")


def _measured(place: Place, name: str, sessions: int, *, hibernate: float) -> float:
    """MiB of the process tree, once as few harnesses run as are to run, the last session having had a turn."""
    wanted = 1 if hibernate else sessions
    with _Side(place, name, hibernate) as agent:
        agent.initialize()
        opened = [agent.new() for _ in range(sessions)]
        for session_id in opened:
            agent.turn(session_id)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            agent.turn(opened[-1])
            tree = agent.tree()
            harnesses = [process for process in tree if process.name() == "localharness"]
            if len(harnesses) == wanted:
                return sum(process.memory_full_info().pss for process in tree) / _MIB
            if time.monotonic() > deadline:
                raise StepFailed(f"{len(harnesses)} harnesses run, {wanted} should")


class _Side(AgentSide):
    """A process of our agent that gives harnesses up after a time."""

    def __init__(self, place: Place, name: str, hibernate: float) -> None:
        flags = ("--hibernate", str(hibernate))
        super().__init__(replace(place, flags=flags), place.root / f"memory-{name}")

    def tree(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        agent = psutil.Process(self._child.pid)
        return [agent, *agent.children(recursive=True)]
