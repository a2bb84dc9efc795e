"""The crash campaigns in short: a few kills from a fixed seed, and a few system calls of each operation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.crash import calls, kills, strace
from tests.crash.kills import Budget, Results

pytestmark = pytest.mark.anyio

SEED = 16
KILLS = 12
SAMPLED_CALLS = 5
"""Disturbances of each operation; the whole campaign has hundreds."""


@pytest.fixture
def anyio_backend() -> str:
    """The SDKs run on asyncio only."""
    return "asyncio"


async def test_random_kills_lose_nothing(tmp_path: Path) -> None:
    results = Results()
    told: list[str] = []
    await kills.campaign(tmp_path, SEED, Budget(KILLS, math.inf), 1, results, say=told.append)
    assert not results.failures, results.failures
    assert len(results.kills) >= KILLS
    assert results.requests >= KILLS
    assert told


async def test_disturbed_system_calls_lose_nothing(tmp_path: Path) -> None:
    if (why := strace.missing()) is not None:
        pytest.skip(f"system calls cannot be disturbed: {why}")
    told: list[str] = []
    results = await calls.campaign(tmp_path / "calls", jobs=1, sample=SAMPLED_CALLS, say=told.append)
    assert not [result for result in results if result.failure]
    assert {result.disturbance.fault for result in results} == set(strace.FAULTS)
    for subject in calls.SUBJECTS:
        assert sum(result.subject == subject.name for result in results) == SAMPLED_CALLS
