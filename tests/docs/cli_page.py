"""The help of every command, as Markdown: `python -m tests.docs.cli_page` prints what is in `docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from acp_agent.cli import main

WIDTH = 100
"""Columns, so that the page does not depend on a terminal."""


def markdown() -> str:
    """A section for every command, with its help; groups come before what is in them."""
    return "\n".join(
        f"## `{context.command_path}`\n\n```text\n{context.get_help()}\n```\n" for context in contexts(main, None)
    )


def contexts(command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    """A context for a command and for each command in it."""
    context = click.Context(
        command,
        parent=parent,
        info_name=command.name if parent else "acp-agent",
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            if not inner.hidden:
                yield from contexts(inner, context)


if __name__ == "__main__":
    sys.stdout.write(markdown())
