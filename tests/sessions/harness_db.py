"""Databases like those that the harness makes (facts, section 1), and what a folder holds byte for byte."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

TABLES = """
CREATE TABLE trajectory_meta (trajectory_id text, cascade_id text, trajectory_type integer, source integer,
    PRIMARY KEY (trajectory_id));
CREATE TABLE steps (idx integer, step_type integer NOT NULL DEFAULT 0, status integer NOT NULL DEFAULT 0,
    has_subtrajectory numeric NOT NULL DEFAULT false, metadata blob, error_details blob, permissions blob,
    task_details blob, render_info blob, step_payload blob, step_format integer NOT NULL DEFAULT 0,
    PRIMARY KEY (idx));
CREATE INDEX idx_steps_status ON steps (status);
CREATE TABLE gen_metadata (idx integer, data blob, size integer NOT NULL DEFAULT 0, PRIMARY KEY (idx));
CREATE TABLE executor_metadata (idx integer, data blob, PRIMARY KEY (idx));
CREATE TABLE parent_references (idx integer, data blob, PRIMARY KEY (idx));
CREATE TABLE trajectory_metadata_blob (id text DEFAULT "main", data blob, PRIMARY KEY (id));
CREATE TABLE battle_mode_infos (idx integer, data blob, PRIMARY KEY (idx));
"""

Steps = Sequence[tuple[int, int]]
"""The type and status of each step."""

ONE_TURN: Steps = ((14, 3), (15, 3))


def execution(ended_at: int) -> bytes:
    """The record of an execution that ended with this step, with a field before and one after it."""
    place = bytes([0x18, 0x80 | ended_at & 0x7F, ended_at >> 7]) if ended_at else b""
    return b"\x08\x04" + place + b"\x52\x03abc"


def make(
    path: Path, trajectory_id: str, steps: Steps = ONE_TURN, executions: Sequence[int] = (1,)
) -> sqlite3.Connection:
    """A trajectory, open as the harness keeps it: everything after the tables is in the write-ahead log only."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA page_size = 32768")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(TABLES)
    db.execute("PRAGMA user_version = 1")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("INSERT INTO trajectory_meta VALUES (?, ?, 4, 0)", (trajectory_id, trajectory_id))
    for step_type, status in steps:
        add_step(db, step_type, status)
    for ended_at in executions:
        add_execution(db, ended_at)
    return db


def add_step(db: sqlite3.Connection, step_type: int, status: int = 3, text: str = "some text") -> None:
    payload = b"\x0a" + text.encode() + b"\xff\x00"
    db.execute(
        "INSERT INTO steps (idx, step_type, status, step_payload) SELECT count(*), ?, ?, ? FROM steps",
        (step_type, status, payload),
    )


def add_execution(db: sqlite3.Connection, ended_at: int) -> None:
    db.execute("INSERT INTO executor_metadata SELECT count(*), ? FROM executor_metadata", (execution(ended_at),))


def add_turn(db: sqlite3.Connection, text: str = "an answer") -> None:
    """A whole turn of two steps."""
    add_step(db, 14)
    add_step(db, 15, text=text)
    (steps,) = db.execute("SELECT count(*) FROM steps").fetchone()
    add_execution(db, steps - 1)


def contents(path: Path) -> dict[str, list[object]]:
    """Everything that a reader of a database sees, read independently of the code under test."""
    db = sqlite3.connect(path)
    try:
        schema = db.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY type, name"
        ).fetchall()
        found: dict[str, list[object]] = {"": schema}
        for kind, name, _ in schema:
            if kind == "table":
                found[name] = db.execute(f"SELECT rowid, * FROM {name} ORDER BY rowid").fetchall()  # noqa: S608
        pragmas = ("page_size", "user_version", "journal_mode", "integrity_check")
        found["pragmas"] = [db.execute(f"PRAGMA {name}").fetchone() for name in pragmas]
        return found
    finally:
        db.close()


def fingerprint(folder: Path, *, ignore: str = "-") -> dict[str, str]:
    """A digest of each file below a folder, except those whose name ends with `ignore`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(ignore)
    }
