"""What the client was shown: one entry a message or tool call, the source of every replay.

Entries are written before they are sent, as the turn goes, so a turn that is killed is in the journal as far as
the client saw it. A message arrives in many small pieces; each is one small insert, and they are joined into the
entry when the next entry begins or the turn ends. Whoever reads in between joins them too.

A turn must not fail because its journal cannot be written. What the disk refuses is kept in memory, in order, and
tried again with the next write; `trouble` says why, and `flush` raises while something is kept.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from sessions.session import Session, storable

MessageKind = Literal["user_message", "agent_message", "agent_thought"]
Kind = MessageKind | Literal["tool_call"]
Payload = dict[str, JsonValue]

INTERRUPTED = "interrupted"
"""The stop reason of a turn whose end never came."""

_Write = Callable[[sqlite3.Connection], None]

_LINE = (
    "WITH RECURSIVE line (turn) AS (SELECT head FROM session UNION SELECT parent FROM turn JOIN line USING (turn))"
    " SELECT turn, parent, depth, started_at, ended_at, stop_reason, prompt_excerpt"
    " FROM turn JOIN line USING (turn) ORDER BY turn"
)
"""The turns of the line that the session is on."""


class JournalError(Exception):
    """The journal is not on disk: the text says what refused."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message or tool call as the client was shown it.

    `seq` orders entries by when they began; `turn` counts from 1 (0 before the first). `text` is the streamed body
    of a message, everything else is in `payload`.
    """

    seq: int
    turn: int
    key: str
    kind: Kind
    payload: Payload
    text: str


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A user turn: its number, the one before it on its line (0 for none), and its place there, counted from 1.

    `ended_at` and `stop_reason` are None until its end is stored. A turn that was cut has the stop reason
    `INTERRUPTED` from when the next one began.
    """

    turn: int
    parent: int
    depth: int
    started_at: str
    ended_at: str | None
    stop_reason: str | None
    prompt_excerpt: str


class Journal:
    """The journal of one session. Methods that write never raise for the disk; they set `trouble`."""

    def __init__(self, session: Session) -> None:
        self.trouble: str | None = None
        """What refused the last write, None if everything is on disk."""
        self._session = session
        self._kept: list[_Write] = []
        self._kept_turns: list[TurnRecord] = []
        self._streaming: tuple[MessageKind, str] | None = None
        self._ends: dict[int, tuple[str, str]] = {}
        with session.reading() as db:
            (self._last,) = db.execute("SELECT coalesce(max(turn), 0) FROM turn").fetchone()
            (self._head, self._depth) = db.execute(
                "SELECT head, coalesce((SELECT depth FROM turn WHERE turn = head), 0) FROM session"
            ).fetchone()
            calls = db.execute("SELECT key FROM entry WHERE kind = 'tool_call'")
            self._calls = {_from_blob(key) for (key,) in calls}

    def begin_turn(self, prompt_excerpt: str) -> int:
        """Begin the next user turn, durably, and return its number, counted from 1.

        A turn that is still open then is ended: as it ended, if only its checkpoint was refused, else as cut.
        """
        self._streaming = None
        self._last, parent, self._depth = self._last + 1, self._head, self._depth + 1
        self._head = self._last
        record = TurnRecord(
            self._last, parent, self._depth, self._session.now(), None, None, storable(prompt_excerpt)
        )
        self._kept_turns.append(record)
        ends = dict(self._ends)

        def write(db: sqlite3.Connection) -> None:
            for turn in _open_turns(db):
                _end(db, turn, *ends.get(turn, (record.started_at, INTERRUPTED)))
            db.execute(
                "INSERT INTO turn (turn, parent, depth, started_at, prompt_excerpt) VALUES (?, ?, ?, ?, ?)",
                (record.turn, record.parent, record.depth, record.started_at, record.prompt_excerpt),
            )
            db.execute("UPDATE session SET updated_at = ?, head = ?", (record.started_at, record.turn))

        self._write(write)
        return record.turn

    def give_up_open_turn(self) -> None:
        """End a turn that was cut and whose loss has been reported."""

        def write(db: sqlite3.Connection) -> None:
            for turn in _open_turns(db):
                _end(db, turn, self._session.now(), INTERRUPTED)

        self._write(write)

    def append(self, kind: MessageKind, key: str, payload: Payload, text: str = "") -> None:
        """Add a whole message."""
        self._streaming = None
        self._write(self._new_entry(kind, key, payload, text))

    def stream(self, kind: MessageKind, key: str, delta: str, *, payload: Payload | None = None) -> None:
        """Add a piece to the message that is being streamed, or begin one if that has another kind or key.

        Args:
            kind: the kind of message.
            key: its id.
            delta: the piece, as it came.
            payload: the message's payload, taken when it begins.
        """
        if self._streaming != (kind, key):
            self._streaming = (kind, key)
            self._write(self._new_entry(kind, key, payload or {}, delta))
            return
        piece = _to_blob(delta)

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO delta (entry, text) SELECT max(seq), ? FROM entry", (piece,))

        self._write(write)

    def put(self, kind: Literal["tool_call"], key: str, payload: Payload) -> None:
        """Add a tool call, or replace the payload of the one with this key, which keeps its place."""
        if key not in self._calls:
            self._calls.add(key)
            self._streaming = None
            self._write(self._new_entry(kind, key, payload, ""))
            return
        values = (json.dumps(payload), kind, _to_blob(key))

        def write(db: sqlite3.Connection) -> None:
            db.execute("UPDATE entry SET payload = ? WHERE kind = ? AND key = ?", values)

        self._write(write)

    def end_turn(self, turn: int, stop_reason: str) -> None:
        """Say how a turn ended. That is stored with its checkpoint, or, if that is refused, with a later write."""
        self._streaming = None
        self._ends[turn] = (self._session.now(), stop_reason)

    def store_ends(self, db: sqlite3.Connection) -> None:
        """Store the ends of turns, as part of the transaction that stores a checkpoint.

        Raises:
            sqlite3.Error: the disk refused.
        """
        _join_pieces(db)
        still_open = _open_turns(db)
        self._ends = {turn: end for turn, end in self._ends.items() if turn in still_open}
        for turn, (at, stop_reason) in self._ends.items():
            _end(db, turn, at, stop_reason)
            db.execute("UPDATE session SET updated_at = ?", (at,))

    def flush(self) -> None:
        """Write what is kept.

        Raises:
            JournalError: the disk still refuses.
        """
        if self._kept:
            self._try()
        if self.trouble is not None:
            raise JournalError(self.trouble)

    def entries(self) -> Iterator[Entry]:
        """The entries of the line that the session is on, in order, each message whole.

        Raises:
            JournalError: some are not on disk yet.
            StoreDamaged: they cannot be read.
        """
        self.flush()
        seq = 0
        line = {0, *(record.turn for record in self.turns())}
        while True:
            with self._session.reading() as db:
                entry = _next_entry(db, seq)
            if entry is None:
                return
            if entry.turn in line:
                yield entry
            seq = entry.seq

    def turns(self) -> tuple[TurnRecord, ...]:
        """The turns of the line that the session is on, in order."""
        with self._session.reading() as db:
            stored = db.execute(_LINE)
            return (*(TurnRecord(*row) for row in stored), *self._kept_turns)

    @property
    def open_turn(self) -> int | None:
        """The last turn, if its end is not recorded: it runs, was cut, or its checkpoint was refused."""
        turns = self.turns()
        return turns[-1].turn if turns and turns[-1].ended_at is None else None

    def _new_entry(self, kind: Kind, key: str, payload: Payload, text: str) -> _Write:
        values = (self._head, kind, _to_blob(key), json.dumps(payload), _to_blob(text))

        def write(db: sqlite3.Connection) -> None:
            _join_pieces(db)
            db.execute("INSERT INTO entry (turn, kind, key, payload, text) VALUES (?, ?, ?, ?, ?)", values)

        return write

    def _write(self, write: _Write) -> None:
        self._kept.append(write)
        self._try()

    def _try(self) -> None:
        writes = list(self._kept)
        try:
            # While the disk refuses, a turn must not wait for it again with every piece of text.
            with self._session.transaction(durable=bool(self._kept_turns), wait=self.trouble is None) as db:
                for write in writes:
                    write(db)
        except sqlite3.ProgrammingError:
            raise  # the session was closed: a mistake of the caller, which no later write mends
        except sqlite3.Error as error:
            self.trouble = f"The journal of session {self._session.id} could not be written: {error}."
            return
        self._kept.clear()
        self._kept_turns.clear()
        self.trouble = None


def _open_turns(db: sqlite3.Connection) -> list[int]:
    return [turn for (turn,) in db.execute("SELECT turn FROM turn WHERE ended_at IS NULL")]


def _end(db: sqlite3.Connection, turn: int, at: str, stop_reason: str) -> None:
    db.execute("UPDATE turn SET ended_at = ?, stop_reason = ? WHERE turn = ?", (at, stop_reason, turn))


def _join_pieces(db: sqlite3.Connection) -> None:
    """Put the pieces of streamed messages into their entries; there is at most one with any."""
    for (seq,) in db.execute("SELECT DISTINCT entry FROM delta").fetchall():
        text = _text(db, seq)
        db.execute("DELETE FROM delta WHERE entry = ?", (seq,))
        db.execute("UPDATE entry SET text = ? WHERE seq = ?", (text, seq))


def _text(db: sqlite3.Connection, seq: int) -> bytes:
    (begun,) = db.execute("SELECT text FROM entry WHERE seq = ?", (seq,)).fetchone()
    pieces = db.execute("SELECT text FROM delta WHERE entry = ? ORDER BY id", (seq,))
    return b"".join((begun, *(piece for (piece,) in pieces)))


def _next_entry(db: sqlite3.Connection, after: int) -> Entry | None:
    row = db.execute(
        "SELECT seq, turn, key, kind, payload FROM entry WHERE seq > ? ORDER BY seq LIMIT 1", (after,)
    ).fetchone()
    if row is None:
        return None
    seq, turn, key, kind, payload = row
    return Entry(seq, turn, _from_blob(key), kind, json.loads(payload), _from_blob(_text(db, seq)))


def _to_blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _from_blob(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")
