"""The OpenAI-compatible dialect: `POST …/v1/chat/completions`, streamed or not, and `GET …/v1/models`."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import from_json

from acp_agent.offline.dialect import (
    BadRequestError,
    Piece,
    Usage,
    compact_json,
    estimate_usage,
    image_from_base64,
)
from acp_agent.offline.model_request import Image, Message, ModelRequest, Role, ToolCall
from acp_agent.offline.reply import Answer, Ending

_DATA_URL = "data:"
_BASE64 = ";base64"


class _ImageUrl(BaseModel):
    url: str


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


class _ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: _ImageUrl


class _Function(BaseModel):
    name: str
    arguments: str


class _ToolCall(BaseModel):
    id: str
    function: _Function


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_TextPart | _ImagePart] | None = None
    tool_calls: list[_ToolCall] | None = None
    name: str | None = None


class _Request(BaseModel):
    model: str
    messages: list[_Message]
    stream: bool = False
    tool_choice: JsonValue = None


class OpenAiDialect:
    """See `Dialect`. The model's name is in the body."""

    def parse(self, body: bytes, model: str = "") -> ModelRequest:
        """Read a chat completion request; `model` is not used. Raises `BadRequestError`."""
        try:
            wire = _Request.model_validate_json(body)
        except ValidationError as error:
            raise BadRequestError(str(error)) from error
        system = [_text(message) for message in wire.messages if message.role in ("system", "developer")]
        return ModelRequest(
            dialect="openai",
            model=wire.model,
            system="\n".join(system),
            messages=tuple(_message(m) for m in wire.messages if m.role not in ("system", "developer")),
            tools_allowed=wire.tool_choice != "none",
            stream=wire.stream,
        )

    def encode(self, request: ModelRequest, answer: Answer) -> Iterator[Piece]:
        """Server-sent events, or one JSON object where no stream was asked for."""
        if request.stream:
            yield from _stream(request, answer)
        elif answer.ending is Ending.COMPLETE:
            delay = sum(chunk.delay for chunk in answer.chunks)
            yield Piece(compact_json(_completion(request, answer)), delay)

    def error(self, status: int, message: str) -> bytes:
        """The error object of this dialect."""
        kind = "invalid_request_error" if status < 500 else "server_error"
        return compact_json({"error": {"message": message, "type": kind, "param": None, "code": None}})

    def models(self, names: Sequence[str]) -> bytes:
        """The list of models."""
        data: list[JsonValue] = [
            {"id": name, "object": "model", "created": 0, "owned_by": "acp-agent"} for name in names
        ]
        return compact_json({"object": "list", "data": data})


def _message(wire: _Message) -> Message:
    images = (
        [part for part in wire.content if isinstance(part, _ImagePart)] if isinstance(wire.content, list) else []
    )
    return Message(
        role=Role(wire.role),
        text=_text(wire),
        tool_calls=tuple(_read_call(call) for call in wire.tool_calls or ()),
        tool_name=wire.name if wire.role == "tool" else None,
        images=tuple(_image(part.image_url.url) for part in images),
    )


def _text(wire: _Message) -> str:
    if isinstance(wire.content, list):
        return "".join(part.text for part in wire.content if isinstance(part, _TextPart))
    return wire.content or ""


def _image(url: str) -> Image:
    kind, comma, data = url.removeprefix(_DATA_URL).partition(",")
    if not url.startswith(_DATA_URL) or not comma or not kind.endswith(_BASE64):
        raise BadRequestError("an image must be a base64 data URL; the offline model fetches nothing")
    return image_from_base64(kind.removesuffix(_BASE64), data)


def _read_call(wire: _ToolCall) -> ToolCall:
    try:
        arguments: JsonValue = from_json(wire.function.arguments)
    except ValueError as error:
        raise BadRequestError(f"the arguments of tool call {wire.id} are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise BadRequestError(f"the arguments of tool call {wire.id} are not a JSON object")
    return ToolCall(wire.id, wire.function.name, arguments)


def _stream(request: ModelRequest, answer: Answer) -> Iterator[Piece]:
    yield _event(request, {"role": "assistant", "content": ""})
    if answer.thought:
        yield _event(request, {"reasoning_content": answer.thought})
    for chunk in answer.chunks:
        yield _event(request, {"content": chunk.text}, delay=chunk.delay)
    if answer.tool_call is not None:
        yield _event(request, {"tool_calls": [{"index": 0, **_written_call(answer.tool_call)}]})
    if answer.ending is not Ending.COMPLETE:
        return
    yield _event(request, {}, finish_reason=_finish_reason(answer))
    yield _data({**_head(request, "chat.completion.chunk"), "choices": [], "usage": _usage(request, answer)})
    yield Piece(b"data: [DONE]\n\n")


def _event(
    request: ModelRequest, delta: dict[str, JsonValue], *, finish_reason: str | None = None, delay: float = 0.0
) -> Piece:
    choice: JsonValue = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _data({**_head(request, "chat.completion.chunk"), "choices": [choice]}, delay)


def _data(value: JsonValue, delay: float = 0.0) -> Piece:
    return Piece(b"data: " + compact_json(value) + b"\n\n", delay)


def _completion(request: ModelRequest, answer: Answer) -> JsonValue:
    message: dict[str, JsonValue] = {"role": "assistant", "content": answer.text}
    if answer.thought:
        message["reasoning_content"] = answer.thought
    if answer.tool_call is not None:
        message["tool_calls"] = [_written_call(answer.tool_call)]
    choice: JsonValue = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
    return {**_head(request, "chat.completion"), "choices": [choice], "usage": _usage(request, answer)}


def _head(request: ModelRequest, kind: str) -> dict[str, JsonValue]:
    """The fields each object begins with; `created` is zero so that equal requests get equal bytes."""
    return {
        "id": f"chatcmpl-{len(request.messages)}",
        "object": kind,
        "created": 0,
        "model": request.model,
    }


def _written_call(call: ToolCall) -> dict[str, JsonValue]:
    function: JsonValue = {"name": call.name, "arguments": compact_json(call.arguments).decode("ascii")}
    return {"id": call.id, "type": "function", "function": function}


def _finish_reason(answer: Answer) -> str:
    return "stop" if answer.tool_call is None else "tool_calls"


def _usage(request: ModelRequest, answer: Answer) -> JsonValue:
    usage: Usage = estimate_usage(request, answer)
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.thought + usage.answer,
        "total_tokens": usage.total,
        "completion_tokens_details": {"reasoning_tokens": usage.thought},
    }
