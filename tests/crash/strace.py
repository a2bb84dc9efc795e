"""Counts the system calls that change a folder, and disturbs one of them: strace's fault injection.

A call is known by its name, its file and its number among the calls of that name on that file, so that calls on
other files do not matter. Names that are not the same in every run (with the time in them) are counted by the
call's number among all of its name instead. A call that is to be fatal is not executed any more: what is on disk
then is what the calls before it have left.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

Fault = Literal["KILL", "EIO", "ENOSPC"]
FAULTS: tuple[Fault, ...] = ("KILL", "EIO", "ENOSPC")

WRITES = (
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "ftruncate",
    "truncate",
    "fallocate",
    "sendfile",
    "copy_file_range",
)
SYNCS = ("fsync", "fdatasync")
NAMES = ("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "openat")
"""Of `openat` only calls that may make or empty a file."""

_KNOWN = frozenset((*WRITES, *SYNCS, *NAMES))
_CALLS = ",".join(sorted(_KNOWN))
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """A call that changes a folder: its name, its file, its number with both, and its number with its name."""

    name: str
    path: str
    number: int
    overall: int


def missing() -> str | None:
    """Why calls cannot be disturbed here, None if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-f", "-b", "execve", "-qq", "-e", "inject=fsync:error=EIO:when=1", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"strace cannot trace here: {tried.stderr.strip()}"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A fault at a call. `stable`: the call's file has the same name in every run."""

    call: Call
    fault: Fault
    stable: bool

    @property
    def options(self) -> list[str]:
        """What strace is told."""
        how = "signal=KILL" if self.fault == "KILL" else f"error={self.fault}"
        when = self.call.number if self.stable else self.call.overall
        only = ["-P", self.call.path] if self.stable else []
        return [*only, "-e", f"inject={self.call.name}:{how}:when={when}"]


class Tracing:
    """strace, attached to a process and its threads but to no program that it starts. Made by `attach`."""

    def __init__(self, tracer: asyncio.subprocess.Process, log: Path) -> None:
        self._tracer = tracer
        self._log = log

    @classmethod
    async def attach(cls, pid: int, log: Path, disturbance: Disturbance | None) -> Self:
        """Trace a stopped process; when this returns it may be continued."""
        options = ["-f", "-b", "execve", "-y", "-o", str(log), "-e", f"trace={_CALLS}", "-p", str(pid)]
        tracer = await asyncio.create_subprocess_exec(
            "strace",
            *options,
            *(disturbance.options if disturbance else ()),
            stderr=subprocess.PIPE,
        )
        assert tracer.stderr is not None
        said = await tracer.stderr.readline()
        while said and b"attached" not in said:
            said = await tracer.stderr.readline()
        return cls(tracer, log)

    async def ended(self) -> list[str]:
        """Wait for the end of the process; the lines of the log."""
        await self._tracer.communicate()
        return self._log.read_text(errors="replace").splitlines()


def was_hit(lines: Sequence[str]) -> bool:
    """Whether a log shows that a call was disturbed."""
    return any("(INJECTED)" in line or "+++ killed by SIGKILL" in line for line in lines)


def changes(lines: Sequence[str], folder: Path) -> list[Call]:
    """The calls in a log that changed a folder, in order."""
    found: list[Call] = []
    overall: Counter[str] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    for line in lines:
        parsed = _LINE.match(line)
        if parsed is None or parsed[1] not in _KNOWN:
            continue
        name, arguments = parsed[1], parsed[2]
        overall[name] += 1
        path = _path(name, arguments)
        if path is None or not path.startswith(f"{folder}/"):
            continue
        numbers[name, path] += 1
        if name != "openat" or "O_CREAT" in arguments or "O_TRUNC" in arguments:
            found.append(Call(name, path, numbers[name, path], overall[name]))
    return found


def _path(name: str, arguments: str) -> str | None:
    """The file that a call is about; of a rename its old name."""
    if name in (*WRITES, *SYNCS) and name != "truncate":
        descriptor = _DESCRIPTOR.match(arguments)
        return descriptor[1] if descriptor else None
    quoted = _QUOTED.search(arguments)
    if quoted is None:
        return None
    if quoted[1].startswith("/"):
        return quoted[1]
    beside = re.search(r"<([^>]*)>", arguments[: quoted.start()])
    return f"{beside[1]}/{quoted[1]}" if beside else None
