"""The wheel, installed as people do it, in environments that have nothing of this one: it runs, and goes again.

Each has a home of its own, and a search path with the system's programs alone. What is kept is where the package
index is, and the caches of `uv` and `pip`, so that little is fetched twice.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from acp_agent import __version__
from acp_agent.chat.process import AgentProcess
from tests.agent.driver import Agent, checkpoint_report
from tests.packaging.conftest import ROOT, requirements

pytestmark = pytest.mark.packages

HERE = Path(sys.executable).parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = ("3.12", "3.13")
INSTALL_SECONDS = 900
KEPT = re.compile(r"(PIP|UV|SSL)_\w+|(https?|all|no)_proxy", re.IGNORECASE)


def said(*command: str | Path, environment: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """What a command that succeeds writes to its standard output."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True)
class Place:
    """A machine with nothing but a Python on it, as far as a process can tell."""

    root: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.root / "home"

    @property
    def workspace(self) -> Path:
        """Where sessions work."""
        return self.root / "workspace"

    def run(self, *command: str | Path) -> str:
        """What a command that succeeds writes here."""
        return said(*command, environment=self.environment, cwd=self.workspace)

    def proves(self, *command: str | Path) -> None:
        """The command is the agent: it says its version, answers, has a turn, and its client's proof holds."""
        assert self.run(*command, "--version") == f"acp-agent, version {__version__}\n"
        asyncio.run(self._talks(*command))
        shown = self.run(*command, "chat", "--offline")
        assert shown.splitlines()[-1].startswith("PROOF HOLDS"), shown

    async def _talks(self, *command: str | Path) -> None:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        line = ("env", "-i", *variables, *map(str, command), "--offline")
        agent = Agent(await AgentProcess.start(line, self.workspace))
        try:
            answer = await agent.initialize()
            assert answer["agentInfo"] == {**_object(answer["agentInfo"]), "version": __version__}
            session_id = await agent.new(self.workspace)
            ended = await agent.prompt(session_id, "My name is Ada.")
            assert ended["stopReason"] == "end_turn"
            assert checkpoint_report(ended)["durable"] is True
            assert "My name is Ada." in agent.text()
        finally:
            assert await agent.stop() == 0


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    found = Place(
        tmp_path,
        {
            **kept,
            "HOME": str(tmp_path / "home"),
            "PATH": "/usr/bin:/bin",
            "ACP_AGENT_DATA_DIR": str(tmp_path / "data"),
            "UV_CACHE_DIR": said(HERE / "uv", "cache", "dir").strip(),
            "PIP_CACHE_DIR": said(sys.executable, "-m", "pip", "cache", "dir").strip(),
            "UV_PYTHON": python(PYTHON),
            "PIPX_DEFAULT_PYTHON": python(PYTHON),
        },
    )
    found.home.mkdir()
    found.workspace.mkdir()
    return found


def python(version: str) -> str:
    """An interpreter of a version that is installed on this machine, outside of any environment."""
    command = (str(HERE / "uv"), "python", "find", "--system", "--no-python-downloads", version)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 0:
        return str(done.stdout).strip()
    # Whatever manages several versions has them beside each other.
    beside = sorted(Path(sys.base_prefix).parent.glob(f"*{version}.*/bin/python{version}"))
    if not beside:
        pytest.skip(f"there is no Python {version} on this machine")
    return str(beside[-1])


@pytest.fixture(params=["tree", "wheel"])
def source(request: pytest.FixtureRequest, wheel: Path) -> Path:
    """What is installed."""
    return ROOT if request.param == "tree" else wheel


def test_uvx(place: Place, source: Path) -> None:
    place.proves(HERE / "uvx", "--from", source, "acp-agent")


def test_pipx(place: Place, source: Path) -> None:
    place.run(HERE / "pipx", "install", source)
    place.proves(place.home / ".local" / "bin" / "acp-agent")
    place.run(HERE / "pipx", "uninstall", "antigravity-acp-agent")
    assert sorted(_of_the_agent(place.home)) == []


def _of_the_agent(folder: Path) -> Iterator[str]:
    """What in a folder is the agent's, or what it needs.

    pipx keeps its logs and locks, and the harness makes a folder of its own, whoever runs it.
    """
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        others = name.startswith(".gemini/") or ("/pipx/" in name and name.endswith((".log", ".lock")))
        if re.search(r"acp|antigravity|localharness", name) and not others:
            yield name


def test_pip(place: Place, wheel: Path) -> None:
    environment = place.root / "venv"
    place.run(python(PYTHON), "-m", "venv", environment)
    before = set(_installed(environment))
    place.run(environment / "bin" / "pip", "install", wheel)
    place.proves(environment / "bin" / "acp-agent")
    place.proves(environment / "bin" / "python", "-m", "acp_agent")
    place.run(environment / "bin" / "pip", "check")
    place.run(environment / "bin" / "pip", "uninstall", "--yes", "antigravity-acp-agent")
    left = {name for name in set(_installed(environment)) - before if re.match(r"(acp_agent|sessions)\b", name)}
    assert left == set()


def _installed(environment: Path) -> Iterator[str]:
    for packages in environment.glob("lib/python*/site-packages"):
        yield from (path.relative_to(packages).as_posix() for path in packages.rglob("*"))


def with_uv(place: Place, wheel: Path, version: str, *how: str) -> Path:
    """An environment with the wheel, made by `uv`, which is quick."""
    environment = place.root / "venv"
    place.run(HERE / "uv", "venv", "--python", python(version), environment)
    to = ("--python", environment / "bin" / "python")
    place.run(HERE / "uv", "pip", "install", *to, *how, wheel)
    place.run(HERE / "uv", "pip", "check", *to)
    return environment


@pytest.mark.parametrize("version", OTHERS)
def test_other_versions_of_python(place: Place, wheel: Path, version: str) -> None:
    place.proves(with_uv(place, wheel, version) / "bin" / "acp-agent")


def test_the_oldest_dependencies_that_the_metadata_allows(place: Place, wheel: Path) -> None:
    # Each is named, for what only the wheel names is no direct dependency.
    named = [str(requirement) for requirement in requirements(wheel)]
    environment = with_uv(place, wheel, PYTHON, "--resolution", "lowest-direct", *named)
    installed = said(HERE / "uv", "pip", "freeze", "--python", environment / "bin" / "python").splitlines()
    for requirement in requirements(wheel):
        (lowest,) = (each.version for each in requirement.specifier if each.operator == ">=")
        assert any(
            re.fullmatch(rf"{re.escape(requirement.name)}=={re.escape(lowest)}(\.0)*", line) for line in installed
        ), f"{requirement} is not installed at its lower end"
    place.proves(environment / "bin" / "acp-agent")


TYPED = """
from pathlib import Path

from acp_agent.antigravity import ResumableAgent
from sessions.report import ResumeReport
from sessions.store import Store


def said(report: ResumeReport) -> str:
    return report.summary


async def use(store: Store) -> None:
    reveal_type(ResumableAgent.open)
    reveal_type(store.folder("x"))
    said(1)
"""


def test_others_can_check_their_types_against_it(place: Place, wheel: Path) -> None:
    environment = with_uv(place, wheel, PYTHON)
    (place.workspace / "program.py").write_text(TYPED, encoding="utf-8")
    interpreter = environment / "bin" / "python"
    command: list[str | Path] = [HERE / "mypy", "--strict", "--python-executable", interpreter, "program.py"]
    done = subprocess.run(
        command,
        cwd=place.workspace,
        env=place.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    lines = done.stdout.splitlines()
    # Not "Skipping analyzing: missing library stubs or py.typed marker", and nothing is Any.
    assert len(lines) == 4, done.stdout + done.stderr
    assert re.search(r'note: Revealed type is "def \(.*ResumableAgent', lines[0]), lines[0]
    assert lines[1].endswith('note: Revealed type is "pathlib.Path"'), lines[1]
    assert re.search(r'error: Argument 1 to "said" has incompatible type "int"; expected "ResumeReport"', lines[2])
