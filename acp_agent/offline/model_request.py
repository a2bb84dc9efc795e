"""What a model is told in one request, the same value whichever dialect carried it.

Theory. The harness wraps what the user typed in `<USER_REQUEST>` tags and adds messages of its own in the
user's role: notices of background tasks (`<SYSTEM_MESSAGE>`), the prompt of a sub-agent, the request for a
summary before a compaction and the summary after it. None of those is wrapped, so the wrapper alone tells a
user turn. A caller that is not the harness wraps nothing; then every message in the user's role is a turn.
(`harness-facts.md`, section 9.)

Every resume test of this project asserts on `ModelRequest.user_turns`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

_OPENING = "<USER_REQUEST>\n"
_CLOSING = "\n</USER_REQUEST>"
_HARNESS_SYSTEM_PROMPT = "<user_information>"
_WORKSPACES = re.compile(r"<user_information>.*?^Active Workspaces:\n((?:- [^\n]*\n)+)", re.DOTALL | re.MULTILINE)
_NOTE = re.compile(r"<acp-agent-note>(.*?)</acp-agent-note>(?:\r?\n)?", re.DOTALL)


_PLAN = "/plan "


class Role(StrEnum):
    """Who a message is from. The harness itself speaks as `USER`; see `ModelRequest.turns`."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a prompt: its MIME type, the SHA-256 of its bytes in hexadecimal, and its size in bytes."""

    mime: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One use of a tool, asked for by the model; `arguments` have the harness's wire names."""

    id: str
    name: str
    arguments: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as received. `text` is untouched: wrappers and notes are still in it.

    `tool_name` is set for a tool's answer only. Thoughts of earlier answers are not kept.
    """

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str | None = None
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the user sent in one turn: the prompt as typed, and the note that the agent put before it.

    `plan` says whether the agent put the harness's command to plan first between the two.
    """

    prompt: str
    note: str | None
    images: tuple[Image, ...]
    plan: bool = False


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to the model.

    `dialect` is "openai" or "gemini". `tools_allowed` is false where the caller forbids tool calls; the
    harness does so when it asks for the summary that a compaction keeps. `stream` is false where one JSON
    answer is wanted.
    """

    dialect: str
    model: str
    system: str
    messages: tuple[Message, ...]
    tools_allowed: bool = True
    stream: bool = True

    @property
    def turns(self) -> tuple[UserTurn, ...]:
        """The user turns in order; the last one is being answered. Empty in the requests of a sub-agent."""
        return tuple(turn for _, turn in self._placed_turns())

    @property
    def user_turns(self) -> tuple[str, ...]:
        """The prompt of each user turn in order, exactly as typed, without wrapper and note."""
        return tuple(turn.prompt for turn in self.turns)

    @property
    def since_last_turn(self) -> tuple[Message, ...]:
        """The messages after the last user turn; all messages where there is no user turn."""
        placed = self._placed_turns()
        return self.messages[placed[-1][0] + 1 :] if placed else self.messages

    @property
    def workspaces(self) -> tuple[str, ...]:
        """The absolute folders that the harness's system prompt names as active workspaces, in its order."""
        found = _WORKSPACES.search(self.system)
        return tuple(line.removeprefix("- ") for line in found[1].splitlines()) if found else ()

    def _placed_turns(self) -> list[tuple[int, UserTurn]]:
        candidates = [
            (place, _unwrap(message.text), message)
            for place, message in enumerate(self.messages)
            if message.role is Role.USER
        ]
        from_harness = _HARNESS_SYSTEM_PROMPT in self.system or any(
            prompt is not None for _, prompt, _ in candidates
        )
        if not from_harness:
            return [(place, _turn(message.text, message.images)) for place, _, message in candidates]
        return [
            (place, _turn(prompt, message.images)) for place, prompt, message in candidates if prompt is not None
        ]


def _unwrap(text: str) -> str | None:
    """The text inside the harness's wrapper, or None without one; a prompt may itself hold the closing tag."""
    end = text.rfind(_CLOSING)
    if not text.startswith(_OPENING) or end < len(_OPENING) - 1:
        return None
    return text[len(_OPENING) : max(end, len(_OPENING))]


def _turn(text: str, images: tuple[Image, ...]) -> UserTurn:
    found = _NOTE.match(text)
    rest = text[found.end() :] if found else text
    prompt = rest.removeprefix(_PLAN)
    note = found[1].strip() if found else None
    return UserTurn(prompt=prompt, note=note, images=images, plan=prompt != rest)
