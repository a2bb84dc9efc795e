"""The signals that ask a process to end.

On Windows, whoever terminates a process kills it. Ctrl-C and Ctrl-Break come as SIGINT and SIGBREAK, the latter
also from a parent that gave the process a group of its own.
"""

from __future__ import annotations

import signal
import sys
from typing import Final

if sys.platform == "win32":
    ENDING: Final[tuple[signal.Signals, ...]] = (signal.SIGINT, signal.SIGBREAK)
    """What asks the agent to end in good order."""

else:
    ENDING: Final[tuple[signal.Signals, ...]] = (signal.SIGTERM, signal.SIGINT)
    """What asks the agent to end in good order."""
