"""The commands that only look: `list`, `show`, `turns` and `verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click
from pydantic import JsonValue

from acp_agent.config import Settings
from acp_agent.sessions_command import output, paging
from acp_agent.sessions_command.group import as_json, find, store_of, told
from acp_agent.sessions_command.output import Column
from sessions import checkpoint, housekeeping, lease, timeline
from sessions.checkpoint import Checkpoint
from sessions.journal import Journal, TurnRecord
from sessions.session import Session, SessionSummary, StoreDamaged
from sessions.store import Store
from sessions.verify import Finding, Verification

PAGE = 500

Json = dict[str, JsonValue]


@click.command("list")
@click.option("--cwd", metavar="DIR", type=click.Path(path_type=Path), help="Only sessions of this folder.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the N that were used last.")
@as_json
@click.pass_obj
def list_sessions(settings: Settings, cwd: Path | None, limit: int | None, as_json: bool) -> None:
    """List the stored sessions, the one that was used last first."""
    with told():
        found = _all(store_of(settings), str(cwd.absolute()) if cwd else None, limit)
    if as_json:
        output.write_json([_summary(each) for each in found])
        return
    columns = (
        Column("session", shrinks=True),
        Column("last used"),
        Column("turns", "right"),
        Column("last load"),
        Column("title", shrinks=True),
        Column("folder", shrinks=True),
    )
    output.write_table(columns, [_row(each) for each in found])


@click.command()
@click.argument("session")
@click.option("--html", "as_page", is_flag=True, help="Write its life as one page for a browser.")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the page goes; - is standard output.",
)
@click.option("--force", is_flag=True, help="Replace the file, if there is one.")
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
@as_json
@click.pass_obj
def show(
    settings: Settings,
    *,
    session: str,
    as_page: bool,
    file: Path | None,
    force: bool,
    open_it: bool,
    as_json: bool,
) -> None:
    """Show everything that is known of a session; with --html its whole life, on a page."""
    if as_page:
        if as_json:
            raise click.UsageError("A page is no JSON: give --html or --json.")
        paging.write_page(store_of(settings), session, file, force=force, open_it=open_it)
        return
    if file is not None or force or open_it:
        raise click.UsageError("--output, --force and --open are for --html.")
    store = store_of(settings)
    with told():
        session_id = find(store, session)
        with store.open(session_id) as opened:
            facts = _facts(opened)
    if as_json:
        output.write_json(facts)
        return
    output.write_facts(_in_words(facts))


@click.command()
@click.argument("session")
@as_json
@click.pass_obj
def turns(settings: Settings, session: str, as_json: bool) -> None:
    """List a session's turns, those of lines that were left included."""
    store = store_of(settings)
    with told(), store.open(find(store, session)) as opened:
        journal = Journal(opened)
        rows = _turns(journal.all_turns(), checkpoint.every(opened), journal.head)
    if as_json:
        output.write_json(list(rows))
        return
    columns = (
        Column("turn", "right"),
        Column("begun"),
        Column("prompt", shrinks=True),
        Column("steps", "right"),
        Column("tokens", "right"),
        Column("checkpoint"),
        Column("line"),
        Column("ended"),
    )
    output.write_table(columns, [_turn_row(row) for row in rows])


@click.command()
@click.argument("session")
@as_json
@click.pass_obj
def verify(settings: Settings, session: str, as_json: bool) -> None:
    """Check every checkpoint, the journal and the harness's database of a session."""
    store = store_of(settings)
    with told():
        session_id = find(store, session)
        live = lease.refusal(store.folder(session_id)) is not None
        try:
            with store.open(session_id) as opened:
                findings = _verified(opened, live=live)
        except StoreDamaged as damaged:
            findings = (Finding("store", False, damaged.detail),)
    ok = all(each.ok for each in findings)
    if as_json:
        said: list[JsonValue] = [{"name": each.name, "ok": each.ok, "detail": each.detail} for each in findings]
        output.write_json({"sessionId": session_id, "ok": ok, "findings": said})
    else:
        columns = (Column("what"), Column("result"), Column("found", shrinks=True))
        output.write_table(
            columns, [(each.name, "ok" if each.ok else "DAMAGED", each.detail) for each in findings]
        )
    sys.exit(0 if ok else 1)


def _all(store: Store, cwd: str | None, limit: int | None) -> list[SessionSummary]:
    found: list[SessionSummary] = []
    cursor: str | None = None
    while True:
        page = store.page(cwd=cwd, cursor=cursor, limit=PAGE)
        found += page.summaries
        cursor = page.next_cursor
        if cursor is None or (limit is not None and len(found) >= limit):
            return found[:limit]


def _summary(summary: SessionSummary) -> Json:
    return {
        "sessionId": summary.id,
        "title": summary.title,
        "cwd": summary.cwd,
        "updatedAt": summary.updated_at,
        "turns": summary.turns,
        "checkpoint": summary.checkpoint.wire() if summary.checkpoint else None,
        "outcome": summary.outcome.value if summary.outcome else None,
        "reason": summary.reason.value if summary.reason else None,
        "damaged": summary.damaged,
    }


def _row(summary: SessionSummary) -> tuple[str, ...]:
    if summary.damaged:
        return (summary.id, "-", "-", "cannot be read", "", "")
    last = f"{summary.outcome}/{summary.reason}" if summary.outcome else "-"
    return (
        summary.id,
        output.moment(summary.updated_at),
        str(summary.turns),
        last,
        summary.title or "",
        summary.cwd or "",
    )


def _facts(session: Session) -> Json:
    info, journal, primer = session.info, Journal(session), session.primer
    stored = checkpoint.every(session)
    of_line = checkpoint.newest_first(session)
    busy = lease.refusal(session.folder)
    holder = busy.holder if busy else None
    return {
        "sessionId": info.id,
        "title": info.title,
        "cwd": info.cwd,
        "cwdExists": Path(info.cwd).is_dir(),
        "additionalDirectories": list(info.additional_directories),
        "client": info.client,
        "createdAt": info.created_at,
        "updatedAt": info.updated_at,
        "turns": info.turns,
        "lastTurn": journal.head,
        "allTurns": len(journal.all_turns()),
        "outcome": info.outcome.value if info.outcome else None,
        "reason": info.reason.value if info.reason else None,
        "checkpoints": len(stored),
        "checkpoint": of_line[0].ref.wire() if of_line else None,
        "primer": {"turns": primer.turns, "at": primer.at, "characters": len(primer.text)} if primer else None,
        "note": session.recall(timeline.NOTE),
        "restoring": (session.folder / timeline.INTENT).exists(),
        "open": {
            "pid": holder.pid if holder else None,
            "client": holder.client if holder else None,
            "since": holder.since if holder else None,
        }
        if busy
        else None,
        "folder": str(session.folder),
        "bytes": {**housekeeping.sizes(session)},
        "aside": [{"name": name, "bytes": size} for name, size in housekeeping.aside(session).items()],
    }


def _in_words(facts: Json) -> list[tuple[str, str]]:
    held, primer, taken = (_object(facts[key]) for key in ("open", "primer", "checkpoint"))
    sizes = _object(facts["bytes"])
    there = "" if facts["cwdExists"] else " (not there)"
    left = (
        f", {facts['allTurns']} with those of lines that were left" if facts["allTurns"] != facts["turns"] else ""
    )
    words = [
        ("session", str(facts["sessionId"])),
        ("title", str(facts["title"] or "-")),
        ("folder", f"{facts['cwd']}{there}"),
        ("client", str(facts["client"] or "-")),
        ("created", output.moment(str(facts["createdAt"]))),
        ("last used", output.moment(str(facts["updatedAt"]))),
        ("turns", f"{facts['turns']}{left}"),
        ("last load", f"{facts['outcome']}/{facts['reason']}" if facts["outcome"] else "-"),
        ("checkpoints", str(facts["checkpoints"])),
        (
            "newest one",
            f"turn {taken['turn']}, {taken['steps']} steps, {output.moment(str(taken['at']))}" if taken else "-",
        ),
        ("primed with", f"{primer['turns']} turns as a transcript" if primer else "-"),
        ("open in", f"process {held['pid']} ({held['client']})" if held else "-"),
    ]
    if facts["restoring"]:
        words.append(("restore", "cut; the next load finishes it"))
    if facts["note"]:
        words.append(("next note", str(facts["note"])))
    words.append(("stored in", str(facts["folder"])))
    words += [(f"  {name}", output.size(size)) for name, size in sizes.items() if isinstance(size, int)]
    aside = facts["aside"]
    for each in aside if isinstance(aside, list) else []:
        folder = _object(each)
        words.append(("  moved aside", f"{folder['name']}"))
    return words


def _object(value: JsonValue) -> Json:
    return value if isinstance(value, dict) else {}


def _turns(turns: Iterable[TurnRecord], stored: Iterable[Checkpoint], head: int) -> list[JsonValue]:
    taken = {each.turn: each for each in stored}
    steps = {0: 0}
    rows: list[JsonValue] = []
    for turn in turns:
        held = taken.get(turn.turn)
        before = steps.get(turn.parent)
        if held is not None:
            steps[turn.turn] = held.steps
        # After a turn that had to be given up, what a checkpoint holds is not what was added to the one before.
        added = held.steps - before if held is not None and before is not None and held.steps >= before else None
        rows.append(
            {
                "turn": turn.turn,
                "parent": turn.parent,
                "depth": turn.depth,
                "startedAt": turn.started_at,
                "endedAt": turn.ended_at,
                "stopReason": turn.stop_reason,
                "prompt": turn.prompt_excerpt,
                "steps": added,
                "inputTokens": turn.input_tokens,
                "outputTokens": turn.output_tokens,
                "checkpoint": {"seq": held.seq, "base": held.base, **held.ref.wire()} if held else None,
                "onLine": turn.on_line,
                "current": turn.turn == head,
            }
        )
    return rows


def _turn_row(value: JsonValue) -> tuple[str, ...]:
    row = _object(value)
    held = _object(row["checkpoint"])
    tokens = (row["inputTokens"], row["outputTokens"])
    return (
        str(row["turn"]),
        output.moment(str(row["startedAt"])),
        str(row["prompt"]),
        "-" if row["steps"] is None else str(row["steps"]),
        "-" if tokens == (None, None) else "/".join("-" if each is None else str(each) for each in tokens),
        str(held["seq"]) if held else "-",
        "now" if row["current"] else "yes" if row["onLine"] else "left",
        str(row["stopReason"] or "not known"),
    )


def _verified(session: Session, *, live: bool) -> tuple[Finding, ...]:
    verification = Verification(session, live=live)
    if not sys.stderr.isatty():
        for _ in verification:
            pass
        return verification.findings
    from rich.console import Console  # noqa: PLC0415  (the server needs no progress bar)
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Verifying", total=None)
        for progress in verification:
            bar.update(task, completed=progress.done, total=progress.total)
    return verification.findings
