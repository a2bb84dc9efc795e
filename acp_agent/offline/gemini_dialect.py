"""The Gemini dialect: `POST …/v1beta/models/NAME:streamGenerateContent?alt=sse`.

The harness gives a tool's answer the role "model" or "user", and puts the answers to one model message into one
content; a `functionResponse` part is therefore a message of its own here, as it is in the other dialect.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import AliasGenerator, BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from acp_agent.offline.dialect import BadRequestError, Piece, compact_json, estimate_usage, image_from_base64
from acp_agent.offline.model_request import Image, Message, ModelRequest, Role, ToolCall
from acp_agent.offline.reply import Answer, Ending

WINDOW = 1_048_576
"""How many tokens a request may have, as the list of models says; nothing here counts them."""

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=to_camel))


class _InlineData(_Wire):
    mime_type: str
    data: str


class _FunctionCall(_Wire):
    name: str
    args: dict[str, JsonValue] = {}
    id: str = ""


class _FunctionResponse(_Wire):
    name: str
    response: dict[str, JsonValue] = {}


class _Part(_Wire):
    text: str = ""
    thought: bool = False
    inline_data: _InlineData | None = None
    function_call: _FunctionCall | None = None
    function_response: _FunctionResponse | None = None


class _Content(_Wire):
    role: Literal["user", "model"] = "user"
    parts: list[_Part] = []


class _FunctionCallingConfig(_Wire):
    mode: str = "AUTO"


class _ToolConfig(_Wire):
    function_calling_config: _FunctionCallingConfig = _FunctionCallingConfig()


class _Request(_Wire):
    contents: list[_Content]
    system_instruction: _Content = _Content()
    tool_config: _ToolConfig = _ToolConfig()


class GeminiDialect:
    """See `Dialect`. The model's name is in the URL, and answers are always streamed."""

    def parse(self, body: bytes, model: str) -> ModelRequest:
        """Read a request to generate content. Raises `BadRequestError`."""
        try:
            wire = _Request.model_validate_json(body)
        except ValidationError as error:
            raise BadRequestError(str(error)) from error
        return ModelRequest(
            dialect="gemini",
            model=model,
            system=_text(wire.system_instruction),
            messages=tuple(message for content in wire.contents for message in _messages(content)),
            tools_allowed=wire.tool_config.function_calling_config.mode != "NONE",
        )

    def encode(self, request: ModelRequest, answer: Answer) -> Iterator[Piece]:
        """Server-sent events with the line ends of the original."""
        frame = _frame(request, answer)
        if answer.thought:
            yield _event(frame, {"text": answer.thought, "thought": True})
        for chunk in answer.chunks:
            yield _event(frame, {"text": chunk.text}, delay=chunk.delay)
        if answer.tool_call is not None:
            call: JsonValue = {
                "id": answer.tool_call.id,
                "name": answer.tool_call.name,
                "args": answer.tool_call.arguments,
            }
            yield _event(frame, {"functionCall": call})
        if answer.ending is Ending.COMPLETE:
            yield _event(frame, {"text": ""}, finish_reason="STOP")

    def models(self, names: Sequence[str]) -> bytes:
        """The list of models, on one page."""
        listed: list[JsonValue] = [
            {
                "name": f"models/{name}",
                "displayName": name.replace("-", " ").capitalize(),
                "inputTokenLimit": WINDOW,
                "supportedGenerationMethods": ["generateContent"],
            }
            for name in names
        ]
        return compact_json({"models": listed})

    def error(self, status: int, message: str) -> bytes:
        """The error object of this dialect."""
        name = _STATUS_NAMES.get(status, "UNKNOWN")
        return compact_json({"error": {"code": status, "message": message, "status": name}})


def _messages(content: _Content) -> Iterator[Message]:
    answers = [part.function_response for part in content.parts if part.function_response is not None]
    for answer in answers:
        yield Message(Role.TOOL, _answer_text(answer), tool_name=answer.name)
    if not answers:
        calls = (part.function_call for part in content.parts)
        yield Message(
            role=Role.USER if content.role == "user" else Role.ASSISTANT,
            text=_text(content),
            tool_calls=tuple(ToolCall(call.id, call.name, call.args) for call in calls if call is not None),
            images=tuple(_images(content)),
        )


def _text(content: _Content) -> str:
    return "".join(part.text for part in content.parts if not part.thought)


def _images(content: _Content) -> Iterator[Image]:
    for part in content.parts:
        if part.inline_data is not None:
            yield image_from_base64(part.inline_data.mime_type, part.inline_data.data)


def _answer_text(answer: _FunctionResponse) -> str:
    """The harness puts the text under `output`; any other answer is shown as the JSON that it is."""
    output = answer.response.get("output")
    return output if isinstance(output, str) else compact_json(answer.response).decode("ascii")


def _frame(request: ModelRequest, answer: Answer) -> dict[str, JsonValue]:
    """The fields that every event of a response repeats."""
    usage = estimate_usage(request, answer)
    return {
        "usageMetadata": {
            "promptTokenCount": usage.prompt,
            "candidatesTokenCount": usage.answer,
            "thoughtsTokenCount": usage.thought,
            "totalTokenCount": usage.total,
        },
        "modelVersion": request.model,
    }


def _event(
    frame: dict[str, JsonValue], part: JsonValue, *, finish_reason: str | None = None, delay: float = 0.0
) -> Piece:
    candidate: dict[str, JsonValue] = {"content": {"role": "model", "parts": [part]}, "index": 0}
    if finish_reason is not None:
        candidate["finishReason"] = finish_reason
    return Piece(b"data: " + compact_json({"candidates": [candidate], **frame}) + b"\r\n\r\n", delay)
