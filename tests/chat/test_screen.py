"""A terminal that lacks signs is shown others, of the same width; one that is gone is shown nothing."""

import io
from typing import IO

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth
from rich.console import Console
from rich.text import Text
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat import render, words
from acp_agent.chat.screen import Screen, encodable
from tests.chat.test_words import full_report


def written(encoding: str, width: int, *, framed: bool = True) -> str:
    """The fullest report as it arrives at a terminal of this encoding."""
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, encoding=encoding), width=width, force_terminal=True, no_color=True
    )
    Screen(console).show(render.report(words.resume_in_words(full_report()), framed=framed))
    shown = raw.getvalue().decode(encoding).replace("\x1b[1m", "").replace("\x1b[0m", "")
    return "\n".join(line.rstrip() for line in shown.splitlines())


def test_the_report_as_a_panel(snapshot: SnapshotAssertion) -> None:
    assert written("utf-8", 80) == snapshot(name="wide")
    assert written("utf-8", 40) == snapshot(name="narrow")
    assert written("ascii", 80) == snapshot(name="ascii")
    assert written("utf-8", 80, framed=False) == snapshot(name="lines")


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Mn", "Me", "Cf"])),
    st.sampled_from(["ascii", "latin-1"]),
)
def test_what_is_encodable_is_as_wide(text: str, encoding: str) -> None:
    shown = encodable(text, encoding)
    shown.encode(encoding)
    assert len(shown) >= get_cwidth(text)
    assert encodable("✓ “a” … 語", encoding) == ('+ "a" . ??')


class Gone(io.StringIO):
    """A file that can be written once."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += bool(text)
        if self.writes > 1:
            raise BrokenPipeError
        return super().write(text)


def test_a_screen_that_is_gone_fails_nobody() -> None:
    file: IO[str] = Gone()
    screen = Screen(Console(file=file))
    for number in range(3):
        screen.show(Text(str(number)))
    assert screen.gone


def test_signs_of_what_is_done_are_told_apart_without_them() -> None:
    assert encodable("✓ ✗ ☑ …", "ascii") == "+ x x ."
