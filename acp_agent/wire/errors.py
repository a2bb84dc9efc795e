"""What a client is told when a request fails: the codes, the exception to raise, the last look at every error.

Clients show different parts of an error: Zed its message followed by all of `data`, Toad `data.reason` and
`data.details`, acpx the message alone (client-facts, section 0, item 7). So every error that leaves this agent has
a `message` of one sentence on one line, and a `data` object with at least the strings `reason` (a word for
programs) and `details` (a sentence for people), and `sessionId` where the request named one.

Code that knows what went wrong raises `AgentError`, which has all of that. It is no exception of the SDK's, which
takes half a second to import (`serving` makes one of it). Everything else (the SDK's own answers,
a bug) passes `completed`, which fills in what is missing and takes out what must not be told: a validation error
of the SDK carries the whole input, MCP server environments included (acp-facts 3.3, item 9).

| code   | constant         | meaning                                                                     |
|--------|------------------|-----------------------------------------------------------------------------|
| -32700 | PARSE_ERROR      | a line was not UTF-8 or not JSON                                            |
| -32600 | INVALID_REQUEST  | JSON, but not a request that can be served now                              |
| -32601 | METHOD_NOT_FOUND | the agent has no such method                                                |
| -32602 | INVALID_PARAMS   | malformed parameters, or a value that is not supported                      |
| -32603 | INTERNAL         | a failure that nobody foresaw                                               |
| -32800 | CANCELLED        | the client withdrew the request by `$/cancel_request`                       |
| -32000 | AUTH_REQUIRED    | credentials are missing or were refused                                     |
| -32002 | UNKNOWN_SESSION  | no such session; `data.sessionId` names it                                  |
| -31001 | SESSION_BUSY     | the session is open in another live process                                 |
| -31002 | RESUME_REFUSED   | the session can be resumed only with a lower outcome than `--require` allows |
| -31003 | STORE_TOO_NEW    | the store was written by a newer version of this program                    |
| -31004 | TURN_IN_PROGRESS | the session is still answering another prompt                               |
| -31005 | SESSION_DAMAGED  | the store itself cannot be read                                             |
| -31006 | HARNESS_FAILED   | the harness did not start, or died                                          |
| -31007 | STORE_REFUSED    | the disk refused to read or write the session, or the keyring to give up a key |

The first eight are the protocol's (acp-facts 1.6); the others are this project's own, outside the two ranges that
the protocol reserves (-32768 to -32000, -32899 to -32800).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from acp_agent.redaction import Redactor

if TYPE_CHECKING:
    from pydantic import JsonValue

    JsonObject: TypeAlias = dict[str, JsonValue]
else:
    JsonObject = dict  # pydantic takes long to import, and is needed for its name only

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL: Final = -32603
CANCELLED: Final = -32800
AUTH_REQUIRED: Final = -32000
UNKNOWN_SESSION: Final = -32002
SESSION_BUSY: Final = -31001
RESUME_REFUSED: Final = -31002
STORE_TOO_NEW: Final = -31003
TURN_IN_PROGRESS: Final = -31004
SESSION_DAMAGED: Final = -31005
HARNESS_FAILED: Final = -31006
STORE_REFUSED: Final = -31007

OWN_CODES: Final = frozenset(
    {
        SESSION_BUSY,
        RESUME_REFUSED,
        STORE_TOO_NEW,
        TURN_IN_PROGRESS,
        SESSION_DAMAGED,
        HARNESS_FAILED,
        STORE_REFUSED,
    }
)

FAULTS: Final = frozenset({INTERNAL, SESSION_DAMAGED, HARNESS_FAILED, STORE_REFUSED})
"""Errors that are no fault of the request, and that the user cannot mend by asking otherwise."""

DETAILS_LIMIT: Final = 500
MESSAGE_LIMIT: Final = 300

# acpx opens a new session, silently, when the text of an error has one of these phrases, whatever its code
# (client-facts 3.1). On the right: words of the same meaning, for text that came from somewhere else.
_FRESH_SESSION_PHRASES: Final = {
    "invalid session identifier": "malformed session id",
    "unknown session": "unrecognised session",
    "not found": "missing",
}

_REASONS: Final[Mapping[int, str]] = {
    PARSE_ERROR: "parse_error",
    INVALID_REQUEST: "invalid_request",
    METHOD_NOT_FOUND: "method_not_found",
    INVALID_PARAMS: "invalid_params",
    INTERNAL: "internal_error",
    AUTH_REQUIRED: "auth_required",
    UNKNOWN_SESSION: "unknown_resource",
}

# Kinds of validation error whose text is made from the schema alone. The text of every other kind may quote the
# value that was refused, which is why this is a list of what may be shown and not of what may not.
_INPUT_FREE_KINDS: Final = frozenset(
    {
        "bool_parsing",
        "enum",
        "extra_forbidden",
        "finite_number",
        "greater_than",
        "greater_than_equal",
        "int_parsing",
        "less_than",
        "less_than_equal",
        "literal_error",
        "missing",
        "string_pattern_mismatch",
        "string_too_long",
        "string_too_short",
        "too_long",
        "too_short",
        "union_tag_not_found",
    }
)


class _Stated(dict[str, "JsonValue"]):
    """The `data` of an `AgentError`; by this type `completed` knows that the text was chosen by this project."""


class AgentError(Exception):
    """A failure that this program understood, worded for every client.

    `message`: one sentence on one line. `reason`: one lower-case word, joined by underscores, for programs.
    `details`: what exactly, and what can be done. `session_id` becomes `data.sessionId`; further keywords become
    further members of `data` and must be JSON values.

    For this project's own codes the text keeps clear of the phrases that make acpx start a new session without a
    word: a message that has one is a mistake in this program and raises `ValueError`; in `details`, which may
    quote the text of another program, the phrase is replaced.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str,
        details: str,
        session_id: str | None = None,
        **extra_data: JsonValue,
    ) -> None:
        if not message or message != " ".join(message.split()):
            raise ValueError(f"an error message is one sentence on one line, not {message!r}")
        if code in OWN_CODES:
            if any(phrase in message.lower() for phrase in _FRESH_SESSION_PHRASES):
                raise ValueError(f"acpx would start a new session silently on {message!r}")
            details = _without_fresh_session_phrases(details)
        data = _Stated(extra_data, reason=reason, details=details)
        if session_id is not None:
            data["sessionId"] = session_id
        super().__init__(message)
        self.code = code
        self.data: JsonObject = data

    def response(self, request_id: str | float | None) -> JsonObject:
        """The JSON-RPC response that answers the request `request_id` with this error."""
        error: JsonObject = {"code": self.code, "message": str(self), "data": dict(self.data)}
        return {"jsonrpc": "2.0", "id": request_id, "error": error}


def completed(
    error: Mapping[str, JsonValue], *, session_id: str | None, redactor: Redactor | None = None
) -> JsonObject:
    """Return the error object `error` as a client may see it.

    What an `AgentError` says is kept. Any other error keeps its code and its message, shortened to one line of
    `MESSAGE_LIMIT` characters; its data become `reason`, `details` of at most `DETAILS_LIMIT` characters, for a
    validation error `errors` (a list of `path` and `message`, without any value of the input) and for an unknown
    method `method`. Secrets are hidden in them, also those that only `redactor` knows. `session_id` is added as
    `sessionId`.
    """
    code, message, data = error.get("code"), error.get("message"), error.get("data")
    secrets = redactor or Redactor()
    stated: JsonObject
    if isinstance(data, _Stated):
        stated = dict(data)
    else:
        code = code if isinstance(code, int) else INTERNAL
        message = _shortened(str(message or "Internal error"), MESSAGE_LIMIT, secrets)
        stated = {
            "reason": _REASONS.get(code, "error"),
            "details": _shortened(_details(data) or message, DETAILS_LIMIT, secrets),
        }
        if isinstance(data, dict) and (refused := _validation_errors(data)):
            text = "; ".join(f"{path}: {complaint}" for path, complaint in refused)
            stated["details"] = _shortened(text, DETAILS_LIMIT, secrets)
            stated["errors"] = [
                {
                    "path": _shortened(path, DETAILS_LIMIT, secrets),
                    "message": _shortened(complaint, DETAILS_LIMIT, secrets),
                }
                for path, complaint in refused
            ]
        elif isinstance(data, dict) and code == METHOD_NOT_FOUND and isinstance(data.get("method"), str):
            stated["method"] = _shortened(str(data["method"]), MESSAGE_LIMIT, secrets)
            stated["details"] = f"This agent has no method {stated['method']}."
    if session_id is not None:
        stated.setdefault("sessionId", session_id)
    return {"code": code, "message": message, "data": stated}


def _details(data: JsonValue) -> str:
    """The text in the data of an error that is not an `AgentError`."""
    if data is None:
        return ""
    if isinstance(data, dict) and isinstance(data.get("details"), str):
        return str(data["details"])
    return json.dumps(data, ensure_ascii=False, default=lambda value: type(value).__name__)


def _validation_errors(data: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """The paths and complaints of the SDK's answer to invalid parameters; empty for any other data."""
    errors = data.get("errors")
    if not isinstance(errors, Sequence) or isinstance(errors, str):
        return []
    found = []
    for error in errors:
        if isinstance(error, dict) and "loc" in error and "type" in error:
            location = error["loc"]
            path = ".".join(map(str, location)) if isinstance(location, Sequence) else str(location)
            kind = str(error["type"])
            known = kind in _INPUT_FREE_KINDS or kind.endswith("_type")
            found.append((path or "params", str(error.get("msg")) if known else kind.replace("_", " ")))
    return found


def _shortened(text: str, limit: int, secrets: Redactor) -> str:
    """`text` on one line of at most `limit` characters, the secrets hidden."""
    line = " ".join(secrets.text(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _without_fresh_session_phrases(text: str) -> str:
    for phrase, replacement in _FRESH_SESSION_PHRASES.items():
        while (at := text.lower().find(phrase)) >= 0:
            text = text[:at] + replacement + text[at + len(phrase) :]
    return text
