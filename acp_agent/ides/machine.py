"""The machine whose IDEs are looked for: its platform, home and environment, as values that tests can choose.

Paths are of the machine that this runs on; only where they are differs between platforms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """`platform` is as in `sys.platform`."""

    platform: str
    home: Path
    environment: Mapping[str, str]

    @property
    def windows(self) -> bool:
        """Whether it runs Windows."""
        return self.platform == "win32"

    @property
    def configuration(self) -> Path:
        """The folder that programs which follow the XDG rules keep their configuration in, on Windows `%APPDATA%`.

        A relative `XDG_CONFIG_HOME` is not one, as its specification says.
        """
        if self.windows:
            return self._folder("APPDATA", self.home / "AppData" / "Roaming")
        return self._folder("XDG_CONFIG_HOME", self.home / ".config")

    @property
    def local_data(self) -> Path:
        """`%LOCALAPPDATA%`, for Windows."""
        return self._folder("LOCALAPPDATA", self.home / "AppData" / "Local")

    def _folder(self, variable: str, default: Path) -> Path:
        named = Path(self.environment.get(variable) or "")
        return named if named.is_absolute() else default


def this_machine() -> Machine:
    """The machine that this runs on, for the user who runs it."""
    return Machine(sys.platform, Path.home(), os.environ)
