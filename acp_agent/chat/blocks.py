"""Cuts growing Markdown into what is finished and what may still change. Pure.

A CommonMark parser reads line by line and never reopens a top-level block that it has closed. So of the complete
lines, everything before the last top-level block keeps its form whatever follows; the last block and the line
that is still being written may change. An incomplete line must not close a block: `#` alone is a heading, but
`#tag` continues the paragraph before it.
"""

from __future__ import annotations

from markdown_it import MarkdownIt

# The extensions that rich's Markdown enables; a block must begin here where it begins there.
_PARSER = MarkdownIt().enable("strikethrough").enable("table")


def split_finished(markdown: str) -> tuple[str, str]:
    """Cut into (finished, rest); the two put together are the input."""
    complete = markdown[: markdown.rfind("\n") + 1]
    starts = [
        token.map[0] for token in _PARSER.parse(complete) if token.level == 0 and token.map and token.nesting >= 0
    ]
    if len(starts) < 2:
        return "", markdown
    finished = "".join(complete.splitlines(keepends=True)[: starts[-1]])
    return finished, markdown[len(finished) :]
