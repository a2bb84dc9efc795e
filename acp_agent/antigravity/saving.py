"""What an open harness has shown of its conversation, and the checkpoints that must hold it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from acp_agent.logs import Event, ms_since, say
from acp_agent.steps import Source, Step
from sessions import checkpoint
from sessions.changes import Tracker
from sessions.checkpoint import CheckpointError, NotStored, Streamed
from sessions.journal import Journal
from sessions.report import CheckpointReport
from sessions.session import Session
from sessions.store import now

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """A checkpoint that is due: after which turn, how it ended, and the text that must be in it."""

    turn: int
    stop_reason: str
    last_text: str = ""


class Saving:
    """The checkpoints of one session. All methods belong to one event loop."""

    def __init__(self, session: Session, journal: Journal) -> None:
        self.due: Due | None = None
        """What is not durable yet, None if everything is."""
        self.last: CheckpointReport | None = None
        """What came of the last checkpoint that was tried."""
        self.not_stored = False
        """Whether that failed because the harness had not stored what it showed."""
        self._session = session
        self._journal = journal
        self._tracker: Tracker | None = None
        self._needs_base = False
        self._steps: set[int] = set()
        self._user_turns = 0

    def opened(self, history: Sequence[Step], *, new_base: bool) -> None:
        """A harness has been opened, with this history.

        Args:
            history: its steps.
            new_base: whether later checkpoints are to be independent of all that were taken before.
        """
        self._tracker = Tracker(self._session.trajectory_path)
        self._needs_base = self._needs_base or new_base
        self._steps = {step.index for step in history}
        self._user_turns = sum(step.source is Source.USER for step in history)

    def closed(self) -> None:
        """The harness has been closed."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.close()

    def saw(self, step: Step) -> bool:
        """Take note of a state of a step of the running turn; whether it is the prompt, seen for the first time.

        Steps of sub-agents are stored nowhere, so they are not counted.
        """
        if self._tracker is not None:
            self._tracker.poll()
        if step.subagent or step.index in self._steps:
            return False
        self._steps.add(step.index)
        self._user_turns += step.source is Source.USER
        return step.source is Source.USER

    async def take(self, due: Due) -> CheckpointReport:
        """Take a checkpoint. The harness must be idle, or gone."""
        self.due, began = due, time.perf_counter()
        reason: str | None = None
        turn, steps, at = due.turn, len(self._steps), now()
        try:
            stored = await self._taken(due)
            turn, steps, at = stored.turn, stored.steps, stored.at
            self.due, self._needs_base, self.not_stored = None, False, False
        except CheckpointError as error:
            self.not_stored = isinstance(error, NotStored)
            reason = str(error)
        ms = round(ms_since(began), 1)
        if reason is None:
            say(log, Event.CHECKPOINT_TAKEN, session=self._session.id, turn=turn, steps=steps, durable=True, ms=ms)
        else:
            words = f"session {self._session.id}: turn {turn} is not durable: {reason}"
            kind = "not_stored" if self.not_stored else "refused"
            say(log, Event.CHECKPOINT_FAILED, words, session=self._session.id, turn=turn, error=kind, ms=ms)
        self.last = CheckpointReport(turn=turn, steps=steps, at=at, durable=reason is None, ms=ms, reason=reason)
        return self.last

    async def _taken(self, due: Due) -> checkpoint.Checkpoint:
        if self._tracker is None:
            raise CheckpointError("The harness ended during the turn, so what it stored is not known yet.")
        return await asyncio.to_thread(
            checkpoint.take,
            self._session,
            self._journal,
            turn=due.turn,
            stop_reason=due.stop_reason,
            streamed=Streamed(visible=len(self._steps), user_turns=self._user_turns, last_text=due.last_text),
            tracker=self._tracker,
            new_base=self._needs_base,
        )
