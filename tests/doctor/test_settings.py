"""The check of the settings: doctor starts with settings that no other command starts with."""

from __future__ import annotations

import json

import pytest

from acp_agent.doctor.findings import State
from tests.doctor.conftest import Machine, states, worst


def test_where_each_setting_comes_from(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write(machine.config_file, 'model = "m"\nmode = "plan"\n')
    monkeypatch.setenv("ACP_AGENT_MODE", "ask")
    done = machine.check("settings")
    assert done.state is State.OK
    assert worst(done).found == (
        "data_dir from the command line, mode from the environment, model from the configuration file"
        f" (the file is {machine.config_file}, which is read)"
    )


def test_everything_that_is_wrong_is_told_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write(machine.config_file, 'modell = "m"\nhibernate = -1\n')
    monkeypatch.setenv("ACP_AGENT_MODE", "yolo")
    monkeypatch.setenv("ACP_AGENT_LOGLEVEL", "debug")
    machine.flags["base_url"] = "localhost:11434"
    done = machine.check("settings")
    assert states(done) == [State.PROBLEM] * 4 + [State.WARNING]
    assert [(finding.found.partition(" (from")[0], finding.remedy) for finding in done.findings] == [
        ("The settings: modell", "Correct or remove modell in the configuration file; model may be meant."),
        ("The settings: hibernate", "Correct or remove hibernate in the configuration file."),
        ("The settings: mode", "Correct or unset ACP_AGENT_MODE."),
        ("The settings: base_url", "Correct or remove base_url in the command line."),
        (
            "The variable ACP_AGENT_LOGLEVEL is set, and is no setting.",
            "Unset it; ACP_AGENT_LOG_LEVEL may be meant.",
        ),
    ]


@pytest.mark.parametrize("content", ["model = ", 'model = "\udcff"', None])
def test_a_file_that_cannot_be_read(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = machine.root / "mine.toml"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    monkeypatch.setenv("ACP_AGENT_CONFIG", str(path))
    found = worst(machine.check("settings"))
    assert found.state is State.PROBLEM
    assert f"{path} cannot be read" in found.found
    assert found.remedy == "Correct the file, or name another with --config or ACP_AGENT_CONFIG."


def test_two_endpoints_are_one_too_many(machine: Machine) -> None:
    machine.flags |= {"offline": True, "base_url": "http://localhost/v1"}
    assert worst(machine.check("settings")).remedy == "Remove one of the two."


def test_settings_that_have_no_effect_or_show_a_password(machine: Machine) -> None:
    machine.flags |= {"base_url": "http://ada:secret@localhost/v1", "gemini_url": "http://localhost"}
    done = machine.check("settings")
    assert states(done) == [State.WARNING, State.WARNING, State.OK]
    assert "no effect" in done.findings[0].found
    assert "holds a password" in done.findings[1].found
    assert "secret" not in str(done)


def test_the_command_runs_with_settings_that_cannot_be_used(machine: Machine) -> None:
    machine.write(machine.config_file, "offline = 7\n")
    done = machine.run("--json", "--check", "settings", "--check", "python")
    assert done.exit_code == 1, done.output
    assert [check["state"] for check in json.loads(done.stdout)["checks"]] == ["ok", "problem"]
