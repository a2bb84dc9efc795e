"""The group of commands, and what all of them share: finding a session, its lease, and what went wrong in words.

Exit codes are 0 if it was done, 1 if it was refused or failed, was not found, or something is damaged, and 2 if
the command line is not right.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from acp_agent.config import Settings
from sessions.journal import Journal, JournalError
from sessions.lease import Holder, Lease, SessionBusy
from sessions.leftovers import HarnessStillRunning, settle
from sessions.portable import Unportable
from sessions.session import Session, StoreDamaged, StoreRefused
from sessions.store import SessionExists, Store, StoreTooNew, UnknownSession, now
from sessions.timeline import NoSuchPoint, NotPreserved

_REFUSALS = (
    UnknownSession,
    SessionExists,
    SessionBusy,
    StoreTooNew,
    StoreDamaged,
    StoreRefused,
    JournalError,
    NoSuchPoint,
    NotPreserved,
    Unportable,
    HarnessStillRunning,
)
"""Errors whose text is a sentence for people."""

Command = TypeVar("Command", bound=Callable[..., object])


@click.group()
def sessions() -> None:
    """List, check, restore, copy and delete stored sessions.

    A session may be given by the beginning of its id. Everything but `restore`, `delete` and `prune` can be done
    while a session is open elsewhere.
    """


def as_json(command: Command) -> Command:
    """The option of all commands: their result as JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")(command)


def confirmed(command: Command) -> Command:
    """The option of commands that change something for good."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong inside ends the command with one sentence on standard error and exit code 1."""
    try:
        yield
    except _REFUSALS as error:
        raise click.ClickException(str(error)) from error
    except sqlite3.Error as error:
        raise click.ClickException(f"The store could not be written: {error}.") from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise click.ClickException(f"{error.strerror or error}{where}.") from error


def store_of(settings: Settings) -> Store:
    """The stored sessions."""
    return Store(settings.data_dir)


def find(store: Store, given: str) -> str:
    """The id of the session that was given by it, or by its beginning. Raises ClickException."""
    found = store.ids(given)
    if given in found:
        return given
    if not found:
        raise click.ClickException(f"There is no session {given[:128]!r}.")
    if len(found) > 1:
        raise click.ClickException(f"{len(found)} sessions begin with {given!r}; give more of the id.")
    return found[0]


def holder() -> Holder:
    """Who this process is, for whoever wants a session meanwhile."""
    return Holder(pid=os.getpid(), client="acp-agent sessions", since=now())


@contextmanager
def held(store: Store, session_id: str) -> Iterator[tuple[Session, Journal]]:
    """A session to be changed: its lease is held, and no harness of it runs.

    Raises what opening a session and taking its lease raises.
    """
    lease = Lease.acquire(store.folder(session_id), holder())
    try:
        settle(session_id)
        with store.open(session_id) as session:
            yield session, Journal(session)
    finally:
        lease.release()


def sure(question: str, *, yes: bool, harmless: bool = False) -> None:
    """Go on only if that is wanted.

    Without a terminal nobody can be asked: what loses nothing goes on, everything else needs `--yes`.
    """
    if yes or (harmless and not sys.stdin.isatty()):
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Without a terminal to ask on, --yes is needed.")
    click.confirm(question, abort=True, err=True)
