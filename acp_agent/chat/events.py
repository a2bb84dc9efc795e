"""What the user does, as plain values: the client handles them one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Submitted:
    """A finished line, or several that were typed or pasted as one."""

    text: str


@dataclass(frozen=True, slots=True)
class Picked:
    """The key of what was picked from a list; None if nothing was."""

    key: str | None


class EndOfInput:
    """The user, or the pipe, has nothing more to say."""


class Interrupt:
    """Ctrl-C."""


class NextMode:
    """Shift-Tab: the session's next mode is wanted."""


InputEvent: TypeAlias = Submitted | Picked | EndOfInput | Interrupt | NextMode
