"""Makes a sound store of what can be read of a damaged one.

The new store is made beside the session's folder, table by table, of every row that can be read and that fits its
table. Turns that are missing but are spoken of by others are put in again without their words, so that every turn
keeps its place on its line. Checkpoints are taken as they are: their digests tell what they are worth.

The session is read from there. With its first write the new store goes into the session's folder under the name
`store.db.salvaged`; from that moment on it is the session's store, whatever happens, and what remains is to move
the damaged files to `aside/` and to give it its name. If the session is closed before, all is as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sessions import durable, events, migrate, readable, schema, schema_1, schema_2
from sessions.journal import INTERRUPTED, KINDS
from sessions.readable import Value
from sessions.report import Outcome, Reason
from sessions.session import FOLDERS, SALVAGED_NAME, STORE_NAME, Salvaged, Session, store_path

_FILES = (
    f"{STORE_NAME}-wal",  # goes before its database: the salvaged one must never lie beside the log of another
    f"{STORE_NAME}-shm",
    f"{STORE_NAME}-journal",
    STORE_NAME,
    *(f"{name}.blocked" for name in FOLDERS),
)
"""What is moved aside, in this order."""

_TABLES = {1: schema_1.TABLES, 2: schema_2.TABLES, schema.VERSION: schema.TABLES}
"""The tables of each version."""

_KEYS = {"memory": "key"}
"""The primary keys of tables without a rowid."""


class Unfinished:
    """The origin of a session whose salvaged store is in its folder, but not all in its place."""

    def take_place(self, session: Session) -> None:
        """Move the damaged files aside and name the salvaged store. Raises OSError."""
        salvaged = session.folder / SALVAGED_NAME
        if not salvaged.exists():
            return
        for name in FOLDERS:
            if os.path.lexists(path := session.folder / name) and not path.is_dir():
                path.rename(session.folder / f"{name}.blocked")
        present = [path for name in _FILES if os.path.lexists(path := session.folder / name)]
        if present:
            aside = session.new_aside("store-damaged")
            for path in present:
                path.rename(aside / path.name)
            durable.sync_folder(aside)
            durable.sync_folder(session.folder)
        durable.replace_file(salvaged, session.folder / STORE_NAME)

    def leave(self) -> None:
        """Nothing was made."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """The origin of a session that is read from a salvaged store in a folder of its own."""

    folder: Path
    db: sqlite3.Connection
    salvaged: Salvaged

    def take_place(self, session: Session) -> None:
        """Make the salvaged store the session's store. Raises OSError."""
        if (made := self.folder / STORE_NAME).exists():
            durable.replace_file(made, session.folder / SALVAGED_NAME)
        Unfinished().take_place(session)

    def leave(self) -> None:
        """Remove what did not become the session's store."""
        shutil.rmtree(self.folder, ignore_errors=True)


def build(folder: Path, target: Path, *, cwd: str, at: str) -> Salvage:
    """Make a store of what can be read of a session's store.

    Args:
        folder: the session's folder; nothing in it is changed, except that something which has the name of one of
            its folders is moved aside with the first write.
        target: a folder to make the store in; what has its name is removed.
        cwd: the session's folder, if the store does not say.
        at: the present time.

    Raises:
        schema.NewerStore: a newer version of this program wrote the store.
        PermissionError: the store may not be read.
        OSError, sqlite3.Error: the disk takes no new store.
        ValueError: `cwd` cannot be stored.
    """
    source = store_path(folder)
    if source.is_file() and not os.access(source, os.R_OK):
        raise PermissionError(f"{source.name} may not be read")
    shutil.rmtree(target, ignore_errors=True)
    try:
        durable.make_folder(target)
        path = target / STORE_NAME
        durable.make_file(path)
        with closing(schema.connect(path, "mode=rw")) as db:
            # The file is nobody's until it is synced and renamed, so a crash before that needs no journal.
            db.execute("PRAGMA journal_mode = OFF")
            detail = _fill(db, source)
            _make_sound(db, folder.name, cwd, at)
            salvaged = Salvaged(_count(db, "turn"), _count(db, "entry"), _count(db, "checkpoint"), detail)
            db.execute("PRAGMA journal_mode = WAL")
        durable.sync_file(path)
        opened = schema.open_readonly(path)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return Salvage(target, opened, salvaged)


def _count(db: sqlite3.Connection, table: str) -> int:
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)


def _fill(db: sqlite3.Connection, source: Path) -> str:
    """Make the tables and put in what can be read; returns what was wrong with the source."""
    try:
        detail = "rows are missing or make no sense"
        schema.open_readonly(source, thorough=True).close()
    except schema.NotAStore as problem:
        detail = str(problem)
    # SQLite, even if it only reads, removes the log beside an empty file, and makes a file that is missing.
    there = source.is_file() and source.stat().st_size
    for parameter in (schema.quiet_mode(source), "immutable=1") if there else ():
        with closing(schema.connect(source, parameter)) as old:
            old.text_factory = bytes
            if _knows_tables(old):
                _copy(old, db)
                return detail
    db.executescript(_created(schema.TABLES, schema.VERSION))
    return detail


def _knows_tables(old: sqlite3.Connection) -> bool:
    try:
        # A definition that is damaged must not hide the other tables.
        old.execute("PRAGMA writable_schema = ON")
        return bool(old.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())
    except readable.DAMAGE:
        return False


def _created(tables: str, version: int) -> str:
    pragmas = f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = {version};"
    return f"BEGIN; {tables} {pragmas} COMMIT;"


def _copy(old: sqlite3.Connection, db: sqlite3.Connection) -> None:
    version = _version(old)
    db.executescript(_created(_TABLES[version], version))
    db.execute("PRAGMA foreign_keys = OFF")
    for table in [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]:
        _copy_table(old, db, table)
    if version < schema.VERSION:
        migrate.migrate(db)


def _version(old: sqlite3.Connection) -> int:
    """Which version's tables these are, as far as they are known; the header need not be right."""
    columns = set[str]().union(*(_columns(old, table) for table in ("session", "turn", "checkpoint")))
    if columns and not columns & {"head", "parent", "base"}:
        return 1
    entry, event = _columns(old, "entry"), _columns(old, "event")
    return 2 if entry and "began_at" not in entry and not event else schema.VERSION


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    try:
        return {bytes(row[1]).decode() for row in db.execute(f"PRAGMA table_info({table})")}
    except (*readable.DAMAGE, TypeError):
        return set()


def _copy_table(old: sqlite3.Connection, db: sqlite3.Connection, table: str) -> None:
    described = db.execute(f"PRAGMA table_info({table})").fetchall()
    names = [row[1] for row in described]
    texts = {place for place, row in enumerate(described) if row[2] == "TEXT"}
    # Columns that the damaged table lacks are left to their defaults.
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    fits = _FITS.get(table, _anything)
    db.execute("BEGIN")
    for row in readable.rows(old, table, names, key=_KEYS.get(table, "rowid")):
        values = [_text(value) if place in texts else value for place, value in enumerate(row)]
        if fits(dict(zip(names, values, strict=True))):
            # A row that breaks a constraint is not what was stored.
            with contextlib.suppress(sqlite3.IntegrityError):
                db.execute(statement, values)
    db.execute("COMMIT")


def _text(value: Value) -> Value | str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


_Row = dict[str, Value | str]


def _anything(_: _Row) -> bool:
    return True


def _is_json(value: Value | str, kind: type) -> bool:
    try:
        return isinstance(json.loads(value), kind) if isinstance(value, str) else False
    except (ValueError, RecursionError):
        return False


def _is_utf8(value: Value | str) -> bool:
    try:
        return isinstance(value, bytes) and value.decode("utf-8", "surrogatepass") is not None
    except ValueError:
        return False


def _entry_fits(row: _Row) -> bool:
    return (
        row["kind"] in KINDS and _is_json(row["payload"], dict) and _is_utf8(row["key"]) and _is_utf8(row["text"])
    )


_FITS: dict[str, Callable[[_Row], bool]] = {
    "memory": lambda row: _is_json(row["value"], object),
    "entry": _entry_fits,
    "delta": lambda row: _is_utf8(row["text"]),
    "event": lambda row: events.valid(row["kind"], row["detail"]),
}


def _make_sound(db: sqlite3.Connection, session_id: str, cwd: str, at: str) -> None:
    """Let every row find what it refers to."""
    db.execute("BEGIN")
    db.execute("DELETE FROM delta WHERE entry NOT IN (SELECT seq FROM entry)")
    db.execute("DELETE FROM checkpoint_row WHERE seq NOT IN (SELECT seq FROM checkpoint)")
    for table in ("session", "checkpoint"):  # a checkpoint that is changed so is not usable any more
        db.execute(f"UPDATE {table} SET primer = NULL WHERE primer NOT IN (SELECT id FROM primer)")  # noqa: S608
    _make_session(db, session_id, cwd, at)
    _make_turns(db, at)
    db.execute("COMMIT")


def _make_session(db: sqlite3.Connection, session_id: str, cwd: str, at: str) -> None:
    db.execute(
        "INSERT OR IGNORE INTO session (only, id, cwd, additional_directories, created_at, updated_at, head)"
        " SELECT 1, ?, ?, '[]', coalesce(min(at), ?), coalesce(max(at), ?), -1"
        " FROM (SELECT started_at AS at FROM turn UNION ALL SELECT ended_at FROM turn"
        " UNION ALL SELECT at FROM checkpoint)",
        (session_id, cwd, at, at),
    )
    additional, outcome, reason = db.execute(
        "SELECT additional_directories, outcome, reason FROM session"
    ).fetchone()
    paths = json.loads(additional) if _is_json(additional, list) else []
    if not all(isinstance(path, str) for path in paths):
        paths = []
    known = outcome in list(Outcome) and reason in list(Reason)
    db.execute(
        "UPDATE session SET id = ?, additional_directories = ?, outcome = ?, reason = ?",
        (session_id, json.dumps(paths), outcome if known else None, reason if known else None),
    )


@dataclass(slots=True)
class _Turn:
    parent: int
    depth: int


def _make_turns(db: sqlite3.Connection, at: str) -> None:
    """Make the turns a tree again, and the session's head one of them."""
    turns = {
        turn: _Turn(parent, depth)
        for turn, parent, depth in db.execute("SELECT turn, parent, depth FROM turn WHERE turn > 0")
    }
    known = set(turns)
    db.execute("DELETE FROM turn WHERE turn <= 0")
    taken = dict(db.execute("SELECT turn, max(depth) FROM checkpoint WHERE turn > 0 GROUP BY turn"))
    (head,) = db.execute("SELECT head FROM session").fetchone()
    spoken_of = {turn for (turn,) in db.execute("SELECT DISTINCT turn FROM entry WHERE turn > 0")}
    if 0 < head <= max([*turns, *taken, *spoken_of], default=0) + 1:
        spoken_of.add(head)
    for number in sorted((spoken_of | taken.keys()) - turns.keys()):
        turns[number] = _Turn(-1, taken.get(number, -1))
    missing = spoken_of | taken.keys() | _parents(turns)
    missing -= known
    line: list[int] = []
    for number in sorted(turns):
        turn = turns[number]
        if (turn.parent not in turns and turn.parent != 0) or turn.parent >= number:
            turn.parent = _likely_parent(turns, line, turn.depth)
        turn.depth = turns[turn.parent].depth + 1 if turn.parent else 1
        line.append(number)
    if head not in turns and head != 0:
        head = max(turns, default=0)
    for number in sorted(missing):
        # Whether the last turn ended is not known, so it counts as open; the trajectory may say more.
        stop = "end_turn" if number in taken else INTERRUPTED
        ended: Sequence[str | None] = (None, None) if number == head and number not in taken else (at, stop)
        db.execute(
            "INSERT INTO turn (turn, parent, depth, started_at, ended_at, stop_reason, prompt_excerpt)"
            " VALUES (?, 0, 0, ?, ?, ?, '')",
            (number, at, *ended),
        )
    db.executemany(
        "UPDATE turn SET parent = ?, depth = ? WHERE turn = ?",
        [(turn.parent, turn.depth, number) for number, turn in turns.items()],
    )
    db.execute("UPDATE session SET head = ?", (head,))


def _parents(turns: dict[int, _Turn]) -> set[int]:
    """Put in the turns that must have been there because of the place of a later one; returns their numbers."""
    added: set[int] = set()
    waiting = sorted(turns)
    while waiting:
        number = waiting.pop()
        turn = turns[number]
        if turn.parent == 0 or turn.parent in turns or turn.depth == 1:
            continue
        places = {turns[before].depth for before in turns if before < number}
        if 0 < turn.parent < number:
            parent = turn.parent
        elif 1 < turn.depth <= number and turn.depth - 1 not in places and number - 1 not in turns:
            parent = number - 1
        else:
            continue
        turns[parent] = _Turn(-1, turn.depth - 1 if turn.depth > 1 else -1)
        added.add(parent)
        waiting.append(parent)
    return added


def _likely_parent(turns: dict[int, _Turn], before: list[int], depth: int) -> int:
    """The newest turn at the place before, or else the newest of all."""
    at_place = (number for number in reversed(before) if turns[number].depth == depth - 1)
    return next(at_place, before[-1] if before and depth != 1 else 0)
