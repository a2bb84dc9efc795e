"""Fixtures of the tests that drive the whole agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acp_agent.offline.server import OfflineModel
from tests.agent.driver import World


@pytest.fixture
def anyio_backend() -> str:
    """The SDKs run on asyncio only."""
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty data folder, an empty workspace and a running model."""
    with OfflineModel() as model:
        world = World(tmp_path, model)
        world.workspace.mkdir()
        yield world
