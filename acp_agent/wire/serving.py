"""Between the SDK's connection and the agent's methods: our errors become the SDK's, withdrawn requests stop.

This is the module of the wire that imports the SDK; everything before the first request does without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import acp
from acp.interfaces import Agent
from acp.router import Route
from pydantic import JsonValue

from acp_agent.wire import requests
from acp_agent.wire.errors import AgentError
from acp_agent.wire.transport import StdioTransport

Handler = Callable[[dict[str, JsonValue]], Awaitable[dict[str, JsonValue]]]


def connect(agent: object, transport: StdioTransport) -> Awaitable[None]:
    """Let the SDK's connection drive an agent, which has those methods of `acp.Agent` that it serves."""
    return acp.run_agent(cast(Agent, _Served(agent)), transport, use_unstable_protocol=True)


def add_request(conn: acp.Client, method: str, handler: Handler) -> None:
    """Let requests of a method that the SDK does not route reach a handler (acp-facts 3.2).

    The handler gets the parameters as they came, `_meta` excepted. This is the only place that reaches into the
    SDK's connection for it.
    """

    async def handle(params: object) -> dict[str, JsonValue]:
        return await handler(params if isinstance(params, dict) else {})

    connection: Any = conn
    connection._conn._handler.add_route(Route(method=method, func=_answering(handle), kind="request"))


class _Served:
    """An agent whose methods answer as the SDK's connection wants it."""

    def __init__(self, agent: object) -> None:
        self._agent = agent

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        found = getattr(self._agent, name)
        return _answering(found) if asyncio.iscoroutinefunction(found) else found


def _answering(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    # Not a wrapper that keeps the signature: the SDK takes methods with a parameter `params` for old ones.
    async def answer(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        try:
            requests.current().stop_if_withdrawn()
            return await method(*args, **kwargs)
        except AgentError as error:
            raise acp.RequestError(error.code, str(error), error.data) from error

    return answer
