"""acpx: its conversation stays one session, whatever happens to the agent.

acpx makes a new session, silently, when it takes an error for a session that is gone. What it really did is in its
own journal of messages and in its record of the session.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess

import pytest

from tests.clients.conftest import Node, Place

pytestmark = pytest.mark.clients

SECONDS = 90


class Acpx:
    """The acpx command with one home folder."""

    def __init__(self, node: Node, place: Place, home: str) -> None:
        self._place = place
        self._environment = place.environment(home)
        self._environment["PATH"] = f"{node.program.parent}:{self._environment['PATH']}"
        self._home = place.root / home
        self._command = node.command(
            node.modules / "acpx" / "dist" / "cli.js", "--agent", shlex.join(place.command)
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start acpx."""
        return subprocess.Popen(
            [*self._command, *arguments],
            cwd=self._place.workspace,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run acpx to its end, which must be this exit status; its output."""
        process = self.begin(*arguments)
        output, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == status, (arguments, output, errors)
        return output

    def prompt(self, text: str) -> str:
        """Send a prompt; the agent is kept for the next."""
        return self.run("--ttl", "300", "--format", "quiet", text)

    def is_still(self, session_id: str, *, reconnected: int) -> None:
        """The session is the one it was: no new one was made, and it was resumed so many times."""
        (record,) = (self._home / ".acpx" / "sessions").glob("*.json")
        assert json.loads(record.read_text())["acp_session_id"] == session_id
        (journal,) = (self._home / ".acpx" / "sessions").glob("*.stream.ndjson")
        messages = [json.loads(line) for line in journal.read_text().splitlines()]
        methods = [message.get("method") for message in messages]
        assert "session/new" not in methods
        assert methods.count("session/resume") + methods.count("session/load") == reconnected
        sessions = {
            message["params"]["sessionId"]
            for message in messages
            if isinstance(message.get("params"), dict) and "sessionId" in message["params"]
        }
        assert sessions == {session_id}


def test_a_new_session_would_be_seen(node: Node, place: Place) -> None:
    """What the other test looks for does happen where it must: the session is really gone."""
    acpx = Acpx(node, place, "home")
    session_id = acpx.run("sessions", "new").strip().splitlines()[-1]
    shutil.rmtree(place.root / "data" / "sessions" / session_id)
    assert "I can see 1 of your messages" in acpx.prompt("one")
    with pytest.raises(AssertionError):
        acpx.is_still(session_id, reconnected=1)


def test_one_conversation_through_kills_and_another_home(node: Node, place: Place) -> None:
    acpx = Acpx(node, place, "home")
    session_id = acpx.run("sessions", "new").strip().splitlines()[-1]
    assert (place.root / "data" / "sessions" / session_id).is_dir()
    # A second process resumes what was never prompted.
    assert "I can see 1 of your messages" in acpx.prompt("one")
    acpx.is_still(session_id, reconnected=1)
    place.kill_agent()
    assert "“one”" in acpx.prompt("two")
    assert place.turns() == ("one", "two")
    acpx.is_still(session_id, reconnected=2)
    # Killed in the middle of a turn.
    asked = len(place.model.requests)
    running = acpx.begin("--ttl", "300", "--format", "quiet", "!stream 3000 20")
    place.model.wait_for_request(asked + 1, timeout=SECONDS)
    place.kill_agent()
    running.communicate(timeout=SECONDS)
    assert running.returncode == 1
    acpx.prompt("three")
    assert place.turns() == ("one", "two", "!stream 3000 20", "three")
    acpx.is_still(session_id, reconnected=3)
    listed = json.loads(acpx.run("--format", "json", "sessions", "list"))
    assert session_id in json.dumps(listed)
    acpx.run("sessions", "close")
    # From a home that knows nothing of it, by its id.
    elsewhere = Acpx(node, place, "elsewhere")
    assert session_id in elsewhere.run("sessions", "new", "--resume-session", session_id)
    elsewhere.prompt("four")
    assert place.turns() == ("one", "two", "!stream 3000 20", "three", "four")
    elsewhere.is_still(session_id, reconnected=1)
    elsewhere.run("sessions", "close")
    # An id that is nobody's is refused aloud.
    nobody = Acpx(node, place, "nobody")
    nobody.run("sessions", "new", "--resume-session", "0" * 32, status=4)
    assert len(list((place.root / "data" / "sessions").iterdir())) == 1
