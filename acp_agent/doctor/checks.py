"""All checks, in the order in which they are made: what the others stand on comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from acp_agent.doctor import access, configuration, folder, ides, processes, stores, turn, versions
from acp_agent.doctor.situation import Check

CHECKS: Final = (
    Check("python", "installation", "the version of Python", versions.python),
    Check("packages", "installation", "the installed packages", versions.packages),
    Check("harness", "installation", "the harness", versions.harness, seconds=30.0),
    Check("settings", "settings", "the settings", configuration.settings),
    Check("credentials", "model", "the credentials", access.keys),
    Check("endpoint", "model", "the model endpoint", access.endpoint, seconds=30.0),
    Check("data-folder", "data folder", "the data folder", folder.place),
    Check("space", "data folder", "the free space", folder.space),
    Check("file-system", "data folder", "the file system", folder.file_system),
    Check("locks", "data folder", "the locks", folder.locks, seconds=30.0, needs=("data-folder",)),
    Check("durability", "data folder", "whether files are durable", folder.durability, needs=("data-folder",)),
    Check("sqlite", "data folder", "SQLite", folder.sqlite, needs=("data-folder",)),
    Check("stores", "sessions", "the stored sessions", stores.stores, seconds=60.0),
    Check("verification", "sessions", "whether they are whole", stores.verified, seconds=60.0),
    Check("session-list", "sessions", "the list of sessions", stores.of_the_catalog),
    Check("unfinished", "sessions", "what was left unfinished", stores.remains),
    Check("open-sessions", "processes", "the sessions that are open", processes.open_sessions, seconds=60.0),
    Check("leftovers", "processes", "the processes that were left", processes.left_running),
    Check("private-files", "processes", "the private files that were left", processes.private_files),
    Check("ides", "IDEs", "the settings of IDEs", ides.configurations, seconds=60.0),
    Check(
        "offline-turn",
        "all together",
        "two turns with the offline model",
        turn.offline_turn,
        seconds=turn.SECONDS + 15.0,
        needs=("packages", "harness"),
    ),
)

NAMES: Final = tuple(check.name for check in CHECKS)

DEEP_SECONDS: Final = 3600.0
"""How long the verification of all sessions may take."""


def chosen(only: Sequence[str], without: Sequence[str], *, deep: bool) -> tuple[Check, ...]:
    """The checks to be made.

    Args:
        only: the names of those that are wanted, all if there are none.
        without: the names of those that are not.
        deep: whether every session is verified, which may take long.
    """
    return tuple(
        replace(check, seconds=DEEP_SECONDS) if deep and check.name == "verification" else check
        for check in CHECKS
        if (not only or check.name in only) and check.name not in without
    )
