"""The client with the real agent and its offline model, in a home and a folder of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.terminal.tmux import Tmux

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xff\xff?\x03\x00\x08\xfc\x02\xfe\xa7\x9a\xa0\xa0\x00\x00\x00\x00IEND\xaeB`\x82"
)
"""An image of one pixel."""


class Chat(Protocol):
    """Starts `acp-agent chat --offline` in a terminal; all of one test have the same home."""

    def __call__(self, *arguments: str, size: tuple[int, int] = (80, 24), **environment: str) -> Tmux: ...


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("status: draft\nowner: nobody\n", encoding="utf-8")
    (folder / "bird.png").write_bytes(PNG)
    return folder


@pytest.fixture
def chat(tmp_path: Path, workspace: Path) -> Iterator[Chat]:
    assert shutil.which("tmux"), "tmux is needed; make test-terminal skips these tests without it"
    number = 0
    with ExitStack() as terminals:

        def start(*arguments: str, size: tuple[int, int] = (80, 24), **environment: str) -> Tmux:
            nonlocal number
            number += 1
            own = {
                "HOME": str(tmp_path / "home"),
                "PATH": os.environ["PATH"],
                "TERM": "tmux-256color",
                "LANG": "C.UTF-8",
                "TZ": "UTC",
                **environment,
            }
            return terminals.enter_context(
                Tmux(
                    tmp_path / f"terminal-{number}",
                    (sys.executable, "-m", "acp_agent", "chat", "--offline", *arguments),
                    cwd=workspace,
                    environment=own,
                    size=size,
                )
            )

        yield start
