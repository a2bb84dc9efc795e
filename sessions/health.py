"""Looks at all that is stored, without opening a session to be used and without changing anything.

This is for whoever asks whether all is well: how many sessions there are, which of them cannot be read and why,
and what was left of work that was cut. A store is only looked at, not read through; `sessions.verify` does that.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sessions import lease, migrate, schema
from sessions.events import Kind
from sessions.housekeeping import size_on_disk
from sessions.lease import SessionBusy
from sessions.outcomes import Outcome, Reason
from sessions.session import SALVAGED_NAME, SessionSummary, store_path
from sessions.store import DELETED, NEW, SALVAGED, Store, UnknownSession, valid_session_id
from sessions.timeline import INTENT

EVENTS = 20
"""How many of a session's events are looked at, the last ones."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a session without what it is about: when, what, and after which turn; of a load how it went."""

    at: str | None
    kind: Kind
    turn: int
    outcome: Outcome | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What a look at one session shows.

    `version` is its store's, None if that is not known; `problem` says why this program cannot read it, and
    `too_new` whether that is because a newer version wrote it. `rows` is how many each of its tables holds,
    `events` are the last things that happened to it.
    `restoring` and `salvaging` say that a restore or a repair was cut, which the next load finishes. `busy` is
    who has it open. `bytes` are those of the whole folder on the disk, `aside` those of what was moved aside.
    """

    session_id: str
    version: int | None = None
    problem: str | None = None
    too_new: bool = False
    summary: SessionSummary | None = None
    client: str | None = None
    rows: tuple[tuple[str, int], ...] = ()
    events: tuple[Happened, ...] = ()
    restoring: bool = False
    salvaging: bool = False
    busy: SessionBusy | None = None
    bytes: int = 0
    aside: int = 0


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left in the folder of all sessions of work that was cut: of deletions, and of stores being made."""

    deleted: tuple[Path, ...]
    unfinished: tuple[Path, ...]


def look(store: Store) -> Iterator[Health]:
    """Look at every stored session, readable or not, in the order of their ids.

    Raises:
        OSError: the folder of all sessions cannot be read.
    """
    for session_id in store.ids():
        with suppress(UnknownSession):  # it was deleted meanwhile
            yield of_session(store.folder(session_id))


def of_session(folder: Path) -> Health:
    """Look at one session."""
    path = store_path(folder)
    version, problem, too_new = None, None, False
    summary: SessionSummary | None = None
    client: str | None = None
    rows: tuple[tuple[str, int], ...] = ()
    events: tuple[Happened, ...] = ()
    try:
        with closing(schema.open_readonly(path)) as db:
            version = schema.version(db)
            summary = migrate.summary_of(db)
            (client,) = db.execute("SELECT client FROM session").fetchone()
            rows = _rows(db)
            events = _events(db) if "event" in dict(rows) else ()
        if summary.id != folder.name:
            problem, summary = f"it is the store of session {summary.id}", None
    except schema.NewerStore as newer:
        version, problem, too_new = newer.found, f"its version is {newer.found}", True
    except (schema.NotAStore, sqlite3.Error, TypeError, ValueError) as error:
        problem = str(error)
    busy: SessionBusy | None = None
    with suppress(OSError):
        busy = lease.refusal(folder)
    return Health(
        session_id=folder.name,
        version=version,
        problem=problem,
        too_new=too_new,
        summary=summary,
        client=client,
        rows=rows,
        events=events,
        restoring=os.path.lexists(folder / INTENT),
        salvaging=path.name == SALVAGED_NAME,
        busy=busy,
        bytes=size_on_disk(folder),
        aside=sum(map(size_on_disk, (folder / "aside").glob("*"))),
    )


def remains(data_dir: Path) -> Remains:
    """What is left of work that was cut.

    A session that is being made or deleted at this moment is among it.
    """
    root = data_dir / "sessions"
    unfinished = [
        path
        for prefix in (NEW, SALVAGED)
        for path in root.glob(f"{prefix}*")
        if valid_session_id(path.name.removeprefix(prefix))
    ]
    return Remains(deleted=tuple(sorted(root.glob(f"{DELETED}*"))), unfinished=tuple(sorted(unfinished)))


def _events(db: sqlite3.Connection) -> tuple[Happened, ...]:
    found = db.execute(
        "SELECT at, kind, turn, json_extract(detail, '$.outcome'), json_extract(detail, '$.reason')"
        " FROM event ORDER BY id DESC LIMIT ?",
        (EVENTS,),
    ).fetchall()
    return tuple(
        Happened(at, Kind(kind), turn, outcome and Outcome(outcome), reason and Reason(reason))
        for at, kind, turn, outcome, reason in reversed(found)
    )


def _rows(db: sqlite3.Connection) -> tuple[tuple[str, int], ...]:
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    return tuple(
        (name, int(db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]))  # noqa: S608
        for name in names
        if name.isidentifier()
    )
