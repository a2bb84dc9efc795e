"""A real MCP server, over stdio or streamable HTTP, whose tools say whether its secret arrived.

    python mcp_server.py [PORT TOKEN]

With a port it serves HTTP there on loopback, and refuses requests that do not carry the token.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def temperature(town: str) -> str:
    """The temperature in a town."""
    return f"{town}: 21 degrees, key {'present' if os.environ.get('WEATHER_KEY') else 'absent'}"


@server.tool()
def forecast(days: int) -> dict[str, list[int]]:
    """The temperatures of the next days."""
    return {"temperatures": [20 + day for day in range(days)]}


@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ValueError(why)


Scope = dict[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def guarded(app: App, token: str) -> App:
    """The application, for those who have the token."""

    async def serve(scope: Scope, receive: Any, send: Any) -> None:  # noqa: ANN401
        allowed = (
            scope["type"] != "http" or dict(scope["headers"]).get(b"authorization") == f"Bearer {token}".encode()
        )
        if allowed:
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"error": "no"}).encode()})

    return serve


if __name__ == "__main__":
    if len(sys.argv) == 1:
        server.run()
    else:
        import uvicorn

        port, token = int(sys.argv[1]), sys.argv[2]
        os.environ["WEATHER_KEY"] = "over http"
        uvicorn.run(guarded(server.streamable_http_app(), token), host="127.0.0.1", port=port, log_level="error")
