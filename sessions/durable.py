"""Makes changes to files and folders survive a power failure.

A file is durable when its content is synced *and* the folder that names it is: a rename or a new file that was
not followed by a sync of its folder can be undone by a crash. Files are private (0600), folders too (0700).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from sessions.system import files, flushing
from sessions.system.files import FILE_MODE, FOLDER_MODE

_OF_THE_DISK = frozenset(
    {
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


def sync_file(path: Path) -> None:
    """Wait until the file's content is on the disk."""
    flushing.flush_file(path)


def sync_folder(path: Path) -> None:
    """Wait until the folder's entries (new names, renames, removals) are on the disk."""
    flushing.flush_folder(path)


def make_folder(path: Path) -> None:
    """Make a private folder, and its missing parents, durably. A folder that exists is left as it is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)
    sync_folder(path.parent)


def make_file(path: Path) -> None:
    """Make an empty private file; SQLite gives the files beside a database that database's mode.

    Raises:
        FileExistsError: something has this name already.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE))


def replace_file(source: Path, target: Path) -> None:
    """Give a file that is synced the name `target`, durably and in one step; what had that name is gone."""
    files.replace(source, target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def write_file(path: Path, content: bytes) -> None:
    """Write a small file durably; readers see the old content or the new, never a part."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    make_file(new)
    new.write_bytes(content)
    sync_file(new)
    replace_file(new, path)


def make_private(folder: Path) -> None:
    """Take from others what a foreign program let them do in a folder and all that is in it."""
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):
            files.shut_others_out(path)


def refused(error: sqlite3.Error) -> bool:
    """Whether an error of SQLite is one of the disk or the system, not of what was to be read or written."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK
