"""The directives as values, and as the line of a prompt that asks for each.

Theory. A directive is one line and one value: `forms.read_directives` reads back what `write_directive`
writes. What a directive makes the model do is decided in `script` and `decide`.
"""

import json
from dataclasses import dataclass

from pydantic import JsonValue

from acp_agent.offline.quoting import write_text, write_word

DEFAULT_PAUSE_MS = 50
DEFAULT_STATUS = 400
DEFAULT_FAILURE = "The offline model fails because the prompt asked for it."


@dataclass(frozen=True, slots=True)
class ViewFile:
    """Read a file."""

    path: str


@dataclass(frozen=True, slots=True)
class WriteToFile:
    """Create or overwrite a file."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplaceFileContent:
    """Replace the only occurrence of `old` in a file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a shell command; `command` is one line without white space around it."""

    command: str


@dataclass(frozen=True, slots=True)
class Call:
    """Use any tool of the harness; `name` holds no white space."""

    name: str
    arguments: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Say:
    """Put a text into the message."""

    text: str


@dataclass(frozen=True, slots=True)
class Think:
    """Put a thought before the message."""

    text: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Stream `words` words into the message, one chunk each, `pause_ms` milliseconds apart."""

    words: int
    pause_ms: int = DEFAULT_PAUSE_MS


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer with an HTTP error; `status` is 400 to 599."""

    status: int = DEFAULT_STATUS
    message: str = DEFAULT_FAILURE


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection in the middle of the message."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Begin the message, then send nothing until the client goes away."""


@dataclass(frozen=True, slots=True)
class Help:
    """List the directives."""


ToolDirective = ViewFile | WriteToFile | ReplaceFileContent | RunCommand | Call
TextDirective = Say | Think | Stream
LastDirective = Fail | Drop | Stall | Help
Directive = ToolDirective | TextDirective | LastDirective


def write_directive(directive: Directive) -> str:
    """The line of a prompt that asks for `directive`."""
    match directive:
        case ViewFile(path):
            line = f"!view_file {write_word(path)}"
        case WriteToFile(path, text):
            line = f"!write_to_file {write_word(path)} {write_text(text)}"
        case ReplaceFileContent(path, old, new):
            line = f"!replace_file_content {write_word(path)} {write_word(old)} {write_word(new)}"
        case RunCommand(command):
            line = f"!run_command {command}"
        case Call(name, arguments):
            line = f"!call {name} {json.dumps(arguments)}"
        case Say(text):
            line = f"!say {write_text(text)}"
        case Think(text):
            line = f"!think {write_text(text)}"
        case Stream(words, pause_ms):
            line = f"!stream {words} {pause_ms}"
        case Fail(status, message):
            line = f"!fail {status}" + ("" if message == DEFAULT_FAILURE else f" {write_text(message)}")
        case Drop():
            line = "!fail drop"
        case Stall():
            line = "!stall"
        case Help():
            line = "!help"
    return line
