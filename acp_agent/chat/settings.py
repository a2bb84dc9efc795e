"""What a session can be set to: its modes and its config options, as the protocol tells them. Pure.

An agent may offer the same thing twice, as `modes` for clients that know those and as a config option of the
category `mode`; then the option is used. Only options with a list of values are read: the others are for clients
that say that they have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from acp_agent.chat.fields import JsonObject, object_, objects, text, text_or_none

MODE = "mode"
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Value:
    """One value that a setting can have."""

    value: str
    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that can be set. `by_mode` says that it is set by `session/set_mode`, not as a config option."""

    setting_id: str
    name: str
    category: str
    current: str
    values: tuple[Value, ...]
    by_mode: bool = False

    @property
    def shown(self) -> str:
        """The name of the value that it has."""
        return next((each.name for each in self.values if each.value == self.current), self.current)

    @property
    def next_value(self) -> str:
        """The value after the one that it has, round and round."""
        known = [each.value for each in self.values]
        place = known.index(self.current) if self.current in known else -1
        return known[(place + 1) % len(known)] if known else self.current

    def named(self, word: str) -> str | None:
        """The value that a word means: its id or its name in any case, or the only one that begins so; or None."""
        wanted = word.lower()
        exact = [each.value for each in self.values if wanted in (each.value.lower(), each.name.lower())]
        begun = [
            each.value
            for each in self.values
            if each.value.lower().startswith(wanted) or each.name.lower().startswith(wanted)
        ]
        found = exact or begun
        return found[0] if wanted and len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one session. `modes` is None where the agent has none."""

    modes: Setting | None = None
    options: tuple[Setting, ...] = ()

    @property
    def all(self) -> tuple[Setting, ...]:
        """Every setting once."""
        if self.modes is None or any(option.category == MODE for option in self.options):
            return self.options
        return (self.modes, *self.options)

    def of(self, category: str) -> Setting | None:
        """The setting of a category, such as `mode` or `model`."""
        return next((each for each in self.all if each.category == category), None)

    def named(self, setting_id: str) -> Setting | None:
        """The setting with this id."""
        return next((each for each in self.all if each.setting_id == setting_id), None)

    def with_answer(self, answer: JsonObject) -> Settings:
        """As an answer of the agent tells them, where it does; raises `FieldError`."""
        changed = self
        modes = object_(answer, "modes")
        if modes:
            changed = replace(changed, modes=_modes(modes))
        if answer.get("configOptions") is not None:
            changed = replace(changed, options=tuple(_options(answer)))
        return changed

    def with_mode(self, mode_id: str) -> Settings:
        """In another mode, as far as modes are concerned."""
        return self if self.modes is None else replace(self, modes=replace(self.modes, current=mode_id))


def _modes(modes: JsonObject) -> Setting:
    values = tuple(
        Value(text(mode, "id"), text(mode, "name"), text_or_none(mode, "description") or "")
        for mode in objects(modes, "availableModes")
    )
    return Setting(MODE, "Mode", MODE, text(modes, "currentModeId"), values, by_mode=True)


def _options(answer: JsonObject) -> Iterator[Setting]:
    for option in objects(answer, "configOptions"):
        if text_or_none(option, "type") == "select":
            yield Setting(
                text(option, "id"),
                text(option, "name"),
                text_or_none(option, "category") or "",
                text(option, "currentValue"),
                tuple(_values(option)),
            )


def _values(option: JsonObject) -> Iterator[Value]:
    for entry in objects(option, "options"):
        if "group" in entry:
            yield from _values(entry)
        else:
            yield Value(text(entry, "value"), text(entry, "name"), text_or_none(entry, "description") or "")
