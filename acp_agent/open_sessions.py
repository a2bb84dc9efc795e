"""The sessions that are open on this connection: opens them one at a time, finds them, closes them.

A session that is open here holds its lease, so no other process has it. Whatever opens or closes a session holds
its lock meanwhile; prompts do not, they find a session only when it is wholly open.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakValueDictionary

from acp_agent import refusals
from acp_agent.antigravity import ResumeRefused, Wishes
from acp_agent.client_link import Client
from acp_agent.config import Settings
from acp_agent.conversation import Conversation, Patience
from acp_agent.logs import Event, say
from acp_agent.model_access import ModelEndpoint
from acp_agent.options import Options
from acp_agent.session_options import SessionOptions
from acp_agent.setup import Setup
from acp_agent.steps import HarnessError
from acp_agent.wire import errors
from acp_agent.wire.errors import AgentError
from sessions import housekeeping, timeline
from sessions.lease import Holder, Lease, SessionBusy
from sessions.leftovers import HarnessStillRunning
from sessions.report import ResumeReport
from sessions.session import Session, StoreDamaged
from sessions.store import Store, StoreTooNew, UnknownSession, now
from sessions.timeline import Forked

log = logging.getLogger(__name__)


class OpenSessions:
    """See the module. All methods belong to one event loop.

    Args:
        store: where sessions are stored.
        settings: how sessions are brought back and announced.
        client_name: the name of the connected client, for the note beside a lease.
    """

    def __init__(self, store: Store, settings: Settings, client_name: Callable[[], str]) -> None:
        self._store = store
        self._client_name = client_name
        self._announce = settings.announce
        self._default_options = Options(mode=settings.mode)
        self._patience = Patience(hibernate=settings.hibernate or None, silence=settings.silence or None)
        self._wishes = Wishes(
            require=settings.require, on_interrupted=settings.interrupted, on_leftovers=settings.leftovers
        )
        self._open: dict[str, Conversation] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def get(self, session_id: str) -> Conversation | None:
        """The conversation of a session that is open, None if it is not."""
        return self._open.get(session_id)

    def conversation(self, session_id: str) -> Conversation:
        """The conversation of a session that must be open."""
        if conversation := self._open.get(session_id):
            return conversation
        raise AgentError(
            errors.UNKNOWN_SESSION,
            "This session is not open on this connection.",
            reason="not_open",
            details="Create it with session/new, or open a stored one with session/load or session/resume.",
            session_id=session_id,
        )

    def begin(self, session_id: str, setup: Setup, *, model: ModelEndpoint, client: Client) -> Conversation:
        """Open a session that was made just now and that nobody else can know of."""
        conversation = self._take(session_id, setup, model, client)
        self._open[session_id] = conversation
        return conversation

    @asynccontextmanager
    async def bringing_back(
        self, session_id: str, setup: Setup, *, model: ModelEndpoint, client: Client
    ) -> AsyncIterator[tuple[Conversation, ResumeReport]]:
        """Bring a stored session back. Prompts reach it when the block is left; if the block fails it is closed.

        A session that is open here already is closed first, unless a turn runs in it.
        """
        lock = self._lock(session_id)
        if lock.locked():
            raise refusals.turn_in_progress(session_id, "another load")
        async with lock:
            conversation, report = await self._bring_back(session_id, setup, model, client)
            try:
                yield conversation, report
            except BaseException:
                await conversation.close("failed")
                raise
            self._open[session_id] = conversation

    async def close(self, session_id: str) -> None:
        """Cancel what runs and free the session; it stays on disk."""
        async with self._lock(session_id):
            await self._end(self.conversation(session_id), "close")

    async def delete(self, session_id: str) -> None:
        """Delete a session and all its files, if it is there; one that is open here is closed first."""
        async with self._lock(session_id):
            if conversation := self._open.get(session_id):
                await self._end(conversation, "delete")
            try:
                with refusals.store_errors(session_id):
                    await asyncio.to_thread(housekeeping.delete, self._store, session_id, self._holder())
            except UnknownSession:
                say(log, Event.SESSION_DELETED, f"there was no session {session_id} to delete", existed=False)
            except SessionBusy as error:
                raise refusals.busy(session_id, error) from error
            else:
                say(log, Event.SESSION_DELETED, existed=True)

    async def shut_down(self) -> None:
        """Close every open session; called once the connection is gone."""
        await asyncio.gather(*(conversation.close("end") for conversation in self._open.values()))
        self._open.clear()

    @contextmanager
    def to_read(self, session_id: str) -> Iterator[Session]:
        """A session to look into, whether it is open here or not."""
        if conversation := self._open.get(session_id):
            yield conversation.session
            return
        with self._stored(session_id) as session:
            yield session

    @asynccontextmanager
    async def held(self, session_id: str) -> AsyncIterator[Session]:
        """A session to look into for longer: nobody opens, closes or deletes it meanwhile."""
        async with self._lock(session_id):
            with self.to_read(session_id) as session:
                yield session

    def record_fork(self, source: Session, forked: Forked) -> None:
        """Record with a session that is held that a fork was made of it, if this process may write to it."""
        timeline.record_fork(self._store, source, forked, None if source.id in self._open else self._holder())

    async def _end(self, conversation: Conversation, how: str) -> None:
        await conversation.cancel()
        await conversation.wait_idle()
        del self._open[conversation.session.id]
        await conversation.close(how)

    async def _bring_back(
        self, session_id: str, setup: Setup, model: ModelEndpoint, client: Client
    ) -> tuple[Conversation, ResumeReport]:
        if already := self._open.get(session_id):
            if already.busy:
                raise refusals.turn_in_progress(session_id, "a load")
            del self._open[session_id]
            await already.close("reload")
        with refusals.store_errors(session_id):
            conversation = self._take(session_id, setup, model, client)
            try:
                return conversation, await conversation.bring_back()
            except BaseException as error:
                await conversation.close("failed")
                if isinstance(error, ResumeRefused | HarnessError | HarnessStillRunning):
                    raise refusals.not_brought_back(session_id, error) from error
                raise

    def _take(self, session_id: str, setup: Setup, model: ModelEndpoint, client: Client) -> Conversation:
        """Take a stored session's lease, open it, and make a conversation of it."""
        try:
            lease = Lease.acquire(self._store.folder(session_id), self._holder())
        except UnknownSession as error:
            raise refusals.unknown_session(session_id) from error
        except SessionBusy as error:
            raise refusals.busy(session_id, error) from error
        try:
            session = self._stored(session_id, salvage_for=setup)
        except BaseException:
            lease.release()
            raise
        try:
            return Conversation(
                self._store,
                session,
                lease,
                client,
                options=SessionOptions(session, model, self._default_options),
                setup=setup,
                wishes=self._wishes,
                patience=self._patience,
                announce=self._announce,
            )
        except BaseException:
            session.close()
            lease.release()
            raise

    def _stored(self, session_id: str, *, salvage_for: Setup | None = None) -> Session:
        """Open a stored session; if it is opened to work in it, what is left of it if it is damaged."""
        try:
            try:
                return self._store.open(session_id)
            except StoreDamaged as damage:
                if salvage_for is None:
                    raise
                say(log, Event.STORE_SALVAGED, f"{damage} What can be read of it is opened.")
                return self._store.open_salvaged(session_id, cwd=str(salvage_for.folder))
        except UnknownSession as error:
            raise refusals.unknown_session(session_id) from error
        except StoreTooNew as error:
            raise refusals.store_too_new(error) from error

    def _lock(self, session_id: str) -> asyncio.Lock:
        """What opens and closes a session, one at a time."""
        return self._locks.setdefault(session_id, asyncio.Lock())

    def _holder(self) -> Holder:
        return Holder(pid=os.getpid(), client=self._client_name(), since=now())
