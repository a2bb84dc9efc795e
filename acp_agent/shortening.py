"""Bounds what is shown: long texts are shortened with a line that says how much is left out. Pure.

What a tool puts out is shortened before it is journalled, so a replay shows the same as the live turn, and neither
the journal nor a message grows without bound. A message of the model and a prompt of the user are never shortened:
they are sent in pieces. All limits together keep every message under 8 MiB, whatever its characters cost as JSON
(six bytes for one of text at most).

Everything here changes nothing that is small enough, so it may be done twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from sessions.aftermath import SHORTENED

Json = dict[str, JsonValue]

TEXT_BYTES = 64 * 1024
"""UTF-8 bytes of one text in a tool call's content."""

DIFF_BYTES = 192 * 1024
"""UTF-8 bytes of the old text of a diff, and of its new text."""

CONTENT_BYTES = 512 * 1024
"""UTF-8 bytes of all texts in a tool call's content; small ones are kept even then."""

CONTENT_ITEMS = 200
"""How many things a tool call's content may hold."""

RAW_BYTES = 64 * 1024
"""Bytes of a tool call's `rawInput`, and of its `rawOutput`, as JSON."""

TITLE_BYTES = 1024
"""UTF-8 bytes of a tool call's title."""

PIECE = 256 * 1024
"""Characters of a message that are sent at once."""

MEDIA_BYTES = 1 << 20
"""Bytes of an image or file in a prompt, as base64, that a replay shows again; of a larger one it shows a line."""

_SMALL = 2048
_STRINGS = (16 * 1024, 1024, 128)


def text(whole: str, limit: int) -> str:
    """The text, or its beginning and end with a line between them that says how many bytes are left out.

    Args:
        whole: any text.
        limit: the UTF-8 bytes that the result may have; at least 100.
    """
    encoded = whole.encode("utf-8", "surrogatepass")
    if len(encoded) <= limit:
        return whole
    room = limit - len(_line(len(encoded)).encode())
    head = _cut(encoded, room // 2)
    tail = _cut_front(encoded, len(encoded) - (room - room // 2))
    left_out = len(encoded) - len(head) - len(tail)
    return f"{_decoded(head)}{_line(left_out)}{_decoded(tail)}"


def pieces(whole: str) -> Iterator[str]:
    """A message's text in pieces that are small enough to be sent."""
    for begin in range(0, len(whole), PIECE):
        yield whole[begin : begin + PIECE]


def tool_call(fields: Json) -> Json:
    """The fields of a tool call, bounded."""
    bounded = dict(fields)
    if isinstance(title := fields.get("title"), str):
        bounded["title"] = text(title, TITLE_BYTES)
    if isinstance(content := fields.get("content"), list):
        bounded["content"] = _content(content)
    for key in ("rawInput", "rawOutput"):
        if key in fields:
            bounded[key] = value(fields[key], RAW_BYTES)
    return bounded


def value(whole: JsonValue, limit: int) -> JsonValue:
    """A JSON value of at most `limit` bytes: its long texts are shortened, or else it is replaced by a line."""
    size = _size(whole)
    if size <= limit:
        return whole
    for length in _STRINGS:
        shorter = _with_strings(whole, length)
        if _size(shorter) <= limit:
            return shorter
    return {"shortened": _line(size).strip()}


def prompt(blocks: Sequence[Json]) -> list[JsonValue]:
    """A prompt's content blocks as they are journalled and shown again: large media are a line of text."""
    return [_without_media(block) for block in blocks]


def replayed_blocks(block: JsonValue) -> Iterator[JsonValue]:
    """A content block of a prompt, in pieces that are small enough to be sent."""
    if not isinstance(block, dict):
        yield block
        return
    block = _without_media(block)
    resource = block.get("resource")
    if isinstance(whole := block.get("text"), str) and len(whole) > PIECE:
        yield from ({**block, "text": piece} for piece in pieces(whole))
    elif isinstance(resource, dict) and isinstance(whole := resource.get("text"), str) and len(whole) > PIECE:
        yield from ({**block, "resource": {**resource, "text": piece}} for piece in pieces(whole))
    else:
        yield block


def _without_media(block: Json) -> Json:
    resource = block.get("resource")
    holder = resource if isinstance(resource, dict) else block
    data = holder.get("blob") if holder is resource else holder.get("data")
    if not isinstance(data, str) or len(data) <= MEDIA_BYTES:
        return block
    name = holder.get("uri")
    words = [str(holder.get("mimeType") or "media"), *([name] if isinstance(name, str) else [])]
    return {"type": "text", "text": f"[{' '.join(words)}: {len(data) * 3 // 4:,} bytes, left out here]"}


def _content(items: Sequence[JsonValue]) -> list[JsonValue]:
    left = CONTENT_BYTES
    bounded: list[JsonValue] = []
    for item in items[:CONTENT_ITEMS]:
        shown = _item(item, left)
        left -= _texts(shown)
        bounded.append(shown)
    if len(items) > CONTENT_ITEMS:
        # The last says how a tool call ended, if it failed.
        missing: Json = {"type": "text", "text": f"… {len(items) - CONTENT_ITEMS + 1:,} parts left out here …"}
        said: Json = {"type": "content", "content": missing}
        bounded[-2:] = [said, _item(items[-1], 0)]
    return bounded


def _item(item: JsonValue, left: int) -> JsonValue:
    if not isinstance(item, dict):
        return item
    if item.get("type") == "diff":
        room = max(min(left // 2, DIFF_BYTES), _SMALL)
        sides = {key: text(side, room) for key in ("oldText", "newText") if isinstance(side := item.get(key), str)}
        whole = all(item[key] == side for key, side in sides.items())
        return item if whole else {**item, **sides, "_meta": {SHORTENED: True}}
    block = item.get("content")
    if isinstance(block, dict) and isinstance(words := block.get("text"), str):
        return {**item, "content": {**block, "text": text(words, max(min(left, TEXT_BYTES), _SMALL))}}
    return item


def _texts(item: JsonValue) -> int:
    if not isinstance(item, dict):
        return 0
    block = item.get("content")
    texts = [item.get("oldText"), item.get("newText"), block.get("text") if isinstance(block, dict) else None]
    return sum(len(each.encode("utf-8", "surrogatepass")) for each in texts if isinstance(each, str))


def _with_strings(whole: JsonValue, limit: int) -> JsonValue:
    if isinstance(whole, str):
        return text(whole, limit)
    if isinstance(whole, list):
        return [_with_strings(each, limit) for each in whole]
    if isinstance(whole, dict):
        return {text(key, limit): _with_strings(each, limit) for key, each in whole.items()}
    return whole


def _size(whole: JsonValue) -> int:
    return len(json.dumps(whole, separators=(",", ":")))


def _line(left_out: int) -> str:
    return f"\n… {left_out:,} bytes left out here …\n"


def _cut(encoded: bytes, length: int) -> bytes:
    while length > 0 and encoded[length] & 0xC0 == 0x80:
        length -= 1
    return encoded[:length]


def _cut_front(encoded: bytes, begin: int) -> bytes:
    while begin < len(encoded) and encoded[begin] & 0xC0 == 0x80:
        begin += 1
    return encoded[begin:]


def _decoded(encoded: bytes) -> str:
    return encoded.decode("utf-8", "surrogatepass")
