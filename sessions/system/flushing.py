"""Waiting until what was written is on the disk.

On Linux that is `fsync`, of a file for its content and of a folder for its names. On macOS `fsync` leaves what was
written in the cache of the disk; `F_FULLFSYNC` does not, which not every file system knows. Windows syncs only
what is open for writing, and has no call for the names in a folder: NTFS keeps a journal of them, in order, and a
power failure may undo the last of them.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

if sys.platform == "win32":

    def flush_file(path: Path) -> None:
        """Wait until the file's content is on the disk. Raises OSError."""
        handle = os.open(path, os.O_RDWR | os.O_BINARY | os.O_NOINHERIT)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def flush_folder(path: Path) -> None:
        """Do nothing but raise OSError if there is no such folder: its names are flushed by the file system."""
        os.scandir(path).close()

else:
    import fcntl

    def flush_file(path: Path) -> None:
        """Wait until the file's content is on the disk. Raises OSError."""
        _flush(path, os.O_RDONLY)

    def flush_folder(path: Path) -> None:
        """Wait until the folder's entries (new names, renames, removals) are on the disk. Raises OSError."""
        _flush(path, os.O_RDONLY | os.O_DIRECTORY)

    def _flush(path: Path, flags: int) -> None:
        handle = os.open(path, flags)
        try:
            _wait(handle)
        finally:
            os.close(handle)

    if sys.platform == "darwin":
        _UNKNOWN_CALL = (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY)  # what is mounted over a network says so

        def _wait(handle: int) -> None:
            try:
                fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            except OSError as error:
                if error.errno not in _UNKNOWN_CALL:
                    raise
                os.fsync(handle)

    else:

        def _wait(handle: int) -> None:
            os.fsync(handle)
