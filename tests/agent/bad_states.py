"""Every bad state that a load can meet, and what it must say of it: the data of the tests and of `docs/resume.md`.

    python -m tests.agent.bad_states      prints the table for the page

A state is brought about on a real session: either its agent is ended in some way, or its files are damaged after
it ended. The numbers of each row are the report's and are checked against the messages that the model received
afterwards (`tests.agent.test_bad_states`).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

PROMPTS = ("My name is Ada.", "!write_to_file engine.txt steam", "I like engines.")
"""The turns of a session whose files are damaged."""

Damage = Callable[[Path, Path], None]
"""Damages a session: its folder, and the harness's database in it."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a report says: outcome and reason, and how many turns there were, are in the context, and are lost."""

    outcome: str
    reason: str
    turns: int
    in_context: int
    lost: int
    primed: int = 0


@dataclass(frozen=True, slots=True)
class Damaged:
    """A session of three finished turns, ended in order or (`killed`) with its write-ahead log left, then damaged.

    `model_keeps` names the prompts that the model must still have, if not all; `journal_kept` says whether the
    transcript is still what was shown, tool calls and all.
    """

    name: str
    damage: Damage
    said: Said
    killed: bool = False
    model_keeps: tuple[str, ...] = PROMPTS
    journal_kept: bool = True


def _recovered(reason: str) -> Said:
    return Said("recovered", reason, turns=3, in_context=3, lost=0)


VERIFIED = Said("resumed", "verified", turns=3, in_context=3, lost=0)


# --- Damage to the harness's database -----------------------------------------------------------------------


def remove(_: Path, database: Path) -> None:
    for path in files_of(database):
        path.unlink()


def remove_folder(_: Path, database: Path) -> None:
    shutil.rmtree(database.parent)


def empty(_: Path, database: Path) -> None:
    database.write_bytes(b"")


def garbage(_: Path, database: Path) -> None:
    database.write_bytes(os.urandom(database.stat().st_size))


def truncate(part: float) -> Damage:
    def damage(_: Path, database: Path) -> None:
        os.truncate(database, int(database.stat().st_size * part))

    return damage


def hundred_bytes(_: Path, database: Path) -> None:
    os.truncate(database, 100)


def flip_a_page(_: Path, database: Path) -> None:
    (page_size,) = sql(database, "PRAGMA page_size")
    root = sql(database, "SELECT rootpage FROM sqlite_master WHERE name = 'steps'")[0]
    with database.open("r+b") as file:
        file.seek((root - 1) * page_size)
        header = file.read(64)
        file.seek((root - 1) * page_size)
        file.write(bytes(byte ^ 0xFF for byte in header))


def statement(text: str) -> Damage:
    def damage(_: Path, database: Path) -> None:
        sql(database, text)

    return damage


def alter_a_step(_: Path, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        (payload,) = connection.execute("SELECT step_payload FROM steps WHERE idx = 0").fetchone()
        assert b"Ada" in payload
        connection.execute("UPDATE steps SET step_payload = ? WHERE idx = 0", (payload.replace(b"Ada", b"Bob"),))


def plain_sqlite(folder: Path, database: Path) -> None:
    remove(folder, database)
    sql(database, "CREATE TABLE notes (text TEXT)")


def folder_in_its_place(_: Path, database: Path) -> None:
    database.unlink()
    database.mkdir()


# --- Damage to its write-ahead log, which is there after a kill ---------------------------------------------


def log_of(database: Path) -> Path:
    log = database.with_name(database.name + "-wal")
    assert log.stat().st_size > 0, "a killed harness leaves its log"
    return log


def drop_log(_: Path, database: Path) -> None:
    log_of(database).unlink()


def garbage_log(_: Path, database: Path) -> None:
    log = log_of(database)
    log.write_bytes(os.urandom(log.stat().st_size))


def cut_log(part: float) -> Damage:
    def damage(_: Path, database: Path) -> None:
        log = log_of(database)
        os.truncate(log, int(log.stat().st_size * part))

    return damage


def flip_in_the_middle_of_the_log(_: Path, database: Path) -> None:
    log = log_of(database)
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        middle = file.read(64)
        file.seek(-64, os.SEEK_CUR)
        file.write(bytes(byte ^ 0xFF for byte in middle))


def drop_shared_memory(_: Path, database: Path) -> None:
    database.with_name(database.name + "-shm").unlink()


# --- Damage to checkpoints and store ------------------------------------------------------------------------


def breaking_checkpoints(damage: Damage, *, sound: int = 0) -> Damage:
    """Damages the database, and also the copies of all checkpoints but some of the oldest."""

    def both(folder: Path, database: Path) -> None:
        damage(folder, database)
        with closing(sqlite3.connect(folder / "store.db")) as store, store:
            store.execute(
                "UPDATE checkpoint_row SET content = x'00' WHERE content IS NOT NULL AND seq > ?", (sound,)
            )

    return both


def damaging_the_store(of_store: Callable[[Path], None], damage: Damage | None = None) -> Damage:
    """Damages the session's own store, and perhaps the database too."""

    def both(folder: Path, database: Path) -> None:
        of_store(folder / "store.db")
        if damage is not None:
            damage(folder, database)

    return both


def emptied(store: Path) -> None:
    store.write_bytes(b"")


def overwritten(store: Path) -> None:
    store.write_bytes(b"garbage" * 5000)


def gone(store: Path) -> None:
    store.unlink()


def without_checkpoints(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "DELETE FROM sqlite_master WHERE name = 'checkpoint_row' OR tbl_name = 'checkpoint_row'"
        )
        connection.commit()


DAMAGED = (
    Damaged("the database is missing", remove, _recovered("missing")),
    Damaged("the folder of the database is missing", remove_folder, _recovered("missing")),
    Damaged("the database has no content", empty, _recovered("empty")),
    Damaged("garbage in the database", garbage, _recovered("corrupt")),
    Damaged("the database cut to half", truncate(0.5), _recovered("corrupt")),
    Damaged("the database cut to 100 bytes", hundred_bytes, _recovered("corrupt")),
    Damaged("a page of it with flipped bytes", flip_a_page, _recovered("corrupt")),
    Damaged(
        "a record of the generator overwritten",
        statement("UPDATE gen_metadata SET data = randomblob(length(data)) WHERE idx = 1"),
        _recovered("rejected"),
    ),
    Damaged(
        "a step's payload overwritten",
        statement("UPDATE steps SET step_payload = randomblob(length(step_payload)) WHERE idx = 1"),
        _recovered("diverged"),
    ),
    Damaged(
        "a step's payload dropped",
        statement("UPDATE steps SET step_payload = NULL WHERE idx = 1"),
        _recovered("diverged"),
    ),
    Damaged("the text of a step altered", alter_a_step, _recovered("diverged")),
    Damaged("a step missing in the middle", statement("DELETE FROM steps WHERE idx = 1"), _recovered("corrupt")),
    Damaged(
        "the last step missing",
        statement("DELETE FROM steps WHERE idx = (SELECT max(idx) FROM steps)"),
        _recovered("truncated"),
    ),
    Damaged("the records of executions missing", statement("DELETE FROM executor_metadata"), VERIFIED),
    Damaged("an SQLite database without its tables", plain_sqlite, _recovered("foreign")),
    Damaged("no conversation's name in it", statement("DELETE FROM trajectory_meta"), _recovered("foreign")),
    Damaged(
        "another conversation's name in it",
        statement("UPDATE trajectory_meta SET trajectory_id = 'other', cascade_id = 'other'"),
        _recovered("foreign"),
    ),
    Damaged("a folder in the place of the database", folder_in_its_place, _recovered("corrupt")),
    Damaged("the database is of a newer harness", statement("PRAGMA user_version = 99"), _recovered("rejected")),
    Damaged("the log of the database is missing", drop_log, _recovered("truncated"), killed=True),
    Damaged("garbage in the log of the database", garbage_log, _recovered("truncated"), killed=True),
    Damaged("the log of the database cut to 25 %", cut_log(0.25), _recovered("truncated"), killed=True),
    Damaged("the log of the database cut to 50 %", cut_log(0.5), _recovered("truncated"), killed=True),
    Damaged("the log of the database cut to 75 %", cut_log(0.75), _recovered("truncated"), killed=True),
    Damaged(
        "64 bytes flipped in the middle of the log of the database",
        flip_in_the_middle_of_the_log,
        _recovered("truncated"),
        killed=True,
    ),
    Damaged("the shared memory of the database is missing", drop_shared_memory, VERIFIED, killed=True),
    Damaged(
        "the database is missing, and the newest checkpoint is broken",
        breaking_checkpoints(remove, sound=2),
        Said("recovered", "missing", turns=3, in_context=2, lost=1),
        model_keeps=PROMPTS[:2],
    ),
    Damaged(
        "the database is missing, and the two newest checkpoints are broken",
        breaking_checkpoints(remove, sound=1),
        Said("recovered", "missing", turns=3, in_context=1, lost=2),
        model_keeps=PROMPTS[:1],
    ),
    Damaged(
        "garbage in the database, and all checkpoints are broken",
        breaking_checkpoints(garbage),
        Said("rebuilt", "corrupt", turns=3, in_context=3, lost=0, primed=3),
    ),
    Damaged(
        "the database is missing, and the tables of the checkpoints are gone",
        damaging_the_store(without_checkpoints, remove),
        Said("rebuilt", "missing", turns=3, in_context=3, lost=0, primed=3),
    ),
    Damaged(
        "the database is sound, and the session's store has no content",
        damaging_the_store(emptied),
        Said("resumed", "ahead", turns=3, in_context=3, lost=0),
        journal_kept=False,
    ),
    Damaged(
        "the database is sound, and garbage in the session's store",
        damaging_the_store(overwritten),
        Said("resumed", "ahead", turns=3, in_context=3, lost=0),
        journal_kept=False,
    ),
    Damaged(
        "the database is sound, and the session's store is missing",
        damaging_the_store(gone),
        Said("resumed", "ahead", turns=3, in_context=3, lost=0),
        journal_kept=False,
    ),
    Damaged(
        "the database is missing, and garbage in the session's store",
        damaging_the_store(overwritten, remove),
        Said("fresh", "missing", turns=0, in_context=0, lost=0),
        model_keeps=(),
        journal_kept=False,
    ),
)


# --- Ends of the agent --------------------------------------------------------------------------------------


class Who(Enum):
    """Who gets the signal."""

    GROUP = "the agent and its harness"
    AGENT = "the agent alone"
    HARNESS = "the harness alone"


class When(Enum):
    """In which moment of the third turn, and the prompt that leads there; none is a moment between turns."""

    IDLE = ("between two turns", None)
    ANSWER = ("in a streamed answer", "!stream 400 20")
    COMMAND = ("in a running command", "!run_command sleep 300")
    QUESTION = ("while a permission question is open", "!write_to_file secret.txt hello")
    AFTER_EDIT = ("in the answer after an edit", "!write_to_file done.txt hello\n!stream 400 20")

    def __init__(self, words: str, prompt: str | None) -> None:
        self.words = words
        self.prompt = prompt


@dataclass(frozen=True, slots=True)
class Ended:
    """A session of two finished turns whose agent is ended by a signal, and what a load then says."""

    signal: Signals
    who: Who
    when: When
    said: Said

    @property
    def name(self) -> str:
        """What happened, in words."""
        return f"{self.signal.name} to {self.who.value}, {self.when.words}"


FINISHED = Said("resumed", "verified", turns=2, in_context=2, lost=0)
CUT = Said("resumed", "interrupted", turns=3, in_context=3, lost=0)

ENDED = (
    Ended(SIGKILL, Who.GROUP, When.IDLE, FINISHED),
    Ended(SIGKILL, Who.GROUP, When.ANSWER, CUT),
    Ended(SIGKILL, Who.GROUP, When.COMMAND, CUT),
    Ended(SIGKILL, Who.GROUP, When.QUESTION, CUT),
    Ended(SIGKILL, Who.GROUP, When.AFTER_EDIT, CUT),
    Ended(SIGKILL, Who.AGENT, When.IDLE, FINISHED),
    Ended(SIGKILL, Who.AGENT, When.ANSWER, CUT),
    Ended(SIGKILL, Who.AGENT, When.QUESTION, CUT),
    Ended(SIGKILL, Who.HARNESS, When.IDLE, FINISHED),
    Ended(SIGKILL, Who.HARNESS, When.ANSWER, CUT),
    Ended(SIGTERM, Who.HARNESS, When.ANSWER, CUT),
    Ended(SIGTERM, Who.GROUP, When.IDLE, FINISHED),
    Ended(SIGTERM, Who.GROUP, When.ANSWER, CUT),
    Ended(SIGINT, Who.GROUP, When.COMMAND, CUT),
)


def files_of(database: Path) -> list[Path]:
    """The files of a database that exist: itself, its log and its shared memory."""
    names = [database.name + suffix for suffix in ("", "-wal", "-shm")]
    return [path for name in names if (path := database.with_name(name)).exists()]


def sql(database: Path, text: str) -> tuple[int, ...]:
    """Run a statement; the first row of its result, if it has one."""
    with closing(sqlite3.connect(database)) as connection:
        row = connection.execute(text).fetchone()
        connection.commit()
    return row or ()


def table() -> str:
    """The table for the page."""
    rows = [(state.name, state.said) for state in ENDED]
    rows += [(f"{state.name} (after a kill)" if state.killed else state.name, state.said) for state in DAMAGED]
    lines = ["| what happened | outcome | reason | turns | in context | lost |", "|---|---|---|---|---|---|"]
    for name, said in rows:
        context = f"{said.in_context} (as a transcript)" if said.primed else str(said.in_context)
        lines.append(f"| {name} | `{said.outcome}` | `{said.reason}` | {said.turns} | {context} | {said.lost} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
