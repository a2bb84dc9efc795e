"""The words in which a session's state is told: outcomes, reasons, and the reports that carry them.

The names and shapes are the wire contract of `docs/resume.md`. A model here is dumped with `wire()` and put
under `_meta`; nothing in it may be stated that was not verified against the reopened harness.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from sessions.outcomes import Outcome as Outcome  # noqa: PLC0414  (part of what is told)
from sessions.outcomes import Reason as Reason  # noqa: PLC0414


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


class EditState(StrEnum):
    """What the disk says of an edit, whatever the harness last said of it."""

    APPLIED = "applied"
    """The file holds the new text."""
    NOT_APPLIED = "not_applied"
    """The file holds the old text, or is not there and was to be made."""
    CHANGED = "changed"
    """The file holds neither."""
    UNKNOWN = "unknown"
    """The file cannot be read, or the texts do not tell."""


class CommandState(StrEnum):
    """What became of the process of a command that never reached an end."""

    ENDED = "ended"
    """It was still running and has been ended."""
    RUNNING = "running"
    """It still runs."""
    GONE = "gone"
    """There is none: it ended by itself, or was never started."""


class Unfinished(_Wire):
    """A piece of the interrupted turn that never reached an end: a tool call, or the answer itself.

    `state` is that of an edit (`kind` is `edit`) or of a command (`execute`), None for everything else, and
    `detail` the file or the processes that it is about.
    """

    kind: str
    title: str
    state: EditState | CommandState | None = None
    detail: str | None = None


class FileChange(_Wire):
    """A file that the interrupted turn edited, and what the disk says of that now."""

    path: str
    state: EditState


class Interrupted(_Wire):
    """The turn that was cut, by its number, what in it was unfinished, and the files that it edited.

    `rolled_back` says that what was stored of it was given up, as `--interrupted rollback` asks; the files are
    as it left them all the same.
    """

    turn: int
    rolled_back: bool = False
    unfinished: tuple[Unfinished, ...]
    files: tuple[FileChange, ...] = ()


class CheckpointRef(_Wire):
    """A stored checkpoint: taken after the turn of this number, holding `steps` steps, at an RFC 3339 time."""

    turn: int
    steps: int
    at: str


class Orphan(_Wire):
    """A process that a killed session left behind and that was still alive when the session was loaded.

    `since` is when it was started (RFC 3339), None if it ended before that could be read; `ended` whether it was
    ended by the load.
    """

    pid: int
    command: str
    since: str | None = None
    ended: bool = False


class FolderChange(_Wire):
    """The session's folder before the load and after it, and whether the latter is there."""

    before: str = Field(alias="from")
    after: str = Field(alias="to")
    exists: bool


def folder_change(before: str, after: str, *, exists: bool) -> FolderChange | None:
    """What is to be said of the folder that a load asks for, None if it is the old one and is there."""
    return None if before == after and exists else FolderChange(before=before, after=after, exists=exists)


class ResumeReport(_Wire):
    """What a load or resume brought back; sent as `_meta["acp-agent/resume"]`.

    `turns` counts the user turns of the session as the journal knows them. `turns_in_context` counts those of
    them that the next model request contains; the prompt that causes that request is not among them.
    `turns_primed` of them are in it as a transcript in the system instructions. `turns_summarised` counts the
    older ones that it contains only as a summary, made by the harness when the conversation outgrew the model.
    `turns_lost` counts those that are in none of these.
    """

    outcome: Outcome
    reason: Reason
    summary: str
    turns: int
    turns_in_context: int
    turns_primed: int = 0
    turns_summarised: int = 0
    turns_lost: int
    interrupted: Interrupted | None = None
    checkpoint: CheckpointRef | None = None
    cwd: FolderChange | None = None
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
