"""A form is read as the protocol says it, and every answer is in the form's own terms, or no answer."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.forms import Declined, Field, Kind, NoAnswer, read_form

COLOURS: list[JsonValue] = [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}]
SCHEMA: JsonObject = {
    "colour": {"type": "string", "title": "Colour", "oneOf": COLOURS, "description": "Of the bird"},
    "size": {"type": "string", "enum": ["small", "large"], "default": "small"},
    "name": {"type": "string", "minLength": 2, "maxLength": 5},
    "count": {"type": "integer", "minimum": 1, "maximum": 3},
    "weight": {"type": "number"},
    "tame": {"type": "boolean"},
    "marks": {"type": "array", "items": {"anyOf": COLOURS}, "maxItems": 1},
}


def form(properties: JsonObject, *required: str, mode: str = "form") -> tuple[Field, ...]:
    schema: JsonObject = {"type": "object", "properties": properties, "required": [*required]}
    return read_form({"mode": mode, "sessionId": "s", "message": "m", "requestedSchema": schema}).fields


FIELDS = {field.name: field for field in form(SCHEMA, "count")}


@pytest.mark.parametrize(
    ("name", "line", "value", "said"),
    [
        ("colour", "2", "b", "Blue"),
        ("colour", "RED", "r", "Red"),
        ("colour", "", None, "(skipped)"),
        ("size", "", "small", "small"),
        ("size", "large", "large", "large"),
        ("name", " wren ", "wren", "wren"),
        ("count", "3", 3, "3"),
        ("weight", "1.5", 1.5, "1.5"),
        ("tame", "No", False, "no"),
        ("tame", "y", True, "yes"),
        ("marks", "1", ["r"], "Red"),
        ("marks", "blue, 2", ["b"], "Blue"),
    ],
)
def test_answers(name: str, line: str, value: JsonValue, said: str) -> None:
    answered = FIELDS[name].read(line)
    assert answered == value
    assert FIELDS[name].said(answered) == said


@pytest.mark.parametrize(
    ("name", "line", "wants"),
    [
        ("colour", "3", "Answer with a number from 1 to 2."),
        ("name", "x", "At least 2 characters are needed."),
        ("name", "sparrow", "At most 5 characters are possible."),
        ("count", "2.5", "Answer with a whole number."),
        ("count", "0", "At least 1 are needed."),
        ("weight", "heavy", "Answer with a number."),
        ("weight", "nan", "Answer with a number."),
        ("tame", "perhaps", "Answer with y or n."),
        ("marks", "1 2", "At most 1 choices are possible."),
    ],
)
def test_what_is_no_answer(name: str, line: str, wants: str) -> None:
    with pytest.raises(NoAnswer, match=re.escape(wants)):
        FIELDS[name].read(line)


def test_an_empty_line_where_something_is_needed_declines() -> None:
    with pytest.raises(Declined):
        FIELDS["count"].read(" ")


def test_hints_say_how() -> None:
    assert {name: field.hint for name, field in FIELDS.items()} == {
        "colour": "1-2, Enter skips",
        "size": "1-2, Enter keeps the default",
        "name": "a text, Enter skips",
        "count": "a number, Enter declines",
        "weight": "a number, Enter skips",
        "tame": "y or n, Enter skips",
        "marks": "some of 1-2, Enter skips",
    }
    assert FIELDS["colour"].kind is Kind.ONE


@pytest.mark.parametrize("entry", [{}, {"type": "object"}, {"type": "array", "items": {"type": "string"}}])
def test_a_form_with_a_field_of_an_unknown_kind_is_not_shown(entry: JsonObject) -> None:
    with pytest.raises(FieldError):
        form({"x": entry})


def test_only_forms_are_offered() -> None:
    with pytest.raises(FieldError):
        form({}, mode="url")


@given(st.sampled_from(sorted(FIELDS)), st.text(max_size=8))
def test_whatever_is_typed_is_an_answer_or_none(name: str, line: str) -> None:
    field = FIELDS[name]
    try:
        value = field.read(line)
    except (NoAnswer, Declined):
        return
    values = dict(field.choices)
    if field.kind is Kind.ONE:
        assert value is None or value in values
    if field.kind is Kind.SEVERAL and isinstance(value, list):
        assert set(map(str, value)) <= set(values)
