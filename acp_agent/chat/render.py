"""Items of a conversation as rich renderables. Pure: values in, renderables out.

Everything that comes from the agent is untrusted: control characters and escape sequences are taken out of it,
and markup in it is text. Every distinction that colour makes, a word or a sign makes too.
"""

from __future__ import annotations

import difflib
import re

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.text import Text

from acp_agent.chat.agent import PARENT_META, ListedSession, PermissionQuestion
from acp_agent.chat.transcript import Diff, Item, Message, Notice, Output, Plan, Role, ToolCall, Unknown
from acp_agent.chat.words import Told, Tone, counted

DIFF_LINES = 200
"""The most lines of one diff that are shown."""
OUTPUT_LINES = 60
"""The most lines of one tool's output that are shown; the last ones are."""

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands: titles, links
    r"|\x1b[\[O][0-?]*[ -/]*[@-~]?"  # control sequences: colours, cursor movements
    r"|\x1b[ -~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_SIGNS = {"completed": "✓", "failed": "✗", "in_progress": "…", "pending": "·"}
_STATUS_STYLES = {"completed": "green", "failed": "bold red"}
_TONES = {
    Tone.INFO: ("", "green"),
    Tone.WARNING: ("Warning: ", "bold yellow"),
    Tone.ERROR: ("Error: ", "bold red"),
    Tone.QUIET: ("", "dim"),
}


def plain(text: str) -> str:
    """The text without anything that a terminal would obey; line ends and tabs stay."""
    return _ESCAPES.sub("", text.replace("\r\n", "\n"))


def told(words: Told) -> RenderableType:
    """Plain words in their tone; the first line is the weighty one."""
    prefix, style = _TONES[words.tone]
    first, *more = (plain(line) for line in words.lines)
    return Group(Text(prefix + first, style=style), *(Text(line) for line in more))


def message_part(role: Role, part: str, *, first: bool) -> RenderableType:
    """A piece of a message; `first` says that the message begins with it."""
    part = plain(part).removesuffix("\n")
    part = part.lstrip("\n") if first else part
    match role:
        case Role.USER:
            return Text(f"> {part}" if first else part, style="bold cyan")
        case Role.THOUGHT:
            return Text(f"(thinking) {part}" if first else part, style="dim italic")
        case Role.AGENT:
            return Markdown(part, code_theme="ansi_dark")


def tool_line(call: ToolCall, seconds: float | None) -> Text:
    """A tool call in one line: sign, title, kind, status and how long it took, if that is known."""
    line = Text("  " if _is_of_subagent(call) else "")
    line.append(f"{_SIGNS.get(call.status, '?')} ", style=_STATUS_STYLES.get(call.status, "yellow"))
    line.append(_titled(call), style="bold")
    line.append(f" · {plain(call.status).replace('_', ' ')}", style="dim")
    if seconds is not None:
        line.append(f" · {duration(seconds)}", style="dim")
    return line


def duration(seconds: float) -> str:
    """A time as people say it: milliseconds below a second."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def tool_content(call: ToolCall) -> tuple[RenderableType, ...]:
    """What a tool call shows below its line: diffs and output."""
    shown = (diff(entry) if isinstance(entry, Diff) else output(entry) for entry in call.content)
    indent = 4 if _is_of_subagent(call) else 2
    return tuple(Padding(body, (0, 0, 0, indent), expand=False) for body in shown)


def diff(change: Diff) -> Text:
    """A change as a unified diff."""
    old, new = _lines(change.old_text or ""), _lines(change.new_text)
    name = plain(change.path)
    lines = list(
        difflib.unified_diff(old, new, "/dev/null" if change.old_text is None else name, name, lineterm="")
    )
    shown = Text()
    for line in lines[:DIFF_LINES]:
        shown.append(f"{line}\n", style=_diff_style(line))
    if len(lines) > DIFF_LINES:
        shown.append(f"({counted(len(lines) - DIFF_LINES, 'more line')})\n", style="dim")
    if not lines:
        shown.append(f"{name}: no line changed\n", style="dim")
    shown.rstrip()
    return shown


def output(result: Output) -> Text:
    """A tool's output: its last lines."""
    lines = plain(result.text).rstrip("\n").split("\n")
    shown = Text(style="dim")
    if len(lines) > OUTPUT_LINES:
        shown.append(f"({counted(len(lines) - OUTPUT_LINES, 'earlier line')})\n", style="italic")
    shown.append("\n".join(lines[-OUTPUT_LINES:]))
    return shown


def plan(entries: Plan) -> Text:
    """A plan as a list of lines."""
    lines = (f"{_SIGNS.get(entry.status, '?')} {plain(entry.content)}" for entry in entries.entries)
    return Text("\n".join(("Plan:", *lines)))


def notice(note: Notice) -> RenderableType:
    """A notice from the agent."""
    tone = Tone(note.severity) if note.severity in set(Tone) else Tone.INFO
    return told(Told(tone, (note.title, *([note.description] if note.description else []))))


def item(entry: Item) -> RenderableType:
    """Any item as a whole, as it now stands."""
    match entry:
        case Message():
            return message_part(entry.role, entry.text, first=True)
        case ToolCall():
            return Group(tool_line(entry, None), *tool_content(entry))
        case Plan():
            return plan(entry)
        case Notice():
            return notice(entry)
        case Unknown():
            return Text(f"(an update of a kind unknown to this client: {plain(entry.kind)})", style="dim")


def question(asked: PermissionQuestion) -> RenderableType:
    """A permission question with its numbered answers."""
    options = (Text(f"  {number}. {plain(option.name)}") for number, option in enumerate(asked.options, start=1))
    return Group(
        Text(f"The agent asks for permission: {_titled(asked.call)}", style="bold yellow"),
        *tool_content(asked.call),
        *options,
    )


def sessions(listed: tuple[ListedSession, ...], current: str | None) -> RenderableType:
    """Sessions as numbered lines, the current one marked."""
    if not listed:
        return Text("No sessions in this folder.")
    lines = []
    for number, entry in enumerate(listed, start=1):
        turns = "" if entry.turns is None else f" · {counted(entry.turns, 'turn')}"
        when = f" · {entry.updated_at}" if entry.updated_at else ""
        mark = " · this session" if entry.session_id == current else ""
        lines.append(f"{number}. {entry.title or '(no title)'}{turns}{when}{mark}\n   {entry.session_id}")
    return Text(plain("\n".join(lines)))


def _is_of_subagent(call: ToolCall) -> bool:
    """Whether it is shown below the call that its sub-agent works for."""
    meta = call.fields.get("_meta")
    return isinstance(meta, dict) and PARENT_META in meta


def _titled(call: ToolCall) -> str:
    return f"{' '.join(plain(call.title or call.tool_call_id).split())} ({plain(call.kind)})"


def _lines(text: str) -> list[str]:
    return plain(text).removesuffix("\n").split("\n") if text else []


def _diff_style(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
