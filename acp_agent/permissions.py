"""What may run: modes, the rules that answers with "always" leave behind, and what a question offers. Pure.

Whether a call runs is decided in this order, by the first line that applies (`verdict`):

1. The model's own documents about the session (artifacts) are written freely, in every mode.
2. In *plan* mode nothing else is changed or executed; no rule widens that.
3. A rule that rejects.
4. *Autonomous* mode allows everything.
5. *Auto-edit* mode allows edits of files inside the session's folders.
6. A rule that allows.
7. The user is asked.

A rule covers a file, all files inside the session's folders, one exact command line, all simple commands that
begin with the same two words, or one tool. Rules about commands hold for the directory in which the command was
to run, and in a persistent terminal, whose variables an earlier command may have changed, only rules that reject
hold. A command that is more than a program and its arguments never matches a rule by its beginning: `git
status; rm -r .` begins with the words of a harmless one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from os.path import normpath
from typing import Final

from pydantic import JsonValue

from acp_agent import toolcalls
from acp_agent.options import Mode
from acp_agent.steps import ToolUse

Json = dict[str, JsonValue]

LONGEST_RULE: Final = 4096
"""Characters of a command or path that a rule can be about; nothing longer is offered "always"."""


class Verdict(StrEnum):
    """Whether a call may run."""

    ALLOW = "allow"
    REFUSE = "refuse"
    ASK = "ask"


class Scope(StrEnum):
    """What a rule covers."""

    FILE = "file"
    FOLDERS = "folders"
    COMMAND = "command"
    PREFIX = "prefix"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Rule:
    """One answer that lasts. `on` is the path, command or tool that it covers, `at` the directory of a command."""

    scope: Scope
    on: str
    allow: bool
    at: str = ""

    def covers(self, tool: ToolUse, *, inside: bool) -> bool:
        """Whether it is about a call; `inside` says whether the call edits a file in the session's folders."""
        match self.scope:
            case Scope.FILE:
                return toolcalls.is_edit(tool) and normpath(self.on) == normpath(toolcalls.subject(tool).on)
            case Scope.FOLDERS:
                return toolcalls.is_edit(tool) and inside
            case Scope.COMMAND | Scope.PREFIX if self.allow and is_persistent(tool):
                return False
            case Scope.COMMAND:
                return is_command(tool) and (self.on, self.at) == (toolcalls.subject(tool).on, _directory(tool))
            case Scope.PREFIX:
                return is_command(tool) and (self.on, self.at) == (prefix(tool), _directory(tool))
            case Scope.TOOL:
                return not toolcalls.is_edit(tool) and not is_command(tool) and self.on == _tool_name(tool)

    @property
    def words(self) -> str:
        """What it covers, in words."""
        at = f" in `{self.at}`" if self.at else ""
        return {
            Scope.FILE: f"edits of `{self.on}`",
            Scope.FOLDERS: "edits of all files in the session's folders",
            Scope.COMMAND: f"the command `{self.on}`{at}",
            Scope.PREFIX: f"commands that begin with `{self.on}`{at}",
            Scope.TOOL: f"the tool `{self.on}`",
        }[self.scope]


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a question: what the client shows, and what choosing it means. `rule` is None for "once"."""

    id: str
    name: str
    kind: str
    allow: bool
    rule: Rule | None = None

    def wire(self) -> Json:
        """The option of a `session/request_permission`."""
        return {"optionId": self.id, "name": self.name, "kind": self.kind}


def verdict(tool: ToolUse, mode: Mode, rules: Sequence[Rule], *, inside: bool, artifact: bool) -> Verdict:
    """Whether a call may run; see the module.

    Args:
        tool: the call, which writes or executes or belongs to an MCP server.
        mode: the session's mode now.
        rules: its rules.
        inside: whether the call edits a file in the session's folders.
        artifact: whether the call edits one of the model's own documents.
    """
    if artifact:
        return Verdict.ALLOW
    if mode is Mode.PLAN:
        return Verdict.REFUSE
    answers = {rule.allow for rule in rules if rule.covers(tool, inside=inside)}
    if False in answers:
        return Verdict.REFUSE
    free = mode is Mode.AUTONOMOUS or (mode is Mode.AUTO_EDIT and inside and toolcalls.is_edit(tool))
    return Verdict.ALLOW if free or answers else Verdict.ASK


def choices(tool: ToolUse, *, inside: bool) -> list[Choice]:
    """What a question about a call offers."""
    always: list[Rule] = []
    if toolcalls.is_edit(tool):
        if on := toolcalls.edited_path(tool):
            always.append(Rule(Scope.FILE, normpath(on), allow=True))
        if inside:
            always.append(Rule(Scope.FOLDERS, "", allow=True))
    elif is_persistent(tool):
        pass
    elif is_command(tool):
        always.append(Rule(Scope.COMMAND, toolcalls.subject(tool).on, allow=True, at=_directory(tool)))
        if begins := prefix(tool):
            always.append(Rule(Scope.PREFIX, begins, allow=True, at=_directory(tool)))
    else:
        always.append(Rule(Scope.TOOL, _tool_name(tool), allow=True))
    always = [rule for rule in always if len(rule.on) + len(rule.at) <= LONGEST_RULE]
    found = [Choice("allow_once", "Allow", "allow_once", allow=True)]
    for number, rule in enumerate(always):
        option = "allow_always" if number == 0 else f"allow_always_{rule.scope.value}"
        found.append(Choice(option, f"Always allow {_offer(rule)}", "allow_always", allow=True, rule=rule))
    found.append(Choice("reject_once", "Reject", "reject_once", allow=False))
    if always:
        first = always[0]
        rejected = Rule(first.scope, first.on, allow=False, at=first.at)
        name = f"Always reject {_offer(first)}"
        found.append(Choice("reject_always", name, "reject_always", allow=False, rule=rejected))
    return found


def chosen(offered: Sequence[Choice], option_id: str | None) -> Choice:
    """What the client chose. A cancelled question and an option that was never offered reject once."""
    found = next((choice for choice in offered if choice.id == option_id), None)
    return found or Choice("", "", "reject_once", allow=False)


def with_rule(rules: Sequence[Rule], rule: Rule) -> tuple[Rule, ...]:
    """The rules with one more, which takes the place of the one that says the opposite."""
    kept = [other for other in rules if (other.scope, other.on, other.at) != (rule.scope, rule.on, rule.at)]
    return (*kept, rule)


def stored(rules: Sequence[Rule]) -> JsonValue:
    """The rules as they are kept."""
    return [{"scope": rule.scope.value, "on": rule.on, "allow": rule.allow, "at": rule.at} for rule in rules]


def rules_from(kept: JsonValue) -> tuple[Rule, ...]:
    """The rules as they were kept; anything that does not look like a rule is ignored, so it will be asked."""
    found: list[Rule] = []
    for item in kept if isinstance(kept, list) else []:
        match item:
            case {"scope": str(scope), "on": str(on), "allow": bool(allow), "at": str(at)} if scope in list(Scope):
                found.append(Rule(Scope(scope), on, allow, at))
            case _:
                continue
    return tuple(found)


def rules_text(rules: Sequence[Rule], mode: Mode) -> str:
    """The answer to `/permissions`, in Markdown."""
    lines = [f"The session is in *{mode.value}* mode."]
    if rules:
        lines += ["", "| | rule | |", "|---:|---|---|"]
        for number, rule in enumerate(rules, start=1):
            said = rule.words.replace("|", "\\|").replace("\n", " ")
            lines.append(f"| {number} | {said} | {'always allowed' if rule.allow else 'always rejected'} |")
        lines += ["", "`/permissions remove N` takes one back, `/permissions clear` all of them."]
    else:
        lines.append("No answer with “always” has been given in it.")
    return "\n".join(lines)


def is_command(tool: ToolUse) -> bool:
    """Whether a call is the harness's own command."""
    return tool.server is None and tool.name == "run_command"


def is_persistent(tool: ToolUse) -> bool:
    """Whether a call is a command in a terminal that keeps variables, such as where programs are searched."""
    return is_command(tool) and bool(tool.args.get("RunPersistent") or tool.args.get("RequestedTerminalID"))


_SIMPLE: Final = re.compile(r"[A-Za-z0-9_@%+=:,./ \"'-]*")
"""Characters that no shell reads as anything but a program and its arguments: no line ends, no `~*?$#!`."""

_PROGRAM: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SUBCOMMAND: Final = re.compile(r"[A-Za-z][A-Za-z0-9_:-]*")

_RUNS_ANYTHING: Final = (
    "ash at awk bash batch builtin bun bunx busybox chmod chown chroot chrt cmd command conda cp crontab "
    "csh dash dd deno direnv doas docker dotenv ed elixir emacs env entr eval exec expect fakeroot find "
    "firejail fish flock ftp gawk gdb guile install ionice ipython irb java jshell julia kill killall ksh "
    "kubectl launchctl less link ln lua ltrace mawk mkfs mount mv nc ncat nerdctl netcat nice nix node "
    "nohup npx nsenter osascript parallel perl php pipx pkexec pkill pnpx podman powershell proot psql "
    "pwsh pypy python r racket rm rscript rsync rsh ruby runuser scala scp screen script sed setsid sftp "
    "sh shred socat source sqlite ssh stdbuf strace su sudo swift systemctl systemd-run tar taskset tclsh "
    "tee telnet time timeout tmux truncate ts-node tsx unlink unshare uvx vi vim watch watchexec wish "
    "xargs zsh "
)
"""Programs whose first argument is another program, a script or what they destroy: two words tell nothing."""

_SUBCOMMANDS_THAT_DO: Final = "alias bisect config dlx eval exec filter-branch foreach shell x"
"""Subcommands that run, or set up to be run, what comes after them, whatever the program."""

_RUNNERS: Final = "cargo go hatch mise nox op pdm pipenv poetry rustup rye tox uv"
"""Programs whose `run` runs any program or script that comes after it."""


def prefix(tool: ToolUse) -> str:
    """The first two words of a simple command, such as `npm test`; empty if nothing can be said by them."""
    line = toolcalls.subject(tool).on
    if not _SIMPLE.fullmatch(line):
        return ""
    words = line.split(" ")
    if len(words) < 2 or not _PROGRAM.fullmatch(words[0]) or not _SUBCOMMAND.fullmatch(words[1]):
        return ""
    # Python3.12 is python, and so on; where files are found without regard to case, SUDO is sudo.
    program = re.sub(r"\.(exe|cmd|bat|com)$", "", words[0].lower())
    does = words[1].lower()
    if {program, re.sub(r"[-0-9.]+$", "", program)} & set(_RUNS_ANYTHING.split()):
        return ""
    if does in _SUBCOMMANDS_THAT_DO.split():
        return ""
    if does == "run" and program in _RUNNERS.split():
        return ""
    return f"{words[0]} {words[1]}"


def _offer(rule: Rule) -> str:
    match rule.scope:
        case Scope.FILE:
            return "edits of this file"
        case Scope.FOLDERS:
            return "all edits in the session's folders"
        case Scope.COMMAND:
            return "this command here"
        case Scope.PREFIX:
            return f"`{rule.on} …` here"
        case Scope.TOOL:
            return "this tool"


def _tool_name(tool: ToolUse) -> str:
    return f"{tool.server}/{tool.name}" if tool.server is not None else tool.name


def _directory(tool: ToolUse) -> str:
    directory = tool.args.get("Cwd") or tool.args.get("working_dir")
    return directory if isinstance(directory, str) else ""
