"""The ACP methods: checks what comes in, finds the session it is for, and turns failures into answers.

Each public method is called by the SDK with the request's parameters as keyword arguments; `meta` is the request's
`_meta`. Methods that are not here are answered with -32601 by the SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Sequence

import acp
from pydantic import BaseModel, JsonValue

from acp_agent import commands, credentials, handshake, params, refusals, setup
from acp_agent.antigravity import ResumeRefused, TurnInProgress
from acp_agent.client_link import ClientLink
from acp_agent.config import Settings
from acp_agent.conversation import Conversation, PromptFailed
from acp_agent.credentials import KeyringRefused
from acp_agent.logs import Event, say, scope
from acp_agent.model_access import ModelAccess
from acp_agent.open_sessions import OpenSessions
from acp_agent.options import BadOption
from acp_agent.prompts import BadPrompt
from acp_agent.steps import HarnessError
from acp_agent.toolcalls import Json
from acp_agent.wire import errors, requests, serving
from acp_agent.wire.errors import AgentError
from acp_agent.wire.transport import StdioTransport
from sessions import lease, timeline
from sessions.leftovers import HarnessStillRunning
from sessions.report import ResumeReport
from sessions.store import InvalidCursor, Page, Store, UnknownSession, new_session_id
from sessions.timeline import NoSuchPoint

log = logging.getLogger(__name__)

PAGE_SIZE = 50


class AgentServer:
    """The agent object that the SDK's connection drives."""

    def __init__(self, settings: Settings, transport: StdioTransport, *, offline_url: str | None) -> None:
        self._transport = transport
        self._access = ModelAccess(settings, offline_url=offline_url)
        self._store = Store(settings.data_dir)
        self._sessions = OpenSessions(self._store, settings, self._client_name)
        self._link: ClientLink | None = None

    def on_connect(self, conn: acp.Client) -> None:
        """The SDK hands over its side of the connection."""
        self._link = ClientLink(self._transport)
        serving.add_request(conn, "session/delete", self.delete_session)
        serving.add_request(conn, "session/status", self.session_status)
        serving.add_request(conn, "logout", self.log_out)

    async def new_session(self, **_: object) -> Json:
        """Make a session that can be loaded from now on, in this process and any other."""
        began = time.perf_counter()
        model = await self._access.needed()
        opened = setup.for_new(requests.current().params)
        session_id = new_session_id()
        scope.enter(session_id)
        with refusals.store_errors(session_id):
            self._store.create(
                session_id,
                cwd=str(opened.folder),
                additional_directories=opened.additional,
                client=self._client_name(),
            ).close()
            conversation = self._sessions.begin(session_id, opened, model=model, client=self._client())
        conversation.say_opened("new", began)
        self._client().after_response(conversation.opened())
        return {"sessionId": session_id, **conversation.options.wire()}

    async def fork_session(
        self,
        session_id: str,
        meta: object = None,
        **_: object,
    ) -> Json:
        """Make a session of another one, up to its last checkpoint or the turn that `_meta` names."""
        began = time.perf_counter()
        model = await self._access.needed()
        opened = setup.for_new(requests.current().params, session_id)
        turn = params.turn_to_fork_at(meta, session_id)
        try:
            with refusals.store_errors(session_id):
                async with self._sessions.held(session_id) as source:
                    forked = await asyncio.to_thread(timeline.fork, self._store, source, turn=turn)
                    await asyncio.to_thread(self._sessions.record_fork, source, forked)
        except NoSuchPoint as error:
            raise AgentError(
                errors.INVALID_PARAMS,
                "The session cannot be forked there.",
                reason="no_such_turn",
                details=str(error),
                session_id=session_id,
            ) from error
        say(log, Event.FORKED, into=forked.session_id, at=forked.turn)
        scope.enter(forked.session_id)
        with refusals.store_errors(forked.session_id):
            conversation = self._sessions.begin(forked.session_id, opened, model=model, client=self._client())
            conversation.session.update_folders(str(opened.folder), opened.additional)
        conversation.say_opened("fork", began)
        self._client().after_response(conversation.opened())
        made: Json = {"from": session_id, "turn": forked.turn, "turns": forked.turns}
        return {
            "sessionId": forked.session_id,
            **conversation.options.wire(),
            "_meta": {"acp-agent/fork": made},
        }

    async def delete_session(self, params_: dict[str, JsonValue]) -> Json:
        """Delete a session and all its files, if it is there; one that is open here is closed first."""
        await self._sessions.delete(params.session_id_of(params_))
        return {}

    async def load_session(self, session_id: str, **_: object) -> Json:
        """Bring a session back, replay all of it, and report exactly what was brought back."""
        began = time.perf_counter()
        opened = setup.for_stored(requests.current().params, session_id)
        model = await self._access.at_hand()
        bringing_back = self._sessions.bringing_back(session_id, opened, model=model, client=self._client())
        async with bringing_back as (conversation, report):
            with refusals.store_errors(session_id):
                replayed = await conversation.replay()
            await self._send_info(conversation, report)
            await conversation.announce(report)
        conversation.say_opened("load", began, replayed=replayed)
        self._client().after_response(conversation.opened())
        return {**conversation.options.wire(), "_meta": {"acp-agent/resume": report.wire()}}

    async def resume_session(self, session_id: str, **_: object) -> Json:
        """Bring a session back without replaying it."""
        began = time.perf_counter()
        opened = setup.for_stored(requests.current().params, session_id)
        model = await self._access.at_hand()
        bringing_back = self._sessions.bringing_back(session_id, opened, model=model, client=self._client())
        async with bringing_back as (conversation, report):
            await self._send_info(conversation, report)
        conversation.say_opened("resume", began)
        # The protocol forbids messages before this response, and a client without notices is told by a message.
        self._client().after_response(_in_order(conversation.announce(report), conversation.opened()))
        return {**conversation.options.wire(), "_meta": {"acp-agent/resume": report.wire()}}

    async def list_sessions(self, cwd: str | None = None, cursor: str | None = None, **_: object) -> Json:
        """A page of stored sessions, newest first."""
        if cwd is not None:
            cwd = str(setup.folder(cwd, "cwd"))
        try:
            with refusals.store_errors(None):
                page, entries = await asyncio.to_thread(self._page, cwd, cursor)
        except InvalidCursor as error:
            raise AgentError(
                errors.INVALID_PARAMS,
                "The cursor is not one of ours.",
                reason="invalid_cursor",
                details=str(error),
            ) from error
        result: Json = {"sessions": [*entries]}
        if page.next_cursor is not None:
            result["nextCursor"] = page.next_cursor
        return result

    def _page(self, cwd: str | None, cursor: str | None) -> tuple[Page, list[Json]]:
        """A page, and the entries of those that can be read: the others have no folder to name."""
        page = self._store.page(cwd=cwd, cursor=cursor, limit=PAGE_SIZE)
        entries: list[Json] = []
        for summary in page.summaries:
            if not summary.damaged:
                with contextlib.suppress(UnknownSession):  # deleted since
                    held_by = lease.holder(self._store.folder(summary.id))
                    entries.append(params.list_entry(summary, held_by))
        return page, entries

    async def prompt(self, prompt: Sequence[BaseModel], session_id: str, **_: object) -> Json:
        """Run a turn; the answer says how it ended and what of it is durable."""
        conversation = self._sessions.conversation(session_id)
        blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in prompt]
        if not commands.is_ours(blocks):
            conversation.use(await self._access.needed(session_id))
        requests.current().when_withdrawn(conversation.cancel_soon)
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
            if failed.key_refused and self._access.has_key:
                self._access.look_again()
                raise refusals.key_refused(session_id, str(failed), failed.meta) from failed
            raise AgentError(
                errors.HARNESS_FAILED,
                "The model or the harness failed during this turn.",
                reason="turn_failed",
                details=str(failed),
                session_id=session_id,
                _meta=failed.meta,
            ) from failed
        except (ResumeRefused, HarnessError, HarnessStillRunning) as error:
            raise refusals.not_brought_back(session_id, error) from error
        return {"stopReason": answer.stop_reason, "_meta": answer.meta}

    async def set_session_mode(self, mode_id: str, session_id: str, **_: object) -> Json:
        """Change what may be done without asking, at once."""
        conversation = self._sessions.conversation(session_id)
        with refusals.store_errors(session_id), refusals.bad_options(session_id):
            await conversation.set_mode(mode_id)
        return {}

    async def set_config_option(self, config_id: str, session_id: str, value: str | bool, **_: object) -> Json:
        """Change the mode, the model or the thinking level; the answer has all options."""
        conversation = self._sessions.conversation(session_id)
        with refusals.store_errors(session_id), refusals.bad_options(session_id):
            if not isinstance(value, str):
                raise BadOption(f"The value of {config_id[:60]!r} must be a string: there are no switches.")
            await conversation.set_option(config_id, value)
        return {"configOptions": conversation.options.config_options()}

    async def authenticate(self, method_id: str, **_: object) -> Json:
        """Look again whether there are credentials, after the client has had them made."""
        if method_id not in credentials.METHODS:
            raise AgentError(
                errors.INVALID_PARAMS,
                "There is no such way to authenticate.",
                reason="unknown_auth_method",
                details=f"There are {' and '.join(credentials.METHODS)}.",
            )
        self._access.look_again()
        await self._access.needed()
        say(log, Event.AUTHENTICATED, method=method_id)
        return {}

    async def log_out(self, _: dict[str, JsonValue]) -> Json:
        """Forget the key that `acp-agent login` kept; prompts need another from then on."""
        with refusals.store_errors(None):
            try:
                await self._access.log_out()
            except KeyringRefused as refused:
                raise refusals.key_not_removed(refused) from refused
        say(log, Event.LOGGED_OUT)
        return {}

    async def cancel(self, session_id: str, **_: object) -> None:
        """Halt the session's turn; its prompt is answered with `cancelled`."""
        if conversation := self._sessions.get(session_id):
            scope.enter(session_id)
            await conversation.cancel()

    async def close_session(self, session_id: str, **_: object) -> Json:
        """Cancel what runs and free the session; it stays on disk."""
        await self._sessions.close(session_id)
        return {}

    async def session_status(self, params_: dict[str, JsonValue]) -> Json:
        """Whether a session is `open` here or `saved`; nothing is opened for it (unstable: `session/status`)."""
        session_id = params.session_id_of(params_)
        if self._sessions.get(session_id):
            return {"status": "open"}
        try:
            self._store.folder(session_id)
        except UnknownSession as error:
            raise refusals.unknown_session(session_id) from error
        return {"status": "saved"}

    async def ext_method(self, method: str, params_: dict[str, JsonValue]) -> Json:
        """`_acp-agent/session_status`: what is known of a session, without opening it."""
        if method != "acp-agent/session_status":
            raise acp.RequestError.method_not_found(f"_{method}")
        session_id = params.session_id_of(params_)
        conversation = self._sessions.get(session_id)
        with refusals.store_errors(session_id), self._sessions.to_read(session_id) as session:
            status = params.session_meta(session.summary())
        busy = conversation is not None and conversation.busy
        return {"sessionId": session_id, "open": conversation is not None, "busy": busy, **status}

    async def shut_down(self) -> None:
        """Close every open session; called once the connection is gone."""
        await self._sessions.shut_down()

    async def _send_info(self, conversation: Conversation, report: ResumeReport) -> None:
        info = conversation.session.info
        update: Json = {
            "sessionUpdate": "session_info_update",
            "updatedAt": info.updated_at,
            "_meta": {"acp-agent/resume": report.wire()},
        }
        if info.title is not None:
            update["title"] = info.title
        await self._client().update(conversation.session.id, update)

    def _client_name(self) -> str:
        return handshake.client_name(self._transport.client_params)

    def _client(self) -> ClientLink:
        assert self._link is not None, "the SDK calls on_connect before any method"
        return self._link


async def _in_order(*work: Coroutine[None, None, None]) -> None:
    for each in work:
        await each
