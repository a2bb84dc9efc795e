"""The benchmark in short: a small session, few sessions, each step once; and the table of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from acp_agent.offline.server import OfflineModel
from bench import listing, sessions_on_disk, steps
from bench.figures import Machine, as_json, print_table
from bench.sides import Place


def test_the_steps_can_be_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "CHEAP", 1)
    monkeypatch.setattr(listing, "SESSIONS", 120)
    monkeypatch.setattr(listing, "REPETITIONS", 1)
    with OfflineModel() as model:
        place = Place(tmp_path, model)
        place.workspace.mkdir()
        (place.root / "config.toml").touch()
        (session,) = sessions_on_disk.build(place, [2])
        figures = [*steps.turns(place, session), *listing.pages(place)]
    table = Console(file=io.StringIO(), width=200)
    print_table(table, Machine.here(0.0), figures)
    assert isinstance(table.file, io.StringIO)
    for figure in figures:
        assert figure.step in table.file.getvalue()
        assert min(*figure.agent.values, *figure.baseline.values) > 0
    assert as_json(Machine.here(0.0), figures)
