"""What a user sets for a session: its mode, its model, how much the model thinks. Pure.

Modes are offered twice, as the protocol wants it: as `modes` for clients that know those, and as the config option
`mode` for those that prefer config options. Both are always the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from pydantic import JsonValue

    Json: TypeAlias = dict[str, JsonValue]
else:
    Json = dict  # pydantic takes long to import, and is needed for its name only

DEFAULT: Final = "default"
"""The thinking level that leaves it to the model."""

THINKING: Final = ("minimal", "low", "medium", "high", "extra_high")
"""The levels that the SDK knows for Gemini models."""


class Mode(StrEnum):
    """What the agent may do without being asked."""

    ASK = "ask"
    AUTO_EDIT = "auto-edit"
    PLAN = "plan"
    AUTONOMOUS = "autonomous"


_MODES: Final = {
    Mode.ASK: ("Ask", "Reads freely; asks before it edits a file or runs a command"),
    Mode.AUTO_EDIT: ("Auto-edit", "Edits files in the session's folders freely; asks before commands"),
    Mode.PLAN: ("Plan", "Reads only: nothing is changed or run; the model writes a plan"),
    Mode.AUTONOMOUS: ("Autonomous", "Edits and runs everything without asking"),
}


class BadOption(ValueError):
    """There is no such option, or it has no such value; one sentence says which there are."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that an endpoint offers. `window` is how many tokens a request may have, None if it did not say."""

    id: str
    name: str
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What is set. `model` and `thinking` are None where the default is used."""

    mode: Mode = Mode.ASK
    model: str | None = None
    thinking: str | None = None

    def stored(self) -> JsonValue:
        """As they are kept."""
        return {"mode": self.mode.value, "model": self.model, "thinking": self.thinking}


def options_from(kept: JsonValue, default: Options) -> Options:
    """The options as they were kept; what cannot be read is the default."""
    if not isinstance(kept, dict):
        return default
    mode, model, thinking = kept.get("mode"), kept.get("model"), kept.get("thinking")
    return Options(
        mode=Mode(mode) if isinstance(mode, str) and mode in list(Mode) else default.mode,
        model=model if isinstance(model, str) and model else default.model,
        thinking=thinking if isinstance(thinking, str) and thinking in THINKING else default.thinking,
    )


@dataclass(frozen=True, slots=True)
class Offer:
    """What the endpoint of a session offers: models, the one that is used if none is set, and thinking levels."""

    models: Sequence[Model]
    default_model: str
    thinks: bool

    def known(self, model: str) -> Model:
        """A model by its id; one that the endpoint does not list is known by its id alone."""
        return next((found for found in self.models if found.id == model), Model(model, model))


def modes(current: Options) -> Json:
    """The `modes` of a session."""
    available: list[JsonValue] = [
        {"id": mode.value, "name": name, "description": description}
        for mode, (name, description) in _MODES.items()
    ]
    return {"currentModeId": current.mode.value, "availableModes": available}


def config_options(current: Options, offer: Offer) -> list[JsonValue]:
    """The `configOptions` of a session, all of them."""
    model = current.model or offer.default_model
    listed = [offer.known(model), *(other for other in offer.models if other.id != model)]
    # In the endpoint's own order, which a user knows.
    listed.sort(key=lambda one: [other.id for other in offer.models].index(one.id) if one in offer.models else -1)
    found: list[JsonValue] = [
        _select(
            "mode",
            "Mode",
            "What the agent may do without asking",
            category="mode",
            value=current.mode.value,
            options=[(mode.value, name, description) for mode, (name, description) in _MODES.items()],
        ),
        _select(
            "model",
            "Model",
            "The model that answers",
            category="model",
            value=model,
            options=[(one.id, one.name, f"{one.window:,} tokens" if one.window else None) for one in listed],
        ),
    ]
    if offer.thinks:
        levels = [(level, level.replace("_", " ").capitalize(), None) for level in (DEFAULT, *THINKING)]
        found.append(
            _select(
                "thinking",
                "Thinking",
                "How much the model thinks before it answers",
                category="thought_level",
                value=current.thinking or DEFAULT,
                options=levels,
            )
        )
    return found


def changed(current: Options, offer: Offer, config_id: str, value: str) -> Options:
    """The options after one of them was set.

    Raises:
        BadOption: there is no such option, or it has no such value.
    """
    offered: Json = {
        str(option["id"]): option for option in config_options(current, offer) if isinstance(option, dict)
    }
    if config_id not in offered:
        raise BadOption(f"There is no option {config_id[:60]!r}; there are {_listed(offered)}.")
    option = offered[config_id]
    options = option["options"] if isinstance(option, dict) else None
    assert isinstance(options, list)
    values = [str(each["value"]) for each in options if isinstance(each, dict)]
    if value not in values:
        raise BadOption(f"{config_id} cannot be {value[:60]!r}; it can be {_listed(values)}.")
    match config_id:
        case "mode":
            return replace(current, mode=Mode(value))
        case "model":
            return replace(current, model=value)
        case _:
            return replace(current, thinking=None if value == DEFAULT else value)


def with_mode(current: Options, mode_id: str) -> Options:
    """The options in another mode.

    Raises:
        BadOption: there is no such mode.
    """
    if mode_id not in list(Mode):
        raise BadOption(f"There is no mode {mode_id[:60]!r}; there are {_listed(Mode)}.")
    return replace(current, mode=Mode(mode_id))


def _select(
    option_id: str,
    name: str,
    description: str,
    *,
    category: str,
    value: str,
    options: Sequence[tuple[str, str, str | None]],
) -> Json:
    listed: list[JsonValue] = [
        {"value": each, "name": label, **({"description": words} if words else {})}
        for each, label, words in options
    ]
    return {
        "id": option_id,
        "name": name,
        "description": description,
        "category": category,
        "type": "select",
        "currentValue": value,
        "options": listed,
    }


def _listed(names: Sequence[str] | type[Mode] | Json) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
