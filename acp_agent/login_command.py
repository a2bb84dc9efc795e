"""`acp-agent login` and `acp-agent logout`: keep an API key for the agent, and forget it."""

from __future__ import annotations

import os
import sys

import click

from acp_agent import credentials, models
from acp_agent.config import Settings
from acp_agent.credentials import BadKey, KeyringRefused
from acp_agent.models import KeyCheck


@click.command()
@click.option(
    "--stdin", "piped", is_flag=True, help="Read the key from standard input; the default without a terminal."
)
@click.option("--no-check", is_flag=True, help="Do not ask the endpoint whether it takes the key.")
@click.option(
    "--show", is_flag=True, help="Say where credentials come from, without showing them, and change nothing."
)
@click.pass_obj
def login(settings: Settings, piped: bool, no_check: bool, show: bool) -> None:
    """Keep a Gemini API key for the agent, in the system keyring or a file that only you can read.

    Ends with 0 if the key is kept (with --show: if credentials were found), 1 if it was refused, 2 for a wrong
    command line.
    """
    if show:
        found = _found(settings)
        click.echo(found or "No credentials were found.")
        sys.exit(0 if found else 1)
    try:
        key = credentials.checked(_given(piped or not sys.stdin.isatty()))
        if not no_check:
            checked = models.check_key(key, settings.gemini_url)
            if checked is KeyCheck.REFUSED:
                raise click.ClickException("The endpoint refused this key; it is not kept.")
            if checked is KeyCheck.UNKNOWN:
                click.echo(
                    "The endpoint could not be asked whether it takes the key; it is kept all the same.", err=True
                )
        keeping = credentials.keep(key)
    except BadKey as bad:
        raise click.ClickException(str(bad)) from bad
    except OSError as error:
        raise click.ClickException(f"The key could not be kept: {error.strerror}.") from error
    click.echo(f"The key is kept in {keeping.where}.")
    if keeping.instead is not None:
        click.echo(f"{keeping.instead} A key that it holds from an earlier login comes first.", err=True)
    if variable := credentials.in_environment(os.environ):
        click.echo(f"{variable} is set as well, and comes first.", err=True)


@click.command()
def logout() -> None:
    """Forget the API key that `acp-agent login` kept.

    Ends with 0, also if there was none, and with 1 if one may still be there.
    """
    try:
        gone = credentials.forget()
    except OSError as error:
        raise click.ClickException(f"The key could not be removed: {error.strerror}.") from error
    except KeyringRefused as refused:
        raise click.ClickException(
            f"{refused} A key that it holds is not forgotten; no file holds one."
        ) from refused
    click.echo("The key is forgotten." if gone else "No key was kept.")
    if variable := credentials.in_environment(os.environ):
        click.echo(f"{variable} is still set, and goes on being used.", err=True)


def _found(settings: Settings) -> str | None:
    if settings.offline or settings.base_url is not None:
        return "The model endpoint that is set needs no credentials of ours."
    if variable := credentials.in_environment(os.environ):
        return f"Credentials come from the environment: {variable}."
    kept = credentials.kept(seconds=credentials.ASKED_SECONDS)
    return f"An API key is kept: {kept.where}." if kept else None


def _given(piped: bool) -> str:
    if not piped:
        return str(click.prompt("Gemini API key", hide_input=True, err=True))
    return sys.stdin.read(4096)
