"""What became of the things that a turn was doing when it was cut: its edits on the disk, its commands.

The harness can be killed between doing a thing and saying so, so what it said last is not believed: the text of
each file that the turn edited is compared with the edit as the client was shown it, and each command with the
processes that were left. Only files that the journal names are read, only regular ones, and none that is large.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from sessions.journal import Entry
from sessions.leftovers import START_SLACK_SECONDS
from sessions.report import CommandState, EditState, FileChange, Orphan, Unfinished
from sessions.system import files

READ_BYTES = 1 << 20
"""The largest file that is compared. A question about an edit does not show the text of a larger one either."""

COMPARED = 300
"""Characters of a command that are looked for among those of processes, which are cut."""

SHORTENED = "acp-agent/shortened"
"""The key in the `_meta` of a diff that is not whole, and so cannot be compared."""

TITLE = 80
"""Characters of a cut answer that name it."""

_APPLIED, _NOT_APPLIED, _CHANGED, _UNKNOWN = EditState


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What of a turn never reached an end, and every file that it edited, in order."""

    unfinished: tuple[Unfinished, ...] = ()
    files: tuple[FileChange, ...] = ()


@dataclass(frozen=True, slots=True)
class _Diff:
    """An edit as the client was shown it. `old` is None for a file that is made; `whole` says what it is all of.

    Without `whole`, both texts are parts of the file. With it, an empty old text may stand for a large one.
    """

    path: str
    old: str | None
    new: str
    whole: bool


def of_turn(entries: Iterable[Entry], leftovers: Sequence[Orphan] = (), *, began: float = 0) -> Aftermath:
    """What became of a turn that was cut.

    Args:
        entries: the journal's entries of the turn, in order.
        leftovers: the session's processes that were left, with those of them that were ended, as
            `sessions.leftovers.end_commands` reports them.
        began: when the turn began, in seconds since the epoch; processes of earlier turns are not looked at.
    """
    calls = [entry for entry in entries if entry.kind != "user_message"]
    recent = [orphan for orphan in leftovers if _started(orphan) >= began - START_SLACK_SECONDS]
    commands = [entry for entry in calls if _word(entry, "kind") == "execute"]
    running = [entry for entry in calls if _running(entry)]
    unfinished = [_unfinished(entry, recent, alone=len(commands) == 1) for entry in running]
    if calls and calls[-1].kind == "agent_message":
        unfinished.append(Unfinished(kind="message", title=_excerpt(calls[-1].text)))
    return Aftermath(tuple(unfinished), _files(calls))


def state_of(path: str, diffs: Sequence[tuple[str | None, str]], *, whole: bool) -> EditState:
    """What the disk says of an edit of one file.

    Args:
        path: the file.
        diffs: old and new text of each part that was changed; the old one is None if the file was made.
        whole: whether these are all of the file.
    """
    if not diffs:
        return _UNKNOWN
    try:
        text = _text(Path(path))
    except (OSError, ValueError):
        return _UNKNOWN
    states = {_compared(text, _Diff(path, old, new, whole)) for old, new in diffs}
    if len(states) == 1:
        return states.pop()
    return _UNKNOWN if _UNKNOWN in states else _CHANGED


def _unfinished(entry: Entry, leftovers: Sequence[Orphan], *, alone: bool) -> Unfinished:
    kind, title = _word(entry, "kind") or "other", _word(entry, "title")
    if kind == "edit":
        path = _path(entry)
        return Unfinished(kind=kind, title=title, state=_edit_state(entry), detail=path or None)
    if kind == "execute":
        state, detail = _command_state(entry, leftovers, alone=alone)
        return Unfinished(kind=kind, title=title, state=state, detail=detail)
    return Unfinished(kind=kind, title=title)


def _command_state(entry: Entry, leftovers: Sequence[Orphan], *, alone: bool) -> tuple[CommandState, str | None]:
    command = _squeezed(_argument(entry, "CommandLine", "command_line"))
    begun = _word(entry, "status") == "in_progress"
    own = [
        orphan
        for orphan in leftovers
        # A child need not look like the command. If the turn ran no other, what it left is this one's.
        if _runs(orphan, command) or (alone and begun)
    ]
    if not own:
        return CommandState.GONE, None
    running = [orphan.pid for orphan in own if not orphan.ended]
    named = ", ".join(str(pid) for pid in running or [orphan.pid for orphan in own])
    detail = f"process {named}" if len(running or own) == 1 else f"processes {named}"
    return CommandState.RUNNING if running else CommandState.ENDED, detail


def _runs(orphan: Orphan, command: str) -> bool:
    """Whether a process is a command, or the shell that was given it."""
    if len(command) > COMPARED:
        return command[:COMPARED] in _squeezed(orphan.command)
    return bool(command) and f" {command} " in f" {_squeezed(orphan.command)} "


def _started(orphan: Orphan) -> float:
    return datetime.fromisoformat(orphan.since).timestamp() if orphan.since else 0.0


def _files(calls: Iterable[Entry]) -> tuple[FileChange, ...]:
    found: dict[str, EditState] = {}
    for entry in calls:
        path = _path(entry) if _word(entry, "kind") == "edit" else ""
        if not path:
            continue
        state, before = _edit_state(entry), found.pop(path, None)
        if _word(entry, "status") == "failed" and state is not _APPLIED:
            # It was refused, or said itself that it changed nothing, and nothing speaks against that.
            state = before or _NOT_APPLIED
            if before is None:
                continue
        # What the turn did to the file earlier is still there if its last edit was not made.
        found[path] = _APPLIED if state is _NOT_APPLIED and before is _APPLIED else state
    return tuple(FileChange(path=path, state=state) for path, state in found.items())


def _edit_state(entry: Entry) -> EditState:
    if any(
        SHORTENED in meta
        for diff in _objects(entry.payload.get("content"))
        for meta in _objects([diff.get("_meta")])
    ):
        return _UNKNOWN
    # A finished edit is shown as the parts that it changed. Before, a write is shown as all of the file.
    whole = bool(_argument(entry, "CodeContent")) and _word(entry, "status") != "completed"
    diffs = [
        (diff.get("oldText"), diff.get("newText"))
        for diff in _objects(entry.payload.get("content"))
        if diff.get("type") == "diff"
    ]
    texts = [(old if isinstance(old, str) else None, new) for old, new in diffs if isinstance(new, str)]
    return state_of(_path(entry), texts, whole=whole)


def _compared(text: str | None, diff: _Diff) -> EditState:
    old, new = None if diff.old is None else _lines(diff.old), _lines(diff.new)
    if text is None:
        return _NOT_APPLIED if old is None else _CHANGED
    held = _lines(text)
    if held == new:
        return _APPLIED
    if diff.whole:
        return _NOT_APPLIED if held == old else _CHANGED
    if old is None:
        return _APPLIED if new and new in held else _CHANGED
    return _compared_parts(held, old, new)


def _compared_parts(held: str, old: str, new: str) -> EditState:
    has_old, has_new = bool(old) and old in held, bool(new) and new in held
    if has_old and has_new:
        # One may be part of the other: then the longer one tells.
        if old in new:
            return _APPLIED
        return _NOT_APPLIED if new in old else _UNKNOWN
    if has_new or (not new and not has_old):
        return _APPLIED
    return _NOT_APPLIED if has_old else _CHANGED


def _text(path: Path) -> str | None:
    """The text of a regular file, None if there is no file.

    Raises:
        OSError: it cannot be read, is large, or is something else, a link among that.
        ValueError: it is not the path of a file.
    """
    if not path.is_absolute():
        raise ValueError("not an absolute path")
    try:
        # Not blocked by a pipe, and not led elsewhere by a link that lies there now.
        handle = files.open_strange(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > READ_BYTES:
            raise OSError("no regular file of a size that is compared")
        return file.read(READ_BYTES + 1).decode(errors="replace")


def _lines(text: str) -> str:
    """A text without what editors and systems do to line ends, also at the end of a file."""
    return text.replace("\r\n", "\n").rstrip("\n")


def _path(entry: Entry) -> str:
    diffs = [_word_of(diff, "path") for diff in _objects(entry.payload.get("content"))]
    places = [_word_of(place, "path") for place in _objects(entry.payload.get("locations"))]
    return next(filter(None, [*diffs, *places, _argument(entry, "TargetFile", "file_path")]), "")


def _running(entry: Entry) -> bool:
    return entry.kind == "tool_call" and _word(entry, "status") in ("pending", "in_progress")


def _argument(entry: Entry, *names: str) -> str:
    arguments = entry.payload.get("rawInput")
    if not isinstance(arguments, dict):
        return ""
    return next(filter(None, (_word_of(arguments, name) for name in names)), "")


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _word(entry: Entry, key: str) -> str:
    return _word_of(entry.payload, key)


def _word_of(values: dict[str, JsonValue], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _excerpt(text: str) -> str:
    line = _squeezed(text)
    return line if len(line) <= TITLE else line[: TITLE - 1] + "…"
