"""A child process that is driven by lines of JSON, the same way for the agent and for every baseline.

Reading blocks, so a figure holds no event loop of the bench's own. A child that does not answer is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import JsonValue

Json = dict[str, JsonValue]

LIFETIME_SECONDS = 600.0
"""How long a child may live; a bound for one that hangs, never a measurement."""

_CLOSE_SECONDS = 10.0
_LAST_WORDS = 2000


class StepFailed(Exception):
    """A step of the benchmark did not do what it is timed for; the text says what happened instead."""


class LineProcess:
    """A running child; ended in order when the block is left."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._name = " ".join(command[1:3])
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the child)
        # The user's own settings must not change what is measured.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ACP_AGENT_")}
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
        self._child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._watchdog = threading.Timer(LIFETIME_SECONDS, self._kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def send(self, message: Json) -> None:
        """Write one line. Raises `StepFailed` if the child is gone."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
            self._child.stdin.flush()
        except OSError as error:
            raise self._failed("it ended") from error

    def read(self) -> Json:
        """The next line. Raises `StepFailed` if there is none, or if it is not an object."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise self._failed("it ended without an answer")
        try:
            message = json.loads(line)
        except ValueError as error:
            raise self._failed(f"it wrote {line[:200]!r}") from error
        if not isinstance(message, dict):
            raise self._failed(f"it wrote {line[:200]!r}")
        return message

    def _failed(self, what: str) -> StepFailed:
        self._kill()
        status = self._child.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace")[-_LAST_WORDS:].strip()
        return StepFailed(f"{self._name}: {what}; exit status {status}\n{words}".rstrip())

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            self._child.wait()
        self._watchdog.cancel()
        self._child.stdout.close()
        self._errors.close()
