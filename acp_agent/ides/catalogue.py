"""The IDEs that are known: where each keeps its settings, and what a person does next. Pure.

Sources: client-facts 1 to 3. Zed: `crates/paths` (its channels share one file; `XDG_CONFIG_HOME` counts on Linux
only; its Flatpak has a home of its own). JetBrains: the documentation of AI Assistant. acpx: its `config.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acp_agent.ides.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Ide:
    """One program that runs agents.

    `files` are its settings files, most likely first; an IDE whose configuration is a program has the places of
    that instead, and no `container`. `container` is the key that holds entries by name. `name` is what the entry
    is called unless told otherwise. `traces` are there if the IDE is. `comments` is whether its settings may hold
    comments and trailing commas. `next_step` is for a person, with `{name}` for the entry's name.
    """

    key: str
    title: str
    name: str
    files: Callable[[Machine], tuple[Path, ...]]
    traces: Callable[[Machine], tuple[Path, ...]]
    next_step: str
    container: str | None = None
    comments: bool = True

    @property
    def by_hand(self) -> bool:
        """Whether its configuration is a program, which nobody but its owner edits."""
        return self.container is None


def _zed_files(machine: Machine) -> tuple[Path, ...]:
    if machine.windows:
        return (machine.configuration / "Zed" / "settings.json",)
    if machine.platform == "darwin":
        return (machine.home / ".config" / "zed" / "settings.json",)
    flatpak = machine.home / ".var" / "app" / "dev.zed.Zed" / "config"
    return (machine.configuration / "zed" / "settings.json", flatpak / "zed" / "settings.json")


def _jetbrains_traces(machine: Machine) -> tuple[Path, ...]:
    if machine.platform == "darwin":
        own = machine.home / "Library" / "Application Support" / "JetBrains"
    else:
        own = machine.configuration / "JetBrains"
    return (own, machine.home / ".jetbrains")


def _neovim_files(machine: Machine) -> tuple[Path, ...]:
    folder = (machine.local_data if machine.windows else machine.configuration) / "nvim"
    return (folder / "init.lua",)


def _emacs_files(machine: Machine) -> tuple[Path, ...]:
    home = machine.configuration if machine.windows else machine.home
    own = machine.home / ".config" if machine.windows else machine.configuration
    return (home / ".emacs.d" / "init.el", own / "emacs" / "init.el")


def _emacs_traces(machine: Machine) -> tuple[Path, ...]:
    home = machine.configuration if machine.windows else machine.home
    return (*_folders(_emacs_files)(machine), home / ".emacs")


def _folders(files: Callable[[Machine], tuple[Path, ...]]) -> Callable[[Machine], tuple[Path, ...]]:
    return lambda machine: tuple(file.parent for file in files(machine))


def _acpx_files(machine: Machine) -> tuple[Path, ...]:
    return (machine.home / ".acpx" / "config.json",)


IDES: Final = (
    Ide(
        key="zed",
        title="Zed",
        name="Antigravity",
        files=_zed_files,
        traces=_folders(_zed_files),
        container="agent_servers",
        next_step="Open the agent panel in Zed and start a new thread with {name}; no restart is needed.",
    ),
    Ide(
        key="jetbrains",
        title="JetBrains IDEs",
        name="Antigravity",
        files=lambda machine: (machine.home / ".jetbrains" / "acp.json",),
        traces=_jetbrains_traces,
        container="agent_servers",
        next_step="Open AI Chat and choose {name} where agents are chosen. Restart the IDE if it is not there.",
    ),
    Ide(
        key="acpx",
        title="acpx",
        name="antigravity",
        files=_acpx_files,
        traces=_folders(_acpx_files),
        container="agents",
        comments=False,
        next_step="In a project folder, run: acpx {name} sessions new && acpx {name} 'What is in this folder?'",
    ),
    Ide(
        key="neovim",
        title="Neovim (CodeCompanion)",
        name="antigravity",
        files=_neovim_files,
        traces=_folders(_neovim_files),
        next_step="In Neovim, run :CodeCompanionChat adapter={name}",
    ),
    Ide(
        key="emacs",
        title="Emacs (agent-shell)",
        name="antigravity",
        files=_emacs_files,
        traces=_emacs_traces,
        next_step="In Emacs, run M-x agent-shell and choose Antigravity.",
    ),
)

BY_KEY: Final = {ide.key: ide for ide in IDES}


def present(ide: Ide, machine: Machine) -> bool:
    """Whether there is any sign of an IDE on the machine that this runs on."""
    return any(trace.exists() for trace in ide.traces(machine))


def files_in_use(ide: Ide, machine: Machine) -> tuple[Path, ...]:
    """The settings files of an IDE that is there; the first place for them if there is no sign of it."""
    places = ide.files(machine)
    return tuple(file for file in places if file.parent.is_dir() or file.is_symlink()) or places[:1]
