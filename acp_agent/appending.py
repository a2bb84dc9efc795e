"""Private files that several processes append lines to at the same time.

A line goes out in one call to a descriptor that appends, which the kernel does not mix with another's; a process
that is killed has written its lines whole. (Not so on NFS.) Files are for their user alone: 0600, folders that
are made 0700.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from sessions.system import files
from sessions.system.files import FILE_MODE, FOLDER_MODE


class CannotAppend(ValueError):
    """The file cannot be used; one sentence says why."""


def prepare(path: Path) -> None:
    """Make the file and its folders, and make it private.

    Raises:
        CannotAppend: it cannot be written, or is not a file.
    """
    try:
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        os.close(open_to_append(path))
    except OSError as error:
        raise CannotAppend(f"{path} cannot be written: {error.strerror or error}") from error
    with contextlib.suppress(OSError):  # another's
        files.shut_others_out(path)


def open_to_append(path: Path) -> int:
    """A descriptor that appends to the file, which is made if it is not there.

    Raises:
        OSError: it cannot be opened.
        CannotAppend: it is something else than a file.
    """
    fd = files.open_to_append(path, FILE_MODE)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CannotAppend(f"{path} is not a file")
    return fd


def ends_in_the_middle(path: Path) -> bool:
    """Whether the last line has no end: its writer was killed, or its disk was full."""
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
