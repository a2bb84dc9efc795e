"""`docs/sessions-command.md` names everything that there is; its examples are run as those of every page."""

from __future__ import annotations

import re
import shlex

import click

from acp_agent.sessions_command import sessions
from tests.docs import pages

PAGE = pages.ROOT / "docs" / "sessions-command.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_command_has_an_example() -> None:
    commands = [
        command for block in pages.blocks(PAGE) if block.language == "console" for command in block.commands()
    ]
    assert all(command.shown for command in commands)
    assert {shlex.split(command.text)[2] for command in commands} == set(sessions.commands)


def test_every_option_is_named() -> None:
    for name, command in sessions.commands.items():
        section = re.search(rf"^## `{name}`.*?(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
        assert section is not None, name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in ("as_json", "help"):
                assert f"`{parameter.opts[0]}" in section[0], (name, parameter.opts)
