"""What was typed before, kept over the client's end: a private file in the platform's state folder."""

from __future__ import annotations

import os
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from acp_agent.system import paths
from sessions.system import files

LIMIT = 1024 * 1024
"""Bytes of history; the older half is dropped when there are more."""


def default_path() -> Path:
    """Where the history is kept."""
    return paths.state() / "chat-history"


def kept_history(path: Path) -> tuple[History, str | None]:
    """The history in this file; and why it is not kept there, in a sentence, if it cannot be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here, since a file that is made by writing to it would be readable for others.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        files.shut_others_out(path)
        _shorten(path)
    except OSError as fault:
        return InMemoryHistory(), f"What you type is not kept in {path}: {fault.strerror}."
    return FileHistory(path), None


def _shorten(path: Path) -> None:
    if path.stat().st_size <= LIMIT:
        return
    data = path.read_bytes()
    # Entries begin with an empty line and a comment that says when.
    begin = data.find(b"\n# ", len(data) // 2)
    shorter = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(shorter, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data[begin:] if begin >= 0 else b"")
    files.replace(shorter, path)
