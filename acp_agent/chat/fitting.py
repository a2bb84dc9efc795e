"""Texts that have to fit into a line of a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_toolkit.utils import get_cwidth

SEPARATOR = " · "


def cut(text: str, width: int) -> str:
    """The text in one line of at most `width` columns, with an ellipsis where something was left out."""
    text = " ".join(text.split())
    if get_cwidth(text) <= width:
        return text
    kept, columns = "", 0
    for sign in text:
        columns += get_cwidth(sign)
        if columns >= width:
            break
        kept += sign
    return f"{kept.rstrip()}…" if width > 0 else ""


def fitted(parts: Sequence[str], width: int) -> str:
    """The parts in one line of at most `width` columns; the last ones are left out first, empty ones always."""
    kept = [part for part in parts if part]
    while len(kept) > 1 and get_cwidth(SEPARATOR.join(kept)) > width:
        kept.pop()
    return cut(SEPARATOR.join(kept), width)


def amount(number: int) -> str:
    """A count of tokens as people say it: 950, 12.3k, 128k, 1.05M."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return str(number)


def clock(seconds: float) -> str:
    """A running time: 7 s, 2:05, 1:02:03."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minutes}:{second:02}"
