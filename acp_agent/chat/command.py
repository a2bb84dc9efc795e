"""The entry of `acp-agent chat`: chooses between the interactive client and the fixed script."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from acp_agent.chat.interactive import Interactive
from acp_agent.chat.screen import Screen
from acp_agent.chat.script import play


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the command line says.

    `agent_command` starts the agent. `cwd` is the session's folder, and `session_id` one to load instead of
    beginning a new one; the script, which is played unless `interactive`, has a session, a folder and a data
    folder (`--data-dir`) of its own.
    """

    agent_command: tuple[str, ...]
    cwd: Path
    session_id: str | None
    interactive: bool


async def run_chat(options: ChatOptions) -> int:
    """Run the client on this process's stdin and stdout; returns the exit status.

    Interactive: 0, or 1 if no session could be opened. Script: 0 only if its proof holds.
    """
    console = Console(highlight=False)
    if not options.interactive:
        return await play(options.agent_command, Screen(console, region=False))
    keys = sys.stdin.isatty() and console.is_terminal and not console.is_dumb_terminal
    chat = Interactive(
        options.agent_command,
        options.cwd,
        Screen(console, region=keys),
        fd=sys.stdin.fileno(),
        keys=keys,
    )
    return await chat.run(options.session_id)
