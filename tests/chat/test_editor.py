"""Keys are decoded and applied as a shell's line editor does it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_agent.chat.editor import EndOfInput, Key, KeyDecoder, KeyPress, LineEditor, Submitted, Typed

TYPED = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
SEQUENCES = st.sampled_from(
    ["\x1b[A", "\x1b[1;5D", "\x1bOH", "\x1bb", "\x1b[99~", "\x1b[200~two\r\nlines\x1b[201~", "\r", "\x7f", "\x04"]
)


@given(st.lists(TYPED | SEQUENCES, max_size=10), st.data())
def test_bytes_may_be_cut_anywhere(pieces: list[str], data: st.DataObject) -> None:
    stream = "".join(pieces).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = KeyDecoder()
    cut: list[KeyPress] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        cut += decoder.feed(stream[start:end])
    assert _joined(cut) == _joined(KeyDecoder().feed(stream))


@given(st.lists(TYPED.map(Typed) | st.sampled_from([key for key in Key if key is not Key.ENTER]), max_size=30))
def test_the_cursor_stays_in_the_line(presses: list[KeyPress]) -> None:
    editor = LineEditor()
    for press in presses:
        editor.press(press)
        assert 0 <= editor.cursor <= len(editor.text)


@given(st.lists(TYPED, max_size=5))
def test_what_is_typed_is_what_is_submitted(pieces: list[str]) -> None:
    editor = LineEditor()
    for piece in pieces:
        assert editor.press(Typed(piece)) is None
    assert editor.press(Key.ENTER) == Submitted("".join(pieces))
    assert (editor.text, editor.cursor) == ("", 0)


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        (b"one two\x1b[D\x1b[DX", "one tXwo", 6),
        (b"one two\x1bbX", "one Xtwo", 5),
        (b"one two\x01X", "Xone two", 1),
        (b"one two\x01\x1bfX", "oneX two", 4),
        (b"one two\x01X\x05Y", "Xone twoY", 9),
        (b"one two\x17X", "one X", 5),
        (b"one two\x1bb\x15", "two", 0),
        (b"one two\x1bb\x0b", "one ", 4),
        (b"one two\x7f\x7f", "one t", 5),
        (b"one two\x01\x04\x1b[3~", "e two", 0),
        ("größe\x1b[D\x7f".encode(), "gröe", 3),
        (b"\x1b[200~a\r\nb\x07\x1b[201~", "a\nb", 3),
        (b"a\x1b[99~\x00\x1b[38;5;1mb", "ab", 2),
        (b"first\rsecond\rthi\x1b[A\x1b[A", "first", 5),
        (b"first\rsecond\rthi\x1b[A\x1b[A\x1b[A\x1b[B\x1b[B\x1b[B", "thi", 3),
        (b"same\rsame\r\r\x1b[A\x1b[A", "same", 4),
    ],
)
def test_editing(keys: bytes, text: str, cursor: int) -> None:
    editor = LineEditor()
    for press in KeyDecoder().feed(keys):
        editor.press(press)
    assert (editor.text, editor.cursor) == (text, cursor)


def test_end_of_input_only_on_an_empty_line() -> None:
    editor = LineEditor()
    editor.press(Typed("x"))
    assert editor.press(Key.END_OF_INPUT) is None
    editor.clear()
    assert isinstance(editor.press(Key.END_OF_INPUT), EndOfInput)


def _joined(presses: list[KeyPress]) -> list[KeyPress]:
    joined: list[KeyPress] = []
    for press in presses:
        if joined and isinstance(press, Typed) and isinstance(joined[-1], Typed):
            joined[-1] = Typed(joined[-1].text + press.text)
        else:
            joined.append(press)
    return joined
