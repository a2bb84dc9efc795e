"""From content blocks to what the model is sent."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent.prompts import TITLE_LENGTH, BadPrompt, Block, excerpt, media_types, to_parts
from acp_agent.steps import Media, Part, Text


def text(content: str) -> Block:
    return {"type": "text", "text": content}


def image(data: bytes, mime_type: str = "image/png") -> Block:
    return {"type": "image", "mimeType": mime_type, "data": base64.b64encode(data).decode()}


def resource(content: JsonValue) -> Block:
    return {"type": "resource", "resource": content}


TEXTS = st.text(st.characters(codec="utf-8"))
BLOCKS = st.lists(st.one_of(TEXTS.map(text), st.binary(min_size=1, max_size=9).map(image)))


@given(BLOCKS.map(lambda blocks: [*blocks, text("end")]))
def test_nothing_of_a_prompt_is_lost_moved_or_split(blocks: list[Block]) -> None:
    expected: list[Part] = []
    for block in blocks:
        if block["type"] == "image":
            expected.append(Media("image/png", base64.b64decode(str(block["data"]))))
        elif expected and isinstance(expected[-1], Text):
            expected[-1] = Text(expected[-1].text + str(block["text"]))
        else:
            expected.append(Text(str(block["text"])))
    assert to_parts(blocks) == tuple(expected)


def test_mentions_stay_in_place_and_embedded_contents_follow_at_the_end() -> None:
    parts = to_parts(
        [
            text("Compare "),
            {"type": "resource_link", "name": "a.py", "uri": "file:///p/a.py"},
            text(" with "),
            resource({"uri": "file:///p/b.py", "text": "print(1)\n"}),
            text(" and "),
            resource({"uri": "file:///p/c.pdf", "blob": "Q0M=", "mimeType": "application/pdf"}),
            text(", please."),
        ]
    )
    assert parts == (
        Text("Compare [@a.py](file:///p/a.py) with [@b.py](file:///p/b.py) and [@c.pdf](file:///p/c.pdf)"),
        Media("application/pdf", b"CC"),
        Text(', please.\n\n<resource uri="file:///p/b.py">\nprint(1)\n\n</resource>'),
    )


BAD: dict[str, tuple[list[Block], str]] = {
    "no blocks": ([], "The prompt is empty."),
    "only white space": ([text(" \n"), text("\t")], "The prompt is empty."),
    "an unknown type": ([text("a"), {"type": "audio", "data": "QQ=="}], "Content block 2 is of the type 'audio'"),
    "a type that is none": ([{"text": "a"}], "Content block 1 is of the type None"),
    "not base64": (
        [{"type": "image", "mimeType": "image/png", "data": "?"}],
        "Content block 1 does not hold valid",
    ),
    "not even ASCII": ([{"type": "image", "mimeType": "image/png", "data": "é"}], "Content block 1 does not hold"),
    "an image without data": ([text("a"), image(b"")], "Content block 2 is media of the type 'image/png' without"),
    "an image without a type": ([image(b"a", "")], "Content block 1 is media of the type ''"),
    "an unsupported image": ([image(b"a", "image/heic")], "Content block 1 is media of the type 'image/heic'"),
    "an unsupported resource": (
        [resource({"uri": "u", "blob": "QQ==", "mimeType": "image/heic"})],
        "Content block 1 is media of the type 'image/heic'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_prompt_that_cannot_be_sent_says_which_block_and_why(name: str) -> None:
    blocks, words = BAD[name]
    with pytest.raises(BadPrompt) as caught:
        to_parts(blocks, unsupported=frozenset({"image/heic"}))
    assert str(caught.value).startswith(words)


def test_media_types_are_those_of_images_and_blobs() -> None:
    blocks = [
        text("a"),
        image(b"a", "image/webp"),
        resource({"uri": "u", "blob": "", "mimeType": "application/pdf"}),
        resource({"uri": "u", "text": "t", "mimeType": "text/plain"}),
    ]
    assert media_types(blocks) == {"image/webp", "application/pdf"}


@given(st.lists(TEXTS), st.integers(1, 2 * TITLE_LENGTH))
def test_an_excerpt_is_one_short_line_from_the_prompts_beginning(texts: list[str], length: int) -> None:
    whole = "".join(texts).strip()
    line = excerpt([text(part) for part in texts], length)
    first = whole.splitlines()[0].strip() if whole else "A resource"
    if len(first) <= length or not whole:
        assert line == first
    else:
        assert len(line) <= length
        assert line.endswith("…")
        assert first.startswith(line[:-1])


def test_a_prompt_without_text_is_named_for_what_it_holds() -> None:
    assert excerpt([image(b"a")]) == "An image"
    assert excerpt([text("  \n"), image(b"a")]) == "An image"
    assert excerpt([resource({"uri": "u", "text": "t"})]) == "A resource"
    assert excerpt([image(b"a"), text("\n  What is this?  \nIt is new.")]) == "What is this?"
    assert excerpt([text("x" * 100)]) == "x" * (TITLE_LENGTH - 1) + "…"
