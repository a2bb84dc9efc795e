"""Looks at everything that is stored of a session and says what is not as it was stored. Changes nothing.

The checkpoints are verified one by one: each against its seal, the seal against the checkpoint before it, and
every row that it stored against its digest. Then the journal, and then the harness's database against the newest
checkpoint of the line that the session is on.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from sessions import chain, trajectory
from sessions.chain import NO_SEAL, Checkpoint, Held, Key
from sessions.session import Session, StoreDamaged
from sessions.trajectory import TrajectoryProblem

_AT_ONCE = 200
"""How many rows are read between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is as it was stored, and in words what was found."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is: units that are done, and how many there are. A unit is about a row."""

    done: int
    total: int


class Verification:
    """Iterate over it to do it; each item says how far it is. `findings` is complete at the end.

    Args of the constructor:
        session: an open session.
        live: whether its harness is open, in whatever process. Then its database is read in place.
    """

    def __init__(self, session: Session, *, live: bool = False) -> None:
        self._session = session
        self._live = live
        self._found: list[Finding] = []

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far; at least one for each of `checkpoints`, `journal` and `trajectory`."""
        return tuple(self._found)

    @property
    def ok(self) -> bool:
        """Whether nothing was found to be wrong so far."""
        return all(finding.ok for finding in self._found)

    def __iter__(self) -> Iterator[Progress]:
        self._found.clear()
        try:
            with self._session.reading() as db:
                # The trajectory counts as many units as it has steps in the checkpoint that it is compared with.
                sizes = [_count(db, "checkpoint_row"), _count(db, "turn") + _count(db, "entry")]
                sizes.append(max((stored.steps for stored in chain.of_line(db)), default=1))
        except StoreDamaged as damaged:
            self._add("store", False, damaged.detail)
            return
        done = 0
        for part, size in zip((self._checkpoints, self._journal, self._trajectory), sizes, strict=True):
            try:
                for units in part():
                    yield Progress(min(done + units, sum(sizes)), sum(sizes))
            except StoreDamaged as damaged:
                self._add(part.__name__.strip("_"), False, damaged.detail)
            done += size
            yield Progress(done, sum(sizes))

    def _add(self, name: str, ok: bool, detail: str) -> None:
        self._found.append(Finding(name, ok, detail))

    def _checkpoints(self) -> Iterator[int]:
        with self._session.reading() as db:
            stored = chain.all_checkpoints(db)
            last = max((each.seq for each in stored), default=0)
            strays = db.execute(
                "SELECT count(*) FROM checkpoint_row WHERE seq NOT IN (SELECT seq FROM checkpoint)"
            ).fetchone()[0]
            changes = chain.changes_between(db, 0, last)
        broken: set[int] = set()
        if strays:
            self._add("checkpoints", False, f"{strays} rows belong to no checkpoint")
        before: Checkpoint | None = None
        for each in stored:
            if problem := _link_problem(each, before, changes.get(each.seq, {})):
                broken.add(each.seq)
                self._add(_name(each), False, problem)
            before = each
        yield from self._contents({each.seq: each for each in stored}, broken)
        if not broken and not strays:
            self._add("checkpoints", True, f"{len(stored)} checkpoints are what was stored")

    def _contents(self, stored: dict[int, Checkpoint], broken: set[int]) -> Iterator[int]:
        """Check every stored row against its digest."""
        after, done = 0, 0
        while True:
            with self._session.reading() as db:
                found = db.execute(
                    "SELECT rowid, seq, table_name, row_id, digest, content FROM checkpoint_row"
                    " WHERE rowid > ? ORDER BY rowid LIMIT ?",
                    (after, _AT_ONCE),
                ).fetchall()
            if not found:
                return
            for after, seq, table, row_id, digest, content in found:  # noqa: B007
                problem = _content_problem(table, row_id, digest, content)
                if problem and seq in stored:
                    broken.add(seq)
                    self._add(_name(stored[seq]), False, problem)
            done += len(found)
            yield done

    def _journal(self) -> Iterator[int]:
        sound = len(self._found)
        with self._session.reading() as db:
            turns = db.execute(
                "SELECT turn, parent, depth, ended_at, stop_reason FROM turn ORDER BY turn"
            ).fetchall()
            (head,) = db.execute("SELECT head FROM session").fetchone()
        depths = {0: 0}
        for turn, parent, depth, ended_at, stop_reason in turns:
            depths[turn] = depth
            if parent >= turn or depths.get(parent) != depth - 1:
                self._add(
                    f"turn {turn}", False, f"it does not follow turn {parent}, which is said to be before it"
                )
            if (ended_at is None) != (stop_reason is None):
                self._add(f"turn {turn}", False, "its end is only half there")
        if head not in depths:
            self._add("journal", False, f"turn {head}, on which the session is, is not stored")
        done, after = len(turns), 0
        yield done
        entries = 0
        while True:
            with self._session.reading() as db:
                found = db.execute(
                    "SELECT seq, turn, payload, text, key FROM entry WHERE seq > ? ORDER BY seq LIMIT ?",
                    (after, _AT_ONCE),
                ).fetchall()
            if not found:
                break
            for after, turn, payload, text, key in found:
                if problem := _entry_problem(payload, text, key):
                    self._add(f"entry {after}", False, problem)
                if turn not in depths:
                    self._add(f"entry {after}", False, f"it belongs to turn {turn}, which is not stored")
            entries += len(found)
            yield done + entries
        if len(self._found) == sound:
            self._add("journal", True, f"{len(turns)} turns and {entries} entries are readable")

    def _trajectory(self) -> Iterator[int]:
        session = self._session
        with session.reading() as db:
            newest = max(chain.of_line(db), key=lambda stored: stored.seq, default=None)
            known = Held(db, newest).of_table("steps")
        yield 0
        try:
            found = trajectory.read(session.trajectory_path, conversation_id=session.id, live=self._live)
        except TrajectoryProblem as problem:
            nothing = newest is None and not session.info.turns
            self._add("trajectory", nothing, "not made yet" if nothing else problem.detail)
            return
        steps = {step.idx: step.digest for step in found.steps}
        changed = [idx for idx, digest in sorted(known.items()) if steps.get(idx) != digest]
        if changed:
            what = "is not what was checkpointed" if changed[0] in steps else "is missing"
            self._add("trajectory", False, f"step {changed[0]} {what}, {len(changed)} of {len(known)} differ")
        elif newest is None:
            self._add("trajectory", True, f"it holds {len(steps)} steps, and there is no checkpoint")
        else:
            more = len(steps) - len(known)
            newer = f" and {more} newer ones" if more else ""
            self._add("trajectory", True, f"it holds the {len(known)} steps of the newest checkpoint{newer}")


def verify(session: Session, *, live: bool = False) -> tuple[Finding, ...]:
    """Verify a session without showing how far it is. Arguments as for `Verification`."""
    verification = Verification(session, live=live)
    for _ in verification:
        pass
    return verification.findings


def _count(db: sqlite3.Connection, table: str) -> int:
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)


def _name(checkpoint: Checkpoint) -> str:
    return f"checkpoint {checkpoint.seq} (turn {checkpoint.turn})"


def _link_problem(stored: Checkpoint, before: Checkpoint | None, changes: dict[Key, bytes | None]) -> str | None:
    if problem := chain.broken_link(stored, before, changes, seq=stored.seq):
        return problem
    expected = before.seq + 1 if before else 1
    if stored.seq != expected:
        return f"checkpoint {expected} is missing before it"
    if before is None and stored.seal_before != NO_SEAL:
        return "it is the first, but was not stored as the first"
    if stored.base != stored.seq and (before is None or stored.base != before.base):
        return f"its base, {stored.base}, is not that of the checkpoint before it"
    return None


def _content_problem(table: str, row_id: int, digest: bytes | None, content: bytes | None) -> str | None:
    if digest is None or content is None:
        return None
    try:
        chain.content_of(table, row_id, digest, content)
    except zlib.error as error:
        return f"row {row_id} of {table} cannot be read: {error}"
    except ValueError as error:
        return str(error)
    return None


def _entry_problem(payload: str, text: bytes, key: bytes) -> str | None:
    try:
        readable = isinstance(json.loads(payload), dict)
        for blob in (text, key):
            blob.decode("utf-8", "surrogatepass")
    except (ValueError, RecursionError) as error:
        return f"it cannot be read: {error}"
    return None if readable else "its payload is no object"
