"""One event is one line, whatever its facts hold, and can be read back."""

from __future__ import annotations

import logging
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from acp_agent.logs import line, scope
from acp_agent.logs.events import Event
from acp_agent.logs.line import LINE_LIMIT, VALUE_LIMIT, Fact
from acp_agent.logs.saying import ForPeople, ForTheFile, say
from acp_agent.redaction import Redactor

anything = st.text(st.characters(exclude_categories=()), max_size=600)
facts = st.lists(
    st.tuples(
        st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), anything
        ),
    ),
    max_size=12,
    unique_by=lambda fact: fact[0],
)


@example([("a", "\n\r\x1b[31m\x00\u2028\u202e\x85\ud800\udc00\U000e0001")])
@example([("a", ""), ("b", 'say "no"\\'), ("c", "x=y z"), ("d", "true")])
@given(facts)
def test_a_line_is_one_line_and_can_be_read_back(given_: list[tuple[str, Fact]]) -> None:
    made = line.made(given_)
    assert len(made.splitlines()) <= 1
    assert not [char for char in made if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    made.encode()
    found = line.read(made)
    assert list(found) == [name for name, fact in given_ if fact is not None]
    for name, fact in given_:
        if isinstance(fact, str):
            shown = fact if len(fact) <= VALUE_LIMIT else fact[: VALUE_LIMIT - 1] + "…"
            # Two halves of a surrogate pair in a row are one character to whoever reads JSON.
            whole = shown.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            assert ascii(found[name]) == ascii(whole)
        elif isinstance(fact, int):
            assert found[name] == str(fact).lower()


@given(st.lists(anything, min_size=20, max_size=60))
def test_a_line_is_bounded_and_says_that_it_was_cut(values: list[str]) -> None:
    made = line.made([(f"a{place}", value) for place, value in enumerate(values)])
    assert len(made) <= LINE_LIMIT
    found = line.read(made)
    assert (found.pop("cut", "false") == "true") == (len(found) < len(values))


@pytest.mark.parametrize("torn", ["time=2026 level", 'a="b', "no pairs here", "a=b  c=d", "A=1"])
def test_what_is_no_line_is_refused(torn: str) -> None:
    with pytest.raises(ValueError, match="character"):
        line.read(torn)


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> tuple[logging.Logger, Kept]:
    logger, handler = logging.Logger("acp_agent.test"), Kept()
    logger.addHandler(handler)
    return logger, handler


def test_words_and_tracebacks_are_in_the_file_only_with_debug(kept: tuple[logging.Logger, Kept]) -> None:
    logger, handler = kept
    redactor = Redactor(["hunter2-secret"])
    try:
        raise ValueError("of a conversation")
    except ValueError as error:
        say(logger, Event.ANSWER_UNSAYABLE, "it said hunter2-secret", None, error, code=-1)
    (record,) = handler.records
    brief = line.read(ForTheFile(redactor, detailed=False).format(record))
    assert (brief["event"], brief["level"], brief["code"]) == ("wire.unsayable", "error", "-1")
    assert (brief["exception"], brief["raised"].split(":")[0]) == ("ValueError", "test_log_line.py")
    assert "of a conversation" not in str(brief)
    detailed = line.read(ForTheFile(redactor, detailed=True).format(record))
    assert detailed["words"] == "it said [hidden]"
    assert detailed["traceback"].endswith("ValueError: of a conversation")
    person = ForPeople(redactor).format(record)
    assert person.startswith("ERROR acp_agent.test: it said [hidden]\n    Traceback")


def test_words_of_others_neither_steer_a_terminal_nor_pass_for_a_line(kept: tuple[logging.Logger, Kept]) -> None:
    logger, handler = kept
    logger.warning("a\x1b]0;owned\x07\nERROR acp_agent.server: all is lost\r\u2028\ud800")
    assert ForPeople(Redactor()).format(handler.records[0]) == (
        "WARNING acp_agent.test: a\\u001b]0;owned\\u0007\n    ERROR acp_agent.server: all is lost\\r\\u2028\\ud800"
    )


def test_session_and_turn_come_from_the_scope_unless_an_event_names_another(
    kept: tuple[logging.Logger, Kept],
) -> None:
    logger, handler = kept
    formatter = ForTheFile(Redactor(), detailed=False)
    here = scope.of("one")
    scope.enter("one")
    here.turn = 7
    for facts_ in ({}, {"session": "two"}, {"session": "one", "turn": 3}):
        say(logger, Event.COMMAND, **facts_)
    logger.warning("a library's %s", "words")
    found = [line.read(formatter.format(record)) for record in handler.records]
    assert [(each["session"], each.get("turn")) for each in found] == [
        ("one", "7"),
        ("two", None),
        ("one", "3"),
        ("one", "7"),
    ]
    assert (found[3]["event"], found[3]["logger"]) == ("library.said", "acp_agent.test")
    assert "words" not in str(found[3])
    assert (
        ForPeople(Redactor()).format(handler.records[0])
        == "INFO acp_agent.test: prompt.command session=one turn=7"
    )
    assert line.read(formatter.format(handler.records[0]))["event"] == "prompt.command", (
        "formatting changes nothing"
    )
    scope.enter(None)
