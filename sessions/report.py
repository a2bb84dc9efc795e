"""The words in which a session's state is told: outcomes, reasons, and the reports that carry them.

The names and shapes are the wire contract of `docs/resume.md`. A model here is dumped with `wire()` and put
under `_meta`; nothing in it may be stated that was not verified against the reopened harness.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel


class Outcome(StrEnum):
    """How far a session was brought back, best first; the order of the members is the ladder."""

    RESUMED = "resumed"
    RECOVERED = "recovered"
    REBUILT = "rebuilt"
    FRESH = "fresh"

    @property
    def rung(self) -> int:
        """The place on the ladder, 0 for the best."""
        return list(Outcome).index(self)


class Reason(StrEnum):
    """Why the outcome is what it is: the first four belong to `resumed`, the others name what was wrong."""

    VERIFIED = "verified"
    AHEAD = "ahead"
    INTERRUPTED = "interrupted"
    NEVER_PROMPTED = "never_prompted"

    MISSING = "missing"
    EMPTY = "empty"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    DIVERGED = "diverged"
    FOREIGN = "foreign"
    REJECTED = "rejected"


class _Wire(BaseModel):
    """Base of everything that is sent: snake case here, camel case on the wire, unknown keys refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def wire(self) -> dict[str, JsonValue]:
        """The JSON object that is sent under `_meta`; absent values are explicit nulls."""
        dumped: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return dumped


class Check(_Wire):
    """One thing that was examined during a load, and what was found."""

    name: str
    ok: bool
    detail: str


class Unfinished(_Wire):
    """A piece of the interrupted turn that never reached an end: a tool call, or the answer itself."""

    kind: str
    title: str


class Interrupted(_Wire):
    """The turn (counted from 1) that was cut, and what in it was unfinished."""

    turn: int
    unfinished: tuple[Unfinished, ...]


class CheckpointRef(_Wire):
    """A stored checkpoint: taken after `turn` (counted from 1), holding `steps` steps, at an RFC 3339 time."""

    turn: int
    steps: int
    at: str


class Orphan(_Wire):
    """A process that a killed session left behind and that was still alive when the session was loaded."""

    pid: int
    command: str


class ResumeReport(_Wire):
    """What a load or resume brought back; sent as `_meta["acp-agent/resume"]`.

    `turns` counts the user turns of the session as the journal knows them. `turns_in_context` counts those of
    them that the next model request contains; the prompt that causes that request is not among them.
    `turns_summarised` counts the older ones that it contains only as a summary, made by the harness when the
    conversation outgrew the model. `turns_lost` counts those that are in neither.
    """

    outcome: Outcome
    reason: Reason
    summary: str
    turns: int
    turns_in_context: int
    turns_summarised: int = 0
    turns_lost: int
    interrupted: Interrupted | None = None
    checkpoint: CheckpointRef | None = None
    checks: tuple[Check, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    moved_aside: str | None = None


class CheckpointReport(_Wire):
    """What was made durable before a prompt response; sent as `_meta["acp-agent/checkpoint"]`.

    `ms` is the time from the harness's idle to the checkpoint's last fsync. When `durable` is false, `reason`
    says in one sentence what refused, and the turn may be lost if the process is killed.
    """

    turn: int
    steps: int
    at: str
    durable: bool
    ms: float
    reason: str | None = None
