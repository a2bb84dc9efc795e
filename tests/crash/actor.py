"""Runs the operations of `tests.crash.act`, undisturbed or under strace."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.crash.act import RESULT
from tests.crash.strace import Call, Disturbance, Tracing, changes, was_hit


@dataclass(frozen=True, slots=True)
class Ended:
    """How an operation ended: its exit status (negative: the signal), its result, and what it wrote to stderr.

    `hit` says whether it was disturbed. The result is empty if there is none.
    """

    status: int
    result: dict[str, object]
    errors: str
    hit: bool = False


class Actor:
    """A process of `tests.crash.act`. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, root: Path) -> None:
        self._process = process
        self._root = root

    @classmethod
    @asynccontextmanager
    async def start(cls, root: Path) -> AsyncIterator[Self]:
        """Start the process; it ends with the block. Its files are in `root`."""
        with (root / "errors").open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.crash.act",
                env={**os.environ, "PYTHONPATH": _python_path(), RESULT: str(root / "result")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        try:
            yield cls(process, root)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def run(self, words: tuple[str, ...], disturbance: Disturbance | None = None) -> Ended:
        """Run an operation, and disturb one of its calls."""
        pid = await self._start(words)
        tracing = await Tracing.attach(pid, self._log, disturbance) if disturbance else None
        os.kill(pid, signal.SIGCONT)
        ended = await self._end()
        if tracing is None:
            return ended
        return Ended(ended.status, ended.result, ended.errors, was_hit(await tracing.ended()))

    async def count(self, words: tuple[str, ...], folder: Path) -> tuple[Ended, list[Call]]:
        """Run an operation; how it ended, and its calls that changed a folder."""
        pid = await self._start(words)
        tracing = await Tracing.attach(pid, self._log, None)
        os.kill(pid, signal.SIGCONT)
        ended = await self._end()
        return ended, changes(await tracing.ended(), folder)

    @property
    def _log(self) -> Path:
        return self._root / "calls"

    async def _start(self, words: tuple[str, ...]) -> int:
        (self._root / "result").unlink(missing_ok=True)
        os.truncate(self._root / "errors", 0)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        return await self._number()

    async def _end(self) -> Ended:
        status = await self._number()
        result = self._root / "result"
        found = json.loads(result.read_text()) if result.exists() and status == 0 else {}
        assert isinstance(found, dict)
        return Ended(status, found, (self._root / "errors").read_text(errors="replace"))

    async def _number(self) -> int:
        assert self._process.stdout is not None
        return int(await self._process.stdout.readline())


def _python_path() -> str:
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
