"""Which addresses are inside this machine."""

from __future__ import annotations

import pytest

from acp_agent.loopback import is_loopback


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1/v1", "http://LOCALHOST", "ws://127.0.0.1:1/", "http://127.9.8.7", "http://u@[::1]:1/"],
)
def test_inside(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost.example/",
        "http://127.0.0.1.example/",
        "http://127.0.0.1@example/",
        "http://10.0.0.1/",
        "http://[::1/",
        "http://",
        "",
        "localhost",
    ],
)
def test_outside_or_nowhere(url: str) -> None:
    assert not is_loopback(url)
