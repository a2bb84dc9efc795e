"""Asks the client whether a tool may run, and keeps the answers that last.

Nothing runs without a clear yes: a question that is cancelled, or whose client goes away, is answered with no.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from pydantic import JsonValue

from acp_agent import permissions, toolcalls
from acp_agent.client_link import Client
from acp_agent.steps import ToolUse
from acp_agent.toolcalls import Json
from sessions.session import Session, StoreRefused

log = logging.getLogger(__name__)

PREVIEW_BYTES = 1 << 20
"""The largest file that a question about an edit shows in full as its old text."""


class Asking:
    """The permission questions of one session, and its rules."""

    def __init__(self, session: Session, client: Client) -> None:
        self._session = session
        self._client = client
        self._rules = permissions.rules_from(session.recall("permissions"))

    async def allowed(self, tool: ToolUse, tool_call: Json, cancelled: asyncio.Event) -> bool:
        """Whether the call may run, by a rule or by asking.

        Args:
            tool: the call.
            tool_call: the call as the client was shown it, with its id.
            cancelled: set when the turn is cancelled, which answers the question with no.
        """
        rule = permissions.rule(tool)
        if rule in self._rules:
            return self._rules[rule]
        allowed, lasting = permissions.answer(await self._chosen(tool, tool_call, cancelled))
        if lasting:
            self._rules[rule] = allowed
            try:
                self._session.remember("permissions", dict[str, JsonValue](self._rules))
            except StoreRefused as refused:
                log.warning("%s The answer lasts until this process ends.", refused)
        return allowed

    async def _chosen(self, tool: ToolUse, tool_call: Json, cancelled: asyncio.Event) -> str | None:
        asking = asyncio.ensure_future(self._client.ask(self._session.id, tool_call, permissions.options(tool)))
        giving_up = asyncio.ensure_future(cancelled.wait())
        try:
            await asyncio.wait({asking, giving_up}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() and not cancelled.is_set() else None
        except ConnectionError:
            return None
        finally:
            asking.cancel()
            giving_up.cancel()


def existing_text(tool: ToolUse) -> str | None:
    """The text of the file that an edit would change: None if there is none, empty if it is too large to show."""
    target = tool.args.get("TargetFile")
    if tool.name not in toolcalls.EDITS or not isinstance(target, str):
        return None
    path = Path(target)
    try:
        if path.stat().st_size > PREVIEW_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
