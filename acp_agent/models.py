"""The models that an endpoint offers, asked once and in the background: no session waits for the list.

OpenAI-compatible endpoints list theirs at `/models`, the Gemini API at `/v1beta/models`, in pages. Vertex AI has
no list that a key alone can read, so there the model that is set is the only one offered. An endpoint that
cannot be reached, or answers with something else, offers what is set as well.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from enum import StrEnum
from http.client import HTTPException
from typing import Final

from pydantic import JsonValue

from acp_agent.logs import Event, say
from acp_agent.loopback import is_loopback
from acp_agent.options import Model
from acp_agent.secret import Secret
from acp_agent.steps import Endpoint, GeminiEndpoint, OpenAIEndpoint

log = logging.getLogger(__name__)

SECONDS: Final = 5.0
"""How long a page of the list may take."""

LARGEST_PAGE: Final = 4 << 20
MOST_PAGES: Final = 10
MOST_MODELS: Final = 500
LONGEST_NAME: Final = 200

GEMINI_API: Final = "https://generativelanguage.googleapis.com"
"""Where the Gemini API is, unless an endpoint says otherwise."""


class KeyCheck(StrEnum):
    """What an endpoint says of a key."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def check_key(key: Secret, base_url: str | None) -> KeyCheck:
    """Ask the Gemini API whether it takes a key. Blocks for a few seconds at most."""
    try:
        _get(
            f"{(base_url or GEMINI_API).rstrip('/')}/v1beta/models?pageSize=1",
            {"x-goog-api-key": key.reveal()},
        )
    except urllib.error.HTTPError as error:
        return KeyCheck.REFUSED if error.code in (400, 401, 403) else KeyCheck.UNKNOWN
    except (OSError, HTTPException, ValueError):
        return KeyCheck.UNKNOWN
    return KeyCheck.TAKEN


class ModelList:
    """The models of one endpoint, None if there is none. `models` is empty until the list has come."""

    def __init__(self, endpoint: Endpoint | None) -> None:
        self.models: tuple[Model, ...] = ()
        self._endpoint = endpoint
        self._asking: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[], None]] = []

    def when_known(self, callback: Callable[[], None]) -> None:
        """Ask for the list, if that has not been done, and call something when it comes later than now."""
        if self._endpoint is None:
            return
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(self._endpoint))
        if not self._asking.done():
            self._waiting.append(callback)

    async def _ask(self, endpoint: Endpoint) -> None:
        self.models = await asyncio.to_thread(offered, endpoint)
        waiting, self._waiting = self._waiting, []
        if self.models:
            for callback in waiting:
                callback()


def offered(endpoint: Endpoint) -> tuple[Model, ...]:
    """The models of an endpoint that answer in text; empty if it has no list or it cannot be read. Blocks."""
    try:
        return listed(endpoint)
    except (OSError, HTTPException, ValueError) as error:
        # Its text is left out, for what it may hold.
        kind = type(error).__name__
        say(log, Event.MODELS_UNREAD, f"the list of models could not be read: {kind}", error=kind)
    return ()


def listed(endpoint: Endpoint) -> tuple[Model, ...]:
    """The same, of an endpoint that must answer; empty only if there is no list. Blocks.

    Raises:
        OSError, HTTPException, ValueError: the list cannot be read. The text may hold the address, and an address
            may hold a password.
    """
    if isinstance(endpoint, OpenAIEndpoint):
        return _unique(_openai(endpoint.base_url))
    if isinstance(endpoint, GeminiEndpoint):
        return _unique(_gemini(endpoint.base_url or GEMINI_API, endpoint.api_key.reveal()))
    return ()


def _openai(base_url: str) -> list[Model]:
    listed = _get(f"{base_url.rstrip('/')}/models", {})
    found: list[Model] = []
    for item in _objects(listed.get("data")):
        if model_id := _text(item.get("id")):
            sizes = (item.get(key) for key in ("context_length", "max_model_len", "context_window"))
            found.append(Model(model_id, model_id, next(filter(None, map(_size, sizes)), None)))
    return found


def _gemini(base_url: str, key: str) -> list[Model]:
    found: list[Model] = []
    page = ""
    for _ in range(MOST_PAGES):
        query = urllib.parse.urlencode({"pageSize": 100, **({"pageToken": page} if page else {})})
        # In a header: an address ends up in logs.
        listed = _get(f"{base_url.rstrip('/')}/v1beta/models?{query}", {"x-goog-api-key": key})
        for item in _objects(listed.get("models")):
            model_id = _text(item.get("name")).removeprefix("models/")
            methods = item.get("supportedGenerationMethods")
            if model_id and (not isinstance(methods, list) or "generateContent" in methods):
                name = _text(item.get("displayName")) or model_id
                found.append(Model(model_id, name, _size(item.get("inputTokenLimit"))))
        page = _text(listed.get("nextPageToken"))
        if not page:
            break
    return found


def _get(url: str, headers: dict[str, str]) -> dict[str, JsonValue]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (the settings allow http and https only)
    # A proxy would look for an endpoint on this machine on its own; the harness goes past it as well.
    proxies = urllib.request.ProxyHandler({} if is_loopback(url) else None)
    with urllib.request.build_opener(proxies).open(request, timeout=SECONDS) as response:
        data = response.read(LARGEST_PAGE + 1)
    if len(data) > LARGEST_PAGE:
        raise ValueError("the list is too long")
    found: JsonValue = json.loads(data)
    return found if isinstance(found, dict) else {}


def _unique(found: list[Model]) -> tuple[Model, ...]:
    return tuple({model.id: model for model in found}.values())[:MOST_MODELS]


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME else ""


def _size(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
