"""One event as one line of `key=value` (logfmt), and back. Pure.

A person reads it as it is, `grep session=…` finds a session's life, and a program splits it by one rule: a value
is bare if it is simple, else a JSON string. Whatever a value holds, the line has no control characters, no line
breaks of any kind and no halves of surrogate pairs in it, and is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

Fact: TypeAlias = str | int | float | bool | None

VALUE_LIMIT: Final = 500
"""Characters of one value."""

LINE_LIMIT: Final = 16_384
"""Characters of a line; facts beyond are left out, and `cut=true` says so."""

_CUT: Final = "cut=true"
_BARE: Final = re.compile(r"[\w.:/@+,-]+", re.ASCII)
_PAIR: Final = re.compile(r'([a-z][a-z0-9_]*)=("(?:[^"\\]|\\.)*"|[^ "=]*)(?: |$)')


def made(facts: Iterable[tuple[str, Fact]], *, limit: int = VALUE_LIMIT) -> str:
    """A line, without its line break. Facts that are None are left out.

    Args:
        facts: names, of small letters, digits and underscores, and values.
        limit: characters of one value.
    """
    pieces: list[str] = []
    room = LINE_LIMIT - len(_CUT)
    for name, fact in facts:
        if fact is None:
            continue
        piece = f"{name}={_value(fact, limit)}"
        room -= len(piece) + 1
        if room < 0:
            pieces.append(_CUT)
            break
        pieces.append(piece)
    return " ".join(pieces)


def read(line: str) -> dict[str, str]:
    """The facts of a line, as text.

    Raises:
        ValueError: it is not such a line, or not a whole one.
    """
    facts: dict[str, str] = {}
    place = 0
    while place < len(line):
        pair = _PAIR.match(line, place)
        if pair is None:
            raise ValueError(f"no key=value at character {place + 1}")
        value = pair[2]
        facts[pair[1]] = json.loads(value) if value.startswith('"') else value
        place = pair.end()
    return facts


def escaped(text: str) -> str:
    """A text on one line without anything that a terminal would act upon: that is written as in JSON."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _value(fact: str | float, limit: int) -> str:
    match fact:
        case bool():
            return "true" if fact else "false"
        case int():
            return str(fact)
        case float():
            return f"{fact:.1f}"
    text = fact if len(fact) <= limit else f"{fact[: limit - 1]}…"
    if _BARE.fullmatch(text):
        return text
    return escaped(json.dumps(text, ensure_ascii=False))
