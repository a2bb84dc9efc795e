"""`python -m tests.fuzz`: the campaign of hostile input; prints figures, exits with 1 if a promise was broken."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import fields
from pathlib import Path

import click

from tests.fuzz.campaign import Figures, Plan, campaign


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seed", type=int, help="What the input is drawn from. Default: a new one, which is printed.")
@click.option("--lines", default=200_000, show_default=True, help="How many lines of input.")
@click.option("--process", type=int, help="Only this agent process of the campaign, by its number.")
def main(*, seed: int | None, lines: int, process: int | None) -> None:
    """Send hostile input to agent processes; fail if one crashes, hangs, forgets an answer or harms a session."""
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    root = Path(tempfile.mkdtemp(prefix="acp-agent-fuzz-"))
    click.echo(f"seed {seed}; data in {root}")
    try:
        plan = Plan(seed, lines, only=process)
        figures = asyncio.run(campaign(root, plan, say=lambda what: click.echo(what, err=True)))
    except AssertionError:
        traceback.print_exc()
        sys.exit(f"A promise was broken; the seed is {seed}, and the data are in {root}.")
    _print(figures)
    shutil.rmtree(root)


def _print(figures: Figures) -> None:
    for each in fields(figures):
        value = getattr(figures, each.name)
        if isinstance(value, Counter):
            value = json.dumps(dict(sorted(value.items())))
        click.echo(f"{each.name:12} {value:.1f}" if isinstance(value, float) else f"{each.name:12} {value}")


if __name__ == "__main__":
    main()
