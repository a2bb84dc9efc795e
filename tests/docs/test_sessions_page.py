"""`docs/sessions-command.md`: its examples are run, and it names everything that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from acp_agent.cli import main
from acp_agent.sessions_command import sessions
from sessions.journal import Journal
from sessions.store import Store
from tests.sessions.histories import add_turn

PAGE = Path(__file__).parents[2] / "docs" / "sessions-command.md"
TEXT = PAGE.read_text(encoding="utf-8")

ID = "b84b6bd04b7a4f8fa1ee4d69d7bfca11"
OTHER = "0c1d7f5c3e4a4b60a0f5f6a1f5e0a9d2"


def examples(text: str) -> list[tuple[str, str]]:
    """Each command in the page's console blocks, with what is shown after it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return [(command, "\n".join(lines)) for command, lines in found]


def prepare(data_dir: Path, root: Path) -> None:
    """The sessions that the page is about."""
    store = Store(data_dir)
    for session_id, title, turns in ((OTHER, "Write a test for the parser", 1), (ID, "What is an engine?", 4)):
        with store.create(session_id, cwd=str(root), client="zed") as session:
            session.set_title(title)
            journal = Journal(session)
            for _ in range(turns):
                add_turn(session, journal)


def normal(text: str) -> str:
    """Output without what differs from run to run: new ids, times, sizes, paths and the width of columns."""
    text = re.sub(r"\b(?!" + f"{ID}|{OTHER}" + r")[0-9a-f]{32}\b", "NEW", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME", text)
    text = re.sub(r"\d+(\.\d+)? ([kMG]?B)\b", "SIZE", text)
    text = re.sub(r"\d{8}T\d{6}\.\d{3}Z", "MOMENT", text)
    text = re.sub(r"(/[\w.-]+)+/(?=sessions/|aside/)", "/", text)
    text = re.sub(
        r"(?<![\w.])(/[\w.-]+)+(?= |$)", lambda path: f"/{Path(path[0]).name[:9]}", text, flags=re.MULTILINE
    )
    lines = (re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def run(command: str) -> str:
    """What a command of the page writes."""
    program, *arguments = shlex.split(command.replace("$ID", ID))
    assert program == "acp-agent"
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, (command, done.output)
    return done.output


def test_every_example_shows_what_the_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("ACP_AGENT_DATA_DIR", str(tmp_path / "data"))
    prepare(tmp_path / "data", project)
    ran = [(command, normal(run(command)), normal(shown)) for command, shown in examples(TEXT)]
    assert [each[:2] for each in ran] == [(command, shown) for command, _, shown in ran]
    assert {shlex.split(command)[2] for command, _, _ in ran} == set(sessions.commands)


def test_every_option_is_named() -> None:
    for name, command in sessions.commands.items():
        section = re.search(rf"^## `{name}`.*?(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
        assert section is not None, name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in ("as_json", "help"):
                assert f"`{parameter.opts[0]}" in section[0], (name, parameter.opts)
