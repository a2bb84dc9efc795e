"""Edits of JSON with comments: they change what they are asked to and not a byte more, or are refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from syrupy.assertion import SnapshotAssertion

from acp_agent.ides import entries, jsonc
from acp_agent.ides.catalogue import BY_KEY
from acp_agent.ides.jsonc import Document, NotEdited, NotJson, plain
from tests.ides.texts import Text, texts

ZED = BY_KEY["zed"]
PATH = ("agent_servers", "Antigravity")
ENTRY: JsonValue = {"type": "custom", "command": "/bin/acp-agent", "args": ["--mode", "ask"], "env": {}}

STYLES = {
    "as Zed makes it": '// Zed settings\n//\n// See the documentation.\n{\n  "theme": "One Dark"\n}\n',
    "trailing commas": '{\n  "vim_mode": true,\n  "agent_servers": {\n    "other": { "a": 1 }, // mine\n  },\n}\n',
    "tabs": '{\n\t"tab_size": 4,\n\t"agent_servers": {\n\t\t"other": {}\n\t}\n}\n',
    "one line": '{"vim_mode": true}',
    "no line of its own for the brace": '{\n    "a": 1}\n',
    "nothing": "",
    "comments only": "// nothing yet",
    "empty object": "{}\n",
    "empty agent_servers": '{\n  "agent_servers": {\n    // none yet\n  }\n}\n',
    "commented out": '{\n  "a": 1 // one\n  // "b": 2\n}\n',
}


def comments(text: str) -> list[str]:
    """The comments in a text, by another way than the one that is tested."""
    found = re.findall(r'"(?:[^"\\]|\\.)*"|//[^\n\r]*|/\*.*?\*/', text, re.DOTALL)
    return [piece for piece in found if not piece.startswith('"')]


def with_entry(value: JsonValue) -> JsonValue:
    root = dict(value) if isinstance(value, dict) else {}
    servers = root.get("agent_servers")
    return {**root, "agent_servers": {**(servers if isinstance(servers, dict) else {}), "Antigravity": ENTRY}}


@settings(max_examples=60, deadline=None)
@given(texts())
def test_an_entry_is_added_and_what_was_there_comes_back_to_the_byte(given: Text) -> None:
    assert plain(Document(given.text).value) == given.value
    new = Document(given.text).with_value(PATH, ENTRY)
    assert plain(Document(new).value) == with_entry(given.value)
    assert comments(new) == comments(given.text)
    # What is new stands in one place, with one comma elsewhere at most: without both, the old text is there.
    assert new.startswith(given.text) or _without_insertions(new, given.text)
    assert entries.before(ZED, new, "Antigravity", ["{", "[]", given.text]) == given.text
    root = given.value if isinstance(given.value, dict) else {}
    if root and root.get("agent_servers") != {}:
        # With something beside it, that needs no kept copy.
        assert Document(new).without(PATH) == given.text


@settings(max_examples=60, deadline=None)
@given(texts().filter(lambda given: bool(given.value)), st.data())
def test_any_member_is_replaced_or_removed_and_the_rest_stays(given: Text, data: st.DataObject) -> None:
    assert isinstance(given.value, dict)
    key = data.draw(st.sampled_from(sorted(given.value)))
    replaced = Document(given.text).with_value((key,), ENTRY)
    assert plain(Document(replaced).value) == {**given.value, key: ENTRY}
    removed = Document(given.text).without((key,))
    assert plain(Document(removed).value) == {name: value for name, value in given.value.items() if name != key}


@settings(max_examples=60, deadline=None)
@given(texts(), st.data())
def test_a_damaged_text_is_edited_rightly_or_refused(given: Text, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(given.text)))
    end = data.draw(st.integers(start, min(len(given.text), start + 3)))
    middle = data.draw(
        st.sampled_from(["", ",", "{", "}", '"', "'", "//", "/*", "x", "\x00", "\u00a0", "]", "+1", ":"])
    )
    text = given.text[:start] + middle + given.text[end:]
    try:
        document = Document(text)
        new = document.with_value(PATH, ENTRY)
    except (NotJson, NotEdited):
        return
    assert plain(Document(new).at(*PATH)) == ENTRY
    assert entries.before(ZED, new, "Antigravity", [text]) == text or plain(document.at(*PATH)) is not None


@pytest.mark.parametrize("style", STYLES)
def test_an_entry_looks_like_its_surroundings(style: str, snapshot: SnapshotAssertion) -> None:
    assert Document(STYLES[style]).with_value(PATH, ENTRY) == snapshot


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not valid at line 1, column 2: expecting property name enclosed in double quotes"),
        ("{,}", "is not valid at line 1, column 2: expecting property name enclosed in double quotes"),
        (
            '{\n  "a": 1,,\n}',
            "is not valid at line 2, column 10: expecting property name enclosed in double quotes",
        ),
        ("{'a': 1}", "is not valid at line 1, column 2: expecting property name enclosed in double quotes"),
        ('{"a": 0x1}', "is not valid at line 1, column 8: expecting ',' delimiter"),
        ('{"a": 1} {}', "is not valid at line 1, column 10: extra data"),
        ('{"a": NaN}', "holds NaN, which JSON does not have"),
        ("// x\n/* never closed", "is not valid at line 2, column 1"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "is nested too deeply"),
        ("[1]", "has no object at its top"),
        ("null", "has no object at its top"),
        ('{"agent_servers": []}', "has no object at agent_servers"),
        ('{"agent_servers": null}', "has no object at agent_servers"),
        ('{"agent_servers": {}, "agent_servers": {}}', "has the key 'agent_servers' more than once"),
        ('{"agent_servers": {"Antigravity": 1, "Antigravity": 2}}', "has the key 'Antigravity' more than once"),
    ],
)
def test_what_an_ide_would_refuse_is_not_edited(text: str, reason: str) -> None:
    with pytest.raises((NotJson, NotEdited)) as refused:
        Document(text).with_value(PATH, ENTRY)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ('{"a": 1, "agent_servers": {', "without breaking it"),
        ('{"a": 2}', "without changing something else in it"),
    ],
)
def test_an_edit_that_would_do_more_than_it_should_is_refused(
    monkeypatch: pytest.MonkeyPatch, new: str, reason: str
) -> None:
    text = '{"a": 1}'
    monkeypatch.setattr(Document, "_insertion", lambda *_: [jsonc._Splice(0, len(text), new)])
    with pytest.raises(NotEdited, match=reason):
        Document(text).with_value(PATH, ENTRY)


def test_where_there_are_no_comments_none_are_read() -> None:
    assert plain(Document('{"a": 1}', comments=False).value) == {"a": 1}
    for text in ('{"a": 1,}', '{"a": 1 /* one */}', "// nothing", '\ufeff{"a": 1}'):
        with pytest.raises(NotJson):
            Document(text, comments=False)


def test_nothing_is_removed_that_is_not_there() -> None:
    for text in ("", "{}", '{"agent_servers": {}}', '{"agent_servers": 1}'):
        with pytest.raises(NotEdited):
            Document(text).without(PATH)


def test_a_line_does_not_get_into_the_comment_before_it() -> None:
    text = '{\n  "a": 1, // note\n  "agent_servers": {"Antigravity": 1}, "b": 2\n}'
    assert plain(Document(Document(text).without(PATH)).value) == {"a": 1, "b": 2}


@pytest.mark.parametrize("comment", ["/* ours */ ", "// ours\n"])
def test_a_comment_before_an_object_keeps_it(comment: str) -> None:
    text = f'{{"a": 1, "agent_servers": {comment}{{"Antigravity": 1}}}}'
    assert Document(text).without(PATH) == f'{{"a": 1, "agent_servers": {comment}{{}}}}'


def test_a_comment_between_an_entry_and_its_comma_does_not_get_into_one_before() -> None:
    text = '{// note\n  "a": null/* \n */,\n}'
    assert Document(text).without(("a",)) == "{// note\n  /* \n */\n}"


def _without_insertions(new: str, old: str) -> bool:
    """Whether the old text is the new one without one comma and one other piece, in this order."""
    head = 0
    while head < len(old) and new[head] == old[head]:
        head += 1
    tail = 0
    while tail < len(old) - head and new[-1 - tail] == old[-1 - tail]:
        tail += 1
    middle, kept = new[head : len(new) - tail], old[head : len(old) - tail]
    return not kept or (middle.startswith("," + kept) and bool(middle.removeprefix("," + kept)))
