"""What the harness will read of a guarded call: a guard must see the same, or it allows something else. Pure.

Measured with 0.1.22: a guard is given what the model wrote, unchecked. The harness reads the names of arguments
without regard to case, the last one counts, and passes over names that it does not know. So a call with
`CommandLine` and `commandline` runs the second, and one with a `file_path` beside `TargetFile` looks like the step
of another file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

READ: Final = {
    "create_file": ("TargetFile", "CodeContent", "Overwrite", "Append", "ArtifactMetadata", "Description"),
    "edit_file": (
        *("TargetFile", "TargetContent", "ReplacementContent", "AllowMultiple", "StartLine", "EndLine"),
        *("Instruction", "Description", "TargetLintErrorIds"),
    ),
    "run_command": (
        *("CommandLine", "Cwd", "WaitMsBeforeAsync", "NotificationTimeoutSeconds"),
        *("RunPersistent", "RequestedTerminalID"),
    ),
    "generate_image": ("Prompt", "ImageName", "ImagePaths", "AspectRatio"),
    "run_workflow": ("Script", "ScriptPath", "Args", "Description"),
}
"""The arguments that each guarded tool of the harness takes."""


def read(tool: str, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The arguments of a call that the harness reads, without those that it passes over."""
    names = READ.get(tool)
    return {name: value for name, value in given.items() if names is None or name in names}


def is_unclear(tool: str, given: Mapping[str, JsonValue]) -> bool:
    """Whether an argument is spelled otherwise than the tool's own, so that the harness may read another value."""
    names = READ.get(tool, ())
    folded = {name.casefold() for name in names}
    return any(name not in names and name.casefold() in folded for name in given)
