"""Ada's machine, for the commands of one page: a home, a project, two stored sessions, no network."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessions.journal import Journal
from sessions.store import Store
from tests.docs.pages import ROOT, Block, Command
from tests.sessions.histories import add_turn

ID = "b84b6bd04b7a4f8fa1ee4d69d7bfca11"
OTHER = "0c1d7f5c3e4a4b60a0f5f6a1f5e0a9d2"

_END = re.compile("\x1e(\\d+)\n")
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that was run, its exit status, and what it wrote to both outputs.

    `command` is None for what is done for the block and not for the reader.
    """

    text: str
    command: Command | None
    status: int
    output: str


class Sandbox:
    """The machine, in an empty folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.home = root / "home" / "ada"
        self.project = self.home / "project"
        self.project.mkdir(parents=True)
        (root / "tmp").mkdir()
        store = Store(self.home / ".local" / "share" / "acp-agent")
        for session_id, title, turns in ((OTHER, "Write a test for the parser", 1), (ID, "What is an engine?", 4)):
            with store.create(session_id, cwd=str(self.project), client="zed") as session:
                session.set_title(title)
                journal = Journal(session)
                for _ in range(turns):
                    add_turn(session, journal)

    def environment(self) -> dict[str, str]:
        """Nothing of the environment of the tests but where programs are."""
        nowhere = "http://127.0.0.1:9"
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self._root / "tmp"),
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "ALL_PROXY": nowhere,
            "NO_PROXY": "localhost,127.0.0.1",
            "ID": ID,
        }

    def run(self, blocks: Sequence[Block]) -> list[Ran]:
        """Run the commands of these blocks in one shell: folders and variables last from one to the next."""
        steps = list(_steps(blocks))
        script = "\n".join(
            f"eval {shlex.quote(text)}; s=$?; printf '\\036%d\\n' $s; (exit $s)" for text, _ in steps
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.project,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        written = _END.split(done.stdout)
        assert len(written) == 2 * len(steps) + 1, done.stdout
        return [
            Ran(text, command, int(status), output.replace(str(self._root), ""))
            for (text, command), output, status in zip(steps, written[::2], written[1::2], strict=False)
        ]


def _steps(blocks: Sequence[Block]) -> Iterator[tuple[str, Command | None]]:
    for block in blocks:
        if block.in_checkout:
            yield f"pushd {shlex.quote(str(ROOT))} >/dev/null", None
        yield from ((text, None) for text in block.said("before"))
        yield from ((command.text, command) for command in block.commands())
        if block.in_checkout:
            yield "popd >/dev/null", None


def normal(text: str) -> list[str]:
    """The lines of an output without what differs from run to run.

    New ids, times, sizes, durations, processes, versions and the width of columns.
    """
    text = re.sub(rf"\b(?!{ID}|{OTHER})[0-9a-f]{{32}}\b", "NEW", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?Z?", "TIME", text)
    text = re.sub(r"\d{8}T\d{6}\.\d{3}Z", "MOMENT", text)
    text = re.sub(r"\b\d+(\.\d+)? ([kMGT]?B)\b", "SIZE", text)
    text = re.sub(r"\b\d+(\.\d+)? (ms|s|min)\b", "DURATION", text)
    text = re.sub(r"\b([Pp]rocess) \d+", r"\1 PID", text)
    text = re.sub(r"\b\d+\.\d+\.\d+\b", "VERSION", text)
    text = re.sub(r"[─━]+", "─", text)
    lines = (re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines())
    return [line for line in lines if line]


def fits(shown: Sequence[str], written: Sequence[str]) -> bool:
    """Whether these lines were written; a line `...` stands for any lines. Both are `normal`."""
    pattern = "".join("(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in written)) is not None
