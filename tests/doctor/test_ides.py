"""What IDEs start: real settings files, and real commands that answer `initialize`, or do not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from acp_agent.doctor import ides
from acp_agent.doctor.findings import State
from acp_agent.ides import inspection, launching
from acp_agent.ides.inspection import Configured
from tests.doctor.conftest import Machine, states, worst

FILE = Path("/home/ada/.config/zed/settings.json")


def zed(machine: Machine, text: str) -> Path:
    return machine.write(machine.home / "config" / "zed" / "settings.json", text)


def entry(program: str, *arguments: str) -> str:
    found = {"type": "custom", "command": program, "args": [*arguments], "env": {"KEY": "the-canary"}}
    return json.dumps({"agent_servers": {"Antigravity": found}})


def test_without_an_ide_there_is_nothing_to_say(machine: Machine) -> None:
    assert worst(machine.check("ides")).found == "No IDE that is known was found"


def test_an_entry_that_is_right_is_started_and_answers(machine: Machine) -> None:
    path = zed(machine, entry(*launching.find().command()))
    done = machine.check("ides")
    assert done.state is State.OK
    assert worst(done).found == f"Zed starts this agent, which answers ({path})"
    assert "the-canary" not in str(done)


def test_an_ide_without_the_agent(machine: Machine) -> None:
    zed(machine, "{}")
    assert worst(machine.check("ides")).found == "Zed does not have the agent; `acp-agent install zed` adds it"


def test_an_agent_that_the_ide_installs(machine: Machine) -> None:
    path = zed(machine, json.dumps({"agent_servers": {launching.PACKAGE: {"type": "registry", "env": {}}}}))
    assert worst(machine.check("ides")).found == f"Zed installs the agent from the ACP registry ({path})"


def test_settings_that_cannot_be_read(machine: Machine) -> None:
    path = zed(machine, '{"agent_servers": ')
    done = machine.check("ides")
    assert states(done) == [State.PROBLEM]
    assert str(path) in worst(done).found


def test_an_entry_that_is_not_there_any_more(machine: Machine) -> None:
    zed(machine, entry(str(machine.root / "gone" / "bin" / "acp-agent")))
    done = machine.check("ides")
    assert done.state is State.WARNING
    assert "which is not there" in worst(done).found
    assert "acp-agent install zed" in str(worst(done).remedy)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\nexit 3\n", "ends before it answers (exit status 3)"),
        ("#!/bin/sh\necho hello\nwhile read line; do :; done\n", "does not answer as an agent"),
        ("#!/nowhere/python\n", "cannot be started"),
        ("#!/bin/sh\nwhile read line; do :; done\n", "does not answer in 0 s"),
    ],
)
def test_an_entry_that_starts_something_that_is_no_agent(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    program = machine.root / "acp-agent"
    program.write_text(script, encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setattr(ides, "SECONDS", 0.4 if "does not answer" in said else 20.0)
    zed(machine, entry(str(program)))
    done = machine.check("ides")
    assert done.state is State.PROBLEM
    assert f"Zed starts a command that {said}" in worst(done).found


def test_another_agent_under_our_name_is_not_started(machine: Machine) -> None:
    witness = machine.root / "witness"
    program = machine.write(machine.root / "other", f"#!/bin/sh\ntouch {witness}\n")
    program.chmod(0o700)
    zed(machine, entry(str(program)))
    assert machine.check("ides").state is State.WARNING
    assert not witness.exists()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (inspection.State.BY_HAND, State.OK),
        (inspection.State.WITHOUT_ENTRY, State.OK),
        (inspection.State.CONFIGURED, State.OK),
        (inspection.State.OTHER_COMMAND, State.WARNING),
        (inspection.State.UNREADABLE, State.PROBLEM),
    ],
)
def test_every_state_has_its_words(state: inspection.State, expected: State) -> None:
    found = ides.judge(Configured("zed", "Zed", FILE, state, "mine", (sys.executable,), True, "It is so."), None)
    assert found.state is expected
    assert (found.remedy is None) == (expected is State.OK)
    assert found.found.startswith("Zed")
