"""A terminal with a program in it: tmux without anybody attached, which is typed into and looked at."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SECONDS = 90
"""How long anything is waited for on a loaded machine; nothing is decided by it but a failure."""


class Tmux:
    """A terminal of a fixed size; a context manager, since tmux is a server that would stay.

    `folder` is for its socket and what it tells; the program starts with `environment` alone.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        size: tuple[int, int] = (80, 24),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._socket, self._written, self._status, self._pid = (
            folder / name for name in ("tmux", "written", "status", "pid")
        )
        self._command = command
        self._cwd = cwd
        self._environment = environment
        self._size = size
        self._news = self._end = -1

    def __enter__(self) -> Tmux:
        self._news, self._end = _pipe(self._written), _pipe(self._status)
        width, height = (str(number) for number in self._size)
        # The shell tells of the end, since tmux does not see every one.
        program = shlex.join(
            [
                *("env", "-i", *(f"{key}={value}" for key, value in self._environment.items())),
                *("sh", "-c", f'echo $$ > {shlex.quote(str(self._pid))}; exec "$@"', "-", *self._command),
            ]
        )
        self._run(
            *("start-server", ";", "set", "-g", "status", "off", ";", "set", "-g", "remain-on-exit", "on", ";"),
            *("set", "-g", "history-limit", "5000", ";", "set", "-g", "default-terminal", "tmux-256color", ";"),
            *("new-session", "-d", "-x", width, "-y", height, "-c", str(self._cwd)),
            f"{program}; echo $? > {shlex.quote(str(self._status))}",
        )
        self._run("pipe-pane", "-O", f"exec cat > {shlex.quote(str(self._written))}")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("kill-server")
        os.close(self._news)
        os.close(self._end)

    def type(self, text: str) -> None:
        """Type a text as it is."""
        self._run("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by their names in tmux: Enter, Up, C-c, M-Enter, BTab."""
        self._run("send-keys", *keys)

    def paste(self, text: str) -> None:
        """Paste a text as a terminal does it that brackets what is pasted."""
        self._run("set-buffer", text, ";", "paste-buffer", "-p")

    def say(self, text: str) -> None:
        """Type a line and send it."""
        self.type(text)
        self.press("Enter")

    def resize(self, width: int, height: int) -> None:
        """Make it another size, as a person does with a window."""
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def screen(self, *, styled: bool = False, scrollback: bool = False) -> str:
        """What is on the screen now; with the escapes of styles, and with what has been scrolled out."""
        more = [*(["-e"] if styled else []), *(["-S", "-"] if scrollback else [])]
        shown = self._run("capture-pane", "-p", *more)
        return "\n".join(line.rstrip() for line in shown.splitlines()).strip("\n")

    def until(self, holds: Callable[[str], bool], *, scrollback: bool = False) -> str:
        """Wait until `holds` is true of the screen; returns it. Fails with the screen after a long time."""
        while True:
            shown = self.screen(scrollback=scrollback)
            if holds(shown):
                return shown
            ready, _, _ = select.select([self._news, self._end], [], [], SECONDS)
            if self._news in ready:
                os.read(self._news, 1 << 20)
            elif not holds(self.screen(scrollback=scrollback)):
                raise AssertionError(f"still only this is shown:\n{self.screen(scrollback=True)}")

    def shows(self, *texts: str) -> str:
        """Wait until all these texts are on the screen, wherever lines are broken; returns it."""
        return self.until(lambda shown: all(text in " ".join(shown.split()) for text in texts))

    def ends(self) -> int:
        """Wait for the program to end; returns its exit status."""
        ready, _, _ = select.select([self._end], [], [], SECONDS)
        assert ready, f"it does not end:\n{self.screen(scrollback=True)}"
        return int(os.read(self._end, 100))

    def pid(self) -> int:
        """The process id of the program."""
        return int(self._pid.read_text(encoding="utf-8"))

    def _run(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


def _pipe(path: Path) -> int:
    os.mkfifo(path)
    # Open for writing as well, so that there is no end when a writer goes.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)
