"""`acp-agent install` and `acp-agent uninstall`: the agent into the settings of an IDE, and out of them again.

Exit codes are 0 if it was done or there was nothing to do, 1 if it was refused or failed (the settings are as they
were then), 2 if the command line is not right, and 3 if it is left to be done by hand.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from acp_agent import config, credentials
from acp_agent.config import BadSettings, Settings
from acp_agent.ides import entries, inspection, launching, settings_file, snippets
from acp_agent.ides.catalogue import BY_KEY, Ide, files_in_use, present
from acp_agent.ides.entries import NotOurs
from acp_agent.ides.jsonc import Document, NotEdited, NotJson
from acp_agent.ides.launching import Launch, NoLaunch
from acp_agent.ides.machine import this_machine
from acp_agent.ides.settings_file import SettingsFile, Untouched
from acp_agent.sessions_command.output import Column, plain, write_table

BY_HAND: Final = 3
"""The exit code that says that nothing was done, and that a person can."""

_ALIASES: Final = {"intellij": "jetbrains"}

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asked for. `file` is None for the IDE's own files."""

    ide: Ide
    name: str
    file: Path | None
    dry_run: bool
    force: bool

    def files(self) -> tuple[Path, ...]:
        """The settings files that it is about."""
        return (self.file.absolute(),) if self.file else files_in_use(self.ide, this_machine())


@dataclass(frozen=True, slots=True)
class Change:
    """The text that is to be in a file, None if the file is to go, and what to say when it is so."""

    text: str | None
    said: str


def _shared(command: Command) -> Command:
    for option in (
        click.option("--name", metavar="NAME", help="What the entry is called. Default: Antigravity."),
        click.option(
            "--file",
            type=click.Path(path_type=Path),
            help="The settings file, if it is not where it is looked for.",
        ),
        click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("ide", required=False, type=click.Choice([*BY_KEY, *_ALIASES]))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS]")
@_shared
@click.option(
    "--print", "printed", is_flag=True, help="Write what would be put in, to paste it, and change nothing."
)
@click.option("--force", is_flag=True, help="Replace an entry of that name, whatever it is.")
@click.pass_context
def install(
    context: click.Context,
    *,
    ide: str | None,
    arguments: tuple[str, ...],
    name: str | None,
    file: Path | None,
    dry_run: bool,
    printed: bool,
    force: bool,
) -> None:
    """Put this agent into the settings of an IDE. Without IDE: list the IDEs that are found.

    The rest of the settings stays as it is, comments and all, and the file as it was is kept beside it. What comes
    after -- are options that the IDE gives the agent: acp-agent install zed -- --model NAME. An API key is never
    written there: `acp-agent login` keeps it.

    Ends with 0 if it is done, 1 if it was refused (nothing is changed then), 2 for a wrong command line, and 3 if
    the IDE's configuration is a program: then what to paste is on standard output.
    """
    _none_before(context)
    if ide is None:
        _list()
        return
    asked = _asked(ide, name, file, dry_run=dry_run, force=force)
    settings = _checked(arguments)
    try:
        launch = launching.find()
    except NoLaunch as error:
        raise click.ClickException(str(error)) from error
    if any("\ud800" <= char <= "\udfff" for char in "".join(launch.command(arguments))):
        # How Python shows bytes of the command line and of paths that are no text.
        raise click.ClickException("The command or its options are not UTF-8, which settings must be.")
    if printed or asked.ide.by_hand:
        _print(asked, launch.command(arguments), printed=printed)
        return
    found = present(asked.ide, this_machine())
    _each(asked, lambda file: _put(asked, file, launch, arguments or None))
    if not dry_run:
        _next(asked, launch, settings, found=found)


@click.command()
@click.argument("ide", type=click.Choice([*BY_KEY, *_ALIASES]))
@_shared
@click.option("--force", is_flag=True, help="Remove an entry of that name, whatever it is.")
@click.pass_context
def uninstall(
    context: click.Context, *, ide: str, name: str | None, file: Path | None, dry_run: bool, force: bool
) -> None:
    """Take this agent out of the settings of an IDE.

    The rest of the settings stays as it is, and the file as it was is kept beside it. Sessions stay stored.

    Ends with 0 if it is out, 1 if it was refused (nothing is changed then), 2 for a wrong command line, and 3 if
    the IDE's configuration is a program.
    """
    _none_before(context)
    asked = _asked(ide, name, file, dry_run=dry_run, force=force)
    if asked.ide.by_hand:
        where = asked.ide.files(this_machine())[0]
        click.echo(f"Remove the entry by hand, from {where} or where you put it.", err=True)
        sys.exit(BY_HAND)
    _each(asked, lambda file: _take(asked, file))


def _put(asked: Asked, file: SettingsFile, launch: Launch, arguments: Sequence[str] | None) -> Change | None:
    document = Document(file.text, comments=asked.ide.comments)
    text = entries.put(asked.ide, document, asked.name, launch, arguments, force=asked.force)
    command = next(entry.command for entry in entries.read(asked.ide, Document(text)) if entry.name == asked.name)
    started = f"{asked.name!r} starts {' '.join(command or ())}"
    if text == document.text:
        _say(f"{asked.ide.title}: {started} already.", f"  in {file.path}")
        return None
    return Change(text, started)


def _take(asked: Asked, file: SettingsFile) -> Change | None:
    document = Document(file.text, comments=asked.ide.comments)
    found = entries.read(asked.ide, document)
    for entry in found:
        if entry.ours and entry.name != asked.name:
            _say(
                f"{asked.ide.title}: {entry.name!r} starts this agent as well; --name {entry.name!r} removes that."
            )
    if asked.name not in [entry.name for entry in found]:
        _say(f"{asked.ide.title}: there is no {asked.name!r} in {file.path}.")
        return None
    said = f"{asked.name!r} is gone"
    taken = entries.taken(asked.ide, document, asked.name, force=asked.force)
    before = entries.before(asked.ide, document.text, asked.name, settings_file.kept(file))
    if before is not None:
        return Change(before, said)
    made = entries.before(asked.ide, document.text, asked.name, [""]) is not None and not file.path.is_symlink()
    return Change(None if made else taken, said)


def _each(asked: Asked, decide: Callable[[SettingsFile], Change | None]) -> None:
    """Do something with each settings file. Ends the process if something could not be done."""
    failed = False
    for path in asked.files():
        try:
            file = settings_file.read(path)
            change = decide(file)
            if change is None:
                continue
            if asked.dry_run:
                _show(file, change)
                continue
            content = None if change.text is None else change.text.encode()
            backup = settings_file.write(file, content, datetime.now().astimezone())
            _say(f"{asked.ide.title}: {change.said}", f"  in {path}")
            if backup is not None:
                _say(f"  as it was: {backup}")
        except (NotJson, NotEdited) as error:
            failed = True
            _complain(f"{path} {error}; it is left alone.")
        except NotOurs as error:
            failed = True
            _complain(f"{error} Choose another with --name, or use --force; {path} is left alone.")
        except Untouched as error:
            failed = True
            _complain(str(error))
    if asked.dry_run:
        _say("Nothing was changed.")
    if failed:
        sys.exit(1)


def _print(asked: Asked, command: tuple[str, ...], *, printed: bool) -> None:
    if not asked.ide.by_hand:
        path = entries.path(asked.ide, asked.name)
        click.echo(json.dumps({path[0]: {path[1]: entries.new(asked.ide, command)}}, indent=2, ensure_ascii=False))
        return
    click.echo(snippets.snippet(asked.ide, asked.name, command), nl=False)
    if not printed:
        where = files_in_use(asked.ide, this_machine())[0]
        _complain(
            f"The configuration of {asked.ide.title} is a program, and is not edited. Paste this into {where}, "
            f"or where it belongs. {_step(asked)}"
        )
        sys.exit(BY_HAND)


def _show(file: SettingsFile, change: Change) -> None:
    """What would change, line by line. Other lines are not shown: there may be keys of other programs in them."""
    old, new = file.text.splitlines(), (change.text or "").splitlines()
    name = str(file.path)
    for line in difflib.unified_diff(old, new, name, name, n=0, lineterm=""):
        click.echo("".join(char if char.isprintable() or char == "\t" else " " for char in line))


def _next(asked: Asked, launch: Launch, settings: Settings, *, found: bool) -> None:
    if not found:
        _say(f"There was no sign of {asked.ide.title} here; it finds the entry when it is installed.")
    if launch.remark:
        _say(launch.remark)
    names = [config.CONFIG_VARIABLE, *map(config.variable, config.NAMES)]
    if here := [name for name in names if os.environ.get(name)]:
        _say(
            f"Set here, and not in an IDE that is not started from here: {', '.join(here)}. Options after --, or"
            " the configuration file, are for every IDE."
        )
    _say("Next:", *(f"  {step}" for step in [*_key_steps(settings), _step(asked)]))


def _step(asked: Asked) -> str:
    return asked.ide.next_step.format(name=asked.name)


def _key_steps(settings: Settings) -> list[str]:
    if config.needs_kept_key(settings, os.environ):
        if credentials.kept(seconds=credentials.ASKED_SECONDS) is None:
            return ["Run `acp-agent login`: no API key is kept yet."]
    elif not settings.offline and settings.base_url is None:
        variable = credentials.in_environment(os.environ)
        return [
            f"{variable} is set here; an IDE that is not started from here may not have it (`acp-agent login`)."
        ]
    return []


def _list() -> None:
    found = inspection.look()
    write_table(
        [Column("IDE"), Column("STATE"), Column("FILE", shrinks=True)],
        [(each.ide, each.state, str(each.file)) for each in found],
    )
    _say("", *(f"{each.title}: {each.detail}" for each in found if each.detail))
    _say("To set one up, or to renew its entry: acp-agent install IDE")


def _asked(ide: str, name: str | None, file: Path | None, *, dry_run: bool, force: bool) -> Asked:
    known = BY_KEY[_ALIASES.get(ide, ide)]
    if file is not None and known.by_hand:
        raise click.UsageError(f"The configuration of {known.title} is a program, and is not edited.")
    if name is not None and (not name.strip() or not name.isprintable()):
        raise click.UsageError("The name must be a text that can be shown.")
    return Asked(ide=known, name=name or known.name, file=file, dry_run=dry_run, force=force)


def _checked(arguments: Sequence[str]) -> Settings:
    """The settings that the agent has with these options. Raises UsageError: it would not start with them."""
    from acp_agent.cli import main  # noqa: PLC0415  (which imports this module)

    flags, others, _ = main.make_parser(click.Context(main)).parse_args([*arguments])
    if others or not flags.keys() <= {*config.NAMES, "config"}:
        raise click.UsageError(
            f"An IDE gives the agent options only; {(others or ['that'])[0]!r} is not one of those."
        )
    for name in ("data_dir", "config"):
        if (given := flags.get(name)) and not Path(given).expanduser().is_absolute():
            raise click.UsageError(
                f"{given!r} must be an absolute path: IDEs start the agent in the project's folder."
            )
    for name in ("base_url", "gemini_url"):
        if "@" in urlsplit(flags.get(name) or "").netloc:
            raise click.UsageError("A URL with a user or a password in it is not written into settings.")
    try:
        return config.load(flags, os.environ)
    except BadSettings as error:
        raise click.UsageError(str(error)) from error


def _none_before(context: click.Context) -> None:
    """Refuse options of the agent before the command: it would be unclear whether the IDE gets them."""
    parent = context.parent
    given = (
        [name for name in parent.params if parent.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if parent
        else []
    )
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        raise click.UsageError(
            f"Options that the IDE gives the agent come last: acp-agent install IDE -- {flag} …"
        )


def _say(*lines: str) -> None:
    for line in lines:
        click.echo((" " * (len(line) - len(line.lstrip()))) + plain(line))


def _complain(sentence: str) -> None:
    click.echo(plain(sentence), err=True)
