"""What the harness is told and what it tells back, as plain values that know neither ACP nor the SDK.

`antigravity` turns the SDK's objects into these, `translate` turns these into what a client is shown. Step
numbers are the SDK's, not the database's: the harness keeps a row for a model message that holds nothing but
a tool request and gives it no number, so the numbers seen here are dense and smaller than the rows' `idx`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from acp_agent.secret import Secret

if TYPE_CHECKING:
    from pydantic import JsonValue


class Source(StrEnum):
    """Who a step comes from."""

    USER = "user"
    MODEL = "model"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class Status(StrEnum):
    """How far a step is. `CANCELED` is the harness's spelling."""

    ACTIVE = "active"
    WAITING = "waiting"
    DONE = "done"
    ERROR = "error"
    CANCELED = "canceled"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether a step in this status changes no more."""
        return self in (Status.DONE, Status.ERROR, Status.CANCELED)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool and its arguments: normalised by the SDK in a step, as the model wrote them in a question.

    `server` names the MCP server the tool belongs to, None for the harness's own tools. Without a name it is a
    tool that the harness has no form for, and of which nothing could be found out.
    """

    name: str
    args: dict[str, JsonValue]
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One state of one step. A step is sent several times; `content` and `thinking` are the whole text.

    `subagent` names the sub-agent that the step belongs to, empty for the session's own. Sub-agents number their
    steps from 0 again, and the harness stores none of them with the session (facts, section 6). `parent` names
    the sub-agent that sent this one, empty if that was the session's own agent.

    `http_code` is what the model's endpoint answered, if that is the error. `result` and `total_lines` are what
    the call came to, as far as only the harness's database says so (`sessions.tool_rows`). `used` are the tokens
    of the newest request to the model, if this step tells anything new of them. `artifact` is the text of a
    document for the user that the harness keeps beside the workspace, if the step wrote one.
    """

    index: int
    source: Source
    status: Status
    content: str = ""
    thinking: str = ""
    tool: ToolUse | None = None
    error: str = ""
    subagent: str = ""
    parent: str = ""
    compaction: bool = False
    http_code: int = 0
    result: str | None = None
    total_lines: int | None = None
    used: int | None = None
    artifact: str | None = None


class Limit(StrEnum):
    """A limit of the configuration that ended a turn: of requests to the model and tool calls, or of tokens."""

    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Question:
    """What the model asks the user: a text and choices, of which one, or several if `multiple`, can be chosen."""

    text: str
    options: tuple[str, ...]
    multiple: bool = False


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """The answer to a question: the places of what was chosen, counted from 1, and what was typed."""

    chosen: tuple[int, ...] = ()
    text: str = ""

    @property
    def skipped(self) -> bool:
        """Whether the user did not answer."""
        return not self.chosen and not self.text


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the model counted, None where it said nothing; thoughts are part of the output."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Text in a prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class Media:
    """An image or document in a prompt: its MIME type and its bytes, not base64."""

    mime_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PlanFirst:
    """The SDK's command to plan first. The harness makes `/plan ` of it, in its place in the prompt."""


Part = Text | Media | PlanFirst


@dataclass(frozen=True, slots=True)
class OpenAIEndpoint:
    """An OpenAI-compatible endpoint such as Ollama, LM Studio or a test server; `base_url` ends in `/v1`."""

    base_url: str
    model: str


@dataclass(frozen=True, slots=True)
class GeminiEndpoint:
    """The Gemini API, or anything at `base_url` that speaks it. No `model` means the SDK's default.

    `thinking` is one of the levels that the SDK knows, None leaves it to the model.
    """

    api_key: Secret
    model: str | None = None
    base_url: str | None = None
    thinking: str | None = None


@dataclass(frozen=True, slots=True)
class VertexEndpoint:
    """Vertex AI, with the project, location and credentials that the SDK finds in the environment."""

    model: str | None = None
    thinking: str | None = None


Endpoint = OpenAIEndpoint | GeminiEndpoint | VertexEndpoint


@dataclass(frozen=True, slots=True)
class StdioMcpServer:
    """An MCP server that is started and talked to over stdio.

    `env` may hold secrets and is never stored or logged.
    """

    name: str
    command: str
    args: tuple[str, ...]
    env: dict[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpMcpServer:
    """An MCP server that is reached over streamable HTTP.

    `headers` may hold secrets, and so may the address; neither is ever stored or logged.
    """

    name: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False, default_factory=dict)


McpServer = StdioMcpServer | HttpMcpServer


class HarnessError(Exception):
    """The harness refused, failed or died. The message is one sentence and holds no secret."""


class HarnessRefused(HarnessError):
    """The harness runs, and would not open this conversation."""


class HarnessNotStarted(HarnessError):
    """The harness ended or hung before it said anything of the conversation, which so stands unaccused."""


class HarnessDied(HarnessError):
    """The harness process is gone or does not answer; a new one must be opened before the next turn."""


class TurnFailed(HarnessError):
    """The turn ended in an error of the model or its endpoint."""


class KeyNotTaken(TurnFailed):
    """The endpoint does not take the credentials."""
