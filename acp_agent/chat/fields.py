"""Typed reading of the JSON objects that the agent sends.

The client trusts no shape: each reader returns the field as the type it names, or raises `FieldError` naming
the field. A field that is absent or null reads as absent, which is what ACP v1 means by both.
"""

from __future__ import annotations

from typing import TypeAlias

from pydantic import JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


class FieldError(ValueError):
    """A field of a message does not have the type that the protocol gives it."""


def text_or_none(source: JsonObject, key: str) -> str | None:
    """The string under `key`, or None when it is absent; raises `FieldError` for any other type."""
    value = source.get(key)
    if value is None or isinstance(value, str):
        return value
    raise FieldError(f"“{key}” is not a string")


def text(source: JsonObject, key: str) -> str:
    """The string under `key`; raises `FieldError` when it is absent or of another type."""
    value = text_or_none(source, key)
    if value is None:
        raise FieldError(f"“{key}” is missing")
    return value


def integer_or_none(source: JsonObject, key: str) -> int | None:
    """The integer under `key`, or None when it is absent; raises `FieldError` for any other type."""
    value = source.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise FieldError(f"“{key}” is not an integer")


def flag(source: JsonObject, key: str) -> bool:
    """Whether `key` is true; raises `FieldError` for anything but true, false and absent."""
    value = source.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise FieldError(f"“{key}” is neither true nor false")


def object_(source: JsonObject, key: str) -> JsonObject:
    """The object under `key`, empty when it is absent; raises `FieldError` for any other type."""
    value = source.get(key)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise FieldError(f"“{key}” is not an object")


def objects(source: JsonObject, key: str) -> tuple[JsonObject, ...]:
    """The list of objects under `key`, empty when it is absent; raises `FieldError` for any other type."""
    value = source.get(key)
    if value is None:
        return ()
    if isinstance(value, list):
        found = tuple(entry for entry in value if isinstance(entry, dict))
        if len(found) == len(value):
            return found
    raise FieldError(f"“{key}” is not a list of objects")
