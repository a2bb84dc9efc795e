"""How a prompt's lines are read as directives: one row of `FORMS` for each name.

Theory. A line that starts with `!` and an ASCII letter is a directive; every other line is ordinary text and
ignored here (so a Markdown picture, `![…](…)`, is no directive). Nothing here raises on a prompt: a line that
cannot be understood becomes a `Malformed` value that says what is wrong and how to write it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import from_json

from acp_agent.offline.directives import (
    DEFAULT_PAUSE_MS,
    DEFAULT_STATUS,
    Call,
    Directive,
    Drop,
    Fail,
    Help,
    ReplaceFileContent,
    RunCommand,
    Say,
    Stall,
    Stream,
    Think,
    ViewFile,
    WriteToFile,
)
from acp_agent.offline.quoting import read_text, take_word, take_words

MAX_WORDS = 10_000
MAX_PAUSE_MS = 60_000

_UNCLOSED = "A quotation mark is not closed, or something touches a closed one."
_NO_TEXT = "The TEXT is missing."
_NO_ARGUMENT = "It takes nothing after its name."


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that looks like a directive and is none; `problem` is a sentence, `usage` how to write it."""

    line: str
    problem: str
    usage: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """How one directive is written and what it does.

    `read` takes what follows the name, without white space around it, and gives a directive or a problem as text.
    """

    usage: str
    meaning: str
    read: Callable[[str], Directive | str]


def read_directives(prompt: str) -> tuple[Directive | Malformed, ...]:
    """The directives of a prompt in order. A line ends at a line feed; a carriage return before it is ignored."""
    lines = (line.removesuffix("\r") for line in prompt.split("\n"))
    return tuple(_read_line(line) for line in lines if line.startswith("!") and _is_letter(line[1:2]))


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _read_line(line: str) -> Directive | Malformed:
    name, *rest = line[1:].split(maxsplit=1)
    form = FORMS.get(name)
    if form is None:
        return Malformed(line, f"There is no directive !{name}; !help lists them all.")
    outcome = form.read(rest[0].strip() if rest else "")
    return Malformed(line, outcome, form.usage) if isinstance(outcome, str) else outcome


def _read_view_file(line: str) -> Directive | str:
    words = take_words(line)
    if words is None:
        return _UNCLOSED
    if len(words) != 1:
        return f"It takes one PATH, not {len(words)} words; put quotes around a PATH with spaces."
    return ViewFile(words[0]) if words[0] else "The PATH is empty."


def _read_write_to_file(line: str) -> Directive | str:
    taken = take_word(line)
    if taken is None or not taken[0]:
        return "The PATH is missing, or its quotation mark is not closed."
    path, rest = taken
    text = read_text(rest)
    return WriteToFile(path, text) if text else "The TEXT is missing; the harness writes no empty file."


def _read_replace_file_content(line: str) -> Directive | str:
    words = take_words(line)
    if words is None:
        return _UNCLOSED
    if len(words) != 3:
        return f"It takes PATH, OLD and NEW, not {len(words)} words; put quotes around OLD and NEW."
    path, old, new = words
    return ReplaceFileContent(path, old, new) if path and old else "PATH and OLD must not be empty."


def _read_run_command(line: str) -> Directive | str:
    return RunCommand(line) if line else "The COMMAND is missing."


def _read_call(line: str) -> Directive | str:
    name, *rest = line.split(maxsplit=1) or [""]
    if not rest:
        return "It takes the NAME of a tool and its arguments as a JSON object."
    try:
        arguments: JsonValue = from_json(rest[0], allow_inf_nan=False)
        json.dumps(arguments, allow_nan=False)  # 1e999 is read as infinity, which JSON cannot say
    except ValueError as error:
        return f"The arguments are not JSON: {error}."
    return Call(name, arguments) if isinstance(arguments, dict) else "The arguments must be a JSON object."


def _read_say(line: str) -> Directive | str:
    text = read_text(line)
    return Say(text) if text else _NO_TEXT


def _read_think(line: str) -> Directive | str:
    text = read_text(line)
    return Think(text) if text else _NO_TEXT


def _read_stream(line: str) -> Directive | str:
    match [_read_number(word) for word in line.split()]:
        case [int(words)] if 1 <= words <= MAX_WORDS:
            return Stream(words)
        case [int(words), int(pause)] if 1 <= words <= MAX_WORDS and pause <= MAX_PAUSE_MS:
            return Stream(words, pause)
    return f"N is a number from 1 to {MAX_WORDS}, and MS one from 0 to {MAX_PAUSE_MS}."


def _read_fail(line: str) -> Directive | str:
    if not line:
        return Fail()
    if line == "drop":
        return Drop()
    first, *rest = line.split(maxsplit=1)
    status = _read_number(first)
    if status is None or not 400 <= status <= 599:
        return "STATUS is a number from 400 to 599, or the word drop alone."
    return Fail(status, read_text(rest[0])) if rest else Fail(status)


def _read_stall(line: str) -> Directive | str:
    return _NO_ARGUMENT if line else Stall()


def _read_help(line: str) -> Directive | str:
    return _NO_ARGUMENT if line else Help()


def _read_number(word: str) -> int | None:
    """The number that one to nine ASCII digits stand for; None for anything else."""
    return int(word) if len(word) <= 9 and word.isascii() and word.isdigit() else None


FORMS = {
    "view_file": Form("!view_file PATH", "reads a file", _read_view_file),
    "write_to_file": Form(
        "!write_to_file PATH TEXT",
        r"creates or overwrites a file; TEXT may hold \n and \t",
        _read_write_to_file,
    ),
    "replace_file_content": Form(
        '!replace_file_content PATH "OLD" "NEW"',
        "replaces the only occurrence of OLD in a file",
        _read_replace_file_content,
    ),
    "run_command": Form("!run_command COMMAND", "runs a shell command in the workspace", _read_run_command),
    "call": Form("!call NAME JSON", "uses any tool of the harness, with these arguments", _read_call),
    "say": Form("!say TEXT", "puts TEXT before the next tool use, or makes it the answer", _read_say),
    "think": Form("!think TEXT", "puts a thought before the next tool use or the answer", _read_think),
    "stream": Form(
        "!stream N [MS]",
        f"streams N words, MS milliseconds apart ({DEFAULT_PAUSE_MS} unless told)",
        _read_stream,
    ),
    "fail": Form(
        "!fail [STATUS] [MESSAGE]",
        f"answers with an HTTP error ({DEFAULT_STATUS} unless told); `!fail drop` breaks off in mid-answer",
        _read_fail,
    ),
    "stall": Form("!stall", "begins an answer and then stays silent until the client goes away", _read_stall),
    "help": Form("!help", "lists the directives", _read_help),
}
