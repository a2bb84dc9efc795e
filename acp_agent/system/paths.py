"""The folders that each system has for a program's data, settings and files that live as long as a login.

They are the choice of `platformdirs`: `XDG_…` variables, `~/.local/share` and `~/.config` on Linux, `~/Library` on
macOS, `%LOCALAPPDATA%` on Windows.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import platformdirs

_NAME: Final = "acp-agent"

if sys.platform == "win32":

    def google_cloud(environment: Mapping[str, str]) -> Path:
        """Where `gcloud` keeps its settings and credentials, if no variable of its own says otherwise."""
        return Path(environment.get("APPDATA", "")) / "gcloud"

else:

    def google_cloud(environment: Mapping[str, str]) -> Path:
        """Where `gcloud` keeps its settings and credentials, if no variable of its own says otherwise."""
        return Path.home() / ".config" / "gcloud"


def data() -> Path:
    """Where sessions are kept, if nothing else is said."""
    return platformdirs.user_data_path(_NAME, appauthor=False)


def configuration() -> Path:
    """Where the settings are, and a key that no keyring keeps."""
    return platformdirs.user_config_path(_NAME, appauthor=False)


def state() -> Path:
    """Where what was typed in the terminal client is kept."""
    return platformdirs.user_state_path(_NAME, appauthor=False)


def runtime() -> Path:
    """Where files are that hold secrets and are removed when they have been used."""
    with warnings.catch_warnings():
        # That there is another folder where the system names none is nothing to tell a client's log.
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path(_NAME, appauthor=False)
