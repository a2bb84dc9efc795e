"""The check of the settings: which there are, where they come from, and what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from urllib.parse import urlsplit

from acp_agent.config import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, NAMES, variable
from acp_agent.doctor.findings import Finding, ok, problem, warning
from acp_agent.doctor.situation import Situation
from sessions.leftovers import MARKER_VARIABLE

_NO_SETTINGS = (CONFIG_VARIABLE, MARKER_VARIABLE)


def settings(situation: Situation) -> Iterator[Finding]:
    """Whether the settings can be used, which were given, and where."""
    look = situation.look
    for trouble in look.problems:
        # The name of one that does not exist may be anything.
        private = (trouble.partition(" (from ")[0],) if "no such setting" in trouble else ()
        yield problem(f"The settings: {trouble}", _remedy(trouble), private=private)
    for name in sorted(situation.environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _NO_SETTINGS:
            setting = name.removeprefix(ENVIRONMENT_PREFIX).lower()
            if setting not in NAMES:
                yield warning(
                    f"The variable {name} is set, and is no setting.", f"Unset it{_meant(setting, upper=True)}."
                )
    given = look.settings
    if given.base_url is not None and given.gemini_url is not None:
        yield warning("gemini_url is set beside base_url, and has no effect.", "Remove one of the two.")
    for name in ("base_url", "gemini_url"):
        url = getattr(given, name)
        if url is not None and urlsplit(url).password:
            yield warning(
                f"{name} holds a password, which others see in the list of processes or in the file.",
                "Use an endpoint that needs none, or one on this machine that adds it.",
            )
    if not look.problems:
        yield ok(_given(situation))


def _given(situation: Situation) -> str:
    look = situation.look
    there = "which is read" if look.file.expanduser().exists() else "which is not there"
    if not look.origins:
        return f"Nothing is set; all settings have their defaults (the file is {look.file}, {there})"
    named = ", ".join(f"{name} from {origin}" for name, origin in sorted(look.origins.items()))
    return f"{named} (the file is {look.file}, {there})"


def _remedy(trouble: str) -> str:
    name, _, rest = trouble.partition(" (from ")
    source = rest.partition(")")[0]
    if "exclude each other" in trouble or "are both" in trouble:
        return "Remove one of the two."
    if "cannot be read" in trouble:
        return f"Correct the file, or name another with --config or {CONFIG_VARIABLE}."
    meant = _meant(name) if "no such setting" in trouble else ""
    if source == "the environment":
        return f"Correct or unset {variable(name)}."
    return f"Correct or remove {name} in {source}{meant}."


def _meant(name: str, *, upper: bool = False) -> str:
    near = difflib.get_close_matches(name, NAMES, n=1)
    if not near:
        return ""
    return f"; {variable(near[0]) if upper else near[0]} may be meant"
