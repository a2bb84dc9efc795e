"""acpx reads the settings that `acp-agent install acpx` writes, and talks to the agent that they name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import Node, Place

pytestmark = pytest.mark.clients


def test_acpx_talks_to_what_was_installed(node: Node, place: Place) -> None:
    environment = place.environment()
    environment["PATH"] = f"{node.program.parent}:{environment['PATH']}"

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=place.workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def acpx(*arguments: str) -> str:
        return run(*node.command(node.modules / "acpx" / "dist" / "cli.js", *arguments))

    agent = str(Path(sys.executable).with_name("acp-agent"))
    options = ("--data-dir", str(place.root / "data"), "--base-url", place.model.openai_url)
    run(agent, "install", "acpx", "--", *options)
    session_id = acpx("antigravity", "sessions", "new").strip().splitlines()[-1]
    assert (place.root / "data" / "sessions" / session_id).is_dir()
    acpx("--ttl", "1", "--format", "quiet", "antigravity", "My name is Ada.")
    assert place.turns() == ("My name is Ada.",)
    assert (place.root / "home" / ".acpx" / "config.json").exists()
