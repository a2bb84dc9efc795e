"""The official TypeScript SDK as client: all of its own checks hold for every message."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import Node, Place

pytestmark = pytest.mark.clients


def test_every_message_is_valid_for_the_typescript_sdk(node: Node, place: Place) -> None:
    script = Path(__file__).with_name("sdk_client.mjs")
    command = node.command(script, str(node.modules), str(place.workspace), *place.command)
    done = subprocess.run(
        command, env=place.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["faults"] == []
    assert done.stderr == "", "the SDK complains there"
    assert said["checked"] > 40
    assert said["questions"] == 2
    assert said["steps"] == {
        "prompt": "end_turn",
        "tools": "end_turn",
        "cancelled": "cancelled",
        "listed": [said["sessionId"]],
        "first": 0,
        "second": 0,
    }
    assert {"user_message_chunk", "agent_message_chunk", "tool_call"} <= set(said["replayed"])
    assert not {"user_message_chunk", "tool_call"} & set(said["resumed"])
    assert "I can see 4 of your messages" in said["reply"]
    assert place.turns()[0] == "first words"
