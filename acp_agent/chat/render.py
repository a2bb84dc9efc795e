"""Items of a conversation as rich renderables. Pure: values in, renderables out.

Everything that comes from the agent is untrusted: control characters and escape sequences are taken out of it,
and markup in it is text. Every distinction that colour makes, a word or a sign makes too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from acp_agent.chat.agent import PARENT_META, ListedSession, PermissionQuestion
from acp_agent.chat.forms import Field, Form
from acp_agent.chat.picker import Choice
from acp_agent.chat.settings import Setting, Settings
from acp_agent.chat.transcript import Diff, Item, Message, Notice, Output, Plan, Role, ToolCall, Unknown
from acp_agent.chat.words import Told, ToldReport, Tone, ago, counted, last_load

DIFF_LINES = 200
"""The most lines of one diff that are shown."""
NARROW = 60
"""Below so many columns labels stand before what they label, not beside it."""
WIDEST = 100
"""Columns of a frame, however wide the terminal is."""
OUTPUT_LINES = 60
"""The most lines of one tool's output that are shown; the last ones are."""

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands: titles, links
    r"|\x1b[\[O][0-?]*[ -/]*[@-~]?"  # control sequences: colours, cursor movements
    r"|\x1b[ -~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FENCE = re.compile(r"^(`{3,})[\w-]*\n(.*?)\n\1$", re.MULTILINE | re.DOTALL)
_SIGNS = {"completed": "✓", "failed": "✗", "in_progress": "…", "pending": "·"}
_STATUS_STYLES = {"completed": "green", "failed": "bold red"}
_BOXES = {"completed": ("[x]", "green"), "in_progress": ("[>]", "bold yellow"), "pending": ("[ ]", "")}
_TONES = {
    Tone.INFO: ("", "green"),
    Tone.WARNING: ("Warning: ", "bold yellow"),
    Tone.ERROR: ("Error: ", "bold red"),
    Tone.QUIET: ("", "dim"),
}


def plain(text: str) -> str:
    """The text without anything that a terminal would obey; line ends and tabs stay.

    Signs that turn the direction of writing are shown by their numbers: what is to be permitted could look like
    something else.
    """
    shown = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return _TURNING.sub(lambda found: f"[U+{ord(found[0]):04X}]", shown)


def told(words: Told) -> RenderableType:
    """Plain words in their tone; the first line is the weighty one."""
    prefix, style = _TONES[words.tone]
    first, *more = (plain(line) for line in words.lines)
    return Group(Text(prefix + first, style=style), *(Text(line) for line in more))


def report(told_report: ToldReport, *, framed: bool) -> RenderableType:
    """A resume report: in a frame, where things are looked at; line by line, where they may be searched."""
    prefix, style = _TONES[told_report.tone]
    headline = Text(plain(prefix + told_report.headline), style=style)
    rows = [(label, plain(text)) for label, text in told_report.rows]
    if not framed:
        return Group(headline, *(Text(f"{label}: {text}") for label, text in rows))
    content = Group(headline, Text(), _Rows(rows)) if rows else headline
    return _Frame(content, style)


def listed(rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Things and what is said of them, such as commands."""
    return _Rows([(plain(label), plain(text)) for label, text in rows])


class _Rows:
    """Labels and what they label: beside it, or before it where there is little room."""

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < NARROW:
            yield from (Text.assemble((f"{label}: ", "bold"), text, overflow="fold") for label, text in self._rows)
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        said = ""
        for label, text in self._rows:
            table.add_row(Text(label if label != said else ""), Text(text, overflow="fold"))
            said = label
        yield table


class _Frame:
    """Something in a frame that is not wider than can be read well."""

    def __init__(self, content: RenderableType, style: str) -> None:
        self._content = content
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Panel(
            self._content,
            title="Session loaded",
            title_align="left",
            box=box.ROUNDED,
            border_style=self._style,
            width=min(options.max_width, WIDEST),
        )


class _Unpadded:
    """Something without spaces at the ends of its lines, where a terminal that gets narrower breaks them."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._content, options, pad=False):
            while line and not line[-1].control and not line[-1].text.rstrip(" "):
                line.pop()
            if line and not line[-1].control:
                line[-1] = line[-1]._replace(text=line[-1].text.rstrip(" "))
            yield from line
            yield Segment.line()


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
            return _Unpadded(Markdown(part, code_theme="ansi_dark"))


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
    lines = _FENCE.sub(r"\2", plain(result.text)).rstrip("\n").split("\n")
    shown = Text(style="dim")
    if len(lines) > OUTPUT_LINES:
        shown.append(f"({counted(len(lines) - OUTPUT_LINES, 'earlier line')})\n", style="italic")
    shown.append("\n".join(lines[-OUTPUT_LINES:]))
    return shown


def plan(entries: Plan) -> RenderableType:
    """A plan as a checklist."""
    done = sum(entry.status == "completed" for entry in entries.entries)
    lines = Table.grid(padding=(0, 1))
    for entry in entries.entries:
        sign, style = _BOXES.get(entry.status, ("[?]", ""))
        lines.add_row(Text(sign, style=style), Text(plain(entry.content), style=style))
    return Group(Text(f"Plan: {done} of {len(entries.entries)} done", style="bold"), lines)


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


def field(form: Form | None, asked: Field) -> RenderableType:
    """A field of a form with its numbered choices; with the form's own words if it is given."""
    lines = [Text(f"The agent asks: {plain(form.message)}", style="bold yellow")] if form is not None else []
    if form is None or asked.title != form.message:
        lines.append(Text(plain(asked.title), style="bold"))
    if asked.description:
        lines.append(Text(plain(asked.description)))
    lines += [Text(f"  {number}. {plain(name)}") for number, (_, name) in enumerate(asked.choices, start=1)]
    if asked.default is not None:
        lines.append(Text(f"  (default: {plain(asked.said(asked.default))})", style="dim"))
    return Group(*lines)


def sessions(listed: tuple[ListedSession, ...], current: str | None, now: datetime) -> RenderableType:
    """Sessions as numbered lines, the current one marked."""
    if not listed:
        return Text("No sessions in this folder.")
    lines = []
    for number, entry in enumerate(listed, start=1):
        choice = session_choice(entry, current, now)
        lines.append(f"{number}. {' · '.join((choice.name, *choice.details))}\n   {_line(entry.session_id)}")
    return Text("\n".join(lines))


def session_choice(entry: ListedSession, current: str | None, now: datetime) -> Choice:
    """A session to pick: its title, when it was last used, its turns, how its last load went, who has it open."""
    details = (
        "this session" if entry.session_id == current else "",
        f"open in {entry.held_by}" if entry.held_by and entry.session_id != current else "",
        "" if entry.updated_at is None else ago(entry.updated_at, now),
        "" if entry.turns is None else counted(entry.turns, "turn"),
        last_load(entry.outcome, entry.reason),
    )
    said = tuple(_line(each) for each in details if each)
    return Choice(entry.session_id, _line(entry.title or "(no title)"), said)


def setting_choices(setting: Setting) -> tuple[Choice, ...]:
    """The values of a setting, to pick one."""
    return tuple(
        Choice(
            each.value,
            _line(each.name),
            tuple(
                _line(said) for said in ("now" if each.value == setting.current else "", each.description) if said
            ),
        )
        for each in setting.values
    )


def settings(known: Settings) -> RenderableType:
    """What can be set, and to what, as lines."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    for setting in known.all:
        lines.add_row(
            Text(_line(f"/set {setting.setting_id}"), no_wrap=True),
            Text(_line(setting.shown)),
            Text(_line(", ".join(each.value for each in setting.values)), style="dim"),
        )
    return lines if known.all else Text("Nothing can be set in this session.")


def _line(text: str) -> str:
    return " ".join(plain(text).split())


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
