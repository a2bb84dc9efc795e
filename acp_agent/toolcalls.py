"""What a tool call looks like to a client: kind, title, places, diffs and output. Pure.

The same call is known twice, under different names. In a permission question it carries the model's own
arguments (`CodeContent`, `TargetFile`, `CommandLine`); in a step it carries the SDK's (`file_path`,
`diff_block`, `command_line`). `subject` is what both have in common, and lets one be recognised as the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from pydantic import JsonValue

from acp_agent import shortening, subagents
from acp_agent.steps import Step, ToolUse

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
    "skill_lookup": "read",
}

LISTED = 50
"""The most names of a listing that are shown."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a call acts on: its kind and the path or command, or its name if it has neither."""

    kind: str
    on: str


def is_edit(tool: ToolUse) -> bool:
    """Whether a call is the harness's own edit of a file. An MCP server may give any of its tools such a name."""
    return tool.server is None and tool.name in EDITS


def is_command(tool: ToolUse) -> bool:
    """Whether a call is the harness's own run of a shell command."""
    return tool.server is None and tool.name == "run_command"


def is_subagents(tool: ToolUse) -> bool:
    """Whether a call sends sub-agents, which work on when the harness says that it is done."""
    return tool.server is None and tool.name == "invoke_subagent"


def subject(tool: ToolUse) -> Subject:
    """The subject of a call, equal for a question and for the step that follows it."""
    kind = _kind(tool)
    on = _first(tool.args, "file_path", "TargetFile", "command_line", "CommandLine")
    return Subject(kind, on or (f"{tool.server}/{tool.name}" if tool.server else tool.name))


def edited_path(tool: ToolUse) -> str:
    """The file that an edit is about, empty if it names none."""
    return _first(tool.args, "file_path", "TargetFile") if is_edit(tool) else ""


def opening(tool: ToolUse, *, status: str, cwd: PurePath, summary: str = "") -> Json:
    """The fields of a `tool_call` when it is first shown, without its id.

    Args:
        tool: the call.
        status: how far it is.
        cwd: the folder that shortens its paths.
        summary: the model's own words for it, which are its title if its name is not known.
    """
    payload: Json = {
        "title": title(tool, cwd, summary),
        "kind": _kind(tool),
        "status": status,
        "rawInput": raw_input(tool),
    }
    if places := locations(tool):
        payload["locations"] = places
    return payload


def locations(tool: ToolUse) -> list[JsonValue]:
    """The file a call touches, with the 1-based line where it is known, for clients that follow along."""
    path = _first(tool.args, "file_path", "TargetFile", "directory_path", "output_path", "path")
    if not path or not PurePath(path).is_absolute():
        return []
    place: Json = {"path": path}
    line = _first_changed_line(tool)
    if line is not None:
        place["line"] = line
    return [place]


def proposed(tool: ToolUse, existing: str | None) -> list[JsonValue]:
    """The content of a question: what an edit would change, or what would be run, and where.

    Args:
        tool: the call as the model wrote it.
        existing: the file's text, None if there is no file.
    """
    if is_command(tool):
        directory = _first(tool.args, "Cwd")
        where = f"\nin `{directory}`" if directory else ""
        return [text_content(f"{_fenced(_first(tool.args, 'CommandLine'))}{where}")]
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


def command_so_far(tool: ToolUse) -> list[JsonValue]:
    """The content of a command that runs: what it has put out, as fenced text."""
    output = _output_of(tool)
    return [text_content(_fenced(output))] if output else []


def result(step: Step, tool: ToolUse) -> list[JsonValue]:
    """What a finished call that is no edit came to: searches, reads and listings in few words, output in full."""
    if tool.server is None and tool.name in _RESULT_WORDS:
        words = _RESULT_WORDS[tool.name](step, tool)
    else:
        words = step.result or ""
    found = [text_content(words)] if words else []
    image = _first(tool.args, "output_path")
    if tool.server is None and tool.name == "generate_image" and image:
        link: Json = {"type": "resource_link", "uri": PurePath(image).as_uri(), "name": PurePath(image).name}
        found.append({"type": "content", "content": link})
    return found


def raw_input(tool: ToolUse) -> Json:
    """The arguments of a call without what are its results."""
    if tool.server is not None:
        return dict(tool.args)
    return {key: value for key, value in tool.args.items() if key not in _RESULTS}


def raw_output(step: Step, tool: ToolUse) -> Json:
    """The results of a finished call."""
    found = {} if tool.server is not None else {k: v for k, v in tool.args.items() if k in _RESULTS}
    if step.result is not None:
        found["result"] = step.result
    if step.total_lines is not None:
        found["total_lines"] = step.total_lines
    return found


def text_content(text: str) -> JsonValue:
    """A text block as a tool call's content."""
    return {"type": "content", "content": {"type": "text", "text": text}}


_RESULTS = frozenset(
    {
        "exit_code",
        "combined_output",
        "diff_block",
        "end_line",
        "results",
        "num_results",
        "output",
        "summary",
        "title",
        "content_path",
        "output_path",
        "output_string",
    }
)
# `end_line` is the asked-for end while a file is read and the real one afterwards, so it counts as a result.


def title(tool: ToolUse, cwd: PurePath, summary: str = "") -> str:
    """A call in one line; `summary` are the model's own words for it."""
    path = _first(tool.args, "file_path", "TargetFile", "directory_path", "path")
    if tool.server is not None:
        return f"{tool.server}: {tool.name}" + (f": {path}" if path else "")
    if command := _first(tool.args, "command_line", "CommandLine"):
        return f"`{command}`"
    if is_subagents(tool):
        return _named("Sub-agent", [role for role, _ in subagents.wanted(tool.args)], summary)
    if path and tool.name in _VERBS:
        return f"{_VERBS[tool.name]} {_relative(path, cwd)}"
    query = _first(tool.args, "query", "url", "Url")
    if query and tool.name in _QUERIES:
        place = f" in {_relative(path, cwd)}" if path and path != str(cwd) else ""
        return f"{_QUERIES[tool.name].format(query)}{place}"
    words = tool.name.replace("_", " ").strip().capitalize()
    detail = path or query or _first(tool.args, *_DETAILS) or summary
    return ": ".join(filter(None, (words, detail))) or "A tool"


_QUERIES = {
    "search_directory": "Search for “{}”",
    "find_file": "Find {}",
    "search_web": "Search the web for “{}”",
    "read_url_content": "Fetch {}",
}
_DETAILS = ("prompt", "description", "Description", "Prompt", "Action")
_VERBS = {"view_file": "Read", "create_file": "Write", "edit_file": "Edit", "list_directory": "List"}


def _named(kind: str, names: list[str], summary: str) -> str:
    if not names:
        return f"{kind}: {summary}" if summary else kind
    return f"{kind}{'s' if len(names) > 1 else ''}: {', '.join(names)}"


def _kind(tool: ToolUse) -> str:
    return "other" if tool.server is not None else _KINDS.get(tool.name, "other")


def _viewed(step: Step, tool: ToolUse) -> str:
    begin, end = tool.args.get("start_line"), tool.args.get("end_line")
    if not isinstance(begin, int) or not isinstance(end, int):
        return ""
    of = f" of {step.total_lines:,}" if step.total_lines is not None else ""
    # Both count from 0, and the text after the last line feed counts as a line.
    return f"Lines {begin + 1:,} to {end + 1:,}{of}"


def _listed(_: Step, tool: ToolUse) -> str:
    given = tool.args.get("results")
    entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    folders = [f"{entry.get('name')}/" for entry in entries if entry.get("is_directory")]
    files = [str(entry.get("name")) for entry in entries if not entry.get("is_directory")]
    counts = f"{_counted(len(folders), 'folder')}, {_counted(len(files), 'file')}"
    return _with_names(counts, [*folders, *files])


def _searched(_: Step, tool: ToolUse) -> str:
    count = tool.args.get("num_results")
    return _counted(count if isinstance(count, int) else 0, "result")


def _found(_: Step, tool: ToolUse) -> str:
    names = _first(tool.args, "output").splitlines()
    return _with_names(_counted(len(names), "result"), names)


def _web(_: Step, tool: ToolUse) -> str:
    return "\n\n".join(filter(None, (_first(tool.args, "title"), _first(tool.args, "summary"))))


def _command(_: Step, tool: ToolUse) -> str:
    output, code = _output_of(tool), tool.args.get("exit_code")
    # A command that was left running in the background has none.
    return f"{_fenced(output)}{'No exit code was reported.' if code is None else f'Exit code {code}.'}"


def _answered(step: Step, tool: ToolUse) -> str:
    return step.result or _first(tool.args, "output", "output_string")


_RESULT_WORDS: dict[str, Callable[[Step, ToolUse], str]] = {
    "view_file": _viewed,
    "list_directory": _listed,
    "search_directory": _searched,
    "find_file": _found,
    "search_web": _web,
    "read_url_content": _web,
    "run_command": _command,
    "run_workflow": _answered,
    "finish": _answered,
}


def _with_names(summary: str, names: list[str]) -> str:
    shown = names[:LISTED]
    if len(names) > LISTED:
        shown.append(f"… and {len(names) - LISTED:,} more")
    return "\n".join([summary, "", *shown]) if shown else summary


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _output_of(tool: ToolUse) -> str:
    return _first(tool.args, "combined_output").replace("\r\n", "\n").rstrip("\n")


def _fenced(output: str) -> str:
    if not output:
        return ""
    output = shortening.text(output, shortening.TEXT_BYTES - 1024)  # before the fence, which must stay closed
    fence = "```"
    while fence in output:
        fence += "`"
    return f"{fence}\n{output}\n{fence}\n"


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
