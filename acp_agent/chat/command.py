"""The entry of `acp-agent chat`: chooses between the client at a terminal, the client by lines, and the script."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleDimensions

from acp_agent.chat.front import Front
from acp_agent.chat.history import default_path, kept_history
from acp_agent.chat.interactive import Interactive
from acp_agent.chat.interactive import Start as Start  # noqa: PLC0414  (part of the options)
from acp_agent.chat.lines import Lines
from acp_agent.chat.screen import Screen
from acp_agent.chat.script import play
from acp_agent.chat.terminal import Terminal


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the command line says.

    `agent_command` starts the agent. `cwd` is the session's folder, and `start` a session's id or what to begin
    with; the script, which is played unless `interactive`, has a session, a folder and a data folder
    (`--data-dir`) of its own. `colour` is False where none is wanted, whatever the terminal can do.
    """

    agent_command: tuple[str, ...]
    cwd: Path
    start: str | Start
    interactive: bool
    colour: bool = True


async def run_chat(options: ChatOptions) -> int:
    """Run the client on this process's stdin and stdout; returns the exit status.

    Interactive: 0, or 1 if no session could be opened. Script: 0 only if its proof holds.
    """
    console = Console(highlight=False, no_color=None if options.colour else True)
    if console.is_dumb_terminal:  # of which rich would believe that it has 80 columns
        console.size = ConsoleDimensions(*shutil.get_terminal_size())
    if not options.interactive:
        return await play(options.agent_command, Screen(console, frames=console.is_terminal))
    return await Interactive(options.agent_command, options.cwd, _front(console)).run(options.start)


def _front(console: Console) -> Front:
    if not (sys.stdin.isatty() and console.is_terminal) or console.is_dumb_terminal:
        return Lines(Screen(console), sys.stdin.fileno())
    history, trouble = kept_history(default_path())
    if trouble is not None:
        console.print(trouble, style="dim", markup=False)
    return Terminal(console, sys.stdin, sys.stdout, history)
