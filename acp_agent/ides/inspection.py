"""What is set up in the IDEs of a machine; reads, and changes nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from acp_agent.ides import entries, launching, settings_file
from acp_agent.ides.catalogue import IDES, Ide, files_in_use, present
from acp_agent.ides.entries import Entry
from acp_agent.ides.jsonc import Document, NotEdited, NotJson
from acp_agent.ides.launching import Launch
from acp_agent.ides.machine import Machine, this_machine
from acp_agent.ides.settings_file import Untouched


class State(StrEnum):
    """What a settings file says of the agent."""

    ABSENT = "absent"
    """There is no sign of the IDE."""
    WITHOUT_ENTRY = "without entry"
    CONFIGURED = "configured"
    """An entry starts this very agent."""
    REGISTERED = "from registry"
    """The IDE installs the agent from the ACP registry itself."""
    OTHER_COMMAND = "other command"
    """An entry starts another installation of the agent, or something else under the agent's name."""
    UNREADABLE = "unreadable"
    BY_HAND = "by hand"
    """The IDE is there, and its configuration is a program that is not looked into."""


@dataclass(frozen=True, slots=True)
class Configured:
    """What one settings file says.

    `ide` is a key of the catalogue, `title` its name for people. `name` and `command` are of the entry that was
    found. `works` is whether the command's program is there. `detail` is a sentence for people, and may be empty.
    """

    ide: str
    title: str
    file: Path
    state: State
    name: str | None = None
    command: tuple[str, ...] = ()
    works: bool = True
    detail: str = ""


def look(machine: Machine | None = None, launch: Launch | None = None) -> tuple[Configured, ...]:
    """The state of every settings file of every IDE, the IDEs in the order of the catalogue.

    Args:
        machine: whose; this one by default.
        launch: the command that should be there; by default the one that `install` would write.
    """
    machine = machine or this_machine()
    if launch is None:
        try:
            launch = launching.find()
        except launching.NoLaunch:
            launch = None
    return tuple(
        _look(ide, file, present(ide, machine), launch)
        for ide in IDES
        for file in (files_in_use(ide, machine)[:1] if ide.by_hand else files_in_use(ide, machine))
    )


def _look(ide: Ide, file: Path, there: bool, launch: Launch | None) -> Configured:
    if not there:
        return Configured(ide.key, ide.title, file, State.ABSENT)
    if ide.by_hand:
        return Configured(
            ide.key, ide.title, file, State.BY_HAND, detail=f"`acp-agent install {ide.key}` prints what to paste."
        )
    try:
        found = entries.read(ide, Document(settings_file.read(file).text, comments=ide.comments))
    except (NotJson, NotEdited) as error:
        return Configured(ide.key, ide.title, file, State.UNREADABLE, detail=f"The file {error}.")
    except Untouched as error:
        return Configured(ide.key, ide.title, file, State.UNREADABLE, detail=str(error))
    entry = _ours(found, ide, launch)
    if entry is None:
        return Configured(ide.key, ide.title, file, State.WITHOUT_ENTRY)
    return _described(ide, file, entry, launch)


def _ours(found: tuple[Entry, ...], ide: Ide, launch: Launch | None) -> Entry | None:
    """The entry that matters: one that starts this very agent, any of ours, or what has our name."""
    ours = [entry for entry in found if entry.ours]
    exact = [entry for entry in ours if _starts(entry, launch)]
    named = [entry for entry in found if entry.name == ide.name]
    return next(iter([*exact, *ours, *named]), None)


def _starts(entry: Entry, launch: Launch | None) -> bool:
    if launch is None or entry.command is None:
        return False
    return entry.command == launch.command(launching.arguments_of(entry.command))


def _described(ide: Ide, file: Path, entry: Entry, launch: Launch | None) -> Configured:
    if entry.registered:
        detail = f"{entry.name!r} is installed by the IDE, from the ACP registry."
        return Configured(ide.key, ide.title, file, State.REGISTERED, entry.name, detail=detail)
    command = entry.command or ()
    works = bool(command) and shutil.which(str(Path(command[0]).expanduser())) is not None
    if not entry.ours:
        state, detail = State.OTHER_COMMAND, f"{entry.name!r} starts another agent."
    elif not works:
        state, detail = State.OTHER_COMMAND, f"{entry.name!r} starts {command[0]}, which is not there."
    elif _starts(entry, launch):
        state, detail = State.CONFIGURED, ""
    else:
        state, detail = State.OTHER_COMMAND, f"{entry.name!r} starts another acp-agent: {command[0]}."
    return Configured(ide.key, ide.title, file, state, entry.name, command, works, detail)
