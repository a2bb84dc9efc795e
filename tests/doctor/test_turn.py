"""The turn with the offline model, through a real agent; and what is said of agents that keep no promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from acp_agent.chat.fields import JsonObject
from acp_agent.chat.process import Spawn
from acp_agent.doctor import checks, runner, turn
from acp_agent.doctor.findings import Checked, State
from acp_agent.system.processes import Child
from tests.doctor.conftest import KEY, Machine, worst
from tests.prestarted import fork_agent

SCRIPTED = Path(__file__).parents[1] / "chat" / "scripted_agent.py"


def with_agent(machine: Machine, spawn: Spawn) -> Checked:
    """The check, with agents that are started in another way."""
    situation = machine.situation()
    situation.spawn = spawn
    (done,) = runner.run(checks.chosen(["offline-turn"], [], deep=False), situation)
    return done


def test_the_whole_command_as_a_user_starts_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the user has set is not what the turn is about, and does not get in its way.
    monkeypatch.setenv("ACP_AGENT_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    command = [sys.executable, "-m", "acp_agent", "doctor", "--json", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert (result["version"], result["state"]) == (1, "ok")
    assert [check["name"] for check in result["checks"]] == list(checks.NAMES)
    said = result["checks"][-1]["findings"][0]["found"]
    shape = (
        r"A turn was stored, the agent killed, and the turn remembered \(start \d+ ms, turn \d+ ms, load \d+ ms\)"
    )
    assert re.fullmatch(shape, said)
    assert KEY not in done.stdout


def test_a_harness_that_does_not_start(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIGRAVITY_HARNESS_PATH", "/bin/false")
    done = with_agent(machine, fork_agent)
    assert done.state is State.PROBLEM
    assert worst(done).found.startswith("A turn with the offline model fails: the agent answered: ")
    assert worst(done).remedy


def test_an_agent_that_ends(machine: Machine) -> None:
    def spawn(_: tuple[str, ...], cwd: Path) -> Child:
        return started(["-c", "import sys; sys.exit('No module named canary')"], cwd)

    found = worst(with_agent(machine, spawn))
    assert found.found == (
        "A turn with the offline model fails: the agent ended (exit status 1): No module named canary."
    )
    assert found.private == ("No module named canary",)


def test_an_agent_that_cannot_be_started(machine: Machine) -> None:
    def spawn(_: tuple[str, ...], cwd: Path) -> Child:
        raise OSError("Resource temporarily unavailable")

    assert "could not be started" in worst(with_agent(machine, spawn)).found


Life = list[list[object]]
"""What an agent does, from its start on."""

DURABLE: JsonObject = {"turn": 1, "steps": 2, "at": "2026-11-22T10:00:00Z", "durable": True, "ms": 3.5}
REPORT: JsonObject = {
    "outcome": "resumed",
    "reason": "verified",
    "summary": "All 1 turns are in the model's context.",
    "turns": 1,
    "turnsInContext": 1,
    "turnsLost": 0,
}
BEGIN: Life = [["await", "initialize"], ["result", {"protocolVersion": 1}]]
NEW: Life = [*BEGIN, ["await", "session/new"], ["result", {"sessionId": "s-1"}], ["await", "session/prompt"]]


def answered(checkpoint: JsonObject | None, stop: str = "end_turn") -> Life:
    meta = {"acp-agent/checkpoint": checkpoint} if checkpoint else {}
    return [["result", {"stopReason": stop, "_meta": meta}]]


def loaded(report: JsonObject | None, seen: int) -> Life:
    """The second life of an agent."""
    meta = {"acp-agent/resume": report} if report else {}
    text = f"I can see {seen} of your messages"
    said = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    load: Life = [["await", "session/load"], ["result", {"_meta": meta}]]
    return [*BEGIN, *load, ["await", "session/prompt"], ["update", said], *answered(DURABLE)]


@pytest.mark.parametrize(
    ("lives", "said"),
    [
        ([[*NEW, *answered(DURABLE)], loaded(REPORT, 2)], None),
        ([[*NEW, *answered(DURABLE)], loaded(REPORT, 1)], "after a kill the model sees 1 of 2 messages"),
        (
            [[*NEW, *answered(DURABLE)], loaded({**REPORT, "turnsInContext": 0, "summary": "It is new."}, 1)],
            "after a kill the report says It is new",
        ),
        (
            [[*NEW, ["raw", "a stray print\n"], *answered(DURABLE)], loaded(REPORT, 2)],
            "the agent writes something that is no ACP to its standard output",
        ),
        ([[*NEW, *answered(DURABLE)], loaded(None, 2)], "after a kill the report says nothing"),
        (
            [[*NEW, *answered({**DURABLE, "durable": False, "reason": "the disk is full"})]],
            "the turn is not durable: the disk is full",
        ),
        ([[*NEW, *answered(None)]], "the turn is not durable: the answer does not say that it is"),
        ([[*NEW, *answered(DURABLE, "refusal")]], "the turn ended with refusal"),
        ([[*BEGIN, ["await", "session/new"], ["result", {}]]], "“sessionId” is missing"),
    ],
)
def test_agents_that_do_not_keep_the_promise(machine: Machine, lives: list[Life], said: str | None) -> None:
    (machine.root / "steps.json").write_text(json.dumps(lives), encoding="utf-8")
    done = with_agent(machine, lambda _, cwd: started([str(SCRIPTED), str(machine.root)], cwd))
    if said is None:
        assert done.state is State.OK
    else:
        assert worst(done).found == f"A turn with the offline model fails: {said}."


def test_an_agent_that_never_answers_is_killed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.root / "steps.json").write_text(json.dumps([[*BEGIN, ["await", "never"]]]), encoding="utf-8")
    monkeypatch.setattr(turn, "SECONDS", 0.5)
    children: list[subprocess.Popen[bytes]] = []

    def spawn(_: tuple[str, ...], cwd: Path) -> Child:
        children.append(started([str(SCRIPTED), str(machine.root)], cwd))
        return children[0]

    assert "it was not done after 0 s" in worst(with_agent(machine, spawn)).found
    assert children[0].poll() is not None


def test_a_check_that_is_given_up_leaves_no_agent_and_no_folder(machine: Machine) -> None:
    (machine.root / "steps.json").write_text(json.dumps([[*BEGIN, ["await", "never"]]]), encoding="utf-8")
    children: list[subprocess.Popen[bytes]] = []
    folders: list[Path] = []

    def spawn(_: tuple[str, ...], cwd: Path) -> Child:
        children.append(started([str(SCRIPTED), str(machine.root)], cwd))
        folders.append(cwd.parent)
        return children[0]

    situation = machine.situation()
    situation.spawn = spawn
    (check,) = checks.chosen(["offline-turn"], [], deep=False)
    (done,) = runner.run([replace(check, seconds=1.0)], situation)
    assert worst(done).found == "This was not finished after 1 s."
    assert children[0].poll() is not None
    assert not folders[0].exists()


def started(arguments: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-S", *arguments]
    return subprocess.Popen(command, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
