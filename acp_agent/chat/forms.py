"""Forms that the agent wants filled in (`elicitation/create`): what is asked, and what an answer means. Pure.

A form is asked field by field, each answered by a line. An empty line takes the field's default, or skips the
field; where neither is possible, it declines the form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from pydantic import JsonValue

from acp_agent.chat.fields import FieldError, JsonObject, object_, objects, text, text_or_none

_YES, _NO = frozenset({"y", "yes", "true", "1"}), frozenset({"n", "no", "false", "2"})


class NoAnswer(ValueError):
    """A line does not answer the question; the message says what would."""


class Declined(Exception):
    """An empty line where something is needed: the form is not to be filled in."""


class Kind(Enum):
    """What a field takes."""

    TEXT = auto()
    NUMBER = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    ONE = auto()
    """One of its choices."""
    SEVERAL = auto()
    """Any of its choices."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `choices` are values and what they are called; `low` and `high` bound a number or a length."""

    name: str
    title: str
    description: str
    kind: Kind
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = False
    default: JsonValue = None
    low: float | None = None
    high: float | None = None

    @property
    def hint(self) -> str:
        """How it is answered, for the input line."""
        empty = "Enter declines" if self.required else "Enter skips"
        if self.default is not None:
            empty = "Enter keeps the default"
        match self.kind:
            case Kind.ONE:
                how = f"1-{len(self.choices)}"
            case Kind.SEVERAL:
                how = f"some of 1-{len(self.choices)}"
            case Kind.BOOLEAN:
                how = "y or n"
            case Kind.NUMBER | Kind.INTEGER:
                how = "a number"
            case Kind.TEXT:
                how = "a text"
        return f"{how}, {empty}"

    def read(self, line: str) -> JsonValue:
        """The value that a line means, None for a field that is skipped; raises `NoAnswer` and `Declined`."""
        line = line.strip()
        if not line:
            if self.required and self.default is None:
                raise Declined
            return self.default
        match self.kind:
            case Kind.ONE:
                return self._choice(line)
            case Kind.SEVERAL:
                chosen = list(dict.fromkeys(self._choice(word) for word in line.replace(",", " ").split()))
                self._bounded(len(chosen), "choices")
                return [*chosen]
            case Kind.BOOLEAN:
                if line.lower() in _YES | _NO:
                    return line.lower() in _YES
                raise NoAnswer("Answer with y or n.")
            case Kind.NUMBER | Kind.INTEGER:
                return self._number(line)
            case Kind.TEXT:
                self._bounded(len(line), "characters")
                return line

    def said(self, value: JsonValue) -> str:
        """A value in words."""
        names = dict(self.choices)
        if isinstance(value, list):
            return ", ".join(names.get(str(each), str(each)) for each in value) or "none"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return "(skipped)" if value is None else names.get(str(value), str(value))

    def _choice(self, word: str) -> str:
        if word.isascii() and word.isdigit() and 1 <= int(word) <= len(self.choices):
            return self.choices[int(word) - 1][0]
        named = [value for value, name in self.choices if name.lower() == word.lower()]
        if len(named) == 1:
            return named[0]
        raise NoAnswer(f"Answer with a number from 1 to {len(self.choices)}.")

    def _number(self, line: str) -> JsonValue:
        try:
            number = int(line) if self.kind is Kind.INTEGER else float(line)
        except ValueError:
            whole = "whole " if self.kind is Kind.INTEGER else ""
            raise NoAnswer(f"Answer with a {whole}number.") from None
        if not math.isfinite(number):
            raise NoAnswer("Answer with a number.")
        self._bounded(number, "")
        return number

    def _bounded(self, size: float, of_what: str) -> None:
        if self.low is not None and size < self.low:
            raise NoAnswer(f"At least {self.low:g} {of_what}".rstrip() + " are needed.")
        if self.high is not None and size > self.high:
            raise NoAnswer(f"At most {self.high:g} {of_what}".rstrip() + " are possible.")


@dataclass(frozen=True, slots=True)
class Form:
    """What the agent wants to know, of which session, and the fields."""

    session_id: str
    message: str
    fields: tuple[Field, ...]


def read_form(params: JsonObject) -> Form:
    """The form of an `elicitation/create`; raises `FieldError` for one that this client cannot show."""
    if text_or_none(params, "mode") != "form":
        raise FieldError("“mode” is not form")
    return Form(text(params, "sessionId"), text(params, "message"), tuple(_fields(params)))


def _fields(params: JsonObject) -> Iterator[Field]:
    schema = object_(params, "requestedSchema")
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    for name in object_(schema, "properties"):
        entry = object_(object_(schema, "properties"), name)
        kind, choices = _kind(name, entry)
        low, high = _BOUNDS.get(kind, ("minimum", "maximum"))
        yield Field(
            name=name,
            title=text_or_none(entry, "title") or name,
            description=text_or_none(entry, "description") or "",
            kind=kind,
            choices=choices,
            required=name in needed,
            default=entry.get("default"),
            low=_number_or_none(entry, low),
            high=_number_or_none(entry, high),
        )


_BOUNDS = {Kind.TEXT: ("minLength", "maxLength"), Kind.SEVERAL: ("minItems", "maxItems")}


def _kind(name: str, entry: JsonObject) -> tuple[Kind, tuple[tuple[str, str], ...]]:
    match entry.get("type"):
        case "string":
            choices = _choices(entry)
            return (Kind.ONE, choices) if choices else (Kind.TEXT, ())
        case "array":
            choices = _choices(object_(entry, "items"))
            if choices:
                return Kind.SEVERAL, choices
        case "number":
            return Kind.NUMBER, ()
        case "integer":
            return Kind.INTEGER, ()
        case "boolean":
            return Kind.BOOLEAN, ()
    raise FieldError(f"“{name}” is a field of a kind that this client does not know")


def _choices(entry: JsonObject) -> tuple[tuple[str, str], ...]:
    plain = entry.get("enum")
    if isinstance(plain, list):
        return tuple((str(value), str(value)) for value in plain)
    named = objects(entry, "oneOf") or objects(entry, "anyOf")
    return tuple((text(each, "const"), text_or_none(each, "title") or text(each, "const")) for each in named)


def _number_or_none(entry: JsonObject, key: str) -> float | None:
    value = entry.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
