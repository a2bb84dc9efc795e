"""What is too large to be shown is shortened, says so, and nothing else is touched."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent import shortening
from acp_agent.shortening import Json
from sessions.aftermath import SHORTENED

MESSAGE_LIMIT = 8 * 1024 * 1024

words = st.text(max_size=60) | st.builds(lambda text, times: text * times, st.text(max_size=8), st.integers(1, 40))


def size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


@given(words, st.integers(100, 300))
def test_a_text_is_untouched_or_says_exactly_what_is_missing(whole: str, limit: int) -> None:
    shown = shortening.text(whole, limit)
    assert size(shown) <= limit or shown == whole
    assert (shown == whole) is (size(whole) <= limit)
    assert shortening.text(shown, limit) == shown
    if shown != whole:
        shown.encode("utf-8", "surrogatepass")
        said = max(
            re.finditer(r"\n… ([\d,]+) bytes left out here …\n", shown), key=lambda found: _fit(found, whole)
        )
        assert _fit(said, whole) == 1
        assert size(shown) > limit - 60, "no more is left out than must be"


def _fit(found: re.Match[str], whole: str) -> int:
    """Whether this is the line that was put in: what is around it is the text's, and the number is right."""
    head, tail = found.string[: found.start()], found.string[found.end() :]
    right = size(whole) - size(head) - size(tail) == int(found[1].replace(",", ""))
    return whole.startswith(head) and whole.endswith(tail) and right


values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.integers(100, 2000))
def test_a_value_is_untouched_or_fits(whole: JsonValue, limit: int) -> None:
    shown = shortening.value(whole, limit)
    assert shown == whole or len(json.dumps(shown, separators=(",", ":"))) <= limit
    assert shortening.value(shown, limit) == shown
    if len(json.dumps(whole, separators=(",", ":"))) <= limit:
        assert shown == whole


def diff(old: str | None, new: str) -> Json:
    return {"type": "diff", "path": "/a", "newText": new, **({"oldText": old} if old is not None else {})}


def output(text: str) -> Json:
    return {"type": "content", "content": {"type": "text", "text": text}}


SMALL: Json = {"title": "a", "status": "failed", "content": [diff(None, "x"), output("y")], "rawInput": {"a": "b"}}


def test_a_small_tool_call_is_untouched() -> None:
    assert shortening.tool_call(SMALL) == SMALL


def test_a_tool_call_of_any_size_fits_in_a_message_and_keeps_how_it_ended() -> None:
    # Each of these characters is one byte of text and six of JSON.
    huge = "\x01" * 3_000_000
    content: list[JsonValue] = [diff(huge, huge), output(huge), *(output("\x01" * 3000) for _ in range(500))]
    call: Json = {
        "title": huge,
        "content": [*content, output("Cancelled.")],
        "rawInput": {"CodeContent": huge, "CommandLine": "make"},
        "rawOutput": {"results": [{"name": "a.txt"}] * 100_000},
    }
    shown = shortening.tool_call(call)
    assert len(json.dumps(shown)) < MESSAGE_LIMIT
    items = shown["content"]
    assert isinstance(items, list)
    assert items[-1] == output("Cancelled.")
    assert "parts left out here" in json.dumps(items[-2])
    assert isinstance(items[0], dict)
    assert items[0]["_meta"] == {SHORTENED: True}
    assert isinstance(raw := shown["rawInput"], dict)
    assert raw["CommandLine"] == "make"
    assert "bytes left out here" in json.dumps(shown["rawOutput"])
    assert shortening.tool_call(shown) == shown


def test_a_prompt_is_shown_again_whole_but_for_large_media() -> None:
    long = "".join(f"line {number}\n" for number in range(200_000))
    blocks: list[Json] = [
        {"type": "text", "text": long},
        {"type": "image", "mimeType": "image/png", "data": "A" * 4},
        {"type": "image", "mimeType": "image/png", "data": "A" * 20_000_000},
        {"type": "resource", "resource": {"uri": "file:///a", "text": long}},
        {
            "type": "resource",
            "resource": {"uri": "file:///b", "mimeType": "application/pdf", "blob": "A" * 2_000_000},
        },
    ]
    shown = [piece for block in shortening.prompt(blocks) for piece in shortening.replayed_blocks(block)]
    assert all(len(json.dumps(piece)) < MESSAGE_LIMIT for piece in shown)
    kinds: dict[str, list[JsonValue]] = {}
    for piece in shown:
        assert isinstance(piece, dict)
        kinds.setdefault(str(piece["type"]), []).append(piece)
    texts = "".join(str(piece["text"]) for piece in kinds["text"] if isinstance(piece, dict))
    assert texts == (
        f"{long}[image/png: 15,000,000 bytes, left out here]"
        "[application/pdf file:///b: 1,500,000 bytes, left out here]"
    )
    assert kinds["image"] == [blocks[1]]
    resources = [piece["resource"] for piece in kinds["resource"] if isinstance(piece, dict)]
    assert "".join(str(each["text"]) for each in resources if isinstance(each, dict)) == long
