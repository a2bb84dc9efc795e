"""On which system a test of a branch runs."""

from __future__ import annotations

import pytest

from tests.system import elsewhere


@pytest.fixture(params=["here", "windows"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """On which system a test runs; on Windows, with the names that Linux has not."""
    if request.param == "windows":
        for module, values in elsewhere.ON_WINDOWS.items():
            for name, value in values.items():
                monkeypatch.setattr(module, name, value, raising=False)
    return str(request.param)
