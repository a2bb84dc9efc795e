"""A prompt's directives as the model messages that they ask for.

Theory. A tool directive ends a message, since the harness answers each tool call before it asks again; text
directives belong to the message that is being built. So a prompt is a list of messages that end in a tool
call, and one closing message. The harness sends the whole conversation each time, so how far the script has
come is not remembered but counted: it is the number of tool answers since the prompt.
"""

from dataclasses import dataclass

from acp_agent.offline.directives import (
    Drop,
    Fail,
    Help,
    LastDirective,
    Say,
    Stall,
    Stream,
    TextDirective,
    Think,
    ToolDirective,
    write_directive,
)
from acp_agent.offline.forms import Malformed, read_directives


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """A message that ends in the use of a tool."""

    texts: tuple[TextDirective, ...]
    tool: ToolDirective


@dataclass(frozen=True, slots=True)
class ClosingMessage:
    """The message that ends the turn; without directives of its own it is a statement."""

    texts: tuple[TextDirective, ...] = ()
    last: LastDirective | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """What a prompt asks for."""

    tools: tuple[ToolMessage, ...]
    closing: ClosingMessage


def read_script(prompt: str) -> Script | Malformed:
    """The script of a prompt, or the first line of it that cannot be done; then no part of it is done."""
    tools: list[ToolMessage] = []
    texts: list[TextDirective] = []
    last: LastDirective | None = None
    for directive in read_directives(prompt):
        if isinstance(directive, Malformed):
            return directive
        if last is not None:
            return Malformed(write_directive(directive), f"Nothing can follow “{write_directive(last)}”.")
        match directive:
            case Say() | Think() | Stream():
                texts.append(directive)
            case Fail() | Help() if texts:
                return Malformed(
                    write_directive(directive), "It is a whole answer, so no text or thought can precede it."
                )
            case Fail() | Help() | Drop() | Stall():
                last = directive
            case _:
                tools.append(ToolMessage(tuple(texts), directive))
                texts.clear()
    return Script(tuple(tools), ClosingMessage(tuple(texts), last))
