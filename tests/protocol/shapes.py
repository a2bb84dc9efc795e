"""Checks values against the protocol's schema, strictly: what the schema does not name is an error.

The schema lets unknown members pass, so that old receivers take new messages. A sender must not add any ("**MUST
NOT** add any custom fields at the root of a type", acp-facts 2), and that is what is checked here. Only the
keywords that the schema uses are known; another one is an error, so that none is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import JsonValue

Schema: TypeAlias = dict[str, "JsonValue"]
Json: TypeAlias = dict[str, "JsonValue"]

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_NOTES: Final = frozenset({"x-side", "x-method", "format"})
"""Keywords that restrict nothing here."""

_KNOWN: Final = _NOTES | {
    "$ref",
    "type",
    "const",
    "enum",
    "minLength",
    "minimum",
    "maximum",
    "required",
    "properties",
    "items",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "additionalProperties",
    "unevaluatedProperties",
}


@cache
def definitions() -> Mapping[str, Schema]:
    """The schema's definitions by name."""
    text = Path(__file__).with_name("schema_v1.json").read_text(encoding="utf-8")
    found: dict[str, Schema] = json.loads(text)["$defs"]
    return found


@cache
def of_method(method: str, suffix: str) -> str | None:
    """The definition of a method's `Request`, `Response` or `Notification`; None if the protocol has none."""
    for name, schema in definitions().items():
        if schema.get("x-method") == method and name.endswith(suffix):
            return name
    return None


def faults(definition: str, value: JsonValue) -> list[str]:
    """What is wrong with a value that should be as a definition says; empty if nothing is."""
    return _strictly(definitions()[definition], value, definition)


class _Names:
    """The members of an object that the schema names; `every` if it lets any pass."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.every = False

    def add(self, other: _Names) -> None:
        self.names |= other.names
        self.every |= other.every


def _strictly(schema: JsonValue, value: JsonValue, at: str) -> list[str]:
    found, names = _check(schema, value, at)
    if isinstance(value, dict) and not names.every:
        found += [f"{at}: the protocol has no member {name!r} here" for name in value if name not in names.names]
    return found


def _check(schema: JsonValue, value: JsonValue, at: str) -> tuple[list[str], _Names]:
    names = _Names()
    if schema is True or schema == {}:
        names.every = True
        return [], names
    assert isinstance(schema, dict), f"{at}: {schema!r} is no schema"
    assert schema.keys() <= _KNOWN, f"{at}: unknown keywords {schema.keys() - _KNOWN}"
    found = [*_of_itself(schema, value, at), *_members(schema, value, at, names)]
    for part in _parts(schema):
        more, known = _check(part, value, at)
        found += more
        names.add(known)
    for keyword in ("anyOf", "oneOf"):
        branches = schema.get(keyword)
        if isinstance(branches, list):
            more, known = _best(branches, value, at)
            found += more
            names.add(known)
    if "not" in schema and not _check(schema["not"], value, at)[0]:
        found.append(f"{at}: {_short(value)} is excluded here")
    return found, names


def _parts(schema: Schema) -> Iterator[JsonValue]:
    """What a value must be besides: a reference, and each of `allOf`."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        yield definitions()[reference.removeprefix("#/$defs/")]
    parts = schema.get("allOf", [])
    assert isinstance(parts, list)
    yield from parts


def _of_itself(schema: Schema, value: JsonValue, at: str) -> Iterator[str]:
    """What is wrong with a value without looking into it."""
    wanted = schema.get("type")
    if wanted is not None:
        types = wanted if isinstance(wanted, list) else [wanted]
        if not any(_is(value, str(name)) for name in types):
            yield f"{at}: {_short(value)} is not of type {' or '.join(map(str, types))}"
            return
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {_short(value)} is not {schema['const']!r}"
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        yield f"{at}: {_short(value)} is none of {choices}"
    least, most, shortest = schema.get("minimum"), schema.get("maximum"), schema.get("minLength")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(least, int | float) and value < least:
            yield f"{at}: {value} is less than {least}"
        if isinstance(most, int | float) and value > most:
            yield f"{at}: {value} is more than {most}"
    if isinstance(shortest, int) and isinstance(value, str) and len(value) < shortest:
        yield f"{at}: {_short(value)} is too short"


def _members(schema: Schema, value: JsonValue, at: str, names: _Names) -> Iterator[str]:
    """What is wrong with the members of an object or the items of a list; adds the names it knows to `names`."""
    if isinstance(value, list) and "items" in schema:
        for place, item in enumerate(value):
            yield from _strictly(schema["items"], item, f"{at}[{place}]")
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    names.names |= properties.keys()
    if schema.get("unevaluatedProperties") is True:
        names.every = True
    if not isinstance(value, dict):
        return
    required = schema.get("required", [])
    assert isinstance(required, list)
    yield from (f"{at}: {name!r} is missing" for name in required if name not in value)
    for name, member in properties.items():
        if name in value:
            yield from _strictly(member, value[name], f"{at}.{name}")
    if (others := schema.get("additionalProperties")) is not None:
        names.every = True
        for name in value.keys() - properties.keys():
            yield from _strictly(others, value[name], f"{at}.{name}")


def _best(branches: list[JsonValue], value: JsonValue, at: str) -> tuple[list[str], _Names]:
    """The branch that a value satisfies; if none, the one whose word it bears, or that says least against it."""
    tried: list[tuple[int, list[str], _Names]] = []
    for branch in branches:
        if not _bears_its_word(branch, value):
            continue
        found, names = _check(branch, value, at)
        if not found:
            return found, names
        tried.append((len(found), found, names))
    if not tried:
        return [f"{at}: {_short(value)} is none of the {len(branches)} things that it may be"], _Names()
    _, found, names = min(tried, key=lambda each: each[0])
    return found, names


def _bears_its_word(branch: JsonValue, value: JsonValue) -> bool:
    """False if a branch wants a fixed word in a member, such as `type`, and the value has another there."""
    properties = branch.get("properties") if isinstance(branch, dict) else None
    if not isinstance(properties, dict) or not isinstance(value, dict):
        return True
    return all(
        not isinstance(member, dict) or "const" not in member or value.get(name) == member["const"]
        for name, member in properties.items()
    )


def _is(value: JsonValue, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _short(value: JsonValue) -> str:
    return f"{value!r:.100}"
