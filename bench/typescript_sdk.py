"""The baseline in another language: a minimal agent on the TypeScript SDK, which is installed once beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.process import StepFailed

_SOURCE = Path(__file__).with_name("typescript")
_CACHE = _SOURCE / ".cache"
"""Where the packages are; not a part of the repository."""


def agent_command() -> tuple[str, ...] | None:
    """The command line of the minimal agent; None, with a word on standard error, without Node and npm.

    Raises:
        StepFailed: the packages could not be installed.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing = "Node" if node is None else "npm"
        print(f"There is no {missing} here: the start is not compared with the TypeScript SDK.", file=sys.stderr)
        return None
    wanted = (_SOURCE / "package.json").read_bytes()
    stamp = _CACHE / "installed"
    _CACHE.mkdir(exist_ok=True)
    if not stamp.exists() or stamp.read_bytes() != wanted:
        shutil.copy(_SOURCE / "package.json", _CACHE)
        install = (npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        done = subprocess.run(install, cwd=_CACHE, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StepFailed(f"npm could not install the TypeScript SDK:\n{done.stderr[-2000:].strip()}")
        stamp.write_bytes(wanted)
    # A module finds its packages from where it lies.
    agent = shutil.copy(_SOURCE / "agent.mjs", _CACHE)
    return (node, str(agent))
