"""What a tool call looks like to a client: kind, title, places, diffs and output. Pure.

The same call is known twice, under different names. In a permission question it carries the model's own
arguments (`CodeContent`, `TargetFile`, `CommandLine`); in a step it carries the SDK's (`file_path`,
`diff_block`, `command_line`). `subject` is what both have in common, and lets one be recognised as the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from pydantic import JsonValue

from acp_agent.steps import ToolUse

Json = dict[str, JsonValue]

EDITS = frozenset({"edit_file", "create_file"})

_KINDS = {
    "view_file": "read",
    "list_directory": "read",
    "search_directory": "search",
    "find_file": "search",
    "search_web": "fetch",
    "read_url_content": "fetch",
    "edit_file": "edit",
    "create_file": "edit",
    "generate_image": "edit",
    "run_command": "execute",
    "run_workflow": "execute",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a call acts on: its kind and the path or command, or its name if it has neither."""

    kind: str
    on: str


def is_edit(tool: ToolUse) -> bool:
    """Whether a call is the harness's own edit of a file. An MCP server may give any of its tools such a name."""
    return tool.server is None and tool.name in EDITS


def subject(tool: ToolUse) -> Subject:
    """The subject of a call, equal for a question and for the step that follows it."""
    kind = _kind(tool)
    on = _first(tool.args, "file_path", "TargetFile", "command_line", "CommandLine")
    return Subject(kind, on or (f"{tool.server}/{tool.name}" if tool.server else tool.name))


def edited_path(tool: ToolUse) -> str:
    """The file that an edit is about, empty if it names none."""
    return _first(tool.args, "file_path", "TargetFile") if is_edit(tool) else ""


def opening(tool: ToolUse, *, status: str, cwd: PurePath) -> Json:
    """The fields of a `tool_call` when it is first shown, without its id."""
    payload: Json = {
        "title": _title(tool, cwd),
        "kind": _kind(tool),
        "status": status,
        "rawInput": {key: value for key, value in tool.args.items() if key not in _RESULTS},
    }
    if places := locations(tool):
        payload["locations"] = places
    return payload


def locations(tool: ToolUse) -> list[JsonValue]:
    """The file a call touches, with the 1-based line where it is known, for clients that follow along."""
    path = _first(tool.args, "file_path", "TargetFile", "directory_path", "path")
    if not path or not PurePath(path).is_absolute():
        return []
    place: Json = {"path": path}
    line = _first_changed_line(tool)
    if line is not None:
        place["line"] = line
    return [place]


def proposed_diff(tool: ToolUse, existing: str | None) -> list[JsonValue]:
    """The content of a question about an edit: what would change.

    Args:
        tool: the call as the model wrote it.
        existing: the file's text, None if there is no file.
    """
    path = _first(tool.args, "TargetFile")
    if not is_edit(tool):
        return []
    if tool.name == "create_file":
        text = _first(tool.args, "CodeContent")
        new = (existing or "") + text if tool.args.get("Append") else text
        return [_diff(path, existing, new)]
    return [_diff(path, _first(tool.args, "TargetContent"), _first(tool.args, "ReplacementContent"))]


def made_diff(tool: ToolUse, *, created: bool) -> list[JsonValue]:
    """The content of a finished edit, one diff a changed block.

    Args:
        tool: the call with the SDK's `diff_block`.
        created: whether the file did not exist before, so that there is no old text.
    """
    path = _first(tool.args, "file_path")
    diffs: list[JsonValue] = []
    for lines in _blocks(tool):
        old = "\n".join(text for text, action in lines if action != "LINE_ACTION_INSERT")
        new = "\n".join(text for text, action in lines if action != "LINE_ACTION_DELETE")
        diffs.append(_diff(path, None if created else old, new))
    return diffs


def command_output(tool: ToolUse) -> list[JsonValue]:
    """The content of a finished command: its output as fenced text, and how it exited."""
    output = _first(tool.args, "combined_output").replace("\r\n", "\n").rstrip("\n")
    code = tool.args.get("exit_code")
    fence = "```"
    while fence in output:
        fence += "`"
    shown = f"{fence}\n{output}\n{fence}\n" if output else ""
    # A command that was left running in the background has none.
    return [text_content(f"{shown}No exit code was reported." if code is None else f"{shown}Exit code {code}.")]


def raw_output(tool: ToolUse) -> Json:
    """The results among a finished step's arguments."""
    return {key: value for key, value in tool.args.items() if key in _RESULTS}


def text_content(text: str) -> JsonValue:
    """A text block as a tool call's content."""
    return {"type": "content", "content": {"type": "text", "text": text}}


_RESULTS = frozenset({"exit_code", "combined_output", "diff_block", "end_line"})
# `end_line` is the asked-for end while a file is read and the real one afterwards, so it counts as a result.


def _kind(tool: ToolUse) -> str:
    return "other" if tool.server is not None else _KINDS.get(tool.name, "other")


def _title(tool: ToolUse, cwd: PurePath) -> str:
    command = _first(tool.args, "command_line", "CommandLine")
    if command and tool.server is None:
        return f"`{command}`"
    path = _first(tool.args, "file_path", "TargetFile", "directory_path", "path")
    verbs = {"view_file": "Read", "create_file": "Write", "edit_file": "Edit", "list_directory": "List"}
    if path and tool.server is None and tool.name in verbs:
        return f"{verbs[tool.name]} {_relative(path, cwd)}"
    words = tool.name.replace("_", " ").strip().capitalize()
    detail = path or _first(tool.args, "query", "url", "Url", "Prompt")
    name = f"{tool.server}: {tool.name}" if tool.server else words
    return f"{name}: {detail}" if detail else name


def _relative(path: str, cwd: PurePath) -> str:
    pure = PurePath(path)
    return str(pure.relative_to(cwd)) if pure.is_relative_to(cwd) else path


def _first(args: Json, *keys: str) -> str:
    for key in keys:
        value = args.get(key)
        if isinstance(value, str) and value:
            return value
    return ""


def _diff(path: str, old: str | None, new: str) -> JsonValue:
    diff: Json = {"type": "diff", "path": path, "newText": new}
    if old is not None:
        diff["oldText"] = old
    return diff


def _blocks(tool: ToolUse) -> list[list[tuple[str, str]]]:
    raw = tool.args.get("diff_block")
    found: list[list[tuple[str, str]]] = []
    for block in raw if isinstance(raw, list) else []:
        lines = block.get("lines") if isinstance(block, dict) else None
        pairs: list[tuple[str, str]] = []
        for line in lines if isinstance(lines, list) else []:
            if isinstance(line, dict):
                pairs.append((str(line.get("text", "")), str(line.get("action", "LINE_ACTION_NONE"))))
        found.append(pairs)
    return found


def _first_changed_line(tool: ToolUse) -> int | None:
    raw = tool.args.get("diff_block")
    start: JsonValue
    if isinstance(raw, list) and raw and isinstance(raw[0], dict):
        start = raw[0].get("start_line", 0)
        offset = next((n for n, (_, action) in enumerate(_blocks(tool)[0]) if action != "LINE_ACTION_NONE"), 0)
    else:
        start, offset = tool.args.get("start_line"), 0
    return start + offset + 1 if isinstance(start, int) else None
