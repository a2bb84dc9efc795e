"""A store with a clock that ticks a second each time it is looked at, and a session in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessions.session import Clock
from sessions.store import Session, Store

SESSION_ID = "0123456789abcdef0123456789abcdef"


def ticking_clock() -> Clock:
    seconds = itertools.count()
    return lambda: datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=next(seconds))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data", clock=ticking_clock())


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    with store.create(SESSION_ID, cwd="/work") as made:
        yield made
