"""Routes for methods that the SDK knows the name of and does not route (acp-facts 3.2).

The only place that reaches into the SDK's connection for it; a test drives each method over the real wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import acp
from acp.router import Route
from pydantic import JsonValue

Handler = Callable[[dict[str, JsonValue]], Awaitable[dict[str, JsonValue]]]


def add_request(conn: acp.Client, method: str, handler: Handler) -> None:
    """Let requests of a method reach a handler, which gets the parameters as they came."""

    async def handle(params: object) -> dict[str, JsonValue]:
        return await handler(params if isinstance(params, dict) else {})

    connection: Any = conn
    connection._conn._handler.add_route(Route(method=method, func=handle, kind="request"))
