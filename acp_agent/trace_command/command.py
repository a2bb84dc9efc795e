"""Prints a trace: for people, or as JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from acp_agent.trace_command import records
from acp_agent.trace_command.sequence import ASIDE, TO_AGENT, TO_CLIENT, Filter, Folding, Row, Sequence

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes of a line, at most; long texts and images are recorded shortened."""

LOOKED_AT: Final = 100
"""Lines at the beginning of a file, one of which must be a record if it is a trace."""

FOLLOW_SECONDS: Final = 0.2

TIMES: Final = "\u00d7"

_ASCII: Final = {TO_AGENT: "->", TO_CLIENT: "<-", ASIDE: " *", "“": '"', "”": '"', "…": "...", TIMES: "x"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--session", metavar="ID", help="Only this session; the beginning or the end of its id will do.")
@click.option(
    "--method",
    "methods",
    metavar="PATTERN",
    multiple=True,
    help="Only this method or kind of update, such as session/prompt or 'tool_*'. May be given again.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is still being recorded, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row.")
def trace(file: Path, session: str | None, methods: tuple[str, ...], follow: bool, as_json: bool) -> None:
    """Print a wire trace, as --trace records it, as a readable sequence.

    → is to the agent, ← to the client; each row has the seconds since its process began, the session and the turn,
    the method or the kind of update, and what it says. An answer says how long it took.
    """
    write = _write_json if as_json else _Printer().write
    wanted, sequence, folding = Filter(session, methods), Sequence(), Folding()
    try:
        with file.open("rb") as lines:
            for record in _records(file, lines, follow=follow):
                found = sequence.rows(record) if record is not None else sequence.end() if not follow else iter(())
                for row in found:
                    if wanted.passes(row):
                        for whole in folding.rows(row):
                            write(whole)
                if record is None:
                    for whole in folding.end():
                        write(whole)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise click.ClickException(f"{file} cannot be read: {error.strerror or error}.") from error
    except KeyboardInterrupt:
        if not follow:
            raise


def _records(file: Path, lines: IO[bytes], *, follow: bool) -> Iterator[records.Record | None]:
    """The records of a file; None where there are no more for now.

    Raises:
        ClickException: it is no trace.
    """
    found = strange = 0
    rest = b""
    while True:
        line = lines.readline(LONGEST_LINE)
        if not line.endswith(b"\n") and follow and len(line) < LONGEST_LINE:
            rest += line
            yield None
            time.sleep(FOLLOW_SECONDS)
            continue
        line, rest = rest + line, b""
        if not line:
            break
        if not line.strip():
            continue
        record = records.read(line.decode("utf-8", "replace"))
        if record is None:
            strange += 1
            cut = not line.endswith(b"\n")
            if not found and (strange >= LOOKED_AT or len(line) >= LONGEST_LINE):
                raise click.ClickException(f"{file} is not a trace.")
            if found and cut:
                click.echo(
                    "The last line is cut: its process was killed while it wrote, or still writes.", err=True
                )
                strange -= 1
            continue
        found += 1
        yield record
    if not found:
        raise click.ClickException(
            f"{file} is not a trace." if strange else f"{file} is empty: nothing was recorded."
        )
    yield None
    if strange:
        some = "1 line is no record" if strange == 1 else f"{strange} lines are no records"
        click.echo(f"{some} of a trace and passed over.", err=True)


def _write_json(row: Row) -> None:
    value = {
        "time": row.time,
        "at": row.at,
        "pid": row.pid,
        "to": {TO_AGENT: "agent", TO_CLIENT: "client"}.get(row.arrow),
        "method": row.method or None,
        "kind": row.kind,
        "id": row.id,
        "session": row.session,
        "turn": row.turn,
        "messages": row.count,
        "bytes": row.size,
        "ms": row.ms,
        "failed": row.tone == "error",
        "gist": row.gist,
    }
    click.echo(json.dumps(value))


class _Printer:
    """Prints rows as wide as the terminal, or whole if it goes elsewhere."""

    def __init__(self) -> None:
        from acp_agent.sessions_command.output import console  # noqa: PLC0415

        self._console: Console = console()
        try:
            "".join(_ASCII).encode(sys.stdout.encoding or "ascii")
            self._ascii = False
        except (UnicodeEncodeError, LookupError):
            self._ascii = True

    def write(self, row: Row) -> None:
        """Print one row."""
        from rich.text import Text  # noqa: PLC0415

        text = Text(style="" if row.tone == "plain" else _STYLES[row.tone])
        for words, style in _cells(row):
            text.append(self._plain(words), style=style)
        self._console.print(text, no_wrap=True, overflow="crop" if self._ascii else "ellipsis")

    def _plain(self, words: str) -> str:
        if not self._ascii:
            return words
        for char, instead in _ASCII.items():
            words = words.replace(char, instead)
        return words.encode("ascii", "replace").decode()


_STYLES: Final = {"error": "red", "aside": "dim"}


def _cells(row: Row) -> Iterator[tuple[str, str]]:
    from acp_agent.sessions_command.output import size  # noqa: PLC0415

    yield f"{row.at:9.3f} {row.arrow} ", ""
    yield f"{(row.session or '')[:8]:8} {'' if row.turn is None else f't{row.turn}':>3}  ", "dim"
    yield row.kind, "bold"
    if row.id is not None:
        yield f" #{row.id}", "dim"
    if row.count > 1:
        yield f" {TIMES}{row.count}, {size(row.size)}", ""
    if row.ms is not None:
        yield f"  {_duration(row.ms)}", "cyan"
    if row.gist:
        yield f"  {row.gist}", ""


def _duration(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"
