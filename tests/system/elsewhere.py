"""The branches for other systems, run here: a module is loaded as it would be on Windows or macOS.

What such a branch calls of its system is stood in for, as narrowly as it can be: names that Linux has too are the
real ones. This shows that the code does what it means to, not that those systems do.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

ABSENT_ON_WINDOWS: dict[ModuleType, tuple[str, ...]] = {
    os: ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fork", "geteuid", "getpgid", "getuid", "killpg",
         "pidfd_open", "pread", "pwrite", "set_blocking", "setsid", "sync", "waitid"),
    signal: ("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1"),
}  # fmt: skip
"""Names of modules of the standard library that Windows has not."""

MODULES_ABSENT_ON_WINDOWS = ("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "termios", "tty")

ON_WINDOWS: dict[ModuleType, dict[str, object]] = {
    os: {"O_BINARY": 0, "O_NOINHERIT": os.O_CLOEXEC},
    signal: {"SIGBREAK": signal.Signals.SIGUSR2, "CTRL_BREAK_EVENT": signal.Signals.SIGUSR2},
    subprocess: {"CREATE_NEW_PROCESS_GROUP": 0x200},
}
"""Names that it has and Linux has not, with values that harm nobody here."""


def load(name: str, platform: str, modules: Mapping[str, ModuleType] | None = None) -> ModuleType:
    """A module of its own, made of a module's source on that platform."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with on(platform, modules or {}):
        spec.loader.exec_module(module)
    return module


def branch(module: ModuleType, system: str) -> ModuleType:
    """A module as it is on a system, `here` or `windows`."""
    return module if system == "here" else load(module.__name__, "win32", windows_modules())


@contextmanager
def on(platform: str, modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Let `sys.platform` be this, with these modules beside those that are there."""
    before, found = sys.platform, {name: sys.modules.get(name) for name in modules}
    sys.platform = platform
    sys.modules.update(modules)
    try:
        yield
    finally:
        sys.platform = before
        for name, module in found.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def windows_modules() -> dict[str, ModuleType]:
    """The modules that only Windows has, with what is used of them."""
    msvcrt = ModuleType("msvcrt")
    msvcrt.setmode = lambda _fd, _mode: 0  # type: ignore[attr-defined]
    utils = ModuleType("asyncio.windows_utils")
    utils.Popen = _started  # type: ignore[attr-defined]
    return {"msvcrt": msvcrt, "asyncio.windows_utils": utils}


def _started(
    command: tuple[str, ...], *, creationflags: int, cwd: Path, env: Mapping[str, str] | None, **pipes: int
) -> subprocess.Popen[bytes]:
    assert creationflags == ON_WINDOWS[subprocess]["CREATE_NEW_PROCESS_GROUP"]
    return subprocess.Popen(
        command, cwd=cwd, env=env, stdin=pipes["stdin"], stdout=pipes["stdout"], stderr=pipes["stderr"]
    )
