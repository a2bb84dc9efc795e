"""The harness of a session: at most one, opened when a turn needs it, given up while nobody does.

An opening goes on if the turn that asked for it is cancelled: the next turn finds it done, or waits for its end.
Nothing is opened while another harness of the session is being opened or closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from acp_agent.antigravity import starting
from acp_agent.antigravity.harness import Harness
from acp_agent.antigravity.sdk_config import AgentConfig, Place
from acp_agent.logs import Event, say
from acp_agent.steps import HarnessNotStarted
from sessions import durable
from sessions.session import Session

log = logging.getLogger(__name__)

CANCEL_SECONDS = 1.0
"""How long a harness may take to halt a turn before it is killed and the turn counts as cut. With the closing that
makes less than the 2 s in which a cancelled prompt is answered."""

END_STARTED_SECONDS = 0.05
"""How long the closing of a session waits for a harness that it has just killed, before it looks again."""

Result = TypeVar("Result")


class CancelledBefore(Exception):
    """A turn was cancelled while its harness was still being opened, which goes on; nothing of it was begun."""


class HarnessKeeper:
    """See the module. All methods belong to one event loop.

    Args:
        session: the one whose conversation is opened.
        config: what harnesses are opened with.
        bring_back: opens a harness with the conversation by `open`, and gives it to `hold`.
        on_dropped: called whenever there may have been a harness, and is none any more.
    """

    def __init__(
        self,
        session: Session,
        config: AgentConfig,
        *,
        bring_back: Callable[[], Awaitable[None]],
        on_dropped: Callable[[], None],
    ) -> None:
        self.harness: Harness | None = None
        """The open one."""
        self._session = session
        self._config = config
        self._opened_with: AgentConfig | None = None
        self._bring_back = bring_back
        self._on_dropped = on_dropped
        self._resting: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[Harness] | None = None
        self._closing = False

    @property
    def awake(self) -> bool:
        """Whether there is a harness, or one is being opened."""
        return self.harness is not None or self._opening is not None

    def reconfigure(self, config: AgentConfig) -> None:
        """Open harnesses with another configuration from now on; one that is open is not ready any more."""
        self._config = config

    async def open(self, exists: bool, primer: str | None) -> Harness:
        """Open the session's conversation in a new harness; see `loading.OpenHarness`.

        Raises:
            HarnessNotStarted: it cannot be started, or the session is being closed.
            HarnessRefused: it does not open the conversation.
        """
        if self._closing:
            raise HarnessNotStarted("The session is being closed.")
        self._opened_with = self._config
        session = self._session
        place = Place(session.id, session.trajectory_dir, session.app_data_dir, primer)
        return await Harness.open(self._config, place, exists=exists)

    def hold(self, harness: Harness) -> None:
        """Keep a harness that was opened."""
        self.harness = harness

    async def ready(self, cancelled: asyncio.Event) -> Harness:
        """The open harness; one is opened if there is none, for as long as the turn is not cancelled.

        Raises:
            CancelledBefore: it was.
        """
        if self._resting is None and self._opening is None and self._is_ready():
            assert self.harness is not None
            return self.harness
        await _cancellable(self.settled(), cancelled)
        if cancelled.is_set():
            raise CancelledBefore
        opening = self._opening = asyncio.ensure_future(self._opened())
        opening.add_done_callback(self._is_opened)
        return await _cancellable(opening, cancelled)

    async def rest(self) -> bool:
        """Close the harness until a turn needs one; not while one is opened or closed. Whether that was done."""
        if self._resting is not None or self._opening is not None:
            return False
        self._resting = asyncio.ensure_future(self.drop())
        try:
            await asyncio.shield(self._resting)
        finally:
            self._resting = None
        return True

    async def drop(self) -> None:
        """Close the harness in order; the next turn opens another."""
        harness, self.harness = self.harness, None
        if harness is not None:
            await harness.close()
            # The harness lets others read what it keeps beside its database (measured with 0.1.22).
            await asyncio.to_thread(durable.make_private, self._session.app_data_dir)
        self._on_dropped()

    async def settled(self) -> None:
        """Wait until no harness is being opened or given up; whether that went well is not said."""
        if going_on := {task for task in (self._resting, self._opening) if task is not None}:
            await asyncio.wait(going_on)

    async def open_no_more(self) -> None:
        """Open no harness from now on, and wait until none is being opened or given up."""
        self._closing = True
        while (opening := self._opening) is not None:
            # Nobody wants it any more; one that is stuck would be waited for. It may end in the meantime.
            await asyncio.to_thread(starting.end_started, self._session.id)
            await asyncio.wait({opening}, timeout=END_STARTED_SECONDS)
        await self.settled()

    async def _opened(self) -> Harness:
        if not self._is_ready():
            await self._bring_back()
        assert self.harness is not None
        return self.harness

    def _is_opened(self, opening: asyncio.Task[Harness]) -> None:
        self._opening = None
        if not opening.cancelled() and (error := opening.exception()):
            words = f"session {self._session.id}: it was not opened: {error}"
            say(log, Event.OPENING_FAILED, words, session=self._session.id, error=type(error).__name__)

    def _is_ready(self) -> bool:
        return self.harness is not None and self.harness.alive and self._opened_with is self._config


async def _cancellable(work: Awaitable[Result], cancelled: asyncio.Event) -> Result:
    """Wait for something that goes on even if the turn is cancelled; it then has `CANCEL_SECONDS` left."""
    working = asyncio.ensure_future(work)
    giving_up = asyncio.ensure_future(cancelled.wait())
    try:
        await asyncio.wait({working, giving_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=CANCEL_SECONDS)
    finally:
        giving_up.cancel()
    if not working.done():
        raise CancelledBefore
    return working.result()
