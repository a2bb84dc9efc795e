"""A session's line as Markdown, for people to read: turns, prompts, answers, tool calls, times and checkpoints.

Whatever was said then is quoted: each of its lines begins with `>`, and where a quotation ends, everything that
was begun in it ends (CommonMark, "Block quotes"). Diffs are in fences that are longer than any in them. So no
prompt and no answer can look like a part of the frame, or swallow what comes after it. The model's thoughts are
left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from sessions import checkpoint
from sessions.checkpoint import Checkpoint
from sessions.journal import Entry, Journal, TurnRecord
from sessions.session import Session, storable

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def render(session: Session) -> str:
    """The line that the session is on.

    Raises:
        StoreDamaged: the store cannot be read.
    """
    journal, info = Journal(session), session.info
    taken = {each.turn: each for each in reversed(checkpoint.newest_first(session))}
    turns = journal.turns()
    frame = [
        f"# {_inline(info.title or 'Session')}",
        "",
        f"- Session: {_code(info.id)}",
        f"- Folder: {_code(info.cwd)}",
        f"- Created: {info.created_at}, last used: {info.updated_at}",
        f"- Turns: {len(turns)}",
        "",
    ]
    for turn in turns:
        frame += _turn(turn, taken.get(turn.turn), journal.entries(turn.turn))
    return "\n".join(frame)


def _turn(turn: TurnRecord, taken: Checkpoint | None, entries: Iterable[Entry]) -> Iterator[str]:
    ended = f"ended {turn.ended_at} ({turn.stop_reason})" if turn.ended_at else "no end is known"
    saved = f"checkpoint {taken.seq} at {taken.at}, {taken.steps} steps" if taken else "no checkpoint"
    yield from (f"## Turn {turn.turn}", "", f"{turn.started_at}, {ended}; {saved}", "")
    for entry in entries:
        if entry.kind == "user_message":
            yield from ("### Prompt", "", *_quoted(_prompt(entry.payload.get("content"))), "")
        elif entry.kind == "agent_message":
            yield from ("### Answer", "", *_quoted(entry.text), "")
        elif entry.kind == "tool_call":
            yield from _call(entry)
        elif entry.kind == "plan":
            yield from ("### Plan", "", *_quoted("\n".join(_steps(entry.payload.get("entries")))), "")


def _call(entry: Entry) -> Iterator[str]:
    kind, status = _string(entry.payload, "kind"), _string(entry.payload, "status")
    yield from (f"### Tool: {_code(_string(entry.payload, 'title'))}", "")
    yield from (_inline(", ".join(filter(None, (kind, status)))), "")
    content = entry.payload.get("content")
    for item in content if isinstance(content, list) else []:
        if not isinstance(item, dict):
            continue
        if item.get("type") == "diff":
            yield from (*_diff(item), "")
        elif isinstance(block := item.get("content"), dict):
            yield from (*_quoted(_string(block, "text") or f"[{_string(block, 'type')}]"), "")


def _steps(entries: JsonValue) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            mark = {"completed": "x", "in_progress": "/"}.get(_string(entry, "status"), " ")
            yield f"- [{mark}] {_inline(_string(entry, 'content'))}"


def _diff(item: dict[str, JsonValue]) -> Iterator[str]:
    path = _inline(_string(item, "path"))
    old, new = (_clean(_string(item, key)).split("\n") for key in ("oldText", "newText"))
    before = path if isinstance(item.get("oldText"), str) else "/dev/null"
    changes = difflib.unified_diff(old if before == path else [], new, before, path, lineterm="")
    lines = [*changes]
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    yield from (f"{fence}diff", *lines, fence)


def _prompt(blocks: JsonValue) -> str:
    said: list[str] = []
    for block in blocks if isinstance(blocks, list) else []:
        if not isinstance(block, dict):
            continue
        resource = block.get("resource")
        if block.get("type") == "text":
            said.append(_string(block, "text"))
        elif block.get("type") == "resource_link":
            said.append(f"[{_string(block, 'name')}: {_string(block, 'uri')}]")
        elif isinstance(resource, dict):
            said.append(f"[{_string(resource, 'uri')}]\n{_string(resource, 'text')}")
        else:
            said.append(f"[{_string(block, 'type')}: {_string(block, 'mimeType')}]")
    return "\n".join(said)


def _quoted(text: str) -> list[str]:
    return [f"> {line}" if line else ">" for line in _clean(text).split("\n")]


def _code(text: str) -> str:
    """One line as inline code, whatever backticks are in it."""
    line = _inline(text).strip("`") or " "
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{ticks}{line}{ticks}" if len(ticks) == 1 else f"{ticks} {line} {ticks}"


def _inline(text: str) -> str:
    return " ".join(_clean(text).split())


def _clean(text: str) -> str:
    return _CONTROL.sub("", "\n".join(storable(text).splitlines()))


def _string(values: dict[str, JsonValue], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
