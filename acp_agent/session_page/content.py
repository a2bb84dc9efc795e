"""What was said and done in a turn, as HTML that can do nothing: Markdown, diffs, plain text. Pure.

All of it comes from models, clients and tools. Markdown is rendered without HTML and without images, and its links
lead to the web or to nowhere; a browser is asked for nothing until a person follows one. Control characters are
left out, escape sequences of terminals with them, and characters that turn the direction of text are shown by
their names: they can make code look like other code. What is long is cut, with a line that says how much is left.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape
from pydantic import JsonValue

from sessions.session import storable

TEXT = 40_000
"""Characters of one message or output that are shown."""

DIFF_LINES = 400
"""Lines of a diff that are shown."""

COMPARED = 3_000
"""Lines of a file's old or new text that are compared; a longer one is shown as it begins."""

IMAGE_BYTES = 1_500_000
"""Characters of an image, in base64, that is shown."""

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_WEB = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

Json = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a diff: its sign (`+`, `-`, a space, or `@` for where it is), and its text."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Diff:
    """A changed file. `left_out` lines are not shown; `whole` is false if the texts were too long to compare."""

    path: str
    lines: tuple[DiffLine, ...]
    added: int
    removed: int
    left_out: int
    whole: bool


def clean(text: str) -> str:
    """Text that a browser shows as what it is, and nothing else."""
    shown = _CONTROL.sub("", _ESCAPES.sub("", storable(text)).replace("\r\n", "\n").replace("\r", "\n"))
    return _TURNING.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", shown)


def line(text: str, limit: int = 200) -> str:
    """Text on one line, cut with an ellipsis."""
    shown = " ".join(clean(text[: limit * 4]).split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def cut(text: str, limit: int = TEXT) -> tuple[str, int]:
    """The beginning of a text, and how many characters are missing."""
    return (text, 0) if len(text) <= limit else (text[:limit], len(text) - limit)


def markdown(text: str) -> Markup:
    """A message as HTML."""
    return Markup(_MARKDOWN.render(clean(text)))  # noqa: S704  (the renderer escapes)


def plain(text: str) -> Markup:
    """A text as it is, in a preformatted block that wraps."""
    return Markup('<pre class="plain">{}</pre>').format(clean(text))


def as_json(value: JsonValue, limit: int = 4_000) -> tuple[str, int]:
    """A value as JSON, cut."""
    written, missing = cut(json.dumps(value, indent=2, ensure_ascii=False), limit)
    return clean(written), missing


def image(block: Json) -> str | None:
    """The `data:` address of an image in a prompt, None if it is none that is shown."""
    kind, data = block.get("mimeType"), block.get("data")
    if kind not in _IMAGES or not isinstance(data, str) or len(data) > IMAGE_BYTES:
        return None
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    return f"data:{kind};base64,{data}"


def diff(item: Json) -> Diff:
    """A tool call's diff."""
    path, old, new = (value if isinstance(value := item.get(key), str) else "" for key in _DIFF)
    before, after = (clean(text).splitlines() for text in (old, new))
    whole = max(len(before), len(after)) <= COMPARED
    lines = [*_compared(before, after)] if whole else [DiffLine("+", text) for text in after]
    added, removed = (sum(each.sign == sign for each in lines) for sign in "+-")
    shown = tuple(DiffLine(each.sign, each.text[:2_000]) for each in lines[:DIFF_LINES])
    return Diff(line(path, 300), shown, added, removed, len(lines) - len(shown), whole)


_DIFF = ("path", "oldText", "newText")


def _compared(before: Sequence[str], after: Sequence[str]) -> Iterator[DiffLine]:
    changes = difflib.unified_diff(before, after, lineterm="", n=3)
    for number, text in enumerate(changes):
        if number >= 2:  # after the names of the two files
            yield DiffLine("@", text) if text.startswith("@@") else DiffLine(text[:1] or " ", text[1:])


class _Renderer(RendererHTML):
    """Headings of messages come below those of the page, images are named, code can be scrolled by keyboard."""

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Part of `RendererHTML`: its rules are found by name."""
        return f'<h5 class="said-{tokens[idx].tag}">'

    def heading_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Part of `RendererHTML`."""
        return "</h5>\n"

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Part of `RendererHTML`."""
        where = str(tokens[idx].attrs.get("src", ""))
        return f'<span class="image">[image: {escape(tokens[idx].content)} {escape(where[:200])}]</span>'

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Part of `RendererHTML`."""
        return f'<pre tabindex="0"><code>{escape(tokens[idx].content)}</code></pre>\n'

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Part of `RendererHTML`."""
        return self.fence(tokens, idx, options, env)

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Part of `RendererHTML`."""
        where = str(tokens[idx].attrs.get("href", ""))
        if not _WEB.match(where):
            return f'<span class="link" title="{escape(where[:300])}">'
        return f'<a href="{escape(where)}" rel="noopener noreferrer nofollow">'

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Part of `RendererHTML`."""
        depth = 0
        for token in reversed(tokens[:idx]):
            depth += (token.type == "link_close") - (token.type == "link_open")
            if depth < 0:
                return "</a>" if _WEB.match(str(token.attrs.get("href", ""))) else "</span>"
        return ""


_MARKDOWN = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
