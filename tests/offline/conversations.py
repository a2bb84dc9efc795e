"""Conversations as the harness sends them, in either dialect, from one neutral description.

The wrapper, the places of the workspaces and of tool answers, and the texts that the harness adds in the
user's role are as captured from the real harness (`harness-facts.md`, section 9).
"""

import base64
import hashlib
import json
from dataclasses import dataclass

from pydantic import JsonValue

from acp_agent.offline.gemini_dialect import GeminiDialect
from acp_agent.offline.model_request import Image, ModelRequest, ToolCall
from acp_agent.offline.openai_dialect import OpenAiDialect

WORKSPACE = "/home/user/project"
SYSTEM = (
    "<identity>\nYou are Antigravity.\n</identity>\n<user_information>\nThe USER's OS version is linux.\n"
    f"Active Workspaces:\n- {WORKSPACE}\n- /home/user/other\nCommand Working Directory: {WORKSPACE}\n"
    "</user_information>\n<subagents>\nActive Workspaces:\n- /elsewhere\n</subagents>\n"
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_IMAGE = Image("image/png", hashlib.sha256(PNG).hexdigest(), len(PNG))

BACKGROUND_NOTICE = (
    "The following is a <SYSTEM_MESSAGE> not actually sent by the user. It is provided by the system as important "
    "information to pay attention to.\n\n<SYSTEM_MESSAGE>\n[Message] sender=task-28 content=Task finished with "
    "result:\n\nThe command exited with code 3.\n</SYSTEM_MESSAGE>"
)
SUMMARY_WANTED = (
    "You have been working on the task described above but have not yet completed it. Write a continuation "
    "summary. Wrap your response in <summary></summary> tags.\n"
)


def compacted(summary: str) -> str:
    """What the harness puts in place of the messages that a compaction removed."""
    return (
        "# Resuming from a compaction\n\nYou are continuing work on the task described above, but you have lost "
        "access to the full conversation history.\n\n# User Requests\n"
        "1. Steps of the latest prompt already done: 99.\n\n"
        f"{summary}\n\n# Conversation Logs\n"
    )


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the user typed, with pictures."""

    text: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Injected:
    """A text that the harness adds in the user's role."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of the model."""

    text: str
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A tool's answer to the call before it."""

    call: ToolCall
    text: str = (
        "Created At: 2026-11-23T04:10:43Z\nCompleted At: 2026-11-23T04:10:43Z\n\nThe command exited with code 0.\n"
    )


Entry = Prompt | Injected | Said | Answered


def wrapped(prompt: str) -> str:
    """The prompt inside the harness's wrapper."""
    return (
        f"<USER_REQUEST>\n{prompt}\n</USER_REQUEST>\n<ADDITIONAL_METADATA>\n"
        "The current local time is: 2026-11-23T04:10:43Z.\n</ADDITIONAL_METADATA>"
    )


def openai_body(*entries: Entry, system: str = SYSTEM, tools: bool = True, stream: bool = True) -> bytes:
    """The conversation as an OpenAI-compatible request."""
    messages: list[JsonValue] = [{"role": "system", "content": system}]
    messages.extend(_openai_message(entry) for entry in entries)
    choice = "auto" if tools else "none"
    return _dump({"model": "offline", "messages": messages, "stream": stream, "tool_choice": choice})


def gemini_body(*entries: Entry, system: str = SYSTEM, tools: bool = True) -> bytes:
    """The conversation as a Gemini request."""
    return _dump(
        {
            "contents": [_gemini_content(entry) for entry in entries],
            "systemInstruction": {"parts": [{"text": system}]},
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO" if tools else "NONE"}},
            "sessionId": "1",
        }
    )


def request(dialect: str, *entries: Entry, system: str = SYSTEM, tools: bool = True) -> ModelRequest:
    """The conversation as the offline model understands it after the way through `dialect`."""
    if dialect == "openai":
        return OpenAiDialect().parse(openai_body(*entries, system=system, tools=tools))
    return GeminiDialect().parse(gemini_body(*entries, system=system, tools=tools), "offline")


def _openai_message(entry: Entry) -> JsonValue:
    if isinstance(entry, Prompt):
        return {"role": "user", "content": _openai_content(entry)}
    if isinstance(entry, Injected):
        return {"role": "user", "content": entry.text}
    if isinstance(entry, Answered):
        return {"role": "tool", "content": entry.text, "name": entry.call.name, "tool_call_id": entry.call.id}
    message: dict[str, JsonValue] = {"role": "assistant", "content": entry.text}
    if entry.call is not None:
        function: JsonValue = {"name": entry.call.name, "arguments": json.dumps(entry.call.arguments)}
        message["tool_calls"] = [{"id": entry.call.id, "type": "function", "function": function}]
    return message


def _openai_content(prompt: Prompt) -> JsonValue:
    """The harness sends a plain string unless there are pictures."""
    if not prompt.images:
        return wrapped(prompt.text)
    parts: list[JsonValue] = [{"type": "text", "text": wrapped(prompt.text)}]
    for image in prompt.images:
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_base64(image)}"}})
    return parts


def _gemini_content(entry: Entry) -> JsonValue:
    if isinstance(entry, Prompt):
        pictures: list[JsonValue] = [
            {"inlineData": {"mimeType": "image/png", "data": _base64(image)}} for image in entry.images
        ]
        text: JsonValue = {"text": wrapped(entry.text)}
        return {"role": "user", "parts": [text, *pictures]}
    if isinstance(entry, Injected):
        return {"role": "user", "parts": [{"text": entry.text}]}
    if isinstance(entry, Answered):
        response: JsonValue = {"id": entry.call.id, "name": entry.call.name, "response": {"output": entry.text}}
        return {"role": "model", "parts": [{"functionResponse": response}]}
    parts: list[JsonValue] = [{"text": "a thought", "thought": True}, {"text": entry.text}]
    if entry.call is not None:
        call: JsonValue = {"id": entry.call.id, "name": entry.call.name, "args": entry.call.arguments}
        parts.append({"functionCall": call})
    return {"role": "model", "parts": parts}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _dump(value: JsonValue) -> bytes:
    return json.dumps(value).encode("utf-8")
