"""The result for people: a line a finding, with a sign and a word for its state, and its remedy below it.

Colour goes with the terminal and `NO_COLOR`; the word says the same. On a narrow terminal lines are folded under
themselves. Where the encoding of the output has no signs, there are plain letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from acp_agent.doctor.findings import Checked, Finding, State, count
from acp_agent.sessions_command.output import plain

_SIGNS: Final = {State.OK: "✓", State.WARNING: "!", State.PROBLEM: "✗", State.SKIPPED: "·"}
_PLAIN_SIGNS: Final = {State.OK: "+", State.WARNING: "!", State.PROBLEM: "x", State.SKIPPED: "-"}
_STYLES: Final = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "bold red", State.SKIPPED: "dim"}
_WORDS: Final = {State.OK: "ok", State.WARNING: "warning", State.PROBLEM: "PROBLEM", State.SKIPPED: "skipped"}


class Page:
    """Shows checks as they are made, a heading for each group."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._encoding = console.encoding or "utf-8"
        self._signs = _SIGNS if self._can("".join(_SIGNS.values())) else _PLAIN_SIGNS
        self._arrow = "→" if self._can("→") else "->"
        self._group = ""

    def show(self, checked: Checked) -> None:
        """Show a check that was made."""
        if checked.group != self._group:
            if self._group:
                self.console.print()
            self._group = checked.group
            self.console.print(Text(checked.group[0].upper() + checked.group[1:], style="bold"))
        for finding in checked.findings:
            self._show(checked.name, finding)

    def conclude(self, checked: Sequence[Checked]) -> None:
        """Show how many there were of each state."""
        parts = []
        for state, one, many in (
            (State.PROBLEM, "problem", "problems"),
            (State.WARNING, "warning", "warnings"),
            (State.OK, "ok", "ok"),
            (State.SKIPPED, "skipped", "skipped"),
        ):
            number = count(checked, state)
            if number or state is State.PROBLEM:
                parts.append(_number(number, one, many))
        worst = max((each.state for each in checked), key=list(State).index, default=State.OK)
        ms = sum(each.ms for each in checked)
        self.console.print()
        self.console.print(
            Text(
                f"{_number(len(checked), 'check', 'checks')} in {ms / 1000:.1f} s: {', '.join(parts)}.",
                style=_STYLES[worst],
            ),
        )

    def _show(self, name: str, finding: Finding) -> None:
        state = finding.state
        mark = Text(f"  {self._signs[state]} {_WORDS[state]:<7} ", style=_STYLES[state])
        self._folded(mark, Text.assemble((name, "bold"), f": {self._safe(finding.found)}"))
        if finding.remedy is not None:
            self._folded(Text(" " * len(mark)), Text(f"{self._arrow} {self._safe(finding.remedy)}", style="cyan"))

    def _folded(self, first: Text, text: Text) -> None:
        """Text beside something that only the first of its lines has."""
        room = max(self.console.width - len(first), 20)
        for line in text.wrap(self.console, room):
            line.rstrip()
            self.console.print(Text.assemble(first, line), soft_wrap=True)
            first = Text(" " * len(first))

    def _safe(self, text: str) -> str:
        """Text that neither steers the terminal nor is more than its encoding has."""
        return plain(text).encode(self._encoding, errors="replace").decode(self._encoding)

    def _can(self, text: str) -> bool:
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True


def _number(number: int, one: str, many: str) -> str:
    return f"{number or 'no'} {one if number == 1 else many}"


def as_text(checked: Sequence[Checked], console: Console) -> None:
    """Show all of it at once."""
    page = Page(console)
    for each in checked:
        page.show(each)
    page.conclude(checked)
