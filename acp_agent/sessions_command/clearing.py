"""The commands that remove sessions: `delete` and `prune`."""

from __future__ import annotations

import re
import sys
from datetime import timedelta

import click

from acp_agent.config import Settings
from acp_agent.sessions_command import output
from acp_agent.sessions_command.group import as_json, confirmed, find, holder, store_of, sure, told
from acp_agent.sessions_command.output import Column
from sessions import housekeeping
from sessions.housekeeping import Fate, Pruned

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Age(click.ParamType[timedelta]):
    """A length of time: `12h`, `30d` or `2w`."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Part of `click.ParamType`."""
        if isinstance(value, timedelta):
            return value
        if (found := re.fullmatch(r"(\d{1,5})([hdw])", str(value))) is None:
            self.fail(f"{value!r} is no length of time such as 12h, 30d or 2w.", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


@click.command()
@click.argument("session")
@confirmed
@as_json
@click.pass_obj
def delete(settings: Settings, session: str, yes: bool, as_json: bool) -> None:
    """Delete a session and all its files, for good. It must not be open."""
    store = store_of(settings)
    with told():
        session_id = find(store, session)
        sure(f"Delete session {session_id} for good?", yes=yes)
        gone = housekeeping.delete(store, session_id, holder())
    if as_json:
        output.write_json({"sessionId": gone.session_id, "freedBytes": gone.freed})
    else:
        click.echo(f"Session {gone.session_id} is deleted; that freed {output.size(gone.freed)}.")


@click.command()
@click.option(
    "--older-than", metavar="AGE", type=Age(), help="Delete what was not used for so long: 12h, 30d, 2w."
)
@click.option("--keep", metavar="N", type=click.IntRange(min=0), help="Leave the N that were used last alone.")
@click.option("--dry-run", is_flag=True, help="Delete nothing, and show what would be deleted.")
@confirmed
@as_json
@click.pass_obj
def prune(
    settings: Settings, *, older_than: timedelta | None, keep: int | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete old sessions for good. One that is open, or cannot be read, is left alone."""
    if older_than is None and keep is None:
        raise click.UsageError("Say what is old, with --older-than or --keep or both.")
    store = store_of(settings)
    with told():
        found = [*housekeeping.prune(store, holder(), older_than=older_than, keep=keep, dry_run=True)]
        wanted = [each for each in found if each.fate is Fate.DELETED]
        if wanted and not dry_run:
            freed = output.size(sum(each.size for each in wanted))
            sure(f"Delete {len(wanted)} sessions ({freed}) for good?", yes=yes)
            found = [*housekeeping.prune(store, holder(), older_than=older_than, keep=keep)]
        if not dry_run:
            housekeeping.finish_interrupted(store)
    _tell(found, dry_run=dry_run, as_json=as_json)
    sys.exit(1 if any(each.fate is Fate.FAILED for each in found) else 0)


def _tell(found: list[Pruned], *, dry_run: bool, as_json: bool) -> None:
    freed = sum(each.size for each in found if each.fate is Fate.DELETED)
    if as_json:
        output.write_json(
            {
                "dryRun": dry_run,
                "freedBytes": freed,
                "sessions": [
                    {
                        "sessionId": each.summary.id,
                        "title": each.summary.title,
                        "updatedAt": each.summary.updated_at,
                        "bytes": each.size,
                        "fate": each.fate.value,
                        "detail": each.detail,
                    }
                    for each in found
                ],
            }
        )
        return
    if found:
        columns = (
            Column("session", shrinks=True),
            Column("last used"),
            Column("size", "right"),
            Column("what"),
            Column("title", shrinks=True),
        )
        words = {Fate.DELETED: "would be deleted" if dry_run else "deleted", Fate.OPEN: "open, stays"}
        output.write_table(
            columns,
            [
                (
                    each.summary.id,
                    output.moment(each.summary.updated_at),
                    output.size(each.size),
                    words.get(each.fate, each.detail),
                    each.summary.title or "",
                )
                for each in found
            ],
        )
    click.echo(f"{'That would free' if dry_run else 'Freed'} {output.size(freed)}.")
