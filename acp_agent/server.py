"""The ACP methods: checks what comes in, finds the conversation it is for, and turns failures into answers.

Each public method is called by the SDK with the request's parameters as keyword arguments; `meta` is the request's
`_meta`, which nothing here needs yet. Methods that are not here are answered with -32601 by the SDK.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from weakref import WeakValueDictionary

import acp
from pydantic import BaseModel, JsonValue

from acp_agent import config, params, refusals
from acp_agent.antigravity import ResumeRefused, TurnInProgress, Wishes
from acp_agent.client_link import ClientLink
from acp_agent.config import Settings
from acp_agent.conversation import Conversation, PromptFailed
from acp_agent.params import McpServerParam
from acp_agent.prompts import BadPrompt
from acp_agent.steps import Endpoint, HarnessError, McpServer
from acp_agent.toolcalls import Json
from acp_agent.wire import errors, routes
from acp_agent.wire.errors import AgentError
from acp_agent.wire.transport import StdioTransport
from sessions import housekeeping, timeline
from sessions.lease import Holder, Lease, SessionBusy
from sessions.leftovers import HarnessStillRunning
from sessions.report import ResumeReport
from sessions.session import Session, StoreDamaged
from sessions.store import InvalidCursor, Store, StoreTooNew, UnknownSession, new_session_id, now
from sessions.timeline import NoSuchPoint

log = logging.getLogger(__name__)

PAGE_SIZE = 50


class AgentServer:
    """The agent object that the SDK's connection drives."""

    def __init__(self, settings: Settings, transport: StdioTransport, *, offline_url: str | None) -> None:
        self._settings = settings
        self._transport = transport
        self._offline_url = offline_url
        self._store = Store(settings.data_dir)
        self._wishes = Wishes(
            require=settings.require, on_interrupted=settings.interrupted, on_leftovers=settings.leftovers
        )
        self._open: dict[str, Conversation] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._link: ClientLink | None = None

    def on_connect(self, conn: acp.Client) -> None:
        """The SDK hands over its side of the connection."""
        self._link = ClientLink(conn, self._transport)
        routes.add_request(conn, "session/delete", self.delete_session)

    async def initialize(self, protocol_version: int, **_: object) -> Json:
        """Agree on version 1 of the protocol and say what this agent can do."""
        return {
            "protocolVersion": acp.PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": {"image": True, "embeddedContext": True, "audio": False},
                "mcpCapabilities": {"http": False, "sse": False},
                "sessionCapabilities": {"list": {}, "resume": {}, "close": {}, "fork": {}, "delete": {}},
                "_meta": {"acp-agent": {"report": 1}},
            },
            "authMethods": [],
            "agentInfo": {
                "name": "acp-agent",
                "title": "Antigravity",
                "version": version("antigravity-acp-agent"),
            },
        }

    async def new_session(
        self, cwd: str, mcp_servers: Sequence[McpServerParam] | None = None, **_: object
    ) -> Json:
        """Make a session that can be loaded from now on, in this process and any other."""
        endpoint = self._endpoint()
        folder = params.existing_folder(cwd)
        servers = params.mcp_servers(mcp_servers or ())
        session_id = new_session_id()
        with refusals.store_errors(session_id):
            self._store.create(session_id, cwd=str(folder), client=self._client_name()).close()
            conversation = self._take(session_id, endpoint, folder, servers)
        self._open[session_id] = conversation
        self._link_or_fail().after_response(conversation.offer_commands())
        return {"sessionId": session_id}

    async def fork_session(
        self,
        cwd: str,
        session_id: str,
        mcp_servers: Sequence[McpServerParam] | None = None,
        meta: object = None,
        **_: object,
    ) -> Json:
        """Make a session of another one, up to its last checkpoint or the turn that `_meta` names."""
        endpoint = self._endpoint()
        folder = params.existing_folder(cwd)
        servers = params.mcp_servers(mcp_servers or (), session_id)
        turn = params.turn_to_fork_at(meta, session_id)
        try:
            with refusals.store_errors(session_id), self._to_read(session_id) as source:
                forked = await asyncio.to_thread(timeline.fork, self._store, source, turn=turn)
        except NoSuchPoint as error:
            raise AgentError(
                errors.INVALID_PARAMS,
                "The session cannot be forked there.",
                reason="no_such_turn",
                details=str(error),
                session_id=session_id,
            ) from error
        with refusals.store_errors(forked.session_id):
            conversation = self._take(forked.session_id, endpoint, folder, servers)
            conversation.session.update_folder(str(folder))
        self._open[forked.session_id] = conversation
        self._link_or_fail().after_response(conversation.offer_commands())
        made: Json = {"from": session_id, "turn": forked.turn, "turns": forked.turns}
        return {"sessionId": forked.session_id, "_meta": {"acp-agent/fork": made}}

    async def delete_session(self, params_: dict[str, JsonValue]) -> Json:
        """Delete a session and all its files; one that is open here is closed first."""
        session_id = params.session_id_of(params_)
        async with self._lock(session_id):
            if conversation := self._open.pop(session_id, None):
                await conversation.cancel()
                await conversation.wait_idle()
                await conversation.close()
            try:
                with refusals.store_errors(session_id):
                    await asyncio.to_thread(housekeeping.delete, self._store, session_id, self._holder())
            except UnknownSession as error:
                raise refusals.unknown_session(session_id) from error
            except SessionBusy as error:
                raise refusals.busy(session_id, error) from error
        return {}

    async def load_session(
        self, session_id: str, cwd: str, mcp_servers: Sequence[McpServerParam] | None = None, **_: object
    ) -> Json:
        """Bring a session back, replay all of it, and report exactly what was brought back."""
        async with self._exclusively(session_id):
            conversation, report = await self._bring_back(session_id, cwd, mcp_servers)
            async with self._published(conversation):
                with refusals.store_errors(session_id):
                    await conversation.replay()
                await self._send_info(conversation, report)
                await conversation.announce(report)
        self._link_or_fail().after_response(conversation.offer_commands())
        return {"_meta": {"acp-agent/resume": report.wire()}}

    async def resume_session(
        self, session_id: str, cwd: str, mcp_servers: Sequence[McpServerParam] | None = None, **_: object
    ) -> Json:
        """Bring a session back without replaying it."""
        async with self._exclusively(session_id):
            conversation, report = await self._bring_back(session_id, cwd, mcp_servers)
            async with self._published(conversation):
                await self._send_info(conversation, report)
        # The protocol forbids messages before this response, and a client without notices is told by a message.
        self._link_or_fail().after_response(
            _in_order(conversation.announce(report), conversation.offer_commands())
        )
        return {"_meta": {"acp-agent/resume": report.wire()}}

    async def list_sessions(self, cwd: str | None = None, cursor: str | None = None, **_: object) -> Json:
        """A page of stored sessions, newest first."""
        if cwd is not None:
            cwd = str(params.folder(cwd))
        try:
            with refusals.store_errors(None):
                page = await asyncio.to_thread(self._store.page, cwd=cwd, cursor=cursor, limit=PAGE_SIZE)
        except InvalidCursor as error:
            raise AgentError(
                errors.INVALID_PARAMS,
                "The cursor is not one of ours.",
                reason="invalid_cursor",
                details=str(error),
            ) from error
        # What cannot be read has no folder to name, and the protocol wants one.
        result: Json = {
            "sessions": [params.list_entry(summary) for summary in page.summaries if not summary.damaged]
        }
        if page.next_cursor is not None:
            result["nextCursor"] = page.next_cursor
        return result

    async def prompt(self, prompt: Sequence[BaseModel], session_id: str, **_: object) -> Json:
        """Run a turn; the answer says how it ended and what of it is durable."""
        conversation = self._conversation(session_id)
        blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in prompt]
        try:
            with refusals.store_errors(session_id):
                answer = await conversation.prompt(blocks)
        except TurnInProgress:
            raise refusals.turn_in_progress(session_id, "a second prompt") from None
        except BadPrompt as error:
            raise AgentError(
                errors.INVALID_PARAMS,
                "The prompt cannot be sent.",
                reason="bad_prompt",
                details=str(error),
                session_id=session_id,
            ) from error
        except PromptFailed as failed:
            raise AgentError(
                errors.HARNESS_FAILED,
                "The model or the harness failed during this turn.",
                reason="turn_failed",
                details=str(failed),
                session_id=session_id,
                _meta={"acp-agent/checkpoint": failed.report.wire()},
            ) from failed
        except (ResumeRefused, HarnessError, HarnessStillRunning) as error:
            raise refusals.not_brought_back(session_id, error) from error
        return {"stopReason": answer.stop_reason, "_meta": answer.meta}

    async def cancel(self, session_id: str, **_: object) -> None:
        """Halt the session's turn; its prompt is answered with `cancelled`."""
        if conversation := self._open.get(session_id):
            await conversation.cancel()

    async def close_session(self, session_id: str, **_: object) -> Json:
        """Cancel what runs and free the session; it stays on disk."""
        async with self._lock(session_id):
            conversation = self._conversation(session_id)
            await conversation.cancel()
            await conversation.wait_idle()
            del self._open[session_id]
            await conversation.close()
        return {}

    async def ext_method(self, method: str, params_: dict[str, JsonValue]) -> Json:
        """`_acp-agent/session_status`: what is known of a session, without opening it."""
        if method != "acp-agent/session_status":
            raise acp.RequestError.method_not_found(f"_{method}")
        session_id = params.session_id_of(params_)
        if conversation := self._open.get(session_id):
            status: Json = dict(params.session_meta(conversation.session.summary()))
            return {"sessionId": session_id, "open": True, "busy": conversation.busy, **status}
        with refusals.store_errors(session_id), self._stored(session_id) as session:
            status = params.session_meta(session.summary())
        return {"sessionId": session_id, "open": False, "busy": False, **status}

    async def shut_down(self) -> None:
        """Close every open session; called once the connection is gone."""
        await asyncio.gather(*(conversation.close() for conversation in self._open.values()))
        self._open.clear()

    async def _bring_back(
        self, session_id: str, cwd: str, mcp_servers: Sequence[McpServerParam] | None
    ) -> tuple[Conversation, ResumeReport]:
        endpoint = self._endpoint()
        folder = params.folder(cwd, session_id)
        servers = params.mcp_servers(mcp_servers or (), session_id)
        if already := self._open.get(session_id):
            if already.busy:
                raise refusals.turn_in_progress(session_id, "a load")
            del self._open[session_id]
            await already.close()
        with refusals.store_errors(session_id):
            conversation = self._take(session_id, endpoint, folder, servers)
            try:
                return conversation, await conversation.bring_back()
            except BaseException as error:
                await conversation.close()
                if isinstance(error, ResumeRefused | HarnessError | HarnessStillRunning):
                    raise refusals.not_brought_back(session_id, error) from error
                raise

    def _lock(self, session_id: str) -> asyncio.Lock:
        """What opens and closes a session, one at a time."""
        return self._locks.setdefault(session_id, asyncio.Lock())

    @asynccontextmanager
    async def _exclusively(self, session_id: str) -> AsyncIterator[None]:
        """Open a session, unless it is being opened or closed already."""
        lock = self._lock(session_id)
        if lock.locked():
            raise refusals.turn_in_progress(session_id, "another load")
        async with lock:
            yield

    @asynccontextmanager
    async def _published(self, conversation: Conversation) -> AsyncIterator[None]:
        """Let prompts reach a conversation once all of its opening is done; if that fails, close it."""
        try:
            yield
        except BaseException:
            await conversation.close()
            raise
        self._open[conversation.session.id] = conversation

    def _take(
        self, session_id: str, endpoint: Endpoint, folder: Path, servers: Sequence[McpServer]
    ) -> Conversation:
        """Take a stored session's lease, open it, and make a conversation of it."""
        try:
            lease = Lease.acquire(self._store.folder(session_id), self._holder())
        except UnknownSession as error:
            raise refusals.unknown_session(session_id) from error
        except SessionBusy as error:
            raise refusals.busy(session_id, error) from error
        try:
            session = self._stored(session_id, salvage_for=folder)
        except BaseException:
            lease.release()
            raise
        try:
            return Conversation(
                self._store,
                session,
                lease,
                self._link_or_fail(),
                endpoint=endpoint,
                folder=folder,
                mcp_servers=servers,
                wishes=self._wishes,
                announce=self._settings.announce,
            )
        except BaseException:
            session.close()
            lease.release()
            raise

    async def _send_info(self, conversation: Conversation, report: ResumeReport) -> None:
        info = conversation.session.info
        update: Json = {
            "sessionUpdate": "session_info_update",
            "updatedAt": info.updated_at,
            "_meta": {"acp-agent/resume": report.wire()},
        }
        if info.title is not None:
            update["title"] = info.title
        await self._link_or_fail().update(conversation.session.id, update)

    def _conversation(self, session_id: str) -> Conversation:
        if conversation := self._open.get(session_id):
            return conversation
        raise AgentError(
            errors.UNKNOWN_SESSION,
            "This session is not open on this connection.",
            reason="not_open",
            details="Create it with session/new, or open a stored one with session/load or session/resume.",
            session_id=session_id,
        )

    @contextmanager
    def _to_read(self, session_id: str) -> Iterator[Session]:
        """A session to look into, whether it is open here or not."""
        if conversation := self._open.get(session_id):
            yield conversation.session
            return
        with self._stored(session_id) as session:
            yield session

    def _stored(self, session_id: str, *, salvage_for: Path | None = None) -> Session:
        """Open a stored session; with a folder that it is opened for, what is left of it if it is damaged."""
        try:
            try:
                return self._store.open(session_id)
            except StoreDamaged as damage:
                if salvage_for is None:
                    raise
                log.warning("%s What can be read of it is opened.", damage)
                return self._store.open_salvaged(session_id, cwd=str(salvage_for))
        except UnknownSession as error:
            raise refusals.unknown_session(session_id) from error
        except StoreTooNew as error:
            raise refusals.store_too_new(error) from error

    def _endpoint(self) -> Endpoint:
        found = config.endpoint(self._settings, os.environ, offline_url=self._offline_url)
        if found is None:
            raise AgentError(
                errors.AUTH_REQUIRED,
                "No model credentials were found.",
                reason="no_credentials",
                details="Set GEMINI_API_KEY, or GOOGLE_GENAI_USE_VERTEXAI=true with GOOGLE_CLOUD_PROJECT and "
                "GOOGLE_CLOUD_LOCATION, or start the agent with --base-url for an OpenAI-compatible endpoint, or "
                "with --offline to try it without a model.",
            )
        return found

    def _client_name(self) -> str:
        info = self._transport.client_params.get("clientInfo")
        name = info.get("name") if isinstance(info, dict) else None
        return name[:100] if isinstance(name, str) and name else "unknown client"

    def _holder(self) -> Holder:
        return Holder(pid=os.getpid(), client=self._client_name(), since=now())

    def _link_or_fail(self) -> ClientLink:
        assert self._link is not None, "the SDK calls on_connect before any method"
        return self._link


async def _in_order(*work: Coroutine[None, None, None]) -> None:
    for each in work:
        await each
