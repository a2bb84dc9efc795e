"""The whole output as people and programs get it: wide, narrow, with and without colour, in plain letters."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from acp_agent.doctor import checks
from acp_agent.doctor.findings import Checked, as_json, ok, problem, skipped, warning
from acp_agent.doctor.showing import as_text
from acp_agent.sessions_command.output import console
from tests.doctor.conftest import Machine

CHECKED = (
    Checked("python", "installation", (ok("Python 3.12.1"),), 3),
    Checked("packages", "installation", (problem("it needs old>=2, and 1.5 is installed.", "Install it."),), 40),
    Checked(
        "data-folder",
        "data folder",
        (
            warning(
                "Others can read what is stored: /home/ada/.local/share/acp-agent and 2 more.",
                "Run chmod -R go-rwx /home/ada/.local/share/acp-agent.",
            ),
            ok("A folder with \x1b[31mcolour\x1b[0m and a\nline break"),
        ),
        1_234,
    ),
    Checked("offline-turn", "all together", (skipped("Not looked at, because of the problem with packages."),), 0),
)


def shown(width: int, *, colour: bool = False, encoding: str = "utf-8") -> str:
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(
        file=written,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    as_text(CHECKED, console)
    written.seek(0)
    return written.read()


@pytest.mark.parametrize("width", [100, 48, 10])
def test_the_text(width: int, snapshot: SnapshotAssertion) -> None:
    text = shown(width)
    assert text == snapshot
    assert "\x1b" not in text
    if width > 40:
        assert max(len(line) for line in text.splitlines()) <= width


def test_the_text_in_colour_and_in_plain_letters(snapshot: SnapshotAssertion) -> None:
    assert shown(100, colour=True).splitlines()[:4] == snapshot
    plain = shown(100, encoding="ascii")
    assert plain == snapshot
    assert plain.isascii()


def test_what_a_path_has_that_the_output_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    as_text([Checked("a", "b", (ok("/home/ada/プロジェクト/é"),), 0)], console(written))
    written.seek(0)
    assert "/home/ada/??????/é" in written.read()


def test_the_json(snapshot: SnapshotAssertion) -> None:
    assert json.dumps(as_json(CHECKED), indent=2) == snapshot


def test_the_output_of_the_command(machine: Machine, snapshot: SnapshotAssertion) -> None:
    done = machine.run("--offline", "--skip", "offline-turn")
    assert done.exit_code == 1, "there is no key"
    assert normal(done.stdout, machine) == snapshot
    assert done.stderr == ""


def normal(text: str, machine: Machine) -> str:
    """Output without what differs from run to run and from machine to machine."""
    text = text.replace(str(machine.root), "/root")
    text = re.sub(r"\d+(\.\d+)? ([kMG]?B)\b", "SIZE", text)
    text = re.sub(r"\d+\.\d s:", "TIME:", text)
    text = re.sub(r"(Python|SQLite) \d+\.\d+\.\d+", r"\1 VERSION", text)
    text = re.sub(r"All \d+ packages", "All N packages", text)
    text = re.sub(r"(google-antigravity|agent-client-protocol) \d+\.\d+\.\d+", r"\1 VERSION", text)
    text = re.sub(r"The data folder is on \w+", "The data folder is on KIND", text)
    return re.sub(r".*process(es)? belongs? to .* data folders?\n", "", text)


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_being_looked_at_is_shown_on_a_terminal(machine: Machine, as_json: bool) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "acp_agent", "doctor", "--check", "python", *(["--json"] if as_json else [])]
    with open(ours, "rb", 0) as terminal:  # noqa: PTH123
        # With --json, what is for programs goes to a program, and the person watches standard error.
        output = subprocess.PIPE if as_json else theirs
        environment = {**os.environ, "TERM": "xterm"}
        process = subprocess.Popen(command, stdin=theirs, stdout=output, stderr=theirs, env=environment)
        os.close(theirs)
        written, _ = process.communicate(timeout=60)
        seen = b""
        with suppress(OSError):  # Linux says so at the end of a terminal
            while piece := terminal.read(4096):
                seen += piece
    assert process.returncode == 0
    assert b"Checking the version of Python" in seen
    if as_json:
        assert json.loads(written)["state"] == "ok"
    else:
        assert b"1 check in" in seen


def test_one_check_and_all_but_one(machine: Machine) -> None:
    done = machine.run("--check", "python", "--check", "space", "--json")
    assert done.exit_code == 0
    assert [check["name"] for check in json.loads(done.stdout)["checks"]] == ["python", "space"]
    assert [check.name for check in checks.chosen([], ["python"], deep=False)] == list(checks.NAMES[1:])


def test_warnings_end_with_1_only_if_that_is_wanted(machine: Machine) -> None:
    machine.data_dir.mkdir(mode=0o755)
    machine.data_dir.chmod(0o755)
    assert machine.run("--check", "data-folder").exit_code == 0
    assert machine.run("--check", "data-folder", "--strict").exit_code == 1


@pytest.mark.parametrize("arguments", [["--check", "nonsense"], ["--skip", "nonsense"], ["more"], ["--loud"]])
def test_a_wrong_command_line(machine: Machine, arguments: list[str]) -> None:
    done = machine.run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
