"""The outermost level of a protocol buffer, read without its description: numbered fields in order. Pure.

The harness keeps much of what it stores in this form; what is needed of it are single numbers and texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_BYTES = 2
"""The kind of a field that is a text, bytes or another record."""

Field = tuple[int, int | bytes]
"""A field's number and its value; a number is not told apart from what it stands for."""


def fields(record: object) -> list[Field] | None:
    """The fields of a record; None if it is no record that can be read to its end."""
    if not isinstance(record, bytes):
        return None
    try:
        return [(number, value) for number, value, _ in _parts(record)]
    except ValueError:
        return None


def replaced(record: bytes, number: int, values: Sequence[bytes]) -> bytes:
    """The record with these values in the place of the text fields of this number, of which it has at least one.

    Raises:
        ValueError: it cannot be read.
    """
    tag = _as_varint(number << 3 | _BYTES)
    new = b"".join(tag + _as_varint(len(value)) + value for value in values)
    parts: list[bytes] = []
    for found, _, encoded in _parts(record):
        if found != number:
            parts.append(encoded)
        elif new not in parts:
            parts.append(new)
    return b"".join(parts)


def _parts(record: bytes) -> Iterator[tuple[int, int | bytes, bytes]]:
    """Each field with its number, its value and all of its bytes."""
    at = 0
    while at < len(record):
        begin = at
        tag, at = _varint(record, at)
        value: int | bytes
        match tag & 7:
            case 0:
                value, at = _varint(record, at)
            case 1:
                value, at = int.from_bytes(record[at : at + 8], "little"), at + 8
            case 2:
                length, at = _varint(record, at)
                value, at = record[at : at + length], at + length
            case 5:
                value, at = int.from_bytes(record[at : at + 4], "little"), at + 4
            case kind:
                raise ValueError(f"no type {kind}")
        if at > len(record):
            raise ValueError("a field is cut")
        yield tag >> 3, value, record[begin:at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number is cut")


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
