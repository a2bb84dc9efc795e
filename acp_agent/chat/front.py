"""Where the interactive client meets the user: what it needs of a keyboard and a screen.

There are two: `lines` for pipes and terminals that cannot redraw, and `terminal`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from acp_agent.chat.agent import ListedSession
from acp_agent.chat.completion import Vocabulary
from acp_agent.chat.events import InputEvent
from acp_agent.chat.picker import Picker
from acp_agent.chat.screen import Screen


@dataclass(frozen=True, slots=True)
class Bars:
    """The two lines around the input, as parts of which the last are left out where there is no room.

    `activity` says what is being done, and is empty while nothing is; `status` says what the session is like.
    """

    activity: tuple[str, ...]
    status: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What a front asks the client for, and where it hands over what the user does."""

    on_event: Callable[[InputEvent], None]
    bars: Callable[[], Bars]
    words: Callable[[], Vocabulary]
    sessions: Callable[[], Awaitable[tuple[ListedSession, ...]]]


class Front(Protocol):
    """A keyboard and a screen; an asynchronous context manager that has both for as long as it is open."""

    @property
    def screen(self) -> Screen:
        """Where things are shown."""

    def connect(self, source: Source) -> None:
        """Say whom to ask and to tell; called once, before it is opened."""

    async def __aenter__(self) -> Front: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def ask(self, label: str | None) -> None:
        """Have the next line typed under this label, as an answer; None for a prompt."""

    def put_back(self, text: str) -> bool:
        """Give a prompt that was not sent back to the user; whether it can be edited again."""

    def drop_typed(self) -> bool:
        """Drop what has been typed and not submitted; whether there was anything."""

    def pick(self, picker: Picker) -> bool:
        """Have something picked from a list, which comes as `Picked`; False where that cannot be."""
