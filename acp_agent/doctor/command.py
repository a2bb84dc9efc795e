"""`acp-agent doctor`: looks at everything the agent needs, and says what is wrong and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from acp_agent import config
from acp_agent.doctor import bundle, checks, runner
from acp_agent.doctor.findings import Checked, as_json, exit_status
from acp_agent.doctor.showing import Page
from acp_agent.doctor.situation import Check, Situation
from acp_agent.sessions_command import output

_NAMES = click.Choice(checks.NAMES)


@click.command()
@click.option("--json", "json_wanted", is_flag=True, help="Write the result as JSON.")
@click.option("--offline", "no_network", is_flag=True, help="Do not ask the model endpoint.")
@click.option("--deep", is_flag=True, help="Verify every stored session, not only the newest ones.")
@click.option("--strict", is_flag=True, help="End with 1 if there is a warning, too.")
@click.option(
    "--check", "only", metavar="NAME", multiple=True, type=_NAMES, help="Make only this check; may be repeated."
)
@click.option("--skip", metavar="NAME", multiple=True, type=_NAMES, help="Leave this check out; may be repeated.")
@click.option(
    "--bundle",
    "bundle_file",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Write a support file (zip) with the result, without secrets, conversations and names. It is not sent.",
)
@click.pass_context
def doctor(
    context: click.Context,
    /,
    *,
    json_wanted: bool,
    no_network: bool,
    deep: bool,
    strict: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    bundle_file: str | None,
) -> None:
    """Check the installation, the credentials, the model, the disk and the stored sessions; change nothing.

    Ends with 0 if no problem was found (with --strict: no warning either), 1 if one was, 2 for a wrong command
    line.
    """
    target = None if bundle_file is None else Path(bundle_file or bundle.default_name())
    if target is not None and os.path.lexists(target):
        raise click.BadParameter(f"{target} exists already, and is left alone.", context, param_hint="--bundle")
    flags = context.parent.params if context.parent else {}
    situation = Situation(config.look(flags, os.environ), os.environ, network=not no_network, deep=deep)
    wanted = checks.chosen(only, skip, deep=deep)
    done: list[Checked] = []
    page = None if json_wanted else Page(output.console())
    with _progress(situation, page) as begun:
        for checked in runner.run(wanted, situation, begun=begun):
            done.append(checked)
            if page:
                page.show(checked)
    if page:
        page.conclude(done)
    result = as_json(done)
    if target is not None:
        try:
            bundle.write(target, done, situation)
        except OSError as error:
            raise click.ClickException(
                f"The support file {target} could not be written: {error.strerror}."
            ) from error
        result["bundle"] = str(target)
        click.echo(bundle.told(target), err=json_wanted)
    if json_wanted:
        output.write_json(result)
    sys.exit(exit_status(done, strict=strict))


@contextmanager
def _progress(situation: Situation, page: Page | None) -> Iterator[Callable[[Check], None]]:
    """On a terminal, a line that says what is being looked at: below what was found, or on standard error."""
    console = page.console if page and page.console.is_terminal else Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        title = ""

        def begun(check: Check) -> None:
            nonlocal title
            title = check.title
            status.update(f"Checking {title} …")

        situation.tell = lambda words: status.update(f"Checking {title} ({words}) …")
        yield begun
