"""The terminal's two parts: the scrollback, printed once, and a region below it that is redrawn.

Whatever is finished is printed and never touched again. What may still change (the end of a streaming answer,
running tool calls, the line being typed) is the region. Where the output is no terminal there is no region, and
only finished things are printed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

_REDRAW_SECONDS = 0.04
_INPUT_LINES = 8  # the most that is shown of what is being typed


@dataclass(frozen=True, slots=True)
class InputLine:
    """The line being typed: what it is for, the text, and where the cursor stands in it."""

    label: str
    text: str
    cursor: int


class Screen:
    """Shows renderables on a console; a context manager, since the region must be taken down at the end."""

    def __init__(self, console: Console, *, region: bool) -> None:
        self.console = console
        self._region = _Region()
        self._live = (
            Live(
                self._region,
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="visible",
            )
            if region
            else None
        )
        self._redraw: asyncio.TimerHandle | None = None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redraw is not None:
            self._redraw.cancel()
        if self._live is not None:
            self._live.stop()

    def show(self, *renderables: RenderableType, gap: bool = False) -> None:
        """Print finished things into the scrollback, after an empty line if `gap`."""
        if gap:
            self.console.print()
        for renderable in renderables:
            self.console.print(renderable)

    def set_tail(self, tail: Callable[[], Iterable[RenderableType]]) -> None:
        """Say where to get what is unfinished from; it is asked each time the region is drawn."""
        self._region.tail = tail
        self.redraw_soon()

    def redraw_soon(self) -> None:
        """Draw the region a little later; many calls in between are one drawing."""
        if self._live is not None and self._redraw is None:
            self._redraw = asyncio.get_running_loop().call_later(_REDRAW_SECONDS, self.redraw)

    def set_status(self, status: str) -> None:
        """Replace the line above the input; empty for none."""
        self._region.status = status
        self.redraw_soon()

    def set_input(self, line: InputLine | None) -> None:
        """Replace the input line; drawn at once, since somebody is typing."""
        self._region.input = line
        self.redraw()

    def redraw(self) -> None:
        """Draw the region now."""
        if self._redraw is not None:
            self._redraw.cancel()
            self._redraw = None
        if self._live is not None and self._live.is_started:
            self._live.refresh()


class _Region:
    """What is redrawn, never higher than the terminal: of the tail the last lines are shown."""

    def __init__(self) -> None:
        self.tail: Callable[[], Iterable[RenderableType]] = tuple
        self.status = ""
        self.input: InputLine | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        below: list[list[Segment]] = []
        if self.status:
            below += console.render_lines(Text(self.status, style="dim"), options, pad=False)
        if self.input is not None:
            below += console.render_lines(_drawn(self.input), options, pad=False)[-_INPUT_LINES:]
        above: list[list[Segment]] = []
        for renderable in self.tail():
            above += console.render_lines(renderable, options, pad=False)
        # One line less than the terminal has, which would otherwise scroll.
        for index, line in enumerate([*above, *below][-max(options.size.height - 1, 1) :]):
            if index:
                yield Segment.line()
            yield from line


def _drawn(line: InputLine) -> Text:
    drawn = Text(line.label, style="bold")
    drawn.append(line.text[: line.cursor], style="not bold")
    drawn.append(line.text[line.cursor : line.cursor + 1].replace("\n", " \n") or " ", style="not bold reverse")
    drawn.append(line.text[line.cursor + 1 :], style="not bold")
    return drawn
