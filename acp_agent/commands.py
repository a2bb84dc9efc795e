"""The slash commands: what a person types into the prompt to look at the session and to travel in it. Pure.

They are about the session, not part of the conversation: the model never sees them, and they are not journalled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acp_agent.prompts import Block
from acp_agent.toolcalls import Json
from sessions.checkpoint import Checkpoint
from sessions.journal import TurnRecord
from sessions.report import ResumeReport


class BadCommand(ValueError):
    """A command that cannot be understood; one sentence says how it is written."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was typed: its name without the slash, the word that was given, and the number."""

    name: str
    turn: int | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A command. `forms` are what may follow its name: words, `N` for a number, `WORD` for any word."""

    name: str
    description: str
    forms: tuple[str, ...] = ("",)
    hint: str | None = None


_KNOWN = (
    _Known("turns", "List the turns of this session, those that were left included"),
    _Known("rewind", "Take the conversation back to the end of a turn (0: before the first)", ("N",), "turn"),
    _Known("fork", "Make a new session of this one, up to a turn", ("", "N"), "turn (the last, if left out)"),
    _Known("session", "Say how this session was brought back, and what of it is durable"),
    _Known(
        "mode",
        "Say or change what the agent may do without asking",
        ("", "WORD"),
        "ask, auto-edit, plan, autonomous",
    ),
    _Known(
        "permissions",
        "List the answers with “always” that were given in this session, and take them back",
        ("", "remove N", "clear"),
        "remove N, or clear (a list, if left out)",
    ),
)

_PLAN: Json = {
    "name": "plan",
    "description": "Let the model plan carefully before it does anything (goes to the model)",
    "input": {"hint": "what to plan"},
}
"""The harness's own command, which a prompt may begin with in any mode."""


def available() -> list[Json]:
    """The commands as the client lists them."""
    found: list[Json] = []
    for known in _KNOWN:
        command: Json = {"name": known.name, "description": known.description}
        if known.hint is not None:
            command["input"] = {"hint": known.hint}
        found.append(command)
    return [*found, _PLAN]


def read(blocks: Sequence[Block]) -> Command | None:
    """The command in a prompt, None if it is a prompt for the model.

    A prompt that begins with a slash and no name of ours goes to the model: it may be a path.

    Raises:
        BadCommand: it is one of ours, and not as it must be.
    """
    if len(blocks) != 1 or blocks[0].get("type") != "text":
        return None
    words = str(blocks[0].get("text", "")).split()
    known = next((known for known in _KNOWN if words and words[0] == f"/{known.name}"), None)
    if known is None:
        return None
    forms = (_matched(form.split(), words[1:]) for form in known.forms)
    found = next((command for command in forms if command is not None), None)
    if found is None:
        given = " ".join(words[1:])[:40]
        raise BadCommand(
            f"{given!r} does not belong there; it is written {_usage(known)}."
            if given
            else f"It is written {_usage(known)}."
        )
    number, word = found
    return Command(known.name, number, word)


def is_ours(blocks: Sequence[Block]) -> bool:
    """Whether a prompt is a command of ours, well written or not: such a one needs no model."""
    try:
        return read(blocks) is not None
    except BadCommand:
        return True


def turns_text(turns: Sequence[TurnRecord], checkpoints: Sequence[Checkpoint]) -> str:
    """The answer to `/turns`, in Markdown."""
    if not turns:
        return "This session has no turns yet."
    newest: Mapping[int, Checkpoint] = {stored.turn: stored for stored in checkpoints}
    lines = ["| turn | when | prompt | ended | steps | |", "|---:|---|---|---|---:|---|"]
    for record in turns:
        stored = newest.get(record.turn)
        prompt = record.prompt_excerpt.replace("|", "\\|").replace("\n", " ")
        where = "" if record.on_line else "left"
        steps = str(stored.steps) if stored else "no checkpoint"
        when = record.started_at[:16].replace("T", " ")
        lines.append(f"| {record.turn} | {when} | {prompt} | {record.stop_reason or 'open'} | {steps} | {where} |")
    lines += [
        "",
        "`/rewind N` takes the conversation to the end of turn N, also of one that was left; times are UTC.",
    ]
    return "\n".join(lines)


def session_text(session_id: str, report: ResumeReport | None, checkpoint: Checkpoint | None, turns: int) -> str:
    """The answer to `/session`, in Markdown."""
    durable = (
        f"Turn {checkpoint.turn} is checkpointed ({checkpoint.at})." if checkpoint else "Nothing is durable yet."
    )
    lines = [f"Session `{session_id}`, {turns} turns. {durable}"]
    if report is not None:
        lines += ["", f"Last brought back as **{report.outcome.value}** ({report.reason.value}): {report.summary}"]
        lines += [f"- {check.name}: {'ok' if check.ok else 'not ok'}: {check.detail}" for check in report.checks]
        if report.moved_aside is not None:
            lines.append(f"- moved aside: `{report.moved_aside}`")
    return "\n".join(lines)


def rewound_text(turn: int, report: ResumeReport) -> str:
    """The answer to `/rewind`."""
    where = f"to the end of turn {turn}" if turn else "to the beginning"
    return (
        f"The conversation has been taken back {where}. {report.summary} What is shown above after that is no"
        " longer in the model's memory; the turns are kept, `/turns` lists them and `/rewind` returns to them."
        " Files are as they are."
    )


def _matched(form: Sequence[str], words: Sequence[str]) -> tuple[int | None, str | None] | None:
    """The number and the word in what was typed, None if it has another form."""
    if len(form) != len(words):
        return None
    number: int | None = None
    word: str | None = None
    for wanted, given in zip(form, words, strict=True):
        # Not isdigit: that takes digits which int does not.
        if wanted == "N" and given.isascii() and given.isdecimal() and len(given) < 10:
            number = int(given)
        elif wanted in ("WORD", given):
            word = given
        else:
            return None
    return number, word


def _usage(known: _Known) -> str:
    return " or ".join(f"`/{known.name} {form}`".replace(" `", "`") for form in known.forms)
