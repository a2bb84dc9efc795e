"""How results are shown: as JSON for programs, or as tables for people.

What is shown comes from models, clients and disks, so nothing in it may steer the terminal. A table is as wide as
its content if it does not go to a terminal; on one it fits, and what is too long is cut with an ellipsis.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Literal

import click
from pydantic import JsonValue

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 100_000
"""The width of a table that goes to a file or another program."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading. One that may shrink is cut on a narrow terminal before the others are."""

    heading: str
    justify: Literal["left", "right"] = "left"
    shrinks: bool = False


def write_json(value: JsonValue) -> None:
    """One JSON value on standard output."""
    click.echo(json.dumps(value, indent=2))


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output."""
    from rich.table import Table  # noqa: PLC0415  (the server needs no tables)
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        # Rich gives a column that must not wrap all the room that it wants.
        table.add_column(column.heading, justify=column.justify, no_wrap=not column.shrinks)
    for row in rows:
        table.add_row(*(Text(plain(cell), no_wrap=True, overflow="ellipsis") for cell in row))
    console().print(table)


def write_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Named values, one a line, on standard output."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name.ljust(width)}  {plain(value)}".rstrip())


def plain(text: str) -> str:
    """Text on one line, without anything that a terminal would act upon."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def moment(at: str | None) -> str:
    """A stored time in the time zone of whoever reads it, to the minute."""
    if at is None:
        return "-"
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return at


def size(count: int) -> str:
    """A number of bytes in words."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def console(stream: IO[str] | None = None) -> Console:
    """A stream, standard output by default, as wide as the terminal, or as any text if it goes elsewhere."""
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stdout if stream is None else stream
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, soft_wrap=False, highlight=False, markup=False, emoji=False)
