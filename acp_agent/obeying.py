"""Does what the slash commands say. Their answers are not part of the conversation: nothing is journalled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from acp_agent import commands, permissions
from acp_agent.antigravity import ResumableAgent
from acp_agent.asking import Asking
from acp_agent.commands import Command
from acp_agent.logs import Event, say
from acp_agent.options import BadOption, Mode
from acp_agent.toolcalls import Json
from sessions import checkpoint, timeline
from sessions.store import Store
from sessions.timeline import NoSuchPoint, NotPreserved

log = logging.getLogger(__name__)

Said = tuple[str, Json]
"""An answer in Markdown, and what the `_meta` of the prompt's answer says."""


class Obeying:
    """The commands of one session.

    Args:
        store: where sessions are stored.
        agent: the session's agent, which is idle.
        asking: its rules.
        mode: the mode now.
        set_mode: changes it; raises `BadOption`.
    """

    def __init__(
        self,
        store: Store,
        agent: ResumableAgent,
        asking: Asking,
        *,
        mode: Callable[[], Mode],
        set_mode: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._agent = agent
        self._asking = asking
        self._mode = mode
        self._set_mode = set_mode

    async def obey(self, command: Command) -> Said:
        """Do what a command says.

        Raises:
            ResumeRefused, HarnessError, HarnessStillRunning, StoreRefused, StoreDamaged, OSError: it could not
            be done.
        """
        does: dict[str, Callable[[Command], Awaitable[Said]]] = {
            "turns": self._turns,
            "session": self._session,
            "mode": self._change_mode,
            "permissions": self._permissions,
            "fork": self._fork,
            "rewind": self._rewind,
        }
        try:
            return await does[command.name](command)
        except (BadOption, NoSuchPoint, NotPreserved) as refused:
            return str(refused), {}

    async def _turns(self, _: Command) -> Said:
        return commands.turns_text(self._agent.journal.all_turns(), checkpoint.every(self._agent.session)), {}

    async def _session(self, _: Command) -> Said:
        session, agent = self._agent.session, self._agent
        newest = next(iter(checkpoint.newest_first(session)), None)
        return commands.session_text(session.id, agent.report, newest, agent.journal.turn_count), {}

    async def _change_mode(self, command: Command) -> Said:
        if command.word is not None:
            await self._set_mode(command.word)
        return f"The session is in *{self._mode().value}* mode.", {}

    async def _permissions(self, command: Command) -> Said:
        if command.word is not None and self._asking.forget(command.turn) is None:
            return (f"There is no rule {command.turn}." if command.turn is not None else "There are no rules."), {}
        return permissions.rules_text(self._asking.rules, self._mode()), {}

    async def _fork(self, command: Command) -> Said:
        session = self._agent.session
        forked = await asyncio.to_thread(timeline.fork, self._store, session, turn=command.turn)
        say(log, Event.FORKED, into=forked.session_id, at=forked.turn)
        await asyncio.to_thread(timeline.record_fork, self._store, session, forked, None)
        text = f"Forked at the end of turn {forked.turn}: the new session is `{forked.session_id}`."
        return text, {"acp-agent/fork": {"sessionId": forked.session_id}}

    async def _rewind(self, command: Command) -> Said:
        assert command.turn is not None
        report = await self._agent.rewind(command.turn)
        return commands.rewound_text(command.turn, report), {"acp-agent/resume": report.wire()}
