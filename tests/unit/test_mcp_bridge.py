"""The bridge to an MCP server: what is passed on, and what is answered in the place of a server that fails."""

from __future__ import annotations

import json
import queue
import subprocess
from pathlib import Path
from typing import Any

import pytest

from acp_agent import mcp_bridge
from acp_agent.mcp_bridge import Bridge

PATIENT = 3600.0


def line(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


class Harness:
    """What the harness is answered, in order."""

    def __init__(self, status: Path, patience: float) -> None:
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.status = status
        self.bridge = Bridge("weather", status, self.lines.put, patience=patience)

    def ask(self, method: str, number: int = 1) -> bytes | None:
        return self.bridge.from_harness(line({"id": number, "method": method}))

    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lines.get(timeout=30))
        return found

    def why(self) -> str:
        return str(json.loads(self.status.read_text(encoding="utf-8"))["why"])


@pytest.mark.parametrize("method", ["initialize", "tools/list", "ping"])
def test_a_server_that_does_not_answer_what_the_harness_waits_for_is_given_up(tmp_path: Path, method: str) -> None:
    harness = Harness(tmp_path / "0.json.failed", patience=0)
    assert harness.ask(method) is not None
    answer = harness.answer()
    assert answer["id"] == 1
    assert "result" in answer
    assert harness.why() == f"it did not answer {method} within 0 s"
    assert harness.ask("tools/list", 2) is None
    assert harness.answer() == {"jsonrpc": "2.0", "id": 2, "result": {"tools": []}}


def test_a_tool_may_take_as_long_as_it_likes(tmp_path: Path) -> None:
    harness = Harness(tmp_path / "0.json.failed", patience=0)
    assert harness.ask("tools/call", 7) is not None
    harness.bridge.from_server(line({"id": 7, "result": {"content": []}}))
    assert harness.answer()["id"] == 7
    assert harness.bridge.failure is None


def test_an_answer_is_passed_on_and_nothing_is_given_up(tmp_path: Path) -> None:
    harness = Harness(tmp_path / "0.json.failed", patience=PATIENT)
    asked = harness.ask("tools/list", 3)
    assert asked == line({"id": 3, "method": "tools/list"})
    harness.bridge.from_server(b"")
    harness.bridge.from_server(line({"id": 3, "result": {"tools": []}}))
    assert harness.answer() == {"jsonrpc": "2.0", "id": 3, "result": {"tools": []}}
    assert harness.bridge.failure is None


def test_a_call_that_waits_when_the_server_ends_is_answered_with_why(tmp_path: Path) -> None:
    harness = Harness(tmp_path / "0.json.failed", patience=PATIENT)
    harness.ask("tools/call", 9)
    harness.bridge.fail("it ended (exit status 3)")
    assert harness.answer()["error"]["message"] == (
        "The MCP server weather cannot be used: it ended (exit status 3)."
    )
    assert harness.why() == "it ended (exit status 3)"


@pytest.mark.parametrize(
    ("script", "patience", "why"),
    [("exit 3", 60.0, "it ended (exit status 3)"), ("exec sleep 60", 0.01, "it closed its input")],
)
def test_a_server_that_takes_no_more_input_has_ended_if_it_has(
    monkeypatch: pytest.MonkeyPatch, script: str, patience: float, why: str
) -> None:
    monkeypatch.setattr(mcp_bridge, "END_SECONDS", patience)
    with subprocess.Popen(["sh", "-c", script]) as server:
        assert mcp_bridge._why_closed(server) == why
        server.kill()
