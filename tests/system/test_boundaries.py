"""Only the modules of `system` know on which system they run; every module can be imported on Windows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLATFORM_MODULES = frozenset(
    {"_winapi", "ctypes", "fcntl", "grp", "msvcrt", "platformdirs", "posix", "pty", "pwd", "readline",
     "resource", "select", "syslog", "termios", "tty", "winreg"}
)  # fmt: skip
"""Modules that some system has not."""

PLATFORM_NAMES = {
    "sys": r"getwindowsversion",
    "os": r"(get|set)[e]?[ug]id|fork|kill|killpg|[gs]etpgid|setsid|fchmod|statvfs|chown|umask|f?sync|fdatasync|"
    r"p(read|write)|pidfd_open|set_blocking|sysconf|wait(id|pid)|O_(BINARY|CLOEXEC|DIRECTORY|NO\w+)",
    "signal": r"(SIG|CTRL_)\w+|pthread_kill|setitimer|alarm",
    "subprocess": r"CREATE_\w+|STARTUPINFO",
}
"""Names of other modules that differ between systems, as patterns."""

PLATFORM_METHODS = frozenset(
    {"add_reader", "add_writer", "add_signal_handler", "remove_signal_handler", "st_blocks", "st_ctime",
     "st_ctime_ns"}
)  # fmt: skip
"""Attributes that not every system has, or that mean something else there, whatever they are attributes of."""

PLATFORM_ARGUMENTS = frozenset({"creationflags", "pass_fds", "preexec_fn", "process_group", "start_new_session"})

# These two give way to a library that knows the terminals of all systems.
NAMES_OF_SYSTEMS = {
    "sys": r"platform",
    "os": r"name|uname",
    "platform": r"system|uname|platform|win32_\w+|mac_ver",
}
"""Names that say which system it is. They may be told, to a person or a function; nothing is chosen by them."""


def findings(source: str) -> Iterator[str]:
    """What in a module's source differs between systems."""
    tree = ast.parse(source)
    told = set(_told(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.partition(".")[0] in PLATFORM_MODULES)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                if module.partition(".")[0] in PLATFORM_MODULES:
                    yield module
                yield from (f"{module}.{name.name}" for name in names if _differs(module, name.name))
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (
                _differs(module, name) and node not in told
            ):
                yield f"{module}.{name}"
            case ast.Attribute(attr=name) if name in PLATFORM_METHODS:
                yield name
            case ast.Call(func=func, keywords=keywords):
                if isinstance(func, ast.Name) and func.id in ("getattr", "hasattr"):
                    yield from _asked(ast.unparse(node))
                yield from (word.arg for word in keywords if word.arg in PLATFORM_ARGUMENTS)


def _differs(module: str, name: str) -> bool:
    return any(re.fullmatch(names.get(module, r"(?!)"), name) for names in (PLATFORM_NAMES, NAMES_OF_SYSTEMS))


def _told(tree: ast.Module) -> Iterator[ast.expr]:
    """The names of systems in arguments of calls and in values of dictionaries."""
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        match node:
            case ast.Call(args=args, keywords=keywords):
                values = [*args, *(word.value for word in keywords)]
            case ast.Dict():
                values = node.values
        for value in values:
            match value.func if isinstance(value, ast.Call) and not value.args else value:
                case ast.Attribute(value=ast.Name(id=module), attr=name) as said if re.fullmatch(
                    NAMES_OF_SYSTEMS.get(module, r"(?!)"), name
                ):
                    yield said


def _asked(call: str) -> Iterator[str]:
    """A name that is looked for where it may be absent, in a call such as `getattr(os, "O_NOFOLLOW", 0)`."""
    for module, names in PLATFORM_NAMES.items():
        if re.match(rf"(get|has)attr\({module}, '({names})'", call):
            yield call


def sources() -> list[Path]:
    return sorted(path for package in ("acp_agent", "sessions") for path in (ROOT / package).rglob("*.py"))


def test_only_the_system_packages_know_on_which_system_they_run() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): there
        for path in sources()
        if path.parent.name != "system" and (there := sorted(set(findings(path.read_text(encoding="utf-8")))))
    }
    assert found == {}


def test_the_page_has_every_module_that_knows() -> None:
    page = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if path.parent.name == "system" and path.stem != "__init__"
    }
    assert set(re.findall(r"^\| `([a-z_]+/system/[a-z_]+\.py)` \|", page, re.MULTILINE)) == modules


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from termios import tcgetattr",
        "import select",
        "from sys import platform",
        "if sys.platform == 'win32': pass",
        "x = os.name",
        "os.kill(1, 2)",
        "from os import killpg",
        "signal.SIGKILL",
        "getattr(os, 'O_NOFOLLOW', 0)",
        "hasattr(signal, 'SIGHUP')",
        "loop.add_signal_handler(2, f)",
        "os.fchmod(handle, 0o600)",
        "found.st_blocks",
        "Popen([], start_new_session=True)",
        "import platformdirs",
        "here = sys.platform",
        "x = 1 if platform.system() == 'Windows' else 2",
        "match sys.platform:\n    case 'win32': pass",
        "files = {'win32': 1}[sys.platform]",
    ],
)
def test_what_differs_is_found(source: str) -> None:
    assert len(list(findings(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import os, signal, sys",
        "os.open(path, os.O_RDONLY)",
        "signal.Signals(9)",
        "sys.executable",
        "log('started', platform=sys.platform)",
        "Machine(sys.platform, home)",
        "x = {'system': platform.system()}",
        "import platform",
    ],
)
def test_what_does_not_differ_is_not_found(source: str) -> None:
    assert list(findings(source)) == []


IMPORT_ALL = """
import asyncio, importlib, os, pkgutil, signal, sys
import acp, anyio, click, filelock, google.antigravity, jinja2, mcp, prompt_toolkit, psutil, pydantic, rich
import json5, keyring, markdown_it, mcp.client.streamable_http, mcp.client.stdio, platformdirs
from acp_agent import antigravity, server  # their dependencies are as on this system
from tests.system import elsewhere

for name in [name for name in sys.modules if name.partition(".")[0] in ("acp_agent", "sessions")]:
    del sys.modules[name]
for module, names in elsewhere.ABSENT_ON_WINDOWS.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for module, values in elsewhere.ON_WINDOWS.items():
    for name, value in values.items():
        setattr(module, name, value)
for name in elsewhere.MODULES_ABSENT_ON_WINDOWS:
    sys.modules[name] = None
sys.modules.update(elsewhere.windows_modules())
sys.platform = "win32"

imported = 0
for package in ("acp_agent", "sessions"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            imported += 1
print(imported)
"""


def test_every_module_can_be_imported_on_windows() -> None:
    # What such a module finds is what Windows has; the libraries below it are those of this system.
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    packages = [path for path in sources() if path.name == "__init__.py"]
    mains = [path for path in sources() if path.name == "__main__.py"]
    assert int(done.stdout) == len(sources()) - len(mains) - 2, packages
