"""Asks the client whether a tool may run, and keeps the answers that last.

Nothing runs without a clear yes: a question that is cancelled, or whose client goes away, is answered with no. A
question that would not be asked any more, because the mode or the rules have changed meanwhile, is answered by
them and withdrawn.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from acp_agent import permissions, toolcalls
from acp_agent.client_link import Client, unless
from acp_agent.logs import Event, ms_since, say
from acp_agent.options import Mode
from acp_agent.permissions import Choice, Rule, Verdict
from acp_agent.steps import ToolUse
from acp_agent.toolcalls import Json
from sessions.session import Session, StoreRefused

log = logging.getLogger(__name__)

PREVIEW_BYTES = 1 << 20
"""The largest file that a question about an edit shows in full as its old text."""

KEY = "permissions"
"""The key of the rules in the session's memory."""


class Asking:
    """The permission questions of one session, and its rules.

    Args:
        session: keeps the rules.
        client: is asked.
        folders: the folders that the session works in.
        mode: the session's mode now.
    """

    def __init__(
        self, session: Session, client: Client, *, folders: Sequence[Path], mode: Callable[[], Mode]
    ) -> None:
        self.rules = permissions.rules_from(session.recall(KEY))
        self._session = session
        self._client = client
        self._folders = [os.path.realpath(folder) for folder in folders]
        # Where the harness keeps the documents that the model writes about its work (measured with 0.1.22).
        self._artifacts = [os.path.realpath(session.app_data_dir / "brain")]
        self._mode = mode
        self._open: dict[asyncio.Future[bool], ToolUse] = {}

    def verdict(self, tool: ToolUse) -> Verdict:
        """Whether a call may run, by the mode and the rules as they now are."""
        return permissions.verdict(
            tool,
            self._mode(),
            self.rules,
            inside=self._within(tool, self._folders),
            artifact=self._within(tool, self._artifacts),
        )

    async def ask(self, tool: ToolUse, tool_call: Json, cancelled: asyncio.Event) -> bool:
        """Ask the client about a call; whether it may run.

        Args:
            tool: the call.
            tool_call: the call as the client was shown it, with its id.
            cancelled: set when the turn is cancelled, which answers the question with no.
        """
        offered = permissions.choices(tool, inside=self._within(tool, self._folders))
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._open[settled] = tool
        call, began = str(tool_call.get("toolCallId")), time.perf_counter()
        say(log, Event.PERMISSION_ASKED, tool=tool.name, call=call)
        answer: Choice | bool = False
        try:
            answer = await self._answer(offered, tool_call, cancelled, settled)
        finally:
            del self._open[settled]
            chosen = answer if isinstance(answer, Choice) and answer.id else None
            ruled = settled.done() and not cancelled.is_set()
            say(
                log,
                Event.PERMISSION_ANSWERED,
                tool=tool.name,
                call=call,
                allowed=answer.allow if isinstance(answer, Choice) else answer,
                by="user" if chosen else "rule" if ruled else "nobody",
                option=chosen.id if chosen else None,
                ms=ms_since(began),
            )
        if isinstance(answer, bool):
            return answer
        if answer.rule is not None:
            self._keep(permissions.with_rule(self.rules, answer.rule), "The answer lasts until this process ends.")
        return answer.allow

    def reconsider(self) -> None:
        """The mode or the rules have changed: what need not be asked any more is settled."""
        for settled, tool in self._open.items():
            verdict = self.verdict(tool)
            if verdict is not Verdict.ASK and not settled.done():
                settled.set_result(verdict is Verdict.ALLOW)

    def forget(self, number: int | None) -> Rule | None:
        """Take back the rule with this number, counted from 1, or all rules; the first that is gone, if any.

        Raises:
            StoreRefused: the disk refused; the rules are as they were.
        """
        if number is not None and not 1 <= number <= len(self.rules):
            return None
        gone = self.rules[number - 1] if number else next(iter(self.rules), None)
        kept = tuple(rule for place, rule in enumerate(self.rules, start=1) if number and place != number)
        self._session.remember(KEY, permissions.stored(kept) if kept else None)
        self.rules = kept
        return gone

    async def _answer(
        self,
        offered: Sequence[Choice],
        tool_call: Json,
        cancelled: asyncio.Event,
        settled: asyncio.Future[bool],
    ) -> Choice | bool:
        options = [choice.wire() for choice in offered]
        answer = await unless(cancelled, self._client.ask(self._session.id, tool_call, options), settled)
        if settled.done() and not cancelled.is_set():
            return settled.result()
        return permissions.chosen(offered, answer)

    def _keep(self, rules: tuple[Rule, ...], otherwise: str) -> None:
        self.rules = rules
        try:
            self._session.remember(KEY, permissions.stored(rules))
        except StoreRefused as refused:
            say(log, Event.STORE_REFUSED, f"{refused} {otherwise}")
        self.reconsider()

    def _within(self, tool: ToolUse, folders: Sequence[str]) -> bool:
        """Whether a call edits a file in one of these folders, wherever links and `..` lead."""
        path = toolcalls.edited_path(tool)
        if not path or "\0" in path or not Path(path).is_absolute():
            return False
        # The harness takes `..` away before it follows links (measured with 0.1.22), the system after.
        leads = {os.path.realpath(way) for way in (path, os.path.normpath(path))}
        return any(
            all(real != folder and os.path.commonpath([real, folder]) == folder for real in leads)
            for folder in folders
        )


def existing_text(tool: ToolUse) -> str | None:
    """The text of the file that an edit would change: None if there is none, empty if it cannot be shown."""
    target = tool.args.get("TargetFile")
    if tool.name not in toolcalls.EDITS or not isinstance(target, str):
        return None
    path = Path(os.path.normpath(target))
    try:
        found = path.stat()
        # A device or a pipe has no size, and may have no end.
        if not stat.S_ISREG(found.st_mode) or found.st_size > PREVIEW_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
