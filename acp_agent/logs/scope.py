"""Which session, and which of its turns, the running code works for.

A request enters the scope of the session that it names; tasks and threads that it starts are in it as well. All
code that works for one session shares one `Scope`, so that a task which began in an earlier turn knows the present
one.
"""

from __future__ import annotations

from contextvars import ContextVar
from weakref import WeakValueDictionary


class Scope:
    """A session; `turn` is the turn that runs, with its checkpoint, None between turns."""

    __slots__ = ("__weakref__", "session", "turn")

    def __init__(self, session: str) -> None:
        self.session = session
        self.turn: int | None = None


_scopes: WeakValueDictionary[str, Scope] = WeakValueDictionary()
_current: ContextVar[Scope | None] = ContextVar("scope", default=None)


def of(session_id: str) -> Scope:
    """The scope of a session, the same one as long as anybody holds it."""
    return _scopes.setdefault(session_id, Scope(session_id))


def enter(session_id: str | None) -> None:
    """What this task, and what it starts, does from now on is done for this session, or for none."""
    _current.set(None if session_id is None else of(session_id))


def current() -> Scope | None:
    """The scope of the running code, None if it works for no session."""
    return _current.get()
