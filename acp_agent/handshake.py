"""The answer to `initialize`: what this agent can do. Pure, and quick to import: a client waits for it first.

What needs no import of the SDKs is all that may be imported here; a contract in `pyproject.toml` holds that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from acp_agent import __version__
from acp_agent.wire.errors import INVALID_PARAMS, AgentError, JsonObject

if TYPE_CHECKING:
    from pydantic import JsonValue

PROTOCOL_VERSION: Final = 1
"""The only version that is spoken. A client that asks for another is told this, and decides (acp-facts 1.5)."""

_NEWEST_VERSION: Final = 65535
"""Versions are numbers of 16 bits."""


def answer(params: JsonObject, *, auth_methods: Sequence[JsonObject] = ()) -> JsonObject:
    """The result of `initialize`.

    Args:
        params: its parameters as they came.
        auth_methods: how credentials can be had, empty if they are there.

    Raises:
        AgentError: a parameter is missing or malformed.
    """
    _check(params)
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "agentCapabilities": {
            "loadSession": True,
            "promptCapabilities": {"image": True, "embeddedContext": True, "audio": False},
            "mcpCapabilities": {"http": True, "sse": False},
            "sessionCapabilities": {
                "list": {},
                "resume": {},
                "close": {},
                "fork": {},
                "delete": {},
                "status": {},
                "additionalDirectories": {},
            },
            "auth": {"logout": {}},
            "_meta": {"acp-agent": {"report": 1}},
        },
        "authMethods": [*auth_methods],
        "agentInfo": {
            "name": "acp-agent",
            "title": "Antigravity",
            "version": __version__,
        },
    }


def _check(params: JsonObject) -> None:
    asked = params.get("protocolVersion")
    if not isinstance(asked, int) or isinstance(asked, bool) or not 0 <= asked <= _NEWEST_VERSION:
        raise _invalid(f"protocolVersion must be a number from 0 to {_NEWEST_VERSION}.")
    for name in ("clientCapabilities", "clientInfo"):
        if not isinstance(params.get(name), dict | None):
            raise _invalid(f"{name} must be an object or null.")


def _invalid(details: str) -> AgentError:
    return AgentError(INVALID_PARAMS, "Invalid params", reason="invalid_params", details=details)


def client_name(params: JsonObject) -> str:
    """The name that a client gave itself in its parameters of `initialize`."""
    info = params.get("clientInfo")
    name: JsonValue = info.get("name") if isinstance(info, dict) else None
    return name[:100] if isinstance(name, str) and name else "unknown client"
