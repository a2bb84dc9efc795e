"""Shows a session's updates as they come: finished pieces once into the scrollback, the rest in the region.

A message is printed block by block as its blocks are finished; a tool call when it has reached an end; the plan,
of which there is one, when the turn has. Live and replayed updates take the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from acp_agent.chat import render
from acp_agent.chat.agent import RESUME_META
from acp_agent.chat.blocks import split_finished
from acp_agent.chat.fields import JsonObject
from acp_agent.chat.screen import Screen
from acp_agent.chat.transcript import Change, Diff, Item, Notice, Output, Plan, Role, ToolCall, Transcript


class View:
    """One session on the screen, with its transcript.

    While `replaying`, tool calls take no time, and a notice that carries the resume report is left out, since the
    report itself is told when the load has been answered. `clock` gives seconds.
    """

    def __init__(self, screen: Screen, *, replaying: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.transcript = Transcript()
        self.replaying = replaying
        self._screen = screen
        self._clock = clock
        self._message: _OpenMessage | None = None
        self._running: dict[int, float | None] = {}
        self._printed: dict[int, ToolCall] = {}
        self._asked: dict[str, ToolCall] = {}
        self._plan: Plan | None = None
        self._printed_plan: Plan | None = None
        self._after_tool_line = False
        screen.set_tail(self._tail)

    def prompted(self, prompt: str) -> None:
        """Show what the user asked."""
        self._show(self.transcript.prompted(prompt))
        self.flush()

    def update(self, update: JsonObject) -> None:
        """Show one update; raises `FieldError`, having shown nothing, when it cannot be read."""
        change = self.transcript.apply(update)
        if change is not None:
            self._show(change)

    def asked(self, call: ToolCall) -> None:
        """Learn that a question has shown this call: its content need not be shown again if it stays the same."""
        self._asked[call.tool_call_id] = call

    def flush(self) -> None:
        """Print what is unfinished as it is: a turn or a replay has ended."""
        self._close_message()
        for index in tuple(self._running):
            self._print_tool_call(index)
        if self._plan is not None and self._plan != self._printed_plan:
            self._print(render.plan(self._plan))
            self._printed_plan = self._plan
        self._plan = None
        self._screen.redraw_soon()

    def _show(self, change: Change) -> None:
        if self._message is not None and self._message.index != change.index:
            self._close_message()
        if change.role is not None:
            self._grow_message(change, change.role)
        else:
            self._take(change.index, self.transcript.item(change.index))
        self._screen.redraw_soon()

    def _grow_message(self, change: Change, role: Role) -> None:
        if self._message is None:
            self._message = _OpenMessage(change.index, role)
        self._message.rest += change.added
        if "\n" in change.added:
            finished, self._message.rest = self._message.cut()
            self._print_message(self._message, finished)

    def _close_message(self) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._print_message(message, message.rest)

    def _print_message(self, message: _OpenMessage, text: str) -> None:
        if text.strip():
            self._print(message.part(text), gap=message.begins_block)
            message.begun = True

    def _take(self, index: int, item: Item) -> None:
        if isinstance(item, Notice) and self.replaying and RESUME_META in item.meta:
            return
        if isinstance(item, Plan):
            self._plan = item
            return
        if not isinstance(item, ToolCall):
            self._print(render.item(item))
            return
        self._running.setdefault(index, None)
        if item.status == "in_progress" and self._running[index] is None:
            self._running[index] = self._clock()  # not before: a permission question is not the tool's time
        if item.finished:
            self._print_tool_call(index)

    def _print_tool_call(self, index: int) -> None:
        began = self._running.pop(index)
        call = self.transcript.item(index)
        assert isinstance(call, ToolCall)
        if self._printed.get(index) == call:
            return
        seconds = self._clock() - began if not self.replaying and call.finished and began is not None else None
        self._printed[index] = call
        asked = self._asked.get(call.tool_call_id)
        body = () if asked is not None and _is_known(asked.content, call.content) else render.tool_content(call)
        self._print(render.tool_line(call, seconds), *body, gap=bool(body) or not self._after_tool_line)
        self._after_tool_line = not body

    def _print(self, *renderables: RenderableType, gap: bool = True) -> None:
        self._screen.show(*renderables, gap=gap)
        self._after_tool_line = False

    def _tail(self) -> Iterator[RenderableType]:
        if self._message is not None and self._message.rest.strip():
            if self._message.begins_block:
                yield Text()
            yield self._message.part(self._message.rest)
        for index in self._running:
            call = self.transcript.item(index)
            if isinstance(call, ToolCall):
                yield render.tool_line(call, None)
        if self._plan is not None:
            yield Text()
            yield render.plan(self._plan)


def _is_known(asked: Sequence[Diff | Output], shown: Sequence[Diff | Output]) -> bool:
    """Whether what a call came to is what its question has shown, perhaps of a larger part of the file."""
    return len(asked) == len(shown) and all(
        before == after or (isinstance(before, Diff) and isinstance(after, Diff) and _is_same(before, after))
        for before, after in zip(asked, shown, strict=True)
    )


def _is_same(part: Diff, whole: Diff) -> bool:
    if not part.old_text or not whole.old_text or part.path != whole.path:
        return False
    return whole.old_text.replace(part.old_text, part.new_text, 1) == whole.new_text


class _OpenMessage:
    """The message that is growing, and what of it has not been printed."""

    def __init__(self, index: int, role: Role) -> None:
        self.index = index
        self.rest = ""
        self.begun = False
        self._role = role

    @property
    def begins_block(self) -> bool:
        """Whether an empty line belongs before the next piece: Markdown is cut between blocks, text in lines."""
        return self._role is Role.AGENT or not self.begun

    def cut(self) -> tuple[str, str]:
        """What of the rest can be printed for good, and what cannot yet."""
        if self._role is Role.AGENT:
            return split_finished(self.rest)
        end = self.rest.rfind("\n") + 1
        return self.rest[:end], self.rest[end:]

    def part(self, text: str) -> RenderableType:
        """A piece as it is shown."""
        return render.message_part(self._role, text, first=not self.begun)
