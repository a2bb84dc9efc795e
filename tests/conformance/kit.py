"""Runs the requirements: each is a function that is given the running agent and fails, or does not.

A function raises AssertionError if the agent does not meet its requirement and `NotAdvertised` if the agent does
not offer what the requirement is about. What it returns is a fact to report.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from acp_agent.offline.server import OfflineModel
from tests.conformance.client import Client
from tests.prestarted import fork_agent
from tests.protocol.shapes import Json


class Level(StrEnum):
    """How much a requirement weighs, in the kit's words. A `CAPABILITY` counts if the agent advertises it."""

    MANDATORY = "mandatory"
    CAPABILITY = "capability"
    ADVISORY = "advisory"
    INFORMATIONAL = "informational"


class NotAdvertised(Exception):
    """The agent does not offer what a requirement is about; the message names it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a requirement: `passed`, `failed` or `not advertised`, and what there is to say about it."""

    verdict: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement: its id in the kit, its level, what it says, and the page or schema of ACP v1 that says it."""

    id: str
    level: Level
    sentence: str
    source: str
    check: Callable[[Kit], str | None]

    def run(self, kit: Kit) -> Result:
        """Try it."""
        try:
            return Result("passed", self.check(kit) or "")
        except NotAdvertised as what:
            return Result("not advertised", str(what))
        except AssertionError as failure:
            return Result("failed", str(failure))


REQUIREMENTS: Final[list[Requirement]] = []


def requirement(
    name: str, level: Level, sentence: str, source: str
) -> Callable[[Callable[[Kit], str | None]], Callable[[Kit], str | None]]:
    """Makes a function the check of a requirement."""

    def register(check: Callable[[Kit], str | None]) -> Callable[[Kit], str | None]:
        REQUIREMENTS.append(Requirement(name, level, sentence, source, check))
        return check

    return register


NO_CREDENTIALS: Final = (
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "GOOGLE_GENAI_USE_VERTEXAI",
    "GOOGLE_GENAI_USE_ENTERPRISE",
)


class Kit:
    """The agent under test. `agent` is one process that many requirements share; the others start their own."""

    def __init__(self, root: Path, model: OfflineModel) -> None:
        self.workspace = root / "workspace"
        self.workspace.mkdir()
        self.unused = root / "unused"
        self.unused.mkdir()
        (root / "runtime").mkdir(mode=0o700)
        self._root = root
        self._model = model
        self._clients: list[Client] = []

    @property
    def clients(self) -> list[Client]:
        """Every client that was made so far."""
        return self._clients

    @contextmanager
    def fresh(self, capabilities: Json | None = None, *, model: bool = True) -> Iterator[Client]:
        """Another agent process on the same sessions, initialized; without `model` it has no way to one."""
        with self._start(model=model) as client:
            client.result("initialize", introduction(capabilities))
            yield client

    @contextmanager
    def bare(self) -> Iterator[Client]:
        """Another agent process that was told nothing yet."""
        with self._start() as client:
            yield client

    @cached_property
    def agent(self) -> Client:
        """The shared process, initialized."""
        client = self._start()
        self.initialized = client.result("initialize", introduction())
        return client

    @cached_property
    def session(self) -> Json:
        """The answer to `session/new` for the shared session."""
        return self.new(self.agent)

    @property
    def session_id(self) -> JsonValue:
        """The shared session."""
        return self.session["sessionId"]

    @cached_property
    def prompted(self) -> str:
        """A session that had two turns, one with tools, and is open nowhere."""
        session_id = self.new(self.agent)["sessionId"]
        assert isinstance(session_id, str)
        for text in ("first words", f"!write_to_file {self.workspace / 'kit.txt'} text\n!run_command echo steam"):
            self.prompt(self.agent, session_id, text)
        self.agent.result("session/close", {"sessionId": session_id})
        return session_id

    def new(self, client: Client, **more: JsonValue) -> Json:
        """The answer to `session/new`."""
        return client.result("session/new", self.setup(**more))

    def setup(self, **more: JsonValue) -> Json:
        """The parameters of a new session, or of one that is brought back."""
        return {"cwd": str(self.workspace), "mcpServers": [], **more}

    def prompt(self, client: Client, session_id: JsonValue, *blocks: str | Json) -> Json:
        """The result of a prompt of these texts and blocks."""
        content: list[JsonValue] = [
            {"type": "text", "text": block} if isinstance(block, str) else block for block in blocks
        ]
        return client.result("session/prompt", {"sessionId": session_id, "prompt": content})

    def needs(self, path: str) -> None:
        """Raise `NotAdvertised` if a member of `agentCapabilities` is absent or false."""
        _ = self.agent
        value: JsonValue = self.initialized.get("agentCapabilities")
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is None or value is False:
            raise NotAdvertised(path)

    def offered(self, name: str) -> JsonValue:
        """What the answer to `session/new` offers under a name; raises `NotAdvertised`."""
        if not self.session.get(name):
            raise NotAdvertised(name)
        return self.session[name]

    def log_in(self) -> None:
        """What a person does who follows a way to authenticate: keep a key. No model is asked with it."""
        command = (sys.executable, "-m", "acp_agent", "login", "--no-check")
        subprocess.run(
            command,
            input=b"a-key-of-the-kit-0123456789\n",
            env=self._environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    @property
    def _environment(self) -> dict[str, str]:
        """The environment of agents: whatever this person has configured or stored is not this test's."""
        return {
            **{name: value for name, value in os.environ.items() if name not in NO_CREDENTIALS},
            "HOME": str(self._root),
            **{f"XDG_{name}_HOME": str(self._root / name) for name in ("CONFIG", "DATA", "STATE", "CACHE")},
            "XDG_RUNTIME_DIR": str(self._root / "runtime"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def run(self) -> dict[str, Result]:
        """Try every requirement in the order of the table."""
        try:
            return {each.id: each.run(self) for each in REQUIREMENTS}
        finally:
            for client in self._clients:
                client.end()

    def _start(self, *, model: bool = True) -> Client:
        where = ("--data-dir", str(self._root / "data"))
        endpoint = ("--base-url", self._model.openai_url) if model else ()
        child = fork_agent(
            (sys.executable, "-m", "acp_agent", *where, *endpoint), self.workspace, environment=self._environment
        )
        client = Client(child)
        self._clients.append(client)
        return client


def introduction(capabilities: Json | None = None, version: int = 1) -> Json:
    """The parameters of `initialize`."""
    return {
        "protocolVersion": version,
        "clientCapabilities": capabilities or {},
        "clientInfo": {"name": "conformance", "version": "1"},
    }
