"""From a prompt's content blocks (ACP) to what the harness is sent. Pure.

Clients cut one sentence into several blocks around a mention, so texts are joined as they are; a mention
stays in its place as a short link, and the content of an embedded resource follows at the end of the message.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from pydantic import JsonValue

from acp_agent.steps import Media, Part, Text

Block = dict[str, JsonValue]

TITLE_LENGTH = 80
"""Characters of a prompt's first line that become the session's title."""

TEXT_LIMIT = 12_000_000
"""Bytes of text that a prompt may hold, links and embedded resources included.

The harness stores and answers 13 MB; of 14 MB it stores a step without content, and the turn fails (measured with
0.1.22). Media do not count: an image of 20 MB passes.
"""


PASSED_ON = 192_000
"""Bytes of a prompt's text that the harness passes on to the model; it drops the rest (measured with 0.1.22)."""


class BadPrompt(ValueError):
    """The prompt holds something that cannot be sent to the model; the message says which block and why."""


def to_parts(blocks: Sequence[Block], *, unsupported: frozenset[str] = frozenset()) -> tuple[Part, ...]:
    """The parts to send for a prompt.

    Args:
        blocks: the prompt's content blocks as JSON objects.
        unsupported: MIME types among the blocks' media that the model endpoint does not take.

    Raises:
        BadPrompt: the prompt is empty or its text too long, or a block is of an unknown type, not base64,
            without data or not supported.
    """
    parts: list[Part] = []
    resources: list[str] = []
    for number, block in enumerate(blocks, 1):
        kind = block.get("type")
        if kind == "text":
            _add_text(parts, _string(block, "text"))
        elif kind == "image":
            parts.append(_media(block, "data", number, unsupported))
        elif kind == "resource_link":
            _add_text(parts, f"[@{_string(block, 'name')}]({_string(block, 'uri')})")
        elif kind == "resource":
            resource = block.get("resource")
            assert isinstance(resource, dict)  # the SDK's models let nothing else through
            uri = _string(resource, "uri")
            _add_text(parts, f"[@{uri.rsplit('/', 1)[-1] or uri}]({uri})")
            if "text" in resource:
                resources.append(f'<resource uri="{uri}">\n{_string(resource, "text")}\n</resource>')
            else:
                parts.append(_media(resource, "blob", number, unsupported))
        else:
            raise BadPrompt(f"Content block {number} is of the type {kind!r}, which this agent does not take.")
    if resources:
        _add_text(parts, "\n\n" + "\n\n".join(resources))
    size = text_size(parts)
    if size > TEXT_LIMIT:
        raise BadPrompt(f"The prompt's text has {size:,} bytes; the harness takes {TEXT_LIMIT:,} at most.")
    if not any(isinstance(part, Media) or (isinstance(part, Text) and part.text.strip()) for part in parts):
        raise BadPrompt("The prompt is empty.")
    return tuple(parts)


def text_size(parts: Sequence[Part]) -> int:
    """Bytes of text in the parts of a prompt."""
    return sum(len(part.text.encode(errors="replace")) for part in parts if isinstance(part, Text))


def media_types(blocks: Sequence[Block]) -> frozenset[str]:
    """The MIME types of all media in a prompt."""
    found: set[str] = set()
    for block in blocks:
        resource = block.get("resource")
        if block.get("type") == "image":
            found.add(_string(block, "mimeType"))
        elif isinstance(resource, dict) and "blob" in resource:
            found.add(_string(resource, "mimeType"))
    return frozenset(found)


def excerpt(blocks: Sequence[Block], length: int = TITLE_LENGTH) -> str:
    """The first line of a prompt's text, shortened, or a word for what it holds instead of text."""
    text = "".join(_string(block, "text") for block in blocks if block.get("type") == "text").strip()
    line = text.splitlines()[0].strip() if text else ""
    if not line:
        return "An image" if any(block.get("type") == "image" for block in blocks) else "A resource"
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _add_text(parts: list[Part], text: str) -> None:
    last = parts[-1] if parts else None
    if isinstance(last, Text):
        parts[-1] = Text(last.text + text)
    else:
        parts.append(Text(text))


def _media(block: Block, key: str, number: int, unsupported: frozenset[str]) -> Media:
    mime_type = _string(block, "mimeType")
    if not mime_type or mime_type in unsupported:
        raise BadPrompt(f"Content block {number} is media of the type {mime_type!r}, which is not supported.")
    try:
        data = base64.b64decode(_string(block, key), validate=True)
    except ValueError as error:  # characters outside ASCII are not reported as binascii.Error
        raise BadPrompt(f"Content block {number} does not hold valid base64: {error}.") from error
    if not data:
        # Once stored, it would make the endpoint refuse every later request of the conversation as well.
        raise BadPrompt(f"Content block {number} is media of the type {mime_type!r} without any data.")
    return Media(mime_type, data)


def _string(block: Block, key: str) -> str:
    value = block.get(key)
    return value if isinstance(value, str) else ""
