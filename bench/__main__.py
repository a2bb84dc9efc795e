"""`python -m bench`: runs every step, prints one table, and with `--json` writes it as JSON too.

The exit status is non-zero only if a step did not do what it is timed for. No time passes or fails anything.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from acp_agent.offline.server import OfflineModel
from bench import checkpoints, listing, memory, sessions_on_disk, steps, wire
from bench.figures import Figure, Machine, as_json, print_table
from bench.process import StepFailed
from bench.sides import Place, StoredSession

ENTRIES = 10_000
"""Entries of the journal from which on a replay is timed."""

_WIDTH = 130
"""Columns of the table where there is no terminal to ask."""


def _sizes(_context: click.Context, _parameter: click.Parameter, value: str) -> list[int]:
    try:
        sizes = sorted({int(size) for size in value.split(",")})
    except ValueError as error:
        raise click.BadParameter("numbers with commas between them, such as 10,100") from error
    if sizes[0] < 2:
        raise click.BadParameter("a session needs at least 2 turns")
    return sizes


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--turns", "sizes", default="10,100,1000", callback=_sizes, show_default=True, help="Sizes of the sessions."
)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here."
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Work in a new folder in this one, on the disk to be timed. Default: the folder for temporary files.",
)
@click.option(
    "--checkpoints/--no-checkpoints",
    "with_checkpoints",
    default=True,
    show_default=True,
    help="Compare the checkpoints of a session of 100 steps and one of 10,000.",
)
def main(sizes: list[int], json_file: Path | None, folder: Path | None, with_checkpoints: bool) -> None:
    """Time the agent's steps beside the same steps done with the raw SDK."""
    load_before = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory(prefix="acp-agent-bench-", dir=folder) as root, OfflineModel() as model:
            figures = _run(Place(Path(root), model), sizes, with_checkpoints)
    except StepFailed as failure:
        sys.exit(f"A step failed: {failure}")
    machine = Machine.here(load_before)
    print_table(Console(width=None if sys.stdout.isatty() else _WIDTH), machine, figures)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(machine, figures), indent=2) + "\n", encoding="utf-8")


def _run(place: Place, sizes: list[int], with_checkpoints: bool) -> list[Figure]:
    place.workspace.mkdir()
    (place.root / "config.toml").touch()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {what}", file=sys.stderr, flush=True)

    say("start")
    started = [*steps.start(place)]
    say("updates")
    sent = [*wire.updates(place)]
    loads: list[Figure] = []
    turns: list[Figure] = []
    compared: list[StoredSession] = []
    wanted = sorted({*sizes, *(checkpoints.TURNS if with_checkpoints else ())})
    say(f"a session of {wanted[0]:,} turns is made")
    for session in sessions_on_disk.build(place, wanted):
        if session.turns in sizes:
            say(f"load and turns at {session.turns:,} turns")
            loads.append(steps.load(place, session))
            turns += steps.turns(place, session)
        if 2 * session.turns >= ENTRIES:
            say(f"replays at {session.turns:,} turns")
            sent.append(wire.replay(place, session))
        if with_checkpoints and session.turns in checkpoints.TURNS:
            compared.append(session)
        if session.turns != wanted[-1]:
            say("the next session is made")
    turns.sort(key=lambda figure: figure.step, reverse=True)
    costs: list[Figure] = []
    if with_checkpoints:
        say("checkpoints of a short and of a long session")
        costs += checkpoints.compare(place, *compared)
    say("a list of many sessions")
    listed = [*listing.pages(place)]
    say(f"the memory of {memory.SESSIONS} sessions")
    held = [*memory.of_many_sessions(place)]
    say("done")
    return [*started, *sent, *turns, *costs, *loads, *listed, *held]


if __name__ == "__main__":
    main()
