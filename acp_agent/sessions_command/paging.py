"""`show --html`: a session's life as a page in a file, on standard output, or in the browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from acp_agent.sessions_command.group import find, holder, told
from sessions import durable, life
from sessions.lease import Lease
from sessions.session import Session, StoreDamaged
from sessions.store import Store


def write_page(store: Store, given: str, file: Path | None, *, force: bool, open_it: bool) -> None:
    """Write the page of the session that was given by its id, or its beginning.

    Args:
        store: the stored sessions.
        given: the session.
        file: where it goes; `-` is standard output, None a file in this folder that is named for the session.
        force: whether a file that is there is replaced.
        open_it: whether the page is opened in the browser.
    """
    from acp_agent import session_page  # noqa: PLC0415  (no other command needs templates)

    to_stdout = str(file) == "-"
    if to_stdout and open_it:
        raise click.UsageError("What is written to standard output cannot be opened.")
    with told():
        session_id = find(store, given)
        target = file if file is not None else Path(f"session-{session_id}.html")
        if not to_stdout and not force and target.exists():
            raise click.ClickException(f"{target} exists already; --force replaces it.")
        with _to_read(store, session_id) as session, life.reading(session) as whole:
            content = session_page.render(whole).encode()
        if to_stdout:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            return
        durable.write_file(target.absolute(), content)
    click.echo(f"The life of session {session_id} is in {target}.")
    if open_it and click.launch(target.absolute().as_uri()):
        raise click.ClickException(f"No browser could be started; open {target.absolute()} yourself.")


@contextmanager
def _to_read(store: Store, session_id: str) -> Iterator[Session]:
    """A session, or what can be read of it; not a byte of it changes."""
    try:
        session = store.open(session_id)
    except StoreDamaged:
        # A store is saved beside its folder, by one process at a time.
        lease = Lease.acquire(store.folder(session_id), holder())
        try:
            with store.open_salvaged(session_id, cwd="") as salvaged:
                yield salvaged
        finally:
            lease.release()
        return
    with session:
        yield session
