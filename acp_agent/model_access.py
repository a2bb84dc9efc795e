"""How this process reaches the model: the endpoint, its credentials, and the list of models there.

Credentials can come and go while the process runs, by `acp-agent login` and `logout`. A session can be loaded and
looked at without any; a prompt needs them, and is refused without them before anything is begun.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from acp_agent import config, credentials
from acp_agent.config import Settings
from acp_agent.models import ModelList
from acp_agent.secret import Secret
from acp_agent.steps import Endpoint, GeminiEndpoint
from acp_agent.wire import errors
from acp_agent.wire.errors import AgentError

_NOBODYS = GeminiEndpoint(api_key=Secret("no-credentials"))
"""What a harness is opened with while there are no credentials. No prompt is sent to it."""


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """Where the model of a session is, and the models that are offered there."""

    endpoint: Endpoint
    offered: ModelList


class ModelAccess:
    """See the module.

    Args:
        settings: name the endpoint, unless it is the Gemini API.
        offline_url: where the embedded model listens, if it runs.
    """

    def __init__(self, settings: Settings, *, offline_url: str | None) -> None:
        self._settings = settings
        self._offline_url = offline_url
        self._kept: Secret | None = None
        self._found: ModelEndpoint | None = None
        self._nobodys = ModelEndpoint(_NOBODYS, ModelList(None))

    async def needed(self, session_id: str | None = None) -> ModelEndpoint:
        """The endpoint with credentials.

        Raises:
            AgentError: there are none (-32000).
        """
        found = await self.at_hand()
        if found is self._nobodys:
            raise AgentError(
                errors.AUTH_REQUIRED,
                "No model credentials were found.",
                reason="no_credentials",
                details="Run `acp-agent login`, or set GEMINI_API_KEY, or GOOGLE_GENAI_USE_VERTEXAI=true with "
                "GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION, or start the agent with --base-url for an "
                "OpenAI-compatible endpoint, or with --offline to try it without a model.",
                session_id=session_id,
            )
        return found

    async def at_hand(self) -> ModelEndpoint:
        """The endpoint, with credentials if there are any."""
        if self._kept is None and config.needs_kept_key(self._settings, os.environ):
            kept = await asyncio.to_thread(credentials.kept)
            self._kept = kept.key if kept else None
        endpoint = config.endpoint(self._settings, os.environ, offline_url=self._offline_url, kept=self._kept)
        if endpoint is None:
            return self._nobodys
        if self._found is None or self._found.endpoint != endpoint:
            self._found = ModelEndpoint(endpoint, ModelList(endpoint))
        return self._found

    @property
    def has_key(self) -> bool:
        """Whether the model is reached by an API key, which a login can replace."""
        endpoint = self._found.endpoint if self._found else None
        return isinstance(endpoint, GeminiEndpoint) and self._offline_url is None

    def look_again(self) -> None:
        """Do not go on with the key that was found: another login may have replaced it."""
        self._kept = None

    async def log_out(self) -> None:
        """Forget the key that `acp-agent login` kept. Other credentials are not ours to forget.

        Raises:
            OSError, KeyringRefused: it could not be removed.
        """
        self.look_again()
        await asyncio.to_thread(credentials.forget)
