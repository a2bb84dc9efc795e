"""The table of outcomes for the documentation, made from the table that decides.

`python -m sessions.outcome_table` prints it; `docs/resume.md` holds it too, and a test compares them, so that
neither can change alone (`make docs` writes it anew).
"""

from __future__ import annotations

import sys

from sessions.report import Outcome, Reason
from sessions.resume import TABLE, Live, Row


def markdown() -> str:
    """The table as Markdown, one line a row, in the order in which rows are tried; ends with a line break."""
    lines = [
        "| live trajectory | turn without an end | `--interrupted` | outcome | reason | meaning"
        " | no usable checkpoint |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(_cells(row))} |" for row in TABLE]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    live = "any" if set(row.live) == set(Live) else ", ".join(state.value for state in row.live)
    turn_open = {None: "any", True: "yes", False: "no"}[row.turn_open] if row.prompted else "no turn at all"
    rollback = {None: "any", True: "`rollback`", False: "`keep`"}[row.rollback]
    return (
        live,
        turn_open,
        rollback,
        f"`{row.outcome.value}`",
        ", ".join(_reasons(row)),
        row.meaning,
        _without_checkpoint(row),
    )


def _without_checkpoint(row: Row) -> str:
    if row.outcome is Outcome.RECOVERED:
        return f"`{Outcome.REBUILT.value}`, or `{Outcome.FRESH.value}` without a transcript; same reason"
    return "the same, with an empty conversation" if row.rollback else "the same"


def _reasons(row: Row) -> list[str]:
    named = {other.reason for other in TABLE}
    reasons = [row.reason] if row.reason is not None else [reason for reason in Reason if reason not in named]
    return [f"`{reason.value}`" for reason in reasons]


if __name__ == "__main__":
    sys.stdout.write(markdown())
