"""The client's own commands: what may follow them, what they do, and which win over the agent's. Pure.

The commands that the agent offers are its own: a line that begins with one of them is a prompt. So where both have
a command of one name, the agent's is meant, except for those of ours that must work whatever the agent does. What
a session can be set to is a command of ours as well, `/model` for the option `model`, unless the agent has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from acp_agent.chat.settings import Settings


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ours. One that is obeyed `at_once` does not wait for the work, and wins over the agent's."""

    name: str
    arguments: str
    meaning: str
    at_once: bool = False


COMMANDS = (
    Command("kill", "", "SIGKILL to the agent's process group, also in the middle of a turn", at_once=True),
    Command("load", "[SESSION]", "load a session in a new agent: the last one, an id, or a number of /sessions"),
    Command("sessions", "", "pick one of this folder's sessions and load it"),
    Command("new", "", "begin a new session"),
    Command("set", "[OPTION [VALUE]]", "say or change mode, model and the like, also in a turn", at_once=True),
    Command("image", "PATH [TEXT]", "send an image; @PATH anywhere in a prompt sends a file"),
    Command("cancel", "", "cancel the running turn, like Ctrl-C", at_once=True),
    Command("quit", "", "end the agent in good order and leave; so does Ctrl-D", at_once=True),
    Command("help", "", "this list", at_once=True),
)
"""All of them, in the order in which they are listed."""

_BY_NAME = {command.name: command for command in COMMANDS}

AT_ONCE = frozenset(command.name for command in COMMANDS if command.at_once)
"""The names of those that do not wait."""

KEYS = (
    ("Enter", "sends; Alt-Enter or Ctrl-J begins a new line"),
    ("Tab", "completes commands, their values, sessions, and files after @"),
    ("Up, Ctrl-R", "what was typed before, also in earlier sessions"),
    ("Shift-Tab", "the next mode"),
    ("Ctrl-C", "cancels the turn; without one it drops what was typed, and twice it leaves"),
)
"""The keys that are worth knowing."""


def ours(name: str, agents: Mapping[str, str], settings: Settings) -> str | None:
    """Which command of ours `/name` is, `set` for a setting; None if it goes to the agent, or is unknown."""
    command = _BY_NAME.get(name)
    if command is not None and (command.at_once or name not in agents):
        return name
    return "set" if name not in agents and settings.named(name) is not None else None


def all_commands(agents: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Every command that can be typed now, with what it does: ours, then the agent's."""
    found = {command.name: command.meaning for command in COMMANDS if ours(command.name, agents, settings)}
    for setting in settings.all:
        if setting.setting_id not in found and ours(setting.setting_id, agents, settings):
            found[setting.setting_id] = f"{setting.name}: {setting.shown}"
    return found | {name: meaning for name, meaning in agents.items() if name not in found}


def help_rows(agents: Mapping[str, str], settings: Settings) -> list[tuple[str, str]]:
    """Every command and key, and what it does."""
    rows = [(f"/{command.name} {command.arguments}".rstrip(), command.meaning) for command in COMMANDS]
    listed = {command.name for command in COMMANDS}
    for name, meaning in all_commands(agents, settings).items():
        if name not in listed or (name in agents and not ours(name, agents, settings)):
            rows.append((f"/{name}", f"{meaning} (the agent's)".strip() if name in agents else meaning))
    return [*rows, *KEYS]
