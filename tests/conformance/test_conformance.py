"""Each requirement of the test kit is a test by its id. One run serves them all."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conformance import page
from tests.conformance.kit import REQUIREMENTS, Level, Requirement, Result
from tests.conformance.run import run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> dict[str, Result]:
    """What the one run of this test session found."""
    shared = tmp_path_factory.getbasetemp().parent / f"conformance-{testrun_uid}"
    with FileLock(f"{shared}.lock"):
        found = Path(f"{shared}.json")
        if not found.exists():
            shared.mkdir()
            ran = run(shared)
            found.write_text(json.dumps({name: asdict(result) for name, result in ran.items()}), encoding="utf-8")
        read: dict[str, dict[str, str]] = json.loads(found.read_text(encoding="utf-8"))
    return {name: Result(**result) for name, result in read.items()}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda each: each.id)
def test_requirement(requirement: Requirement, results: dict[str, Result]) -> None:
    result = results[requirement.id]
    assert result.verdict != "failed", result.note
    assert result.verdict == "passed" or requirement.level in (Level.CAPABILITY, Level.ADVISORY)


def test_the_page_says_what_was_found(results: dict[str, Result]) -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.write(results), "run: make conformance"
