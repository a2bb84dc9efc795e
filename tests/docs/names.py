"""Names of the code on a page: where they lead."""

from __future__ import annotations

import importlib


def located(name: str) -> str | None:
    """The module that a dotted name begins with, a colon, and what it names there; None if nothing is there."""
    words = name.split(".")
    for end in range(len(words), 0, -1):
        try:
            found: object = importlib.import_module(".".join(words[:end]))
        except ModuleNotFoundError:
            continue
        for word in words[end:]:
            if (found := getattr(found, word, None)) is None:
                return None
        return f"{'.'.join(words[:end])}:{'.'.join(words[end:])}"
    return None
