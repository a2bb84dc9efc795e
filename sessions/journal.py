"""What the client was shown: one entry a message, tool call or plan, the source of every replay.

Entries are written before they are sent, as the turn goes, so a turn that is killed is in the journal as far as
the client saw it. A message arrives in many small pieces; each is one small insert, and they are joined into the
entry when the next entry begins or the turn ends. Whoever reads in between joins them too.

A turn must not fail because its journal cannot be written. What the disk refuses is kept in memory, in order, and
tried again with the next write; `trouble` says why, and `flush` raises while something is kept.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from pydantic import JsonValue

from sessions import events
from sessions.session import Session, storable

MessageKind = Literal["user_message", "agent_message", "agent_thought"]
ThingKind = Literal["tool_call", "plan", "compaction"]
"""What is updated in place: the entry has its latest state, and its place is where it was first shown."""
Kind = MessageKind | ThingKind
Payload = dict[str, JsonValue]

KINDS: frozenset[str] = frozenset({*get_args(MessageKind), *get_args(ThingKind)})
"""All kinds of entries."""

ENDED = frozenset({"completed", "failed", "cancelled"})
"""The statuses of a tool call, or the like, that has come to its end."""

INTERRUPTED = "interrupted"
"""The stop reason of a turn whose end never came."""

_Write = Callable[[sqlite3.Connection], None]

BATCH_BYTES = 1_000_000
"""How much text is read from the store at once while entries are gone through, if one entry is not larger."""

BATCH_ENTRIES = 500
"""How many entries are read at once."""

_LINE = (
    "WITH RECURSIVE line (turn) AS"
    " (SELECT head FROM session UNION SELECT parent FROM turn JOIN line USING (turn)) SELECT turn FROM line"
)
"""The turns of the line that the session is on, and 0."""

_TURN = "turn, parent, depth, started_at, ended_at, stop_reason, prompt_excerpt, input_tokens, output_tokens"


class JournalError(Exception):
    """The journal is not on disk: the text says what refused."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message, or something that is updated in place, as the client was shown it.

    `seq` orders entries by when they began; `turn` counts from 1 (0 before the first). `text` is the streamed body
    of a message, everything else is in `payload`. What is updated in place has the times at which it was first
    shown and came to its end, as far as they are known; a message has none.
    """

    seq: int
    turn: int
    key: str
    kind: Kind
    payload: Payload
    text: str
    began_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A user turn: its number, the one before it on its line (0 for none), and its place there, counted from 1.

    `ended_at` and `stop_reason` are None until its end is stored. A turn that was cut has the stop reason
    `INTERRUPTED` from when the next one began. Tokens are as the model counted them, None if it did not say.
    `on_line` says whether it belongs to the line that the session is on.
    """

    turn: int
    parent: int
    depth: int
    started_at: str
    ended_at: str | None
    stop_reason: str | None
    prompt_excerpt: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    on_line: bool = True


@dataclass(frozen=True, slots=True)
class _End:
    at: str
    stop_reason: str
    input_tokens: int | None = None
    output_tokens: int | None = None


class Journal:
    """The journal of one session. Methods that write set `trouble`; only `rewind` raises for the disk."""

    def __init__(self, session: Session) -> None:
        self.trouble: str | None = None
        """What refused the last write, None if everything is on disk."""
        self._session = session
        self._kept: list[_Write] = []
        self._kept_turns: list[TurnRecord] = []
        self._streaming: tuple[MessageKind, str] | None = None
        self._ends: dict[int, _End] = {}
        self._last: int
        self._head: int
        self._depth: int
        with session.reading() as db:
            (self._last,) = db.execute("SELECT coalesce(max(turn), 0) FROM turn").fetchone()
            (self._head, self._depth) = db.execute(
                "SELECT head, coalesce((SELECT depth FROM turn WHERE turn = head), 0) FROM session"
            ).fetchone()
            things = db.execute("SELECT kind, key FROM entry WHERE kind IN ('tool_call', 'plan', 'compaction')")
            self._things = {(kind, _from_blob(key)) for kind, key in things}

    @property
    def head(self) -> int:
        """The last turn of the line that the session is on, 0 before the first."""
        return self._head

    @property
    def turn_count(self) -> int:
        """How many turns the line that the session is on has."""
        return self._depth

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
                _end(db, turn, ends.get(turn, _End(record.started_at, INTERRUPTED)))
            db.execute(
                "INSERT INTO turn (turn, parent, depth, started_at, prompt_excerpt) VALUES (?, ?, ?, ?, ?)",
                (record.turn, record.parent, record.depth, record.started_at, record.prompt_excerpt),
            )
            db.execute("UPDATE session SET updated_at = ?, head = ?", (record.started_at, record.turn))

        self._write(write)
        return record.turn

    def give_up_open_turn(self) -> None:
        """End a turn that was cut and whose loss has been reported."""
        end = _End(self._session.now(), INTERRUPTED)

        def write(db: sqlite3.Connection) -> None:
            for turn in _open_turns(db):
                _end(db, turn, end)

        self._write(write)

    def rewind(self, turn: int, *, primer: int | None, aside: str | None = None, note: str | None = None) -> None:
        """Let the line that the session is on end with a turn, on this line or another; 0 is before the first.

        Nothing is lost: the turns that are left stay and can be returned to in the same way. A turn that is still
        open is ended: as it ended, if only its checkpoint was refused, else as cut. Durable.

        Args:
            turn: its number.
            primer: what the conversation that belongs to it was primed with, as its checkpoint says.
            aside: the name of the folder that the harness's files go to, by which it is recorded once.
            note: what the model is told of it.

        Raises:
            LookupError: there is no such turn.
            JournalError: the disk refuses; nothing was changed.
        """
        self._streaming = None
        self.flush()
        end = _End(self._session.now(), INTERRUPTED)
        try:
            with self._session.transaction(durable=True) as db:
                found = db.execute("SELECT depth FROM turn WHERE turn = ?", (turn,)).fetchone()
                if turn and not found:
                    raise LookupError(f"session {self._session.id} has no turn {turn}")
                _join_pieces(db)
                for number in _open_turns(db):
                    _end(db, number, self._ends.get(number, end))
                (before,) = db.execute("SELECT head FROM session").fetchone()
                db.execute("UPDATE session SET updated_at = ?, head = ?, primer = ?", (end.at, turn, primer))
                if aside is not None:
                    events.restored(db, end.at, before=before, turn=turn, aside=aside, note=note)
        except sqlite3.Error as error:
            raise JournalError(
                f"The journal of session {self._session.id} could not be written: {error}."
            ) from error
        self._head, self._depth = turn, found[0] if turn else 0

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

    def put(self, kind: ThingKind, key: str, payload: Payload, *, live: bool = True) -> None:
        """Add a tool call or the like, or replace the payload of the one with this key, which keeps its place.

        Args:
            kind: the kind of thing.
            key: its id.
            payload: all of it as it now is.
            live: whether that happens now. Else it is learned only now, and the time at which it was is not known.
        """
        now = self._session.now() if live else None
        ended = payload.get("status") in ENDED
        if (kind, key) not in self._things:
            self._things.add((kind, key))
            self._streaming = None
            self._write(self._new_entry(kind, key, payload, "", began_at=now, ended_at=now if ended else None))
            return
        values = (json.dumps(payload), ended, now, kind, _to_blob(key))

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE entry SET payload = ?, ended_at = CASE WHEN ? THEN coalesce(ended_at, ?) END"
                " WHERE kind = ? AND key = ?",
                values,
            )

        self._write(write)

    def end_turn(
        self, turn: int, stop_reason: str, *, input_tokens: int | None = None, output_tokens: int | None = None
    ) -> None:
        """Say how a turn ended. That is stored with its checkpoint, or, if that is refused, with a later write.

        Said again, the tokens that were said before stay unless there are new ones.
        """
        self._streaming = None
        before = self._ends.get(turn, _End("", ""))
        self._ends[turn] = _End(
            self._session.now(),
            stop_reason,
            before.input_tokens if input_tokens is None else input_tokens,
            before.output_tokens if output_tokens is None else output_tokens,
        )

    def store_ends(self, db: sqlite3.Connection) -> None:
        """Store the ends of turns, as part of the transaction that stores a checkpoint.

        Raises:
            sqlite3.Error: the disk refused.
        """
        _join_pieces(db)
        still_open = _open_turns(db)
        self._ends = {turn: end for turn, end in self._ends.items() if turn in still_open}
        for turn, end in self._ends.items():
            _end(db, turn, end)
            db.execute("UPDATE session SET updated_at = ?", (end.at,))

    def flush(self) -> None:
        """Write what is kept.

        Raises:
            JournalError: the disk still refuses.
        """
        if self._kept:
            self._try()
        if self.trouble is not None:
            raise JournalError(self.trouble)

    def entries(self, turn: int | None = None) -> Iterator[Entry]:
        """Entries in order, each message whole; they are read as they are asked for.

        Args:
            turn: the turn whose entries are wanted, on whatever line; without it, all of the line that the session
                is on.

        Raises:
            JournalError: some are not on disk yet.
            StoreDamaged: they cannot be read.
        """
        self.flush()
        if turn is None:
            with self._session.reading() as db:
                line = json.dumps([0, *_line(db)])
            # The sign keeps SQLite from going by the turns, whose entries it would have to sort each time.
            wanted, which = "+turn IN (SELECT value FROM json_each(?))", line
        else:
            wanted, which = "turn = ?", str(turn)
        seq = 0
        while True:
            with self._session.reading() as db:
                batch = _entries(db, wanted, which, after=seq)
            if not batch:
                return
            yield from batch
            seq = batch[-1].seq

    def turns(self) -> tuple[TurnRecord, ...]:
        """The turns of the line that the session is on, in order. Raises `StoreDamaged`."""
        with self._session.reading() as db:
            stored = db.execute(
                f"SELECT {_TURN} FROM turn WHERE turn IN ({_LINE}) ORDER BY turn"  # noqa: S608
            )
            return (*(TurnRecord(*row) for row in stored), *self._kept_turns)

    def all_turns(self) -> tuple[TurnRecord, ...]:
        """The turns of all lines, in the order in which they began. Raises `StoreDamaged`."""
        with self._session.reading() as db:
            # While some are kept, the stored line is not yet the one that the session is on; it is a part of it.
            stored = db.execute(f"SELECT {_TURN}, turn IN ({_LINE}) FROM turn ORDER BY turn")  # noqa: S608
            return (
                *(replace(TurnRecord(*row), on_line=bool(on_line)) for *row, on_line in stored),
                *self._kept_turns,
            )

    @property
    def open_turn(self) -> int | None:
        """The last turn, if its end is not recorded: it runs, was cut, or its checkpoint was refused."""
        if self._kept_turns:
            return self._kept_turns[-1].turn
        with self._session.reading() as db:
            row = db.execute("SELECT 1 FROM turn WHERE turn = ? AND ended_at IS NULL", (self._head,)).fetchone()
            return self._head if row else None

    def _new_entry(
        self,
        kind: Kind,
        key: str,
        payload: Payload,
        text: str,
        *,
        began_at: str | None = None,
        ended_at: str | None = None,
    ) -> _Write:
        values = (self._head, kind, _to_blob(key), json.dumps(payload), _to_blob(text), began_at, ended_at)

        def write(db: sqlite3.Connection) -> None:
            _join_pieces(db)
            db.execute(
                "INSERT INTO entry (turn, kind, key, payload, text, began_at, ended_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )

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


def _line(db: sqlite3.Connection) -> list[int]:
    return [turn for (turn,) in db.execute(_LINE)]


def _open_turns(db: sqlite3.Connection) -> list[int]:
    return [turn for (turn,) in db.execute("SELECT turn FROM turn WHERE ended_at IS NULL")]


def _end(db: sqlite3.Connection, turn: int, end: _End) -> None:
    db.execute(
        "UPDATE turn SET ended_at = ?, stop_reason = ?, input_tokens = ?, output_tokens = ? WHERE turn = ?",
        (end.at, end.stop_reason, end.input_tokens, end.output_tokens, turn),
    )


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


def _entries(db: sqlite3.Connection, wanted: str, which: str, *, after: int) -> list[Entry]:
    """The next entries, as many as fit in a batch."""
    # At most one message is kept in pieces.
    in_pieces = {seq: _text(db, seq) for (seq,) in db.execute("SELECT DISTINCT entry FROM delta").fetchall()}
    rows = db.execute(
        "SELECT seq, turn, key, kind, payload, text, began_at, ended_at FROM entry"  # noqa: S608
        f" WHERE seq > ? AND {wanted} ORDER BY seq",
        (after, which),
    )
    batch: list[Entry] = []
    size = 0
    with contextlib.closing(rows):
        for seq, turn, key, kind, payload, text, began_at, ended_at in rows:
            whole = _from_blob(in_pieces.get(seq, text))
            batch.append(Entry(seq, turn, _from_blob(key), kind, json.loads(payload), whole, began_at, ended_at))
            size += len(payload) + len(text)
            if size > BATCH_BYTES or len(batch) >= BATCH_ENTRIES:
                break
    return batch


def _to_blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _from_blob(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")
