"""Picking one of several things by arrow keys and by typing a part of its name. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from acp_agent.chat.fitting import cut, fitted

WIDE = 64
"""From this many columns on, each choice has its details beside its name."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to pick: what is handed back, its name, and what else is said of it, the weightiest first."""

    key: str
    name: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the list as it is drawn."""

    text: str
    current: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Picker:
    """A list to pick from: what can be done, the filter that was typed, and the cursor's place in what is left."""

    hints: tuple[str, ...]
    choices: tuple[Choice, ...]
    filter: str = ""
    place: int = 0

    @property
    def left(self) -> tuple[Choice, ...]:
        """The choices that hold every word of the filter, in their name, key or details."""
        words = self.filter.lower().split()
        return tuple(each for each in self.choices if all(word in _searched(each) for word in words))

    @property
    def current(self) -> Choice | None:
        """The choice under the cursor; None if none is left."""
        left = self.left
        return left[self.place] if left else None

    def filtered(self, text: str) -> Picker:
        """With another filter, the cursor on the first that is left."""
        return self if text == self.filter else replace(self, filter=text, place=0)

    def moved(self, by: int) -> Picker:
        """With the cursor so many choices further down; it stays in the list."""
        return replace(self, place=max(0, min(self.place + by, len(self.left) - 1)))

    def drawn(self, width: int, height: int) -> list[Line]:
        """The list in at most `height` lines, the choice under the cursor among them."""
        left = self.left
        said = f"{len(left)} of {len(self.choices)}" if self.filter else ""
        top = [Line(fitted((said, *self.hints), width), quiet=True)] if height > 3 else []
        if not left:
            return [*top, Line(f"  {cut('Nothing has that in it.', width - 2)}", quiet=True)][:height]
        drawn = [self._choice(each, index, width) for index, each in enumerate(left)]
        return [*top, *_around(drawn, self.place, height - len(top))]

    def _choice(self, choice: Choice, index: int, width: int) -> list[Line]:
        here = index == self.place
        sign = "> " if here else "  "
        if width >= WIDE:
            # The details must not vanish behind a long name.
            name = cut(choice.name, width // 2)
            return [Line(sign + fitted((name, *choice.details), width - 2), current=here)]
        lines = [Line(sign + cut(choice.name, width - 2), current=here)]
        if here and choice.details:
            lines.append(Line("    " + fitted(choice.details, width - 4), quiet=True))
        return lines


def _searched(choice: Choice) -> str:
    return " ".join((choice.name, choice.key, *choice.details)).lower()


def _around(blocks: Sequence[list[Line]], place: int, height: int) -> list[Line]:
    """The lines of as many blocks around that at `place` as fit, it first of all."""
    first = last = place
    size = len(blocks[place])
    while True:
        if last + 1 < len(blocks) and size + len(blocks[last + 1]) <= height and last - place <= place - first:
            last += 1
            size += len(blocks[last])
        elif first > 0 and size + len(blocks[first - 1]) <= height:
            first -= 1
            size += len(blocks[first])
        elif last + 1 < len(blocks) and size + len(blocks[last + 1]) <= height:
            last += 1
            size += len(blocks[last])
        else:
            return [line for block in blocks[first : last + 1] for line in block][: max(height, 1)]
