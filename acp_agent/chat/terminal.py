"""The front for terminals: a few lines at the bottom that are redrawn, everything above them is the scrollback.

From top to bottom: what is unfinished of the conversation, what is being done, the input (or a list to pick from),
completions, and what the session is like. No full screen, no mouse, no colours but the terminal's own sixteen, and
no questions to the terminal whose answers might come late over a slow line.
"""

from __future__ import annotations

import asyncio
import os
import re
from asyncio import Task
from types import TracebackType
from typing import TextIO

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import ConditionalContainer, Dimension, HSplit, Layout, VSplit, Window
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar
from rich.console import Console

from acp_agent.chat.completion import ChatCompleter
from acp_agent.chat.events import EndOfInput, Interrupt, NextMode, Picked, Submitted
from acp_agent.chat.fitting import fitted
from acp_agent.chat.front import Bars, Source
from acp_agent.chat.picker import Picker
from acp_agent.chat.screen import Screen, Tail, encodable

_REDRAW_SECONDS = 0.04
_CLOCK_SECONDS = 1.0
_ESCAPE_SECONDS = 0.1  # after so long an Escape is one, and not the beginning of a key's sequence
_INPUT_LINES = 8
_MENU_LINES = 6
_PAGE = 10
_LOW = 6  # on a terminal of so few lines the status has no room
_LINK = re.compile(r"\x1b\]8;[^\x07\x1b]*(?:\x07|\x1b\\)")

_STYLE = Style.from_dict(
    {
        "activity": "dim",
        "status": "dim",
        "label": "bold",
        "picker.current": "reverse",
        "picker.quiet": "dim",
        # The library's own menus are grey on grey.
        "completion-menu": "noinherit",
        "completion-menu.completion": "noinherit",
        "completion-menu.completion.current": "noinherit reverse",
        "completion-menu.meta.completion": "noinherit dim",
        "completion-menu.meta.completion.current": "noinherit reverse",
        "scrollbar.background": "noinherit",
        "scrollbar.button": "noinherit reverse",
    }
)


class Terminal:
    """A keyboard and a screen on one terminal; see `Front`.

    `display` is its output, on which `console` writes, and `history` what was typed before.
    """

    def __init__(self, console: Console, keyboard: TextIO, display: TextIO, history: History) -> None:
        self._source: Source | None = None
        self._label: str | None = None
        self._draft: Document | None = None
        self._picker: Picker | None = None
        self._history = history
        self._console = console
        self._keyboard = keyboard
        self._display = display
        self._bars = Bars((), ())
        self._tail: list[str] = []
        self._running: Task[None] | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self.screen = _TerminalScreen(console)

    def connect(self, source: Source) -> None:
        """See `Front`."""
        self._source = source
        completer = ChatCompleter(source.words, source.sessions)
        self._buffer = Buffer(
            completer=completer, complete_while_typing=True, history=self._history, multiline=True
        )
        self._filter = Buffer(multiline=False, on_text_changed=self._refilter)
        self._app = self._application()
        self.screen.app = self._app

    async def __aenter__(self) -> Terminal:
        drawn = asyncio.Event()
        self._running = asyncio.create_task(self._run(drawn))
        waiting = asyncio.create_task(drawn.wait())
        await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self._tick()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        if self._app.is_running:
            self._app.exit()
        if self._running is not None:
            await self._running

    def ask(self, label: str | None) -> None:
        """See `Front`. What was being typed for a prompt is put aside until the last answer is given."""
        if label is not None and self._label is None:
            self._draft = self._buffer.document
            self._buffer.reset()
        elif label is None and self._label is not None and self._draft is not None:
            self._buffer.reset(document=self._draft)
            self._draft = None
        self._label = label
        self._app.invalidate()

    def put_back(self, text: str) -> bool:
        """See `Front`. What is being typed now is not written over; the history has the other then."""
        if self._buffer.text:
            return False
        self._buffer.reset(document=Document(text))
        return True

    def drop_typed(self) -> bool:
        """See `Front`."""
        typed = bool(self._buffer.text)
        self._buffer.reset()
        return typed

    def pick(self, picker: Picker) -> bool:
        """See `Front`."""
        self._filter.reset()
        self._picker = picker
        self._app.layout.focus(self._filter)
        self._app.invalidate()
        return True

    async def _run(self, drawn: asyncio.Event) -> None:
        try:
            await self._app.run_async(pre_run=drawn.set, handle_sigint=False, set_exception_handler=False)
        except (EOFError, OSError):  # the terminal is gone
            self._tell(EndOfInput())

    def _tell(self, event: Submitted | Picked | EndOfInput | Interrupt | NextMode) -> None:
        assert self._source is not None
        self._source.on_event(event)

    def _tick(self) -> None:
        """Draw once a second while something is being done, for the clock."""
        self._ticking = asyncio.get_running_loop().call_later(_CLOCK_SECONDS, self._tick)
        assert self._source is not None
        if self._source.bars().activity:
            self._app.invalidate()

    def _picked(self, key: str | None) -> None:
        self._picker = None
        self._app.layout.focus(self._buffer)
        self._tell(Picked(key))

    def _refilter(self, _buffer: Buffer) -> None:
        if self._picker is not None:
            self._picker = self._picker.filtered(self._filter.text)

    # What is drawn.

    def _application(self) -> Application[None]:
        search = SearchToolbar()
        picking = Condition(lambda: self._picker is not None)
        input_line = Window(
            BufferControl(self._buffer, search_buffer_control=search.control),
            height=Dimension(min=1, max=_INPUT_LINES),
            wrap_lines=True,
            dont_extend_height=True,
            get_line_prefix=self._prefix,
        )
        filter_line = Window(
            BufferControl(self._filter),
            height=1,
            get_line_prefix=lambda _line, _wrap: [("class:label", "filter: ")],
        )
        choices = Window(FormattedTextControl(self._choices), dont_extend_height=True)
        # In a split of its own the menu is as wide as its words, not as the terminal.
        menu = VSplit([CompletionsMenu(max_height=_MENU_LINES, scroll_offset=1), Window()])
        layout = HSplit(
            [
                ConditionalContainer(
                    Window(FormattedTextControl(self._drawn_tail), dont_extend_height=True),
                    Condition(lambda: bool(self._tail)) & ~picking,
                ),
                ConditionalContainer(
                    Window(
                        FormattedTextControl(lambda: self._bar(self._bars.activity)),
                        height=1,
                        style="class:activity",
                    ),
                    Condition(lambda: bool(self._bars.activity)),
                ),
                ConditionalContainer(HSplit([choices, filter_line]), picking),
                ConditionalContainer(input_line, ~picking),
                ConditionalContainer(menu, Condition(lambda: self._buffer.complete_state is not None) & ~picking),
                search,
                ConditionalContainer(
                    Window(
                        FormattedTextControl(lambda: self._bar(self._bars.status)), height=1, style="class:status"
                    ),
                    Condition(lambda: bool(self._bars.status) and self._console.height > _LOW),
                ),
            ]
        )
        colours = self._console.color_system is not None and not self._console.no_color
        app: Application[None] = Application(
            Layout(layout, focused_element=self._buffer),
            style=_STYLE,
            include_default_pygments_style=False,
            key_bindings=self._keys(),
            color_depth=ColorDepth.DEPTH_4_BIT if colours else ColorDepth.DEPTH_1_BIT,
            erase_when_done=True,
            min_redraw_interval=_REDRAW_SECONDS,
            input=create_input(self._keyboard),
            output=_output(self._display, self._console),
            before_render=self._prepare,
        )
        app.ttimeoutlen = _ESCAPE_SECONDS
        return app

    def _prepare(self, _app: Application[None]) -> None:
        """Ask once for everything that is to be drawn."""
        assert self._source is not None
        self._bars = self._source.bars()
        self._tail = self.screen.tail_lines()

    def _prefix(self, line: int, wrapped: int) -> StyleAndTextTuples:
        label = "> " if self._label is None else f"{self._label}: "
        if line == wrapped == 0:
            return [("class:label", self._encodable(label))]
        return [("", "  ")]

    def _bar(self, parts: tuple[str, ...]) -> str:
        return self._encodable(fitted(parts, self._console.width - 1))

    def _choices(self) -> StyleAndTextTuples:
        if self._picker is None:
            return []
        drawn: StyleAndTextTuples = []
        for line in self._picker.drawn(self._console.width - 1, max(self._console.height - 5, 2)):
            style = "class:picker.current" if line.current else "class:picker.quiet" if line.quiet else ""
            drawn += [(style, self._encodable(line.text)), ("", "\n")]
        return drawn[:-1]

    def _drawn_tail(self) -> ANSI:
        """As much of the end of the tail as there is room for."""
        typed = min(self._buffer.document.line_count, _INPUT_LINES)
        menu = _MENU_LINES if self._buffer.complete_state is not None else 0
        room = max(self._console.height - typed - menu - 4, 1)
        return ANSI("\n".join(self._tail[-room:]))

    def _encodable(self, text: str) -> str:
        return encodable(text, self._console.encoding)

    # What keys do, where it is not what they do in a shell.

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        picking = Condition(lambda: self._picker is not None)
        typing = ~picking & ~is_searching
        empty = Condition(lambda: not self._buffer.text)

        keys.add("enter", filter=typing)(self._enter)
        keys.add("escape", "enter", filter=typing)(self._new_line)
        keys.add("c-j", filter=typing)(self._new_line)
        keys.add("c-c", filter=~picking)(lambda _event: self._tell(Interrupt()))
        keys.add("c-d", filter=typing & empty)(lambda _event: self._tell(EndOfInput()))
        keys.add("c-z")(lambda event: event.app.suspend_to_background())
        keys.add("s-tab", filter=typing & Condition(lambda: self._buffer.complete_state is None))(
            lambda _event: self._tell(NextMode())
        )
        for names, by in ((("up", "c-p", "s-tab"), -1), (("down", "c-n", "tab"), 1)):
            for name in names:
                keys.add(name, filter=picking)(lambda _event, by=by: self._move(by))
        keys.add("pageup", filter=picking)(lambda _event: self._move(-_PAGE))
        keys.add("pagedown", filter=picking)(lambda _event: self._move(_PAGE))
        keys.add("enter", filter=picking)(self._pick_current)
        for name in ("escape", "c-c", "c-d"):
            keys.add(name, filter=picking, eager=True)(lambda _event: self._picked(None))
        return keys

    def _enter(self, _event: KeyPressEvent) -> None:
        completing = self._buffer.complete_state
        if completing is not None and completing.current_completion is not None:
            self._buffer.complete_state = None
            return
        if self._label is None:
            self._buffer.append_to_history()
        text = self._buffer.text
        self._buffer.reset()
        self._buffer.load_history_if_not_yet_loaded()  # else only when it is drawn, and Up may come before
        self._tell(Submitted(text))

    def _new_line(self, event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    def _move(self, by: int) -> None:
        if self._picker is not None:
            self._picker = self._picker.moved(by)

    def _pick_current(self, _event: KeyPressEvent) -> None:
        if self._picker is not None and self._picker.current is not None:
            self._picked(self._picker.current.key)


class _TerminalScreen(Screen):
    """Takes the redrawn part down before it prints, and has it drawn again below."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, frames=True)
        self.app: Application[None] | None = None
        self.tail: Tail = tuple

    def set_tail(self, tail: Tail) -> None:
        """See `Screen`."""
        self.tail = tail
        self.redraw_soon()

    def redraw_soon(self) -> None:
        """See `Screen`."""
        if self.app is not None:
            self.app.invalidate()

    def tail_lines(self) -> list[str]:
        """The lines of the tail, with colours but without links, which cannot be redrawn."""
        with self.console.capture() as captured:
            for renderable in self.tail():
                self.console.print(renderable)
        return encodable(_LINK.sub("", captured.get()), self.console.encoding).splitlines()

    def _write(self, text: str) -> None:
        if self.app is not None and self.app.is_running:
            self.app.renderer.erase()
            super()._write(text)
            self.app.invalidate()
        else:
            super()._write(text)


def _output(display: TextIO, console: Console) -> Output:
    found = create_output(display)
    if not isinstance(found, Vt100_Output):  # a console of Windows
        return found

    def size() -> Size:
        return Size(rows=console.height, columns=console.width)

    return Vt100_Output(display, size, term=os.environ.get("TERM"), enable_cpr=False)
