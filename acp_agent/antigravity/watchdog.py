"""Tells a harness that is stuck from a model that is slow and a command that takes long.

While a turn runs and says nothing, the harness is asked for a sign of life now and then: its websocket answers a
ping whatever the model or a command does, unless the process itself is stuck. A harness that lives and yet says
nothing for very long, while no tool runs and no question is open, waits for a model that will not answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from acp_agent.steps import HarnessDied, Step

LOOK_SECONDS = 5.0
"""How long a turn may say nothing before the harness is asked for a sign of life."""

PONG_SECONDS = 5.0
"""How long it may take to give one; a few milliseconds are usual."""

TURN_START_SECONDS = 30.0
"""How long the harness may take to acknowledge a prompt before it counts as dead."""

Result = TypeVar("Result")


class Watchdog:
    """Watches one turn.

    Args:
        ping: asks for a sign of life and waits for it.
        silence: seconds without a step after which the turn is given up, None for no limit.
        expected: whether silence is as it should be now, because the user is being asked.
    """

    def __init__(
        self, ping: Callable[[], Awaitable[Any]], *, silence: float | None, expected: Callable[[], bool]
    ) -> None:
        self._ping = ping
        self._silence = silence
        self._expected = expected
        self._began = False
        self._last = time.monotonic()
        self._running: set[tuple[str, int]] = set()

    def saw(self, step: Step, *, began: bool) -> None:
        """A step came; `began` says whether the turn has begun."""
        self._began = began
        self._last = time.monotonic()
        place = (step.subagent, step.index)
        if step.tool is not None and not step.status.ended:
            self._running.add(place)
        else:
            self._running.discard(place)

    async def watched(self, work: Awaitable[Result]) -> Result:
        """Wait for what the harness says next.

        Raises:
            HarnessDied: it does not begin the turn, gives no sign of life, or has said nothing for too long.
        """
        waiting = asyncio.ensure_future(work)
        try:
            while not waiting.done():
                done, _ = await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
                if not done:
                    await self._look()
            return waiting.result()
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})

    async def _look(self) -> None:
        silent = time.monotonic() - self._last
        if not self._began and silent > TURN_START_SECONDS:
            raise HarnessDied(f"The harness did not begin the turn in {TURN_START_SECONDS:.0f} s.")
        try:
            await asyncio.wait_for(self._ping(), PONG_SECONDS)
        except Exception as error:  # whatever a broken connection raises
            raise HarnessDied("The harness does not answer.") from error
        if self._expected() or self._running:
            self._last = time.monotonic()
        elif self._silence is not None and silent > self._silence:
            raise HarnessDied(f"Nothing has come from the model for {silent:.0f} s, so the turn was given up.")
