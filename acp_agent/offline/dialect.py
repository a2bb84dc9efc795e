"""What a dialect is: how requests, answers and errors look as bytes. Shared by the two dialect modules.

Wire models declare only the fields that are used; anything else in a request is accepted and ignored, since both
protocols add fields freely.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from acp_agent.offline.model_request import Image, ModelRequest
from acp_agent.offline.reply import Answer

_CHARACTERS_PER_TOKEN = 4


class BadRequestError(ValueError):
    """The request's body is not what the dialect asks for; the message says where."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to send `delay` seconds after the piece before them."""

    data: bytes
    delay: float = 0.0


class Dialect(Protocol):
    """One wire protocol."""

    def parse(self, body: bytes, model: str) -> ModelRequest:
        """Read a request; `model` is the name in the URL, if it is there. Raises `BadRequestError`."""

    def encode(self, request: ModelRequest, answer: Answer) -> Iterator[Piece]:
        """The body of the response; without its end if the answer is to be cut or to stall."""

    def error(self, status: int, message: str) -> bytes:
        """The body of an HTTP error."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one exchange: an estimate of four characters a token, as there is no tokenizer here."""

    prompt: int
    thought: int
    answer: int

    @property
    def total(self) -> int:
        """All tokens of the exchange."""
        return self.prompt + self.thought + self.answer


def estimate_usage(request: ModelRequest, answer: Answer) -> Usage:
    """The usage that the response reports."""
    texts = [request.system, *(message.text for message in request.messages)]
    call = answer.tool_call
    written = answer.text + (json.dumps(call.arguments) if call else "")
    return Usage(
        prompt=_tokens(sum(len(text) for text in texts)),
        thought=_tokens(len(answer.thought)),
        answer=_tokens(len(written)),
    )


def image_from_base64(mime: str, data: str) -> Image:
    """The picture whose bytes are `data` in base64. Raises `BadRequestError`."""
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise BadRequestError(f"an image is not base64: {error}") from error
    return Image(mime, hashlib.sha256(content).hexdigest(), len(content))


def compact_json(value: JsonValue) -> bytes:
    """`value` as ASCII JSON on one line, as server-sent events need it."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _tokens(characters: int) -> int:
    return -(-characters // _CHARACTERS_PER_TOKEN)
