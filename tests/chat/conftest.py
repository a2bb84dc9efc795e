"""A scripted agent: a real child process over real pipes that plays what a test wrote down."""

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

from acp_agent.chat.fields import JsonObject

# Tests make no statement about time, and a loaded machine can take any.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Times are told in the time of the machine.
os.environ["TZ"] = "UTC"
time.tzset()

Step = tuple[str, *tuple[object, ...]]


SECONDS = 60
"""How long something is waited for before a test fails."""


class Output(io.StringIO):
    """What a console wrote, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._written = asyncio.Event()

    def write(self, text: str) -> int:
        self._written.set()
        return super().write(text)

    async def until(self, holds: Callable[[str], bool]) -> None:
        """Wait until `holds` is true of all that has been written."""
        async with asyncio.timeout(SECONDS):
            while not holds(self.getvalue()):
                self._written.clear()
                await self._written.wait()


class Book:
    """The lives of a scripted agent, the command that plays them, and what it received."""

    def __init__(self, folder: Path, lives: tuple[tuple[Step, ...], ...]) -> None:
        self._log = folder / "received"
        (folder / "steps.json").write_text(json.dumps(lives), encoding="utf-8")
        self.command: tuple[str, ...] = (
            sys.executable,
            str(Path(__file__).with_name("scripted_agent.py")),
            str(folder),
        )

    @property
    def received(self) -> list[JsonObject]:
        """The messages that the agent has got; complete once it has ended."""
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]

    @property
    def methods(self) -> list[object]:
        """The methods of the requests and notifications that the agent has got."""
        return [message["method"] for message in self.received if "method" in message]


class MakeBook(Protocol):
    """Makes a `Book` with the given steps as its only life, or with several lives."""

    def __call__(self, *steps: Step, more_lives: tuple[tuple[Step, ...], ...] = ()) -> Book: ...


@pytest.fixture
def book(tmp_path: Path) -> MakeBook:
    """In each life the agent is initialized before its steps."""
    opening: tuple[Step, ...] = (
        ("await", "initialize"),
        ("result", {"protocolVersion": 1, "agentCapabilities": {"sessionCapabilities": {"close": {}}}}),
    )

    def make(*steps: Step, more_lives: tuple[tuple[Step, ...], ...] = ()) -> Book:
        folder = tmp_path / "scripted-agent"
        folder.mkdir()
        return Book(folder, tuple(opening + life for life in (steps, *more_lives)))

    return make
