"""The options of one open session: kept with it, and turned into the endpoint that its harness talks to."""

from __future__ import annotations

from dataclasses import replace

from pydantic import JsonValue

from acp_agent import options
from acp_agent.antigravity.sdk_config import DEFAULT_MODEL
from acp_agent.model_access import ModelEndpoint
from acp_agent.models import ModelList
from acp_agent.options import Mode, Model, Offer, Options
from acp_agent.steps import Endpoint, OpenAIEndpoint
from acp_agent.toolcalls import Json
from sessions.session import Session
from sessions.timeline import OPTIONS


class SessionOptions:
    """See the module. `default` is what a session has that was never told otherwise."""

    def __init__(self, session: Session, access: ModelEndpoint, default: Options) -> None:
        self._session = session
        self._access = access
        self._current = options.options_from(session.recall(OPTIONS), default)

    @property
    def models(self) -> ModelList:
        """The models that are offered."""
        return self._access.offered

    def use(self, access: ModelEndpoint) -> bool:
        """Reach the model in this way from now on; whether that is another way."""
        before, self._access = self._access, access
        return before is not access

    @property
    def mode(self) -> Mode:
        """What may be done now without asking."""
        return self._current.mode

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint with the model and the thinking level that are set."""
        endpoint = self._access.endpoint
        if isinstance(endpoint, OpenAIEndpoint):
            return replace(endpoint, model=self._current.model or endpoint.model)
        return replace(endpoint, model=self._current.model or endpoint.model, thinking=self._current.thinking)

    @property
    def model(self) -> Model:
        """The model that is used."""
        return self._offer.known(self._current.model or self._offer.default_model)

    def wire(self) -> Json:
        """The members `modes` and `configOptions` of the answers that open a session."""
        return {"modes": options.modes(self._current), "configOptions": self.config_options()}

    def config_options(self) -> list[JsonValue]:
        """The complete list of `configOptions`."""
        return options.config_options(self._current, self._offer)

    def set_mode(self, mode_id: str) -> None:
        """Be in another mode from now on. Durable.

        Raises:
            BadOption: there is no such mode.
            StoreRefused: the disk refused, and nothing is changed.
        """
        self._keep(options.with_mode(self._current, mode_id))

    def set(self, config_id: str, value: str) -> bool:
        """Set an option; whether that is another endpoint now. Durable.

        Raises:
            BadOption: there is no such option or value.
            StoreRefused: the disk refused, and nothing is changed.
        """
        before = self.endpoint
        self._keep(options.changed(self._current, self._offer, config_id, value))
        return self.endpoint != before

    @property
    def _offer(self) -> Offer:
        default = self._access.endpoint.model or DEFAULT_MODEL
        return Offer(
            self._access.offered.models, default, thinks=not isinstance(self._access.endpoint, OpenAIEndpoint)
        )

    def _keep(self, wanted: Options) -> None:
        if wanted != self._current:
            self._session.remember(OPTIONS, wanted.stored())
            self._current = wanted
