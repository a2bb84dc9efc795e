"""Permission questions: what is asked, what the answers mean, and the rules that "always" leaves behind. Pure.

A rule covers every edit of a file, one exact command line, or one tool of anything else. It lasts for the session
and is kept across loads by the caller.
"""

from __future__ import annotations

from pydantic import JsonValue

from acp_agent import toolcalls
from acp_agent.steps import ToolUse

Json = dict[str, JsonValue]
Rules = dict[str, bool]
"""Rule to answer: True allows, False rejects."""

_ANSWERS = {
    "allow_once": (True, False),
    "allow_always": (True, True),
    "reject_once": (False, False),
    "reject_always": (False, True),
}


def rule(tool: ToolUse) -> str:
    """The rule that covers a call; equal for all calls that one "always" answers."""
    subject = toolcalls.subject(tool)
    if subject.kind == "edit":
        return "edit"
    if subject.kind == "execute":
        return f"execute:{subject.on}"
    return f"tool:{tool.server or ''}/{tool.name}"


def options(tool: ToolUse) -> list[Json]:
    """The options of a `session/request_permission`; the two that last say for what."""
    kind = toolcalls.subject(tool).kind
    scope = {"edit": "all edits", "execute": "this command"}.get(kind, "this tool")
    names = {
        "allow_once": "Allow",
        "allow_always": f"Always allow {scope} in this session",
        "reject_once": "Reject",
        "reject_always": f"Always reject {scope} in this session",
    }
    return [{"optionId": option, "name": name, "kind": option} for option, name in names.items()]


def answer(option_id: str | None) -> tuple[bool, bool]:
    """Whether a chosen option allows the call, and whether it lasts.

    A cancelled question and an option that was never offered reject once: nothing runs without a clear yes.
    """
    return _ANSWERS.get(option_id or "", (False, False))


def rules_from(stored: JsonValue) -> Rules:
    """The rules as they were kept; anything that does not look like a rule is ignored, so it will be asked."""
    if not isinstance(stored, dict):
        return {}
    return {name: allow for name, allow in stored.items() if isinstance(allow, bool)}
