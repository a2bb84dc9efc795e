"""Tool directives as the calls that the harness expects, in its words (`harness-facts.md`, section 9)."""

import posixpath

from pydantic import JsonValue

from acp_agent.offline.directives import Call, ReplaceFileContent, RunCommand, ToolDirective, ViewFile, WriteToFile
from acp_agent.offline.model_request import ToolCall

# The harness searches only these lines; it takes an end beyond the end of the file.
_ALL_LINES: dict[str, JsonValue] = {"StartLine": 1, "EndLine": 100_000}

# The longest wait that the harness's tool description allows; a command that takes longer goes to the background.
_WAIT_MS = 10_000


class NoWorkspaceError(Exception):
    """A directive needs a workspace folder, and the system prompt names none; the message is for the user."""


def tool_call(directive: ToolDirective, workspaces: tuple[str, ...], call_id: str) -> ToolCall:
    """The call for `directive`; relative paths belong to the first workspace.

    Raises `NoWorkspaceError` if one is needed and there is none.
    """
    match directive:
        case ViewFile(path):
            arguments: dict[str, JsonValue] = {"AbsolutePath": _absolute(path, workspaces)}
            return _call(call_id, "view_file", arguments, f"View {path}", "Viewing a file")
        case WriteToFile(path, text):
            arguments = {
                "TargetFile": _absolute(path, workspaces),
                "Overwrite": True,
                "CodeContent": text,
                "Description": f"Write {path}",
            }
            return _call(call_id, "write_to_file", arguments, f"Write {path}", "Writing a file")
        case ReplaceFileContent(path, old, new):
            arguments = {
                "TargetFile": _absolute(path, workspaces),
                "AllowMultiple": False,
                "TargetContent": old,
                "ReplacementContent": new,
                "Instruction": f"Edit {path}",
                "Description": f"Edit {path}",
                **_ALL_LINES,
            }
            return _call(call_id, "replace_file_content", arguments, f"Edit {path}", "Editing a file")
        case RunCommand(command):
            arguments = {
                "CommandLine": command,
                "Cwd": _absolute(".", workspaces),
                "WaitMsBeforeAsync": _WAIT_MS,
            }
            return _call(call_id, "run_command", arguments, f"Run {command}", "Running a command")
        case Call(name, given):
            return ToolCall(call_id, name, given)


def _call(call_id: str, name: str, arguments: dict[str, JsonValue], summary: str, action: str) -> ToolCall:
    return ToolCall(call_id, name, {**arguments, "toolSummary": summary, "toolAction": action})


def _absolute(path: str, workspaces: tuple[str, ...]) -> str:
    if not path.startswith("/") and not workspaces:
        raise NoWorkspaceError(
            "The system prompt names no workspace, so I have no folder for this. I did nothing."
        )
    return posixpath.normpath(posixpath.join(workspaces[0], path)) if workspaces else posixpath.normpath(path)
