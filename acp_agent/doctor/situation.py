"""What the checks look at: the settings as they were given, the environment, and what several of them need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from acp_agent import credentials
from acp_agent.chat.process import Spawn
from acp_agent.config import Look, Settings
from acp_agent.credentials import KeyFileRefused, KeyringRefused
from acp_agent.doctor.findings import Finding
from acp_agent.secret import Secret
from sessions import health
from sessions.health import Health
from sessions.store import Store

KEYRING_SECONDS = 5.0
"""How long the keyring may take here; the agent itself gives it `credentials.KEYRING_SECONDS`."""


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """The keys that `acp-agent login` may have kept, and why one cannot be had. `seconds` is for the keyring."""

    keyring: Secret | None
    keyring_trouble: str | None
    seconds: float
    file: Secret | None
    file_trouble: str | None

    @property
    def key(self) -> Secret | None:
        """The one that is used."""
        return self.keyring or self.file


def _nobody(_: str) -> None:
    pass


@dataclass
class Situation:
    """What the checks look at.

    Args:
        look: the settings as they were given.
        environment: the process's environment.
        network: whether the model endpoint may be asked.
        deep: whether every session is verified.
        tell: is told what a long check is at.
        spawn: starts agents, if not as usual.
        stopping: is called when a check is given up that has something to end.
    """

    look: Look
    environment: Mapping[str, str]
    network: bool = True
    deep: bool = False
    tell: Callable[[str], None] = field(default=_nobody)
    spawn: Spawn | None = None
    stopping: Callable[[], object] | None = None

    @property
    def settings(self) -> Settings:
        """The settings, with defaults in place of those that cannot be used."""
        return self.look.settings

    @property
    def store(self) -> Store:
        """The stored sessions."""
        return Store(self.settings.data_dir)

    @cached_property
    def kept(self) -> KeptKeys:
        """What `acp-agent login` has kept. The keyring is asked once: it may ask a person."""
        keyring_key, keyring_trouble = None, None
        import keyring  # noqa: F401, PLC0415  (its import is not part of how long it takes to answer)

        begun = time.monotonic()
        try:
            keyring_key = credentials.in_keyring(seconds=KEYRING_SECONDS)
        except KeyringRefused as refused:
            keyring_trouble = str(refused)
        seconds = time.monotonic() - begun
        file_key, file_trouble = None, None
        try:
            file_key = credentials.in_file()
        except KeyFileRefused as refused:
            file_trouble = str(refused)
        return KeptKeys(keyring_key, keyring_trouble, seconds, file_key, file_trouble)

    @cached_property
    def sessions(self) -> tuple[Health, ...]:
        """All stored sessions, by a look at each."""
        found: list[Health] = []
        for each in health.look(self.store):
            found.append(each)
            self.tell(f"{len(found)} sessions")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its name, what it looks at in words, how many seconds it may take, and what makes it.

    It is left out if one of those that it `needs` has found a problem.
    """

    name: str
    group: str
    title: str
    run: Callable[[Situation], Iterable[Finding]]
    seconds: float = 10.0
    needs: tuple[str, ...] = ()
