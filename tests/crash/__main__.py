"""`python -m tests.crash`: the crash campaigns; prints tables, and exits with 1 if a promise was broken."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
from pydantic import JsonValue
from rich.console import Console

from tests.crash import calls, figures, kills, strace
from tests.crash.calls import Disturbed
from tests.crash.kills import Budget, Results

_WIDTH = 150
"""Columns of the tables where there is no terminal to ask."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--seed", type=int, help="What the random kills are drawn from. Default: a new one, which is printed."
)
@click.option("--kills", "count", default=500, show_default=True, help="How many random kills.")
@click.option(
    "--minutes", default=60.0, show_default=True, help="The random kills end after this time at the latest."
)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="How many agents at a time.")
@click.option("--sample", type=int, help="Only so many system calls of each operation. Default: all.")
@click.option("--only", type=click.Choice(["kills", "calls"]), help="Only one of the two campaigns.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here."
)
def main(
    *,
    seed: int | None,
    count: int,
    minutes: float,
    jobs: int,
    sample: int | None,
    only: str | None,
    json_file: Path | None,
) -> None:
    """Kill the agent at random moments, and at every system call; fail if a finished turn is ever lost."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    root = Path(tempfile.mkdtemp(prefix="acp-agent-crash-"))
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    console.print(f"seed {seed}; {machine}; data in {root}", soft_wrap=True)
    found: dict[str, JsonValue] = {"seed": seed, "machine": machine}
    broken = 0
    if only != "calls":
        began = time.monotonic()
        results = _kills(root / "kills", seed, Budget(count, began + minutes * 60), jobs)
        figures.print_kills(console, results)
        found["kills"] = {**figures.kills_json(results), "seconds": round(time.monotonic() - began)}
        broken += len(results.failures)
    if only != "kills":
        if (why := strace.missing()) is not None:
            console.print(f"The system calls are left out: {why}.")
        else:
            began = time.monotonic()
            disturbed = _calls(root / "calls", jobs, sample)
            figures.print_calls(console, disturbed)
            found["calls"] = {**figures.calls_json(disturbed), "seconds": round(time.monotonic() - began)}
            broken += sum(result.failure is not None for result in disturbed)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if broken:
        sys.exit(f"{broken} promises were broken; the seed is {seed}.")
    shutil.rmtree(root)


def _kills(root: Path, seed: int, budget: Budget, jobs: int) -> Results:
    root.mkdir()
    results = Results()
    asyncio.run(kills.campaign(root, seed, budget, jobs, results, say=_say))
    return results


def _calls(root: Path, jobs: int, sample: int | None) -> list[Disturbed]:
    return asyncio.run(calls.campaign(root, jobs=jobs, sample=sample, say=_say))


def _say(what: str) -> None:
    click.echo(what, err=True)


if __name__ == "__main__":
    main()
