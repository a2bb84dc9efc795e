"""The parameters of requests, checked once at the border, and sessions as answers show them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acp import schema
from pydantic import JsonValue

from acp_agent.steps import McpServer
from acp_agent.toolcalls import Json
from acp_agent.wire import errors
from acp_agent.wire.errors import AgentError
from sessions.session import SessionSummary

McpServerParam = schema.McpServerStdio | schema.HttpMcpServer | schema.SseMcpServer

TURN = "acp-agent/turn"
"""The key in the `_meta` of `session/fork` that names the turn to fork at."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a session works and with which MCP servers, as the request says that opens it."""

    folder: Path
    mcp_servers: tuple[McpServer, ...]


def new_setup(cwd: str, servers: Sequence[McpServerParam] | None, session_id: str | None = None) -> Setup:
    """The setup of a new session, whose folder must be there. `session_id` is the one that it is made of."""
    found = setup(cwd, servers, session_id)
    if not found.folder.is_dir():
        raise AgentError(
            errors.INVALID_PARAMS,
            "The session's folder does not exist.",
            reason="no_such_folder",
            details=f"cwd is {cwd!r}, and there is no such folder on this machine.",
            session_id=session_id,
        )
    return found


def setup(cwd: str, servers: Sequence[McpServerParam] | None, session_id: str | None) -> Setup:
    """The setup of a session; its folder must be an absolute path, and need not exist."""
    return Setup(folder(cwd, session_id), mcp_servers(servers or (), session_id))


def turn_to_fork_at(meta: object, session_id: str) -> int | None:
    """The turn that a fork asks for, None for the last."""
    turn = meta.get(TURN) if isinstance(meta, dict) else None
    if turn is None or (isinstance(turn, int) and not isinstance(turn, bool) and 0 <= turn < 2**31):
        return turn
    raise AgentError(
        errors.INVALID_PARAMS,
        "The turn must be a number.",
        reason="invalid_turn",
        details=f'_meta["{TURN}"] is {str(turn)[:100]!r}.',
        session_id=session_id,
    )


def session_id_of(params: dict[str, JsonValue]) -> str:
    """The session id in parameters that no model of the SDK has checked."""
    session_id = params.get("sessionId")
    if isinstance(session_id, str):
        return session_id
    raise AgentError(
        errors.INVALID_PARAMS,
        "The session id is missing.",
        reason="invalid_params",
        details="sessionId must be a string.",
    )


def folder(cwd: str, session_id: str | None = None) -> Path:
    """The folder that a request names, which must be an absolute path; it need not exist."""
    path = Path(cwd)
    if path.is_absolute():
        return path
    raise AgentError(
        errors.INVALID_PARAMS,
        "The session's folder must be an absolute path.",
        reason="relative_cwd",
        details=f"cwd is {cwd!r}.",
        session_id=session_id,
    )


def mcp_servers(given: Sequence[McpServerParam], session_id: str | None = None) -> tuple[McpServer, ...]:
    """The MCP servers that a request names."""
    servers: list[McpServer] = []
    for server in given:
        if not isinstance(server, schema.McpServerStdio):
            raise AgentError(
                errors.INVALID_PARAMS,
                "Only MCP servers over stdio are supported.",
                reason="unsupported_mcp_transport",
                details=f"The MCP server {server.name!r} uses another transport.",
                session_id=session_id,
            )
        # The SDK takes only these characters in a server's name.
        name = re.sub(r"[^A-Za-z0-9_-]", "_", server.name) or "server"
        environment = {variable.name: variable.value for variable in server.env}
        servers.append(McpServer(name, server.command, tuple(server.args), environment))
    return tuple(servers)


def session_meta(summary: SessionSummary) -> Json:
    """What `_meta["acp-agent/session"]` says of a session, without looking into it."""
    return {
        "turns": summary.turns,
        "checkpoint": summary.checkpoint.wire() if summary.checkpoint else None,
        "outcome": summary.outcome.value if summary.outcome else None,
        "reason": summary.reason.value if summary.reason else None,
    }


def list_entry(summary: SessionSummary) -> Json:
    """A session in the answer to `session/list`."""
    entry: Json = {
        "sessionId": summary.id,
        "cwd": summary.cwd,
        "_meta": {"acp-agent/session": session_meta(summary)},
    }
    if summary.title is not None:
        entry["title"] = summary.title
    if summary.updated_at is not None:
        entry["updatedAt"] = summary.updated_at
    return entry
