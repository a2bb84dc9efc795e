"""The pages of the documentation, as Markdown's own parser reads them: blocks, commands, links, headings.

How a command is written on a page:

- in a block of the language `console`, each command after `$ `, followed by what it writes. A line that ends with
  a backslash goes on in the next. Output may be left out; a line `...` stands for any lines. A command that is to
  fail is followed by `$ echo $?`, which shows its status.
- Comments right before the block say what a reader need not see:

      <!-- before: mkdir -p ~/.config/zed -->      commands that are run first
      <!-- in the checkout -->                     the block is run in the folder of this project
      <!-- run by: tests/x.py::test_y, since … --> it is not run here but by that test, for that reason

Everything else is for `tests.docs.test_commands` to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
_PARSER = MarkdownIt("commonmark").enable("table")


def paths() -> list[Path]:
    """Every page, the README first. The changelog is none: what it tells of need not be there any more."""
    found = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("ide-configs/**/*.md"), *ROOT.glob("tests/**/*.md")]
    return [ROOT / "README.md", *sorted(found)]


def name(path: Path) -> str:
    """How a page is called in the project."""
    return path.relative_to(ROOT).as_posix()


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page, and the lines that the page shows after it."""

    text: str
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced or indented block. `language` is None for an indented one; `line` is its first, from 1."""

    language: str | None
    text: str
    line: int
    comments: tuple[str, ...]

    def said(self, key: str) -> list[str]:
        """What the comments before the block say under a key."""
        return [said.removeprefix(f"{key}:").strip() for said in self.comments if said.startswith(f"{key}:")]

    @property
    def in_checkout(self) -> bool:
        """Whether its commands belong to the folder of this project."""
        return "in the checkout" in self.comments

    def commands(self) -> tuple[Command, ...]:
        """The commands of a console block.

        Raises:
            ValueError: it does not begin with a command.
        """
        found: list[tuple[list[str], list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(([line.removeprefix("$ ")], []))
            elif not found:
                raise ValueError(f"line {self.line}: a console block begins with “$ ” and a command")
            elif not found[-1][1] and found[-1][0][-1].endswith("\\"):
                found[-1][0].append(line)
            else:
                found[-1][1].append(line)
        return tuple(Command("\n".join(lines), tuple(shown)) for lines, shown in found)


def _tokens(path: Path) -> list[Token]:
    return _PARSER.parse(path.read_text(encoding="utf-8"))


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    comments: list[str] = []
    for token in _tokens(path):
        if token.type == "html_block":
            comments += _COMMENT.findall(token.content)
        elif token.type in ("fence", "code_block"):
            language = token.info.strip() if token.type == "fence" else None
            yield Block(language, token.content, (token.map or [0])[0] + 1, tuple(comments))
            comments = []
        else:
            comments = []


def inline(path: Path) -> Iterator[Token]:
    """The pieces of a page's running text."""
    for token in _tokens(path):
        yield from token.children or ()


def code(path: Path) -> list[str]:
    """What stands in the running text of a page as code, spaces and line ends made single spaces."""
    return [" ".join(token.content.split()) for token in inline(path) if token.type == "code_inline"]


def targets(path: Path) -> list[str]:
    """Where the links and pictures of a page lead."""
    found = [token.attrs.get("href", token.attrs.get("src")) for token in inline(path)]
    return [str(target) for target in found if target is not None]


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings get, as the usual forges make them."""
    tokens = _tokens(path)
    found: set[str] = set()
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in content.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            number = 0
            while (anchor := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(anchor)
    return found
