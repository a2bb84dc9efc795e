"""Which tool call of which agent a sub-agent works for. Pure.

A call of `invoke_subagent` is done as soon as its sub-agents have begun; they go on in the background. Their
steps name only the agent that sent them. Each begins with its prompt, which the call holds too, so the two are
matched by that (measured with 0.1.22). When a sub-agent has nothing to do any more, the harness tells the agent
that sent it what it said last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

_IDLE = re.compile(
    r"Subagent ([0-9a-f]{32}) has gone idle\."
    r"(?: This was the subagent's most recent response: (.*))?",
    re.DOTALL,
)


@dataclass(slots=True)
class Helper:
    """A sub-agent: what it is to do, whose call it works for, and what it said last."""

    role: str
    call: str | None = None
    said: str = ""
    idle: bool = False


@dataclass(slots=True)
class _Invocation:
    call: str
    agent: str
    wanted: list[tuple[str, str]]
    helpers: list[Helper] = field(default_factory=list)


class Helpers:
    """The sub-agents of one turn, by the id of their trajectory."""

    def __init__(self) -> None:
        self._invocations: list[_Invocation] = []
        self._helpers: dict[str, Helper] = {}

    def invoked(self, call: str, agent: str, args: dict[str, JsonValue]) -> None:
        """A tool call sends sub-agents; `agent` is the sub-agent that makes it, empty for the session's own."""
        known = next((each for each in self._invocations if each.call == call), None)
        if known is None:
            self._invocations.append(_Invocation(call, agent, list(wanted(args))))
        elif not known.wanted:
            known.wanted = list(wanted(args))

    def began(self, helper_id: str, sent_by: str, prompt: str) -> Helper:
        """The sub-agent with this id; `prompt` is what the harness wrote to it, if that is what it begins with."""
        known = self._helpers.get(helper_id)
        if known is not None:
            return known
        own = [each for each in self._invocations if each.agent == sent_by]
        helper = Helper("Sub-agent")
        for invocation in own:
            found = next((each for each in invocation.wanted if each[1] and prompt.endswith(each[1])), None)
            if found is not None:
                invocation.wanted.remove(found)
                helper.role = found[0]
                own = [invocation]
                break
        if own:
            helper.call = own[-1].call
            own[-1].helpers.append(helper)
        self._helpers[helper_id] = helper
        return helper

    def told(self, text: str) -> str | None:
        """Take note of what the harness tells an agent; the call whose sub-agents are now all idle, if any."""
        found = _IDLE.search(text)
        helper = self._helpers.get(found[1]) if found else None
        if found is None or helper is None:
            return None
        helper.idle = True
        helper.said = found[2] or helper.said
        invocation = next((each for each in self._invocations if each.call == helper.call), None)
        if invocation is None or invocation.wanted or not all(each.idle for each in invocation.helpers):
            return None
        return invocation.call

    def summary(self, call: str) -> list[tuple[str, str]]:
        """What each sub-agent of a call is, and what it said last."""
        helpers = next((each.helpers for each in self._invocations if each.call == call), [])
        return [(helper.role, helper.said) for helper in helpers]


def wanted(args: dict[str, JsonValue]) -> Iterator[tuple[str, str]]:
    """The role and the prompt of each sub-agent that a call of `invoke_subagent` sends."""
    given = args.get("Subagents")
    for each in given if isinstance(given, list) else []:
        if isinstance(each, dict):
            role, prompt = each.get("Role") or each.get("TypeName"), each.get("Prompt")
            yield (str(role or "Sub-agent"), prompt if isinstance(prompt, str) else "")
