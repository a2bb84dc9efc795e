"""The parameters of requests, checked once at the border, and sessions as answers show them."""

from __future__ import annotations

from pydantic import JsonValue

from acp_agent.toolcalls import Json
from acp_agent.wire import errors
from acp_agent.wire.errors import AgentError
from sessions.lease import Holder
from sessions.session import SessionSummary

TURN = "acp-agent/turn"
"""The key in the `_meta` of `session/fork` that names the turn to fork at."""


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


def session_meta(summary: SessionSummary) -> Json:
    """What `_meta["acp-agent/session"]` says of a session, without looking into it."""
    return {
        "turns": summary.turns,
        "checkpoint": summary.checkpoint.wire() if summary.checkpoint else None,
        "outcome": summary.outcome.value if summary.outcome else None,
        "reason": summary.reason.value if summary.reason else None,
    }


def list_entry(summary: SessionSummary, holder: Holder | None) -> Json:
    """A session in the answer to `session/list`, and who has it open."""
    open_in: Json | None = None if holder is None else {"pid": holder.pid, "client": holder.client}
    entry: Json = {
        "sessionId": summary.id,
        "cwd": summary.cwd,
        "_meta": {"acp-agent/session": {**session_meta(summary), "openIn": open_in}},
    }
    if summary.additional_directories:
        entry["additionalDirectories"] = [*summary.additional_directories]
    if summary.title is not None:
        entry["title"] = summary.title
    if summary.updated_at is not None:
        entry["updatedAt"] = summary.updated_at
    return entry
