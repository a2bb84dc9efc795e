"""The command that starts this agent for good, and how one in somebody's settings is recognized.

An IDE starts the command without a shell's PATH and long after this process has ended, so it is an absolute path
that stays: the installed script; the Python of its environment if there is none. An environment that `uvx` or
`pipx run` made is a cache, which those may empty at any time; there the command is theirs, which makes it anew if
it must.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePath
from typing import Final

from acp_agent import __version__

PACKAGE: Final = "antigravity-acp-agent"
SCRIPT: Final = "acp-agent"
MODULE: Final = "acp_agent"

_RUNNERS: Final = ("uvx", "uv", "pipx")


class NoLaunch(Exception):
    """There is no command that could be counted on; one sentence says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command: an absolute path of a program, what it needs before the agent's own arguments, and a remark."""

    program: str
    leading: tuple[str, ...] = ()
    remark: str | None = None

    def command(self, arguments: Sequence[str] = ()) -> tuple[str, ...]:
        """The whole command line, with arguments for the agent."""
        return (self.program, *self.leading, *arguments)


@dataclass(frozen=True, slots=True)
class Running:
    """How this process was started: its Python, the folder of its environment, and where the package came from.

    `source` is the content of `direct_url.json` of the installed package, None if that came from an index.
    """

    executable: Path
    prefix: Path
    source: str | None = None


def find() -> Launch:
    """The command for this very agent.

    Raises:
        NoLaunch: see there.
    """
    try:
        source = metadata.distribution(PACKAGE).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        source = None
    return choose(Running(Path(sys.executable), Path(sys.prefix), source), shutil.which)


def choose(running: Running, which: Callable[[str], str | None]) -> Launch:
    """The command for an agent that runs like this.

    Args:
        running: how.
        which: finds a program by its name.

    Raises:
        NoLaunch: see there.
    """
    if runner := cached_by(running.prefix):
        return _by_runner(runner, running, which)
    for name in (SCRIPT, f"{SCRIPT}.exe"):
        beside = running.executable.with_name(name)
        if beside.is_file():
            # The one on the PATH outlives its environment's place, if it is the same.
            named = which(SCRIPT)
            same = named is not None and Path(named).is_absolute() and Path(named).resolve() == beside.resolve()
            return Launch(named if named is not None and same else str(beside))
    if not running.executable.is_absolute():
        raise NoLaunch(f"The Python that runs this has no absolute path: {str(running.executable)!r}.")
    return Launch(str(running.executable), ("-m", MODULE))


def cached_by(prefix: PurePath) -> str | None:
    """The program in whose cache an environment is, and which may remove it: `uvx`, `pipx` or None."""
    parts = prefix.parts
    if any(re.fullmatch(r"(archive|environments|builds)-v\d+", part) for part in parts):
        return "uvx"
    pairs = set(itertools.pairwise(parts))
    caches = {(".cache", "pipx"), ("pipx", ".cache"), ("Caches", "pipx"), ("pipx", "Cache")}
    return "pipx" if pairs & caches else None


def is_ours(command: Sequence[str]) -> bool:
    """Whether a command line starts this agent, wherever it is installed."""
    return _leading(command) is not None


def arguments_of(command: Sequence[str]) -> tuple[str, ...]:
    """The agent's own arguments in a command line that starts it."""
    count = _leading(command)
    return tuple(command[count:]) if count is not None else ()


def _leading(command: Sequence[str]) -> int | None:
    """How many words of a command line come before the agent's own arguments; None if it starts something else."""
    if not command:
        return None
    # The paths of both kinds of system, whichever this is: the settings may be another's.
    name = re.split(r"[/\\]", command[0])[-1].lower().removesuffix(".exe")
    if name == SCRIPT:
        return 1
    if re.fullmatch(r"pythonw?[\d.]*", name) and tuple(command[1:3]) == ("-m", MODULE):
        return 3
    if name in _RUNNERS:
        for number, word in enumerate(command[1:], start=1):
            before = command[number - 1]
            if before not in ("--from", "--spec") and re.fullmatch(rf"{SCRIPT}|{PACKAGE}([=@].*)?", word):
                return number + 1
    return None


def _by_runner(runner: str, running: Running, which: Callable[[str], str | None]) -> Launch:
    program = which(runner)
    origin = _requirement(running.source)
    if program is None or origin is None:
        raise NoLaunch(
            f"This acp-agent runs in {running.prefix}, which {runner} may remove at any time, so no IDE can count "
            f"on it. Install it to stay (uv tool install {PACKAGE}, or pipx install {PACKAGE}) and try again."
        )
    leading = ("--from", origin, SCRIPT) if runner == "uvx" else ("run", "--spec", origin, SCRIPT)
    return Launch(
        str(Path(program).absolute()),
        leading,
        f"The IDE will start it through {runner}, since this one is in a cache of {runner}. To start faster and "
        f"without the network: uv tool install {PACKAGE}, or pipx install {PACKAGE}, then install again.",
    )


def _requirement(source: str | None) -> str | None:
    """What names the package that runs, for `uvx` and `pipx`; None if that cannot be said."""
    if source is None:
        return f"{PACKAGE}=={__version__}"
    try:
        found = json.loads(source)
        url = str(found["url"])
        if "vcs_info" in found:
            return f"{found['vcs_info']['vcs']}+{url}@{found['vcs_info']['commit_id']}"
    except (ValueError, KeyError, TypeError):
        return None
    return url
