"""A text that must not be shown by accident: in a log, an error, or what a debugger prints."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Secret:
    """Shows as `Secret()`; who needs the text says so, by `reveal`."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The text itself."""
        return self._text
