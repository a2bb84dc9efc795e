"""What the steps of the turn that runs do not say, read where the harness stores it.

The SDK's steps say nothing of what a running command has put out, of the result of an MCP tool, or of the name of
a tool such as `schedule`; the harness's database does (`sessions.tool_rows`). A step's row is found by counting:
the tool calls of a turn have rows in the order of their steps. A row that does not look like the step is not
believed, and the step is left as it came.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from acp_agent import toolcalls
from acp_agent.steps import Source, Status, Step, ToolUse
from sessions import tool_rows
from sessions.tool_rows import ToolRow

LOOK_SECONDS = 0.1
"""How long after a look at the output of a command the next one is taken."""

LARGE_OUTPUT = 8 * 1024
LOOK_AT_LARGE_SECONDS = 1.0
"""The same for output of more characters than `LARGE_OUTPUT`, all of which is sent again each time."""

ARTIFACT_BYTES = 256 * 1024
"""The largest document that is read for a plan."""

# The harness's own name for a tool, where that of its steps is another.
_MODEL_NAMES = {
    "list_directory": {"list_dir"},
    "search_directory": {"grep_search"},
    "find_file": {"find_by_name"},
    "edit_file": {"write_to_file", "replace_file_content", "multi_replace_file_content"},
    "create_file": {"write_to_file"},
}


class Details:
    """The details of one conversation's steps.

    Args:
        database: where the harness keeps the conversation.
        documents: the folder in which it keeps documents for the user.
    """

    def __init__(self, database: Path, documents: Path) -> None:
        self._database = database
        self._documents = documents
        self._after = -1
        self._tools: list[int] = []
        self._known: dict[int, ToolUse] = {}
        self._outputs: dict[int, str] = {}
        self._look_at: dict[int, float] = {}
        self._held: dict[int, Step] = {}

    async def begin_turn(self) -> None:
        """A prompt is about to be sent to the idle harness."""
        self._begin(await asyncio.to_thread(tool_rows.newest, self._database))

    async def of_last_turn(self, steps: Iterable[Step]) -> list[Step]:
        """The steps of the last turn of an idle harness, with their details."""
        self._begin(await asyncio.to_thread(tool_rows.last_prompt, self._database))
        return [await self.of(step) for step in steps]

    async def of(self, step: Step) -> Step:
        """A step with its details, as far as there are any now."""
        if step.subagent or step.source is not Source.MODEL:
            return step
        tool = step.tool
        if tool is None:
            return await asyncio.to_thread(self._with_usage, step) if step.status.ended else step
        if step.index not in self._tools:
            insort(self._tools, step.index)
        if step.status.ended:
            self._held.pop(step.index, None)
            return await asyncio.to_thread(self._ended, step, tool)
        if toolcalls.is_command(tool):
            if time.monotonic() < self._look_at.get(step.index, 0):
                self._held[step.index] = step
                return self._with_output(step, tool)
            return await asyncio.to_thread(self._looked_at, step, tool)
        if _needs_name(tool) and step.index not in self._known:
            await asyncio.to_thread(self._name, step, tool)
        return replace(step, tool=self._known.get(step.index, tool))

    async def used_tokens(self) -> int | None:
        """The tokens of the newest request to the model, prompt and answer."""
        return await asyncio.to_thread(tool_rows.used_tokens, self._database)

    async def looks(self, arriving: asyncio.Future[Any]) -> AsyncIterator[Step]:
        """Until the next step arrives, the steps of commands that it is time to look at, with their output."""
        while not arriving.done():
            moments = [self._look_at[index] for index in self._held]
            patience = max(min(moments) - time.monotonic(), 0) if moments else None
            await asyncio.wait({arriving}, timeout=patience)
            now = time.monotonic()
            due = [] if arriving.done() else [index for index in self._held if self._look_at[index] <= now]
            for index in due:
                yield await self.of(self._held.pop(index))

    def _begin(self, after: int) -> None:
        self._after = after
        for kept in (self._tools, self._known, self._outputs, self._look_at, self._held):
            kept.clear()

    def _ended(self, step: Step, tool: ToolUse) -> Step:
        step = self._with_usage(step)
        if toolcalls.is_edit(tool) and step.status is Status.DONE:
            return replace(step, artifact=self._document(tool))
        row = self._row(step, tool)
        if row is None:
            return replace(step, tool=self._known.get(step.index, tool))
        if _needs_name(tool):
            tool = ToolUse(tool.name or row.name, row.args)
        return replace(step, tool=tool, result=row.result, total_lines=row.total_lines)

    def _name(self, step: Step, tool: ToolUse) -> None:
        row = self._row(step, tool)
        if row is not None:
            self._known[step.index] = ToolUse(tool.name or row.name, row.args)

    def _looked_at(self, step: Step, tool: ToolUse) -> Step:
        row = self._row(step, tool)
        if row is not None and row.output:
            self._outputs[step.index] = row.output
        large = len(self._outputs.get(step.index, "")) > LARGE_OUTPUT
        self._look_at[step.index] = time.monotonic() + (LOOK_AT_LARGE_SECONDS if large else LOOK_SECONDS)
        return self._with_output(step, tool)

    def _with_output(self, step: Step, tool: ToolUse) -> Step:
        output = self._outputs.get(step.index)
        if output is None:
            return step
        return replace(step, tool=replace(tool, args={**tool.args, "combined_output": output}))

    def _with_usage(self, step: Step) -> Step:
        return replace(step, used=tool_rows.used_tokens(self._database))

    def _row(self, step: Step, tool: ToolUse) -> ToolRow | None:
        number = bisect_left(self._tools, step.index)
        row = tool_rows.read(self._database, after=self._after, number=number)
        return row if row is not None and _fits(tool, row) else None

    def _document(self, tool: ToolUse) -> str | None:
        path = Path(str(tool.args.get("file_path", "")))
        if path.suffix != ".md" or not path.is_relative_to(self._documents):
            return None
        try:
            with path.open("rb") as file:
                return file.read(ARTIFACT_BYTES).decode(errors="replace")
        except OSError:
            return None


def _needs_name(tool: ToolUse) -> bool:
    return tool.server is None and (not tool.name or tool.name == "invoke_subagent")


def _fits(tool: ToolUse, row: ToolRow) -> bool:
    if tool.server is not None or not tool.name:
        return True
    if toolcalls.is_command(tool):
        return row.args.get("CommandLine") == tool.args.get("command_line")
    return row.name in _MODEL_NAMES.get(tool.name, {tool.name})
