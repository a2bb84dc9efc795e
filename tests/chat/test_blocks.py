"""Markdown that is printed as it grows reads as it does when it is printed at once."""

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from acp_agent.chat.blocks import split_finished

# Lines that open, continue and close every kind of block, also across one another.
LINES = st.sampled_from(
    (
        *(
            "",
            "word",
            "  word",
            "    word",
            "# head",
            "#",
            "#tag",
            "===",
            "---",
            "***",
            "- item",
            "-",
            "  - inner",
        ),
        *("1. one", "2) two", "> quote", ">", "```", "```py", "~~~", "a | b", "--- | ---", "<div>", "</div>"),
    )
)
DOCUMENTS = st.lists(LINES, max_size=14).map("\n".join)


@given(DOCUMENTS, st.lists(st.integers(0, 80), max_size=10))
@example("para\n#tag\nmore\n\nend", [6])
@example("- a\n\n  b\n\nc\n", [4, 5])
def test_pieces_render_as_the_whole(document: str, cuts: list[int]) -> None:
    printed: list[str] = []
    rest = ""
    places = sorted({0, len(document), *(cut for cut in cuts if cut < len(document))})
    for start, end in pairwise(places):
        before = rest + document[start:end]
        finished, rest = split_finished(before)
        assert finished + rest == before
        if finished:
            printed.append(finished)
    assert _html("".join(printed) + rest) == _html(document)
    assert "".join(_html(piece) for piece in [*printed, rest]) == _html(document)


def test_a_finished_block_does_not_wait_for_the_end() -> None:
    assert split_finished("One.\n\nTwo.\n\nThr") == ("One.\n\n", "Two.\n\nThr")


def _html(markdown: str) -> str:
    html = MarkdownIt().enable("strikethrough").enable("table").render(markdown)
    return re.sub(r"\n+", "\n", html)
