"""The commands that take sessions to people and to other machines: `export` and `import`."""

from __future__ import annotations

from pathlib import Path

import click

from acp_agent.config import Settings
from acp_agent.sessions_command import output
from acp_agent.sessions_command.group import as_json, find, store_of, told
from sessions import durable, markdown, portable
from sessions.portable import Carried
from sessions.store import new_session_id

MARKDOWN, PORTABLE = "markdown", "portable"

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("export")
@click.argument("session")
@click.argument("file", type=_FILE)
@click.option(
    "--format",
    "kind",
    type=click.Choice([PORTABLE, MARKDOWN]),
    help="Default: markdown for a FILE that ends with .md, else portable.",
)
@as_json
@click.pass_obj
def export_session(settings: Settings, session: str, file: Path, kind: str | None, as_json: bool) -> None:
    """Write a session to FILE: to read it, or to import it on another machine.

    A portable file holds all turns and checkpoints. Markdown holds what was said on the line that the session is
    on; `-` writes it to standard output.
    """
    store = store_of(settings)
    kind = kind or (MARKDOWN if file.suffix.lower() == ".md" or str(file) == "-" else PORTABLE)
    if str(file) == "-" and (kind != MARKDOWN or as_json):
        raise click.UsageError("Only Markdown can be written to standard output, and without --json.")
    with told():
        session_id = find(store, session)
        with store.open(session_id) as opened:
            if kind == PORTABLE:
                carried = portable.export(opened, file.absolute())
                _tell(carried, file, f"Exported session {session_id} to {file}", as_json=as_json)
                return
            text = markdown.render(opened)
        if str(file) == "-":
            click.echo(text)
            return
        durable.make_file(file)
        file.write_text(text, encoding="utf-8")
    if as_json:
        output.write_json({"sessionId": session_id, "file": str(file.absolute()), "bytes": file.stat().st_size})
    else:
        click.echo(f"Exported session {session_id} to {file}.")


@click.command("import")
@click.argument("file", type=_FILE)
@click.option("--as-new", is_flag=True, help="Give it a new id, so that it can be beside the exported one.")
@as_json
@click.pass_obj
def import_session(settings: Settings, file: Path, as_new: bool, as_json: bool) -> None:
    """Make a session of a file that `export` wrote. The file is checked completely before."""
    with told():
        carried = portable.import_(store_of(settings), file.absolute(), as_id=new_session_id() if as_new else None)
    _tell(carried, file, f"Imported session {carried.session_id}", as_json=as_json)


def _tell(carried: Carried, file: Path, done: str, *, as_json: bool) -> None:
    if as_json:
        output.write_json(
            {
                "sessionId": carried.session_id,
                "file": str(file.absolute()),
                "bytes": carried.size,
                "turns": carried.turns,
                "entries": carried.entries,
                "checkpoints": carried.checkpoints,
                "damagedCheckpoints": list(carried.damaged),
            }
        )
        return
    click.echo(f"{done}: {carried.turns} turns, {carried.checkpoints} checkpoints, {output.size(carried.size)}.")
    if carried.damaged:
        click.echo(f"{len(carried.damaged)} of the checkpoints were damaged before, and are so still.", err=True)
