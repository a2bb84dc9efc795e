"""Remembers which files and names are on the disk already, so that a checkpoint waits only for what is not.

Each wait costs a flush of the disk's cache, even if there is nothing to write. A file that cannot be told from the
one that was synced is not synced again: same inode, size and times, and times that were already in the past when
they were read, so that a later write would have given it others. Where the system keeps no such times, everything
is synced every time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from sessions import durable
from sessions.system import files

_PAST_NS = 1_000_000_000
"""How long a file must have been left alone; far more than the steps in which file systems count time."""


class Synced:
    """What one process has synced of files that belong together."""

    def __init__(self) -> None:
        self._names: set[tuple[Path, int, int]] = set()
        self._contents: dict[Path, tuple[int, ...]] = {}

    def content(self, path: Path) -> None:
        """Wait until the file's content is on the disk. Raises OSError if it is not."""
        now = time.time_ns()
        found = path.stat()
        state = files.stamp(found)
        if state is not None and self._contents.get(path) == state:
            return
        durable.sync_file(path)
        self._contents.pop(path, None)
        if state is not None and now - max(found.st_mtime_ns, files.changed_ns(found)) > _PAST_NS:
            self._contents[path] = state

    def names(self, folder: Path, paths: Iterable[Path]) -> None:
        """Wait until the folder names these files, as far as they exist, on the disk. Raises OSError."""
        named: set[tuple[Path, int, int]] = set()
        for path in paths:
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            named.add((path, found.st_dev, found.st_ino))
        if not named <= self._names:
            durable.sync_folder(folder)
            self._names |= named
