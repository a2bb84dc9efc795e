"""What other processes have committed to a database in WAL mode, page by page, without reading the pages.

A commit appends the pages that it changed to the `-wal` file, as frames, and then says in the header of the `-shm`
file how many frames are valid now (SQLite's "WAL-mode File Format", sections 2 and 4). That header also counts the
commits. So a follower that reads the headers of the frames it has not seen yet, 24 bytes each, and finds as many
commits in them as were counted, knows every page that was written. If the counts differ, or if anything else is
not as it is documented, it says that it lost track; it never guesses.

After a checkpoint of SQLite's the log is begun anew from its start, with new salts. What was appended before and
not seen yet is then found by its old salts, unless it was overwritten; the count of commits tells.

The descriptors of the database and the `-shm` file are kept open for the follower's life: closing one would drop
the locks that this process's own SQLite connections hold on that file.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from sessions.system import files

_LOG_HEADER = 32
_FRAME_HEADER = 24
_FRAME = struct.Struct(">II8s")  # page, size of the database after a commit or 0, salts

# Version, unused, count of commits, initialised, byte order of checksums, page size, frames, pages, checksum of
# the last frame, salts. Then the checksum of this. All in the byte order of the machine, but for the salts.
_HEADER = struct.Struct("=IIIBBHII8s8s")
_HEADER_SUM = struct.Struct("=II")
_HEADER_SIZE = _HEADER.size + _HEADER_SUM.size
_HEADER_WORDS = struct.Struct("=10I")
_HEADER_VERSION = 3007000

_ATTEMPTS = 5
"""How often something is read again that changed while it was read."""


class LostTrack(Exception):
    """What was committed cannot be followed; the text says why."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a database's log is valid: the count of commits, the log's frames, and the database's size in pages.

    `salts` name the generation of the log: they change whenever it is begun anew.
    """

    commits: int
    frames: int
    pages: int
    page_size: int
    salts: bytes


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frames of the log: the newest of each page, and the number of commits."""

    newest: dict[int, int]
    commits: int


class Follower:
    """Follows the commits to one database from the first `poll` on.

    It is closed while this process has no connection open to the database. Not safe to use from several threads.
    """

    def __init__(self, path: Path) -> None:
        self.position: Position | None = None
        """Up to where commits are known; None while they cannot be followed."""
        self._path = path
        self._descriptors: dict[str, int] = {}
        self._newest: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._polls = 0

    def close(self) -> None:
        """Release the files."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    @property
    def polls(self) -> int:
        """How often commits have been looked for; names the moment of the last time for `forget`."""
        return self._polls

    @property
    def written(self) -> frozenset[int]:
        """The pages that were written since the moment that was last given to `forget`."""
        return frozenset(self._written)

    def forget(self, moment: int) -> None:
        """Leave out of `written` what was known at that moment, a value of `polls`."""
        self._written = {page: seen for page, seen in self._written.items() if seen > moment}

    def poll(self) -> None:
        """Take in what was committed meanwhile.

        Raises:
            LostTrack: some commits may not be known. The next poll begins afresh from the present.
        """
        self._polls += 1
        try:
            for _ in range(_ATTEMPTS):
                now = self._read_header()
                if now == self.position:
                    return
                found = self._frames_since(now)
                if self._read_header().salts == now.salts:
                    self._take_in(now, found)
                    return
            raise LostTrack("the log is begun anew all the time")
        except OSError as error:
            self._lose()
            raise LostTrack(str(error)) from error
        except LostTrack:
            self._lose()
            raise

    def page(self, number: int) -> bytes:
        """A page as of `position`, while a transaction of this process keeps that readable.

        Raises:
            LostTrack: it cannot be read.
        """
        if self.position is None or not 0 < number <= self.position.pages:
            raise LostTrack(f"there is no page {number}")
        size = self.position.page_size
        try:
            if (frame := self._newest.get(number)) is not None:
                log = self._open_log()
                try:
                    content = files.read_at(log, size, _offset(frame, size) + _FRAME_HEADER)
                finally:
                    os.close(log)
            else:
                content = files.read_at(self._descriptor(""), size, (number - 1) * size)
        except OSError as error:
            raise LostTrack(str(error)) from error
        if len(content) != size:
            raise LostTrack(f"page {number} is not there")
        return content

    def _lose(self) -> None:
        self.position = None
        self._newest = {}
        self._written = {}

    def _take_in(self, now: Position, found: tuple[_Frames, _Frames]) -> None:
        """Believe what was read, if it accounts for every commit."""
        before, current = found
        last = self.position
        if last is not None:
            counted = (now.commits - last.commits) % (1 << 32)
            if before.commits + current.commits != counted:
                raise LostTrack(f"of {counted} commits {before.commits + current.commits} are in the log")
        self._newest = (self._newest if last and last.salts == now.salts else {}) | current.newest
        self._written |= dict.fromkeys((*before.newest, *current.newest), self._polls)
        self.position = now

    def _frames_since(self, now: Position) -> tuple[_Frames, _Frames]:
        """The frames that are new: those of an older generation of the log, and those of the present one."""
        last = self.position
        log = self._open_log()
        try:
            if last is None:
                return _Frames({}, 0), _read_frames(log, now, 1, now.frames)
            if now.page_size != last.page_size:
                raise LostTrack("the size of a page changed")
            if now.salts == last.salts:
                if now.frames < last.frames:
                    raise LostTrack("the log became shorter")
                return _Frames({}, 0), _read_frames(log, now, last.frames + 1, now.frames)
            return _read_frames(log, last, last.frames + 1, None), _read_frames(log, now, 1, now.frames)
        finally:
            os.close(log)

    def _read_header(self) -> Position:
        shared = self._descriptor("-shm")
        self._descriptor("")
        for _ in range(_ATTEMPTS):
            content = files.read_at(shared, 2 * _HEADER_SIZE, 0)
            one, other = content[:_HEADER_SIZE], content[_HEADER_SIZE:]
            # Written one after the other: while they differ, somebody writes.
            if one == other and len(one) == _HEADER_SIZE and _checksum(one) == one[_HEADER.size :]:
                version, _, commits, initialised, _, size, frames, pages, _, salts = _HEADER.unpack_from(one)
                if version != _HEADER_VERSION or not initialised:
                    raise LostTrack("the log's index is of an unknown version")
                return Position(commits, frames, pages, (size & 0xFE00) + ((size & 1) << 16), salts)
        raise LostTrack("the log's index is not whole")

    def _descriptor(self, suffix: str) -> int:
        path = self._path.with_name(self._path.name + suffix)
        descriptor = self._descriptors.get(suffix)
        if descriptor is None:
            descriptor = self._descriptors[suffix] = files.open_to_read(path)
        opened, named = os.fstat(descriptor), path.stat()
        if (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino):
            raise LostTrack(f"{path.name} is another file now")
        return descriptor

    def _open_log(self) -> int:
        # SQLite holds no locks on this file, so it may be closed again.
        return files.open_to_read(self._path.with_name(f"{self._path.name}-wal"))


def _offset(frame: int, page_size: int) -> int:
    return _LOG_HEADER + (frame - 1) * (_FRAME_HEADER + page_size)


def _read_frames(log: int, position: Position, first: int, last: int | None) -> _Frames:
    """The headers of these frames; up to where the generation ends if `last` is None.

    Raises:
        LostTrack: one of them is not there.
    """
    newest: dict[int, int] = {}
    commits = 0
    number = first
    while last is None or number <= last:
        header = files.read_at(log, _FRAME.size, _offset(number, position.page_size))
        if len(header) < _FRAME.size:
            break
        page, size_after, salts = _FRAME.unpack(header)
        if salts != position.salts or not page:
            break
        newest[page] = number
        commits += bool(size_after)
        number += 1
    if last is not None and number <= last:
        raise LostTrack(f"frame {number} of the log is not there")
    return _Frames(newest, commits)


def _checksum(header: bytes) -> bytes:
    words = _HEADER_WORDS.unpack_from(header)
    one = two = 0
    for place in range(0, len(words), 2):
        one = (one + words[place] + two) & 0xFFFFFFFF
        two = (two + words[place + 1] + one) & 0xFFFFFFFF
    return _HEADER_SUM.pack(one, two)
