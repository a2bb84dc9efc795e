"""What the offline model answers, before it becomes bytes of a dialect."""

from dataclasses import dataclass
from enum import Enum, auto

from acp_agent.offline.model_request import ToolCall


class Ending(Enum):
    """How an answer ends: whole, cut off by closing the connection, or silent until the client goes away."""

    COMPLETE = auto()
    DROP = auto()
    STALL = auto()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the answer's text, sent `delay` seconds after the piece before it."""

    text: str
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One model message. With an ending other than `COMPLETE` it has no tool call."""

    thought: str = ""
    chunks: tuple[Chunk, ...] = ()
    tool_call: ToolCall | None = None
    ending: Ending = Ending.COMPLETE

    @property
    def text(self) -> str:
        """All chunks together."""
        return "".join(chunk.text for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error in place of an answer; `status` is 400 to 599."""

    status: int
    message: str


Reply = Answer | Failure
