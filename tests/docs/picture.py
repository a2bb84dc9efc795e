"""The picture of the terminal client: `python -m tests.docs.picture` plays the script of `make try` and draws it.

The script is played by the real client with the real agent, in colour. The picture leaves out what a reader has
seen before: the plain turns at the beginning, and what is shown again after the load.
"""

from __future__ import annotations

import html
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from tests.docs.pages import ROOT

PICTURE = ROOT / "docs" / "terminal.svg"
COLUMNS = 100
TERMINAL = {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
"""What makes the client write as it does at a terminal of this width."""

LEFT_OUT = "[…]"

_HEADING = re.compile(r"=== \d")
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_TEXT = re.compile(r'<text class="terminal-r\d+" x="[^"]*" y="([^"]*)"[^>]*>(.*?)</text>')
_FOLDER = re.compile(r"(?:/[\w.-]+)+/workspace\b")


def script() -> str:
    """What the script writes, with the escape sequences of its colours."""
    done = subprocess.run(
        [sys.executable, "-m", "acp_agent", "chat", "--offline"],
        env={**os.environ, **TERMINAL},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def seen(written: str) -> Text:
    """What is written as it is seen, as if the script were played in somebody's folder and not a temporary one."""
    return Text.from_ansi(_FOLDER.sub("/home/ada/project", written).rstrip("\n"))


def shown(written: Text) -> Text:
    """The lines of the picture: the question about an edit, the kill, the report, what the model sees."""
    paragraphs = _paragraphs(written.split())
    starts = [number for number, lines in enumerate(paragraphs) if _HEADING.match(lines[0].plain)]
    _, edit, kill, load, ask, proof = starts
    left_out = [Text(LEFT_OUT, style="dim")]
    chosen = [
        *paragraphs[edit : edit + 3],
        left_out,
        *paragraphs[kill:load],
        paragraphs[load][:1],
        left_out,
        *paragraphs[ask - 1 : proof],
        left_out,
        paragraphs[-1][-1:],
    ]
    return Text("\n").join(line for lines in chosen for line in (*lines, Text()))


def _paragraphs(lines: Iterable[Text]) -> list[list[Text]]:
    """The lines between empty ones, each with one at least."""
    found: list[list[Text]] = [[]]
    for line in lines:
        if line.plain.strip():
            line.rstrip()
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [lines for lines in found if lines]


def draw(text: Text) -> str:
    """The picture as SVG, which needs nothing from anywhere else."""
    console = Console(
        record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor"
    )
    console.print(text)
    drawn = console.export_svg(title="acp-agent chat --offline", unique_id="terminal")
    return _FONT.sub("", drawn)


def words(svg: str) -> list[list[str]]:
    """The words in a picture, piece by piece: what is left out stands between two pieces."""
    lines: dict[float, list[str]] = {}
    for y, text in _TEXT.findall(svg):
        lines.setdefault(float(y), []).append(html.unescape(text))
    text = "\n".join("".join(lines[y]) for y in sorted(lines))
    return [piece.split() for piece in text.split(LEFT_OUT)]


if __name__ == "__main__":
    PICTURE.write_text(draw(shown(seen(script()))), encoding="utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)} is drawn anew.\n")
