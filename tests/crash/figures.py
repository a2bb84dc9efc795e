"""What the campaigns found, as tables and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from pydantic import JsonValue
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.crash.calls import Disturbed
from tests.crash.kills import Kill, Results
from tests.crash.strace import FAULTS

Json = dict[str, JsonValue]

SYNC_NAMES = {"fsync": "sync", "fdatasync": "sync", "rename": "rename", "unlink": "unlink", "mkdir": "mkdir"}
"""How kinds of calls are summed up; all others write or make files."""


def outcome(kill: Kill) -> str:
    """How a killed session was brought back, as one word of each."""
    return f"{kill.back.outcome}/{kill.back.reason}" if kill.back else "killed again before it was back"


def kills_json(results: Results) -> Json:
    """Everything that is counted of the random kills."""
    back = [kill.back for kill in results.kills if kill.back]
    return {
        "kills": len(results.kills),
        "by_moment": dict(Counter(kill.moment for kill in results.kills).most_common()),
        "by_outcome": dict(Counter(outcome(kill) for kill in results.kills).most_common()),
        "damaged_afterwards": dict(Counter(kill.damage for kill in results.kills if kill.damage).most_common()),
        "model_requests": results.requests,
        "load_ms": round(median(found.seconds for found in back) * 1000) if back else None,
        "failures": [
            {
                "seed": failure.seed,
                "what": failure.what,
                "history": list(failure.history),
                "folder": str(failure.folder),
            }
            for failure in results.failures
        ],
    }


def calls_json(results: Sequence[Disturbed]) -> Json:
    """Everything that is counted of the disturbed system calls."""
    counted = Counter(
        (result.subject, _kind(result), result.disturbance.fault, result.ending) for result in results
    )
    return {
        "calls": len(
            {(found.subject, found.disturbance.call.name, found.disturbance.call.overall) for found in results}
        ),
        "disturbances": len(results),
        "by": [
            {"operation": operation, "kind": kind, "fault": fault, "ending": ending, "count": count}
            for (operation, kind, fault, ending), count in sorted(counted.items())
        ],
        "failures": [_failure(result) for result in results if result.failure],
    }


def print_kills(console: Console, results: Results) -> None:
    """One row a moment, one column an outcome."""
    outcomes = [name for name, _ in Counter(map(outcome, results.kills)).most_common()]
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("killed", no_wrap=True)
    for name in ("kills", *outcomes):
        table.add_column(name, justify="right")
    cells = Counter((kill.moment, outcome(kill)) for kill in results.kills)
    for moment, count in Counter(kill.moment for kill in results.kills).most_common():
        table.add_row(moment, str(count), *(str(cells[moment, name] or "") for name in outcomes))
    damaged = sum(kill.damage is not None for kill in results.kills)
    console.print(table)
    console.print(
        f"{len(results.kills)} kills, {damaged} with damage afterwards; {results.requests} model requests;"
        f" {len(results.failures)} promises broken.",
        soft_wrap=True,
    )
    for failure in results.failures:
        console.rule(f"failure in world {failure.seed}")
        console.print(escape("\n".join(failure.history)), soft_wrap=True)
        console.print(escape(f"{failure.what}\nThe data is kept in {failure.folder}."), soft_wrap=True)


def print_calls(console: Console, results: Sequence[Disturbed]) -> None:
    """One row an operation and kind of call, one column a fault."""
    table = Table("operation", "calls that", *FAULTS, box=box.SIMPLE, pad_edge=False)
    cells: dict[tuple[str, str], dict[str, Counter[str]]] = {}
    for result in results:
        row = cells.setdefault((result.subject, _kind(result)), {fault: Counter() for fault in FAULTS})
        row[result.disturbance.fault]["not as promised" if result.failure else result.ending] += 1
    for (operation, kind), row in cells.items():
        table.add_row(operation, kind, *(_cell(row[fault]) for fault in FAULTS))
    failures = [result for result in results if result.failure]
    console.print(table)
    console.print(f"{len(results)} disturbances; {len(failures)} promises broken.", soft_wrap=True)
    for result in failures:
        found = _failure(result)
        console.rule(
            f"{found['operation']}: {found['fault']} at {found['call']} {found['number']} of {found['file']}"
        )
        console.print(escape(str(result.failure)), soft_wrap=True)


def _cell(endings: Counter[str]) -> str:
    return "\n".join(f"{count} {ending}" for ending, count in sorted(endings.items()))


def _kind(result: Disturbed) -> str:
    call = result.disturbance.call
    return SYNC_NAMES.get(call.name, "make or empty a file" if call.name == "openat" else "write")


def _failure(result: Disturbed) -> Json:
    call = result.disturbance.call
    return {
        "operation": result.subject,
        "fault": result.disturbance.fault,
        "call": call.name,
        "file": Path(call.path).name,
        "number": call.number,
        "overall": call.overall,
        "what": result.failure,
    }
