"""Shows what is finished, once, into the scrollback; and the way that text takes to a terminal that lacks signs.

What may still change (the end of a streaming answer, running tool calls) is the tail. A screen that can redraw
shows it below the scrollback (`terminal`); this one has nowhere to.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable

from prompt_toolkit.utils import get_cwidth
from rich.console import Console, RenderableType

Tail = Callable[[], Iterable[RenderableType]]

_SIGNS = {
    "✓": "+",
    "✗": "x",
    "☑": "x",
    "…": ".",
    "·": "-",
    "•": "*",
    "“": '"',
    "”": '"',
    "\u2018": "'",
    "\u2019": "'",
    "\u2013": "-",
    "\u2014": "-",
    "─": "-",
    "━": "=",
    "│": "|",
    "▌": "|",
}
"""What stands for a sign that the terminal's encoding does not have; each as wide as the sign."""

_HANDLER = "acp-agent-chat"


def _replaced(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    lacking = fault.object[fault.start : fault.end]
    return "".join(_SIGNS.get(sign, "?" * max(get_cwidth(sign), 1)) for sign in lacking), fault.end


codecs.register_error(_HANDLER, _replaced)


def encodable(text: str, encoding: str) -> str:
    """The text with signs in the place of those that the encoding lacks."""
    return text.encode(encoding, _HANDLER).decode(encoding)


class Screen:
    """Shows renderables on a console, one below the other. `frames` says whether reports have a frame.

    Once the terminal or the pipe is `gone`, nothing is shown, and nothing fails.
    """

    def __init__(self, console: Console, *, frames: bool = False) -> None:
        self.console = console
        self.frames = frames
        self.gone = False

    def show(self, *renderables: RenderableType, gap: bool = False, wrap: bool = True) -> None:
        """Print finished things, after an empty line if `gap`; long lines as they are unless `wrap`."""
        if self.gone:
            return
        try:
            with self.console.capture() as captured:
                if gap:
                    self.console.print()
                for renderable in renderables:
                    self.console.print(renderable, soft_wrap=not wrap)
            self._write(encodable(captured.get(), self.console.encoding))
        except OSError:  # there is nobody left to tell
            self.gone = True

    def set_tail(self, tail: Tail) -> None:
        """Say where to get what is unfinished from; it is asked each time that it is drawn."""

    def redraw_soon(self) -> None:
        """Learn that the tail has changed."""

    def _write(self, text: str) -> None:
        self.console.file.write(text)
        self.console.file.flush()
