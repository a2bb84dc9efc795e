"""Opening, reading, replacing and guarding files, where the systems differ.

Windows has no permission bits: what lies in a user's profile is kept from others by the lists that its folders
hand down, so nothing is taken from others there. It translates line ends unless it is told not to, cannot read at
a place without moving there, lets nobody replace a file that is open, and keeps no time of the last change.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
"""The modes of files and folders that are for their user alone."""

REPLACE_SECONDS = 2.0
"""How long Windows is asked again to replace a file that is open, for a virus scanner or a reader to be done."""

_REPLACE_POLL_SECONDS = 0.01

if sys.platform == "win32":

    def open_to_read(path: Path) -> int:
        """A descriptor of a file, for reading bytes, which no child inherits. Raises OSError."""
        return os.open(path, os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT)

    def open_strange(path: Path) -> int:
        """The same of a file that somebody else may have put there; a link is not followed.

        A link that is put there between the look and the opening is: Windows cannot be asked to do both at once.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
            OSError: it cannot be opened, or is a link.
        """
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        return open_to_read(path)

    def open_to_append(path: Path, mode: int) -> int:
        """A descriptor of a file, made with this mode if there is none, that writes to its end.

        Going there and writing are two steps here: of two processes one may write over the other's line.
        Raises OSError.
        """
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_BINARY | os.O_NOINHERIT, mode)

    def read_at(handle: int, size: int, place: int) -> bytes:
        """Up to `size` bytes from a place in a file; the descriptor is used by one thread only. Raises OSError."""
        os.lseek(handle, place, os.SEEK_SET)
        return os.read(handle, size)

    def replace(source: Path, target: Path) -> None:
        """Give a file the name `target`, in one step; what had that name is gone.

        Raises:
            OSError: it cannot be done, not within `REPLACE_SECONDS` if one of them is open.
        """
        deadline = time.monotonic() + REPLACE_SECONDS
        while True:
            try:
                source.replace(target)
            except PermissionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_REPLACE_POLL_SECONDS)
            else:
                return

    def others_may(found: os.stat_result) -> bool:
        """Whether the mode of a file lets others do anything with it. Modes say nothing about that here."""
        return False

    def shut_others_out(path: Path) -> None:
        """Take from others what they may do with a file or folder; a link is left alone. Raises OSError."""

    def other_owner(found: os.stat_result) -> int | None:
        """The number of the user that a file belongs to if that is another, None if not; nothing says so here."""
        return None

    def give(path: Path, user: int, group: int) -> None:
        """Make a file another user's. Nothing says here whose it is, so nothing is done."""

    def files_left(folder: Path) -> int | None:
        """How many more files can be made there, None if they are not counted, as here. Raises OSError."""
        return None

    def space(found: os.stat_result) -> int:
        """How many bytes a file takes up on the disk; here, how long it is."""
        return found.st_size

    def changed_ns(found: os.stat_result) -> int:
        """When a file or folder changed last, in ns since 1970; of a file that is open, maybe an earlier time."""
        return found.st_mtime_ns

    def stamp(found: os.stat_result) -> tuple[int, ...] | None:
        """What no write leaves as it is, None if there is no such thing.

        There is none here: the time of a write may be put off until the file is closed, and a database is open.
        """
        return None

else:

    def open_to_read(path: Path) -> int:
        """A descriptor of a file, for reading bytes, which no child inherits. Raises OSError."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def open_strange(path: Path) -> int:
        """The same of a file that somebody else may have put there; a link is not followed, a pipe not waited for.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
            OSError: it cannot be opened, or is a link.
        """
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)

    def open_to_append(path: Path, mode: int) -> int:
        """A descriptor of a file, made with this mode if there is none, that writes to its end.

        A pipe that nobody reads is refused, not waited for. Raises OSError.
        """
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, mode)

    def read_at(handle: int, size: int, place: int) -> bytes:
        """Up to `size` bytes from a place in a file; the descriptor is used by one thread only. Raises OSError."""
        return os.pread(handle, size, place)

    def replace(source: Path, target: Path) -> None:
        """Give a file the name `target`, in one step; what had that name is gone.

        Raises:
            OSError: it cannot be done.
        """
        source.replace(target)

    def others_may(found: os.stat_result) -> bool:
        """Whether the mode of a file lets others do anything with it."""
        return bool(stat.S_IMODE(found.st_mode) & 0o077)

    def shut_others_out(path: Path) -> None:
        """Take from others what they may do with a file or folder; a link is left alone. Raises OSError."""
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode) and others_may(found):
            path.chmod(stat.S_IMODE(found.st_mode) & 0o700)

    def other_owner(found: os.stat_result) -> int | None:
        """The number of the user that a file belongs to if that is another, None if not."""
        return None if found.st_uid == os.geteuid() else found.st_uid

    def give(path: Path, user: int, group: int) -> None:
        """Make a file another user's and group's, by their numbers. Raises OSError."""
        os.chown(path, user, group)

    def files_left(folder: Path) -> int | None:
        """How many more files can be made there, None if the file system does not count them. Raises OSError."""
        counted = os.statvfs(folder)
        return counted.f_favail if counted.f_files else None

    def space(found: os.stat_result) -> int:
        """How many bytes a file takes up on the disk."""
        return found.st_blocks * 512

    def changed_ns(found: os.stat_result) -> int:
        """When a file or folder changed last, in ns since 1970, as the system says; nobody can set it."""
        return found.st_ctime_ns

    def stamp(found: os.stat_result) -> tuple[int, ...] | None:
        """What no write leaves as it is, None if there is no such thing."""
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
