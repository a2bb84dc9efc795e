"""Times a page of `session/list` over many stored sessions, beside a bare look at their folders."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, Sample
from bench.process import StepFailed
from bench.sides import AgentSide, Place
from sessions.store import Store, new_session_id

SESSIONS = 10_000
REPETITIONS = 15


def pages(place: Place) -> Iterator[Figure]:
    """The first page and the second, of one folder's sessions and of all."""
    data_dir = place.root / "many"
    _make(data_dir, str(place.workspace))
    with AgentSide(place, data_dir) as agent:
        agent.initialize()
        agent.call("session/list", {})  # the catalog is made once, by whoever asks first
        first = agent.call("session/list", {})
        cursor = first.get("nextCursor")
        bare = Sample(tuple(_look(data_dir) for _ in range(REPETITIONS)))
        for name, params in (
            ("first page", {}),
            ("second page", {"cursor": cursor}),
            ("first page of a folder", {"cwd": str(place.workspace)}),
        ):
            taken: list[float] = []
            for _ in range(REPETITIONS):
                began = time.perf_counter()
                found = agent.call("session/list", {**params})["sessions"]
                taken.append((time.perf_counter() - began) * 1000)
                if not isinstance(found, list) or len(found) != 50:
                    raise StepFailed(f"a page holds {found!r}")
            yield Figure(f"list 10,000 sessions: {name}", None, Sample((*taken,)), "scan the folders", bare)


def _make(data_dir: Path, cwd: str) -> None:
    """Copies of one session under other ids: an id has one length, so it can be replaced where it lies."""
    one = new_session_id()
    Store(data_dir).create(one, cwd=cwd).close()
    folder = data_dir / "sessions" / one
    content = (folder / "store.db").read_bytes()
    for _ in range(SESSIONS - 1):
        session_id = new_session_id()
        copy = folder.with_name(session_id)
        for name in ("trajectory", "harness", "aside"):
            (copy / name).mkdir(parents=True)
        (copy / "store.db").write_bytes(content.replace(one.encode(), session_id.encode()))


def _look(data_dir: Path) -> float:
    began = time.perf_counter()
    with os.scandir(data_dir / "sessions") as entries:
        found = sum(entry.is_dir() for entry in entries)
    if found != SESSIONS:
        raise StepFailed(f"there are {found} sessions")
    return (time.perf_counter() - began) * 1000
