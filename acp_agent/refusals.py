"""Failures of the packages below, as the answers that a client gets. See `acp_agent.wire.errors` for the codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from acp_agent.antigravity import ResumeRefused
from acp_agent.credentials import KeyringRefused
from acp_agent.options import BadOption
from acp_agent.toolcalls import Json
from acp_agent.wire import errors
from acp_agent.wire.errors import AgentError
from sessions.journal import JournalError
from sessions.lease import SessionBusy
from sessions.session import StoreDamaged, StoreRefused
from sessions.store import StoreTooNew


@contextmanager
def store_errors(session_id: str | None) -> Iterator[None]:
    """Answer what the disk refused with a code of ours: -32603 would make some clients start a new session."""
    try:
        yield
    except ConnectionError:
        raise  # the client is gone, which has nothing to do with the disk
    except (StoreRefused, JournalError, OSError) as error:
        raise AgentError(
            errors.STORE_REFUSED,
            "The disk could not be read or written.",
            reason="store_refused",
            details=str(error),
            session_id=session_id,
        ) from error
    except StoreDamaged as error:
        raise AgentError(
            errors.SESSION_DAMAGED,
            "The store of this session cannot be read.",
            reason="store_damaged",
            details=str(error),
            session_id=session_id,
        ) from error


@contextmanager
def bad_options(session_id: str) -> Iterator[None]:
    """Answer an option, value or mode that there is not."""
    try:
        yield
    except BadOption as error:
        raise AgentError(
            errors.INVALID_PARAMS,
            "There is no such option or value.",
            reason="invalid_option",
            details=str(error),
            session_id=session_id,
        ) from error


def turn_in_progress(session_id: str, refused: str) -> AgentError:
    """The session cannot be opened or prompted now; `refused` says what was asked for."""
    return AgentError(
        errors.TURN_IN_PROGRESS,
        "The session is busy.",
        reason="turn_in_progress",
        details=f"A turn runs, or it is being opened or closed: {refused} is refused, and what runs goes on.",
        session_id=session_id,
    )


def unknown_session(session_id: str) -> AgentError:
    """Nothing is stored under this id."""
    return AgentError(
        errors.UNKNOWN_SESSION,
        "There is no session with this id.",
        reason="unknown_session",
        details="Nothing is stored under this id in this agent's data folder.",
        session_id=session_id,
    )


def store_too_new(error: StoreTooNew) -> AgentError:
    """A newer version of this program wrote the session."""
    return AgentError(
        errors.STORE_TOO_NEW,
        "This session was written by a newer version of this agent.",
        reason="store_too_new",
        details=str(error),
        session_id=error.session_id,
    )


def busy(session_id: str, busy: SessionBusy) -> AgentError:
    """Another process holds the session's lease."""
    holder = busy.holder
    by = f"{holder.client} (process {holder.pid}) since {holder.since}" if holder else "another process"
    return AgentError(
        errors.SESSION_BUSY,
        "This session is open in another process.",
        reason="session_busy",
        details=f"It is held by {by}. Close it there first.",
        session_id=session_id,
        holder={"pid": holder.pid, "client": holder.client, "since": holder.since} if holder else None,
    )


def key_refused(session_id: str, said: str, meta: Json) -> AgentError:
    """The endpoint of the model does not take the API key; the turn is stored all the same, as `meta` says."""
    return AgentError(
        errors.AUTH_REQUIRED,
        "The model's endpoint refused the API key.",
        reason="key_refused",
        details=f"Run `acp-agent login` with another key, or change GEMINI_API_KEY if it is set. {said}",
        session_id=session_id,
        _meta=meta,
    )


def key_not_removed(refused: KeyringRefused) -> AgentError:
    """A key may still be in the keyring."""
    return AgentError(
        errors.STORE_REFUSED,
        "The API key could not be removed from the system keyring.",
        reason="keyring_refused",
        details=f"{refused} A key that it holds is not forgotten; no file holds one.",
    )


def not_brought_back(session_id: str, error: Exception) -> AgentError:
    """The session could not be opened, or not as well as was required."""
    if isinstance(error, ResumeRefused):
        return AgentError(
            errors.RESUME_REFUSED,
            f"The session could only be {error.plan.outcome.value}; at least {error.required.value} is required.",
            reason=error.plan.reason.value,
            details=str(error),
            session_id=session_id,
        )
    return AgentError(
        errors.HARNESS_FAILED,
        "The harness could not open this session.",
        reason="harness_failed",
        details=str(error),
        session_id=session_id,
    )
