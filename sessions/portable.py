"""A whole session in one file that can be taken to another machine.

The file is an SQLite database with the tables of a store, marked as something else: neither is ever taken for the
other. It holds every turn of every line, what was shown, the primers and all checkpoints; not the permissions that
were given for always, and nothing of the live trajectory that no checkpoint has. A checkpoint that was damaged
before is carried along as it is, and stays damaged. A digest over all of it shows damage. It is no signature:
whoever can change the file can also change the digest, so an import believes nothing that it has not looked at.

An imported session is opened like any other. Its live trajectory is made of the newest checkpoint of its line, and
what the next load says of it is found out then. Paths are kept as they were; they need not exist on this machine.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from sessions import chain, copying, durable, events, migrate, rows, schema
from sessions.chain import Checkpoint
from sessions.events import Detail, Kind
from sessions.journal import KINDS
from sessions.session import Session, SessionInfo, read_info
from sessions.store import Store, now, valid_session_id

APPLICATION_ID = 0x41435058
"""`ACPX`, in the header of every portable file."""

TABLES = ("primer", "session", "turn", "entry", "delta", "checkpoint", "checkpoint_row", "event")
"""What is in a portable file, in an order in which each row finds what it refers to."""

OLDEST = 2
"""The oldest version of a portable file."""

_ADDED = {"event": 3}
"""The version from which on a portable file has a table, if that is not the oldest."""

_SEAL = """
CREATE TABLE seal (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    digest BLOB NOT NULL,                   -- SHA-256 over the rows of all other tables, and what follows
    at TEXT NOT NULL,                       -- when the file was made
    damaged TEXT NOT NULL                   -- JSON array of the checkpoints that could not be used then
) STRICT;
"""


class Unportable(Exception):
    """The file is no session that can be imported; one sentence says what is wrong with it."""


class MadeByNewer(Unportable):
    """A newer version of this program made the file."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What an export wrote or an import brought: a session with so many turns, entries and checkpoints.

    `damaged` names those of the checkpoints that cannot be used. `size` is the file's, in bytes.
    """

    session_id: str
    turns: int
    entries: int
    checkpoints: int
    damaged: tuple[int, ...]
    size: int


def export(session: Session, path: Path) -> Carried:
    """Write all that is stored of a session to a new file, durably.

    The session is only read; it may be open elsewhere, in the middle of a turn.

    Raises:
        FileExistsError: something has this name.
        StoreDamaged: the session's store cannot be read.
        OSError: the disk refuses.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    durable.make_file(unfinished)
    try:
        with session.reading() as source, rows.transaction(source):
            damaged = [each.seq for each in chain.all_checkpoints(source) if not _usable(source, each)]
            with closing(_new_file(unfinished)) as target:
                target.execute("BEGIN")
                for name in TABLES:
                    copying.table(source, target, name)
                said = (session.now(), json.dumps(damaged))
                seal = (_digest(target, said), *said)
                target.execute("INSERT INTO seal VALUES (1, ?, ?, ?)", seal)
                target.execute("COMMIT")
                counts = _counts(target)
        durable.sync_file(unfinished)
        durable.replace_file(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return Carried(session.id, *counts, tuple(damaged), path.stat().st_size)


def import_(store: Store, path: Path, *, as_id: str | None = None) -> Carried:
    """Make a session of a file that `export` wrote. Nothing is made before all of the file has been checked.

    Args:
        store: where the session goes.
        path: the file.
        as_id: its id from now on, so that it can be beside the one that was exported; without it, its own.

    Raises:
        Unportable: the file is damaged, or none of ours.
        MadeByNewer: a newer version of this program made it.
        SessionExists: a session has this id.
        StoreRefused: the disk refuses; nothing was made.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with closing(_open(path)) as file, closing(_checked(file, path.name)) as db:
        try:
            info, damaged, at = _check(db)
            counts = _counts(db)
            newest = next((each for each in reversed(chain.of_line(db)) if each.seq not in damaged), None)
        except (sqlite3.Error, zlib.error, ValueError, TypeError, RecursionError) as error:
            raise Unportable(f"{path.name} is damaged: {error}.") from error
        session_id = as_id or info.id

        def fill(folder: Path, new: sqlite3.Connection) -> None:
            _bring(db, new, info, session_id, {"from": info.id, "exportedAt": at})
            if newest is not None:
                new.execute("UPDATE session SET primer = ?", (newest.primer,))
                held = copying.renamed(chain.verified_rows(db, newest), info.id, session_id)
                try:
                    copying.write_trajectory(folder, session_id, held, newest)
                except ValueError as error:
                    raise Unportable(f"{path.name} is damaged: {error}.") from error

        store.create(
            session_id,
            cwd=info.cwd,
            additional_directories=info.additional_directories,
            client=info.client,
            fill=fill,
            made={},  # the file says how
        ).close()
    return Carried(session_id, *counts, damaged, size)


def _new_file(path: Path) -> sqlite3.Connection:
    db = schema.connect(path, "mode=rw")
    # The file is nobody's until it is synced and renamed, so a crash before that needs no journal.
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    db.executescript(
        f"BEGIN; {schema.TABLES} {_SEAL} PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {schema.VERSION}; COMMIT;"
    )
    return db


def _usable(db: sqlite3.Connection, checkpoint: Checkpoint) -> bool:
    try:
        chain.verified_rows(db, checkpoint)
    except (sqlite3.Error, zlib.error, ValueError):
        return False
    return True


def _digest(db: sqlite3.Connection, said: tuple[str, str], tables: Iterable[str] = TABLES) -> bytes:
    """The SHA-256 of all rows, each with its table's name, and of what else is said."""
    seal = hashlib.sha256(rows.encode(said))
    for name in tables:
        for row in db.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3"):  # noqa: S608
            seal.update(rows.encode((name, *row)))
    return seal.digest()


def _counts(db: sqlite3.Connection) -> tuple[int, int, int]:
    turns, entries, checkpoints = (
        int(db.execute(f"SELECT count(*) FROM {name}").fetchone()[0])  # noqa: S608
        for name in ("turn", "entry", "checkpoint")
    )
    return turns, entries, checkpoints


def _open(path: Path) -> sqlite3.Connection:
    with path.open("rb"):  # whoever may not read it is told so by the system
        pass
    db = schema.connect(path, "immutable=1")
    try:
        if db.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise Unportable(f"{path.name} is no exported session.")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > schema.VERSION:
            raise MadeByNewer(
                f"{path.name} was made by a newer version of this program: its version is {version},"
                f" and at most {schema.VERSION} is known."
            )
        if version < OLDEST:
            raise Unportable(f"{path.name} is damaged: its version is {version}.")
    except sqlite3.Error as error:
        db.close()
        raise Unportable(f"{path.name} is no exported session: {error}.") from error
    except BaseException:
        db.close()
        raise
    return db


def _checked(file: sqlite3.Connection, name: str) -> sqlite3.Connection:
    """A portable file as one of this version, if it is what was exported. Raises Unportable."""
    try:
        # The thorough one: an index that says something else than its table is damage too.
        if (problem := file.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
            raise ValueError(problem[0])
        version = schema.version(file)
        tables = [table for table in TABLES if _ADDED.get(table, OLDEST) <= version]
        digest, *said = file.execute("SELECT digest, at, damaged FROM seal").fetchone()
        if digest != _digest(file, (said[0], said[1]), tables):
            raise ValueError("its content is not what was exported")
        return migrate.readable(file) if version < schema.VERSION else file
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise Unportable(f"{name} is damaged: {error}.") from error


def _check(db: sqlite3.Connection) -> tuple[SessionInfo, tuple[int, ...], str]:
    """The session, its damaged checkpoints, and when it was exported.

    Raises ValueError, or what else damage raises when it is read.
    """
    at, said = db.execute("SELECT at, damaged FROM seal").fetchone()
    damaged: tuple[int, ...] = tuple(json.loads(said))
    if db.execute("SELECT count(*) FROM session").fetchone() != (1,):
        raise ValueError("it does not hold one session")
    info = read_info(db)
    if not valid_session_id(info.id):
        raise ValueError("its session has no id")
    if db.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise ValueError("something in it refers to what is not there")
    _check_turns(db)
    _check_entries(db)
    for stored in chain.all_checkpoints(db):
        if stored.seq not in damaged:
            _check_checkpoint(db, stored, info.id)
    events.read(db)
    return info, damaged, at


def _check_turns(db: sqlite3.Connection) -> None:
    depths = {0: 0}
    for turn, parent, depth in db.execute("SELECT turn, parent, depth FROM turn ORDER BY turn"):
        if turn < 1 or depths.get(parent, depth) + 1 != depth:
            raise ValueError(f"turn {turn} is on no line")
        depths[turn] = depth
    (head,) = db.execute("SELECT head FROM session").fetchone()
    if head not in depths:
        raise ValueError(f"its line ends with turn {head}, which is not there")


def _check_entries(db: sqlite3.Connection) -> None:
    known = {0, *(turn for (turn,) in db.execute("SELECT turn FROM turn"))}
    for seq, turn, kind, key, payload, text in db.execute("SELECT seq, turn, kind, key, payload, text FROM entry"):
        key.decode("utf-8", "surrogatepass")
        if turn not in known or kind not in KINDS or not isinstance(json.loads(payload), dict):
            raise ValueError(f"entry {seq} is none")
        pieces = db.execute("SELECT text FROM delta WHERE entry = ? ORDER BY id", (seq,))
        b"".join((text, *(piece for (piece,) in pieces))).decode("utf-8", "surrogatepass")


def _check_checkpoint(db: sqlite3.Connection, stored: Checkpoint, session_id: str) -> None:
    for row in chain.verified_rows(db, stored):
        values = rows.decode(row.encoded)
        if row.table == copying.NAMES and session_id in values:
            return
    raise ValueError(f"checkpoint {stored.seq} is not of this session")


def _bring(
    db: sqlite3.Connection, new: sqlite3.Connection, info: SessionInfo, session_id: str, imported: Detail
) -> None:
    new.execute("BEGIN")
    for name in TABLES:
        if name == "session" or (name.startswith("checkpoint") and session_id != info.id):
            continue
        copying.table(db, new, name)
    if session_id != info.id:
        _bring_renamed(db, new, info.id, session_id)
    (head,) = db.execute("SELECT head FROM session").fetchone()
    new.execute(
        "UPDATE session SET title = ?, created_at = ?, updated_at = ?, head = ?",
        (info.title, info.created_at, info.updated_at, head),
    )
    events.add(new, now(), Kind.IMPORTED, imported)
    new.execute("COMMIT")


def _bring_renamed(db: sqlite3.Connection, new: sqlite3.Connection, old_id: str, new_id: str) -> None:
    """The checkpoints as those of another session, sealed anew; one that was damaged stays so."""
    before = b""
    marks = ", ".join("?" * len(fields(Checkpoint)))
    names = ", ".join(field.name for field in fields(Checkpoint))
    for stored in chain.all_checkpoints(db):
        before_changes: dict[chain.Key, bytes | None] = {}
        changes: dict[chain.Key, bytes | None] = {}
        held: list[tuple[str, int, int, bytes | None, bytes | None]] = []
        for table, row_id, seq, digest, content in db.execute(
            "SELECT table_name, row_id, seq, digest, content FROM checkpoint_row WHERE seq = ?", (stored.seq,)
        ):
            before_changes[table, row_id] = digest
            version = (digest, content)
            if table == copying.NAMES and content is not None:
                with suppress(ValueError, zlib.error):
                    (row,) = copying.renamed([chain.content_of(table, row_id, digest, content)], old_id, new_id)
                    version = (row.digest, zlib.compress(row.encoded))
            changes[table, row_id] = version[0]
            held.append((table, row_id, seq, *version))
        whole = chain.broken_link(stored, None, before_changes, seq=stored.seq) is None
        made = chain.sealed(replace(stored, digest=before), changes) if whole else stored
        new.execute(f"INSERT INTO checkpoint ({names}) VALUES ({marks})", astuple(made))  # noqa: S608
        new.executemany("INSERT INTO checkpoint_row VALUES (?, ?, ?, ?, ?)", held)
        before = made.digest
