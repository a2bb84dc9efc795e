"""Reads and changes a settings file of another program without ever losing what is in it.

A change is a new file in the place of the old one, in one step, durable, with the old one's permissions. A link
is followed, not replaced: those who keep their settings in a repository link to it. The old content is kept beside
the link under a name of its own. A file that changed since it was read, or that its owner made read-only, is left
alone.
"""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import psutil

from sessions import durable
from sessions.system import files

MOST_BYTES: Final = 1 << 20
"""How large a settings file may be; a full one of Zed has some 60 kB."""

BACKUP: Final = ".acp-agent-backup"
"""What a kept copy's name ends with, before a number if there are several of one second."""


class Untouched(Exception):
    """The file cannot be read or changed, and is as it was; one sentence says why."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A settings file as it was read. `content` is None if there was none.

    `path` is how it was named, `target` the file itself, behind links. `mode` and `owner` (user and group) are
    also those of what takes its place; an owner of None is whoever makes it.
    """

    path: Path
    target: Path
    content: bytes | None
    mode: int = files.FILE_MODE
    owner: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        """The content as text, empty if there was no file. Raises Untouched: it is no UTF-8."""
        try:
            return (self.content or b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise Untouched(f"{self.path} is not UTF-8 (at byte {error.start}); it is left alone.") from error


def read(path: Path) -> SettingsFile:
    """A settings file, if there is one.

    Raises:
        Untouched: there is one that cannot be used.
    """
    with _told(path, "read"):
        if path.is_symlink() and not path.exists():
            raise Untouched(f"{path} is a link to {path.readlink()}, which is not there; it is left alone.")
        target = path.resolve()
        if not target.exists():
            return SettingsFile(path, target, None)
        found = target.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a file"
            raise Untouched(f"{path} is {what}; it is left alone.")
        if found.st_size > MOST_BYTES:
            raise Untouched(
                f"{path} has {found.st_size} bytes, too many for settings ({MOST_BYTES}); it is left alone."
            )
        owner = (found.st_uid, found.st_gid)
        return SettingsFile(path, target, target.read_bytes(), stat.S_IMODE(found.st_mode), owner)


def write(file: SettingsFile, content: bytes | None, now: datetime) -> Path | None:
    """Put new content in the place of what was read; None removes the file. Where the old content is kept.

    Args:
        file: the file as it was read.
        content: what is to be in it.
        now: the time, for the name of the kept copy.

    Raises:
        Untouched: it could not be done; the file is as it was.
    """
    with _told(file.path, "changed"):
        if file.content is not None and not (file.mode & 0o222 and os.access(file.target, os.W_OK)):
            raise Untouched(
                f"{file.path} is read-only; it is left alone. If another program writes it, put the entry there."
            )
        durable.make_folder(file.target.parent)
        new = file.target.with_name(f".{file.target.name}.acp-agent-{os.getpid()}.new")
        _remove_left(file.target)
        backup: Path | None = None
        try:
            if content is not None:
                new.unlink(missing_ok=True)
                _make(new, content, file)
            backup = _keep(file, now)
            if _now_in(file.target) != file.content:
                raise Untouched(f"{file.path} was changed meanwhile; it is left alone. Try again.")
            if content is not None:
                durable.replace_file(new, file.target)
            else:
                file.target.unlink()
                durable.sync_folder(file.target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            if backup is not None:
                with contextlib.suppress(OSError):
                    backup.unlink()
            raise
        return backup


def kept(file: SettingsFile) -> list[str]:
    """The texts of the kept copies of a file, newest first; without those that cannot be read any more."""
    names = [path.name for path in file.path.parent.glob(f"*{BACKUP}*")]
    texts: list[str] = []
    for name in sorted(names, reverse=True):
        if name.startswith(f"{file.path.name}."):
            with contextlib.suppress(Untouched):
                texts.append(read(file.path.with_name(name)).text)
    return texts


def _remove_left(target: Path) -> None:
    """Remove what processes have left that were killed before a new file was in its place."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.acp-agent-*.new"):
        number = path.name.removesuffix(".new").rpartition("-")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            with contextlib.suppress(OSError):
                path.unlink()


def _make(path: Path, content: bytes, like: SettingsFile) -> None:
    durable.make_file(path)
    path.write_bytes(content)
    if like.owner is not None:
        with contextlib.suppress(PermissionError):  # only root gives files away
            files.give(path, *like.owner)
    path.chmod(like.mode)
    durable.sync_file(path)


def _keep(file: SettingsFile, now: datetime) -> Path | None:
    if file.content is None:
        return None
    stem = f"{file.path.name}.{now:%Y%m%d-%H%M%S}{BACKUP}"
    for number in range(1, 1000):
        backup = file.path.with_name(stem if number == 1 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):
            _make(backup, file.content, file)
            return backup
    raise Untouched(f"There are too many kept copies of {file.path}; it is left alone.")


def _now_in(target: Path) -> bytes | None:
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Untouched(f"{path} could not be {what}: {error.strerror or error}.") from error
    except RuntimeError as error:  # links that lead in a circle
        raise Untouched(f"{path} could not be {what}: {error}.") from error
