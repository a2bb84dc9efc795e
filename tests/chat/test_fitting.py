"""What is fitted into a line fits, and loses no more than it must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from acp_agent.chat.fields import JsonObject
from acp_agent.chat.fitting import amount, clock, cut, fitted
from acp_agent.chat.picker import Choice, Picker
from acp_agent.chat.settings import Settings
from acp_agent.chat.status import session_status
from acp_agent.chat.transcript import SessionState

TEXTS = st.text(st.sampled_from("ab 語é…"), max_size=20)


@given(TEXTS, st.integers(0, 30))
def test_a_text_that_is_cut_fits_and_begins_as_it_did(text: str, width: int) -> None:
    shown = cut(text, width)
    assert get_cwidth(shown) <= width
    whole = " ".join(text.split())
    assert shown == whole if get_cwidth(whole) <= width else whole.startswith(shown.removesuffix("…"))


def test_a_text_of_any_length_is_cut_without_much_ado() -> None:
    assert cut("x" * 1_000_000, 30) == "x" * 29 + "…"  # by the last sign again and again it would take hours


@given(st.lists(TEXTS, max_size=5), st.integers(0, 60))
def test_parts_that_do_not_fit_go_from_the_end(parts: list[str], width: int) -> None:
    shown = fitted(parts, width)
    assert get_cwidth(shown) <= width
    kept = [part for part in parts if part]
    if kept and shown != cut(kept[0], width):
        assert shown in [cut(" · ".join(kept[:count]), width) for count in range(2, len(kept) + 1)]


def test_amounts_and_times() -> None:
    assert [amount(number) for number in (0, 999, 1000, 12_345, 128_000, 1_048_576)] == [
        "0",
        "999",
        "1k",
        "12.3k",
        "128k",
        "1.05M",
    ]
    assert [clock(seconds) for seconds in (0, 59.9, 60, 3599, 3723)] == ["0 s", "59 s", "1:00", "59:59", "1:02:03"]


OPTIONS: JsonObject = {
    "configOptions": [
        {
            "id": "mode",
            "name": "Mode",
            "category": "mode",
            "type": "select",
            "currentValue": "a",
            "options": [{"value": "a", "name": "Ask"}],
        },
        {
            "id": "model",
            "name": "Model",
            "category": "model",
            "type": "select",
            "currentValue": "m",
            "options": [],
        },
    ]
}


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "Herons · Ask · 3.32k/128k tokens (2 %) · m"),
        (40, "Herons · Ask · 3.32k/128k tokens (2 %)"),
        (30, "Herons · Ask"),
        (5, "Hero…"),
    ],
)
def test_the_status_shrinks_with_the_terminal(width: int, shown: str) -> None:
    state = SessionState(
        title="Herons", tokens_used=3320, tokens_size=128_000, settings=Settings().with_answer(OPTIONS)
    )
    assert fitted(session_status(state), width) == shown


def test_the_status_says_only_what_is_known() -> None:
    assert fitted(session_status(SessionState()), 80) == "new session"
    assert fitted(session_status(SessionState(title="\x1b[2J" + "x" * 50, tokens_used=10)), 80) == (
        f"{'x' * 29}… · 10 tokens"
    )


CHOICES = tuple(Choice(f"id-{n}", f"Title {n}", (f"{n} turns", "was cut")) for n in range(30))


@given(
    st.lists(st.integers(-12, 12), max_size=8),
    st.sampled_from(["", "1", "title", "turns 2", "nothing at all", "ID-7"]),
    st.integers(10, 100),
    st.integers(2, 40),
)
def test_the_cursor_is_always_in_sight(moves: list[int], words: str, width: int, height: int) -> None:
    picker = Picker(("Enter loads", "Esc leaves"), CHOICES).filtered(words)
    for by in moves:
        picker = picker.moved(by)
    drawn = picker.drawn(width, height)
    assert len(drawn) <= height
    assert all(get_cwidth(line.text) <= width for line in drawn)
    assert sum(line.current for line in drawn) == (picker.current is not None)
    assert (picker.current is None) == (words == "nothing at all")


def test_a_list_in_a_wide_and_in_a_narrow_terminal() -> None:
    picker = Picker(("Enter loads",), CHOICES[:3]).moved(1)
    assert [line.text for line in picker.drawn(80, 10)] == [
        "Enter loads",
        "  Title 0 · 0 turns · was cut",
        "> Title 1 · 1 turns · was cut",
        "  Title 2 · 2 turns · was cut",
    ]
    assert [line.text for line in picker.drawn(20, 10)] == [
        "Enter loads",
        "  Title 0",
        "> Title 1",
        "    1 turns",
        "  Title 2",
    ]
    assert [line.text for line in picker.filtered("2").drawn(80, 10)] == [
        "1 of 3 · Enter loads",
        "> Title 2 · 2 turns · was cut",
    ]
    assert picker.filtered("2").filtered("2 turns").current == CHOICES[2]
    assert Picker((), ()).moved(1).current is None
