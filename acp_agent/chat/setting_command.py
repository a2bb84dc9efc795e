"""`/set`, its short forms and Shift-Tab: says what the session is set to, and changes it beside the work."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from rich.text import Text

from acp_agent.chat import render
from acp_agent.chat.client import Client
from acp_agent.chat.picker import Picker
from acp_agent.chat.screen import Screen
from acp_agent.chat.settings import MODE, Setting, Settings
from acp_agent.chat.words import Told, Tone


class SettingCommand:
    """Obeys the command.

    `pick` has something picked and hands over its key, or does nothing and returns False where that cannot be.
    `beside` does something beside the work, which it calls by a name when it fails.
    """

    def __init__(
        self,
        client: Client,
        screen: Screen,
        *,
        pick: Callable[[Picker, Callable[[str | None], None]], bool],
        beside: Callable[[str, Coroutine[None, None, None]], None],
    ) -> None:
        self._client = client
        self._screen = screen
        self._pick = pick
        self._beside = beside

    def obey(self, argument: str) -> None:
        """Obey `/set`, `/set OPTION` and `/set OPTION VALUE`."""
        name, _, word = argument.partition(" ")
        settings = self._client.settings
        setting = settings.named(name)
        if not name:
            self._screen.show(render.settings(settings))
        elif setting is None:
            known = ", ".join(each.setting_id for each in settings.all) or "nothing"
            self._fail(f"There is no option {name}; what can be set is {known}.")
        elif word:
            value = setting.named(word.strip())
            if value is None:
                self._fail(
                    f"{name} cannot be {word}; it can be {', '.join(each.value for each in setting.values)}."
                )
            else:
                self._set(setting, value)
        elif not self._pick_value(setting):
            self._screen.show(render.settings(Settings(options=(setting,))))

    def next_mode(self) -> None:
        """Set the mode after the one that the session has."""
        mode = self._client.settings.of(MODE)
        if mode is not None:
            self._set(mode, mode.next_value)

    def _pick_value(self, setting: Setting) -> bool:
        def picked(key: str | None) -> None:
            if key is not None:
                self._set(setting, key)

        choices = render.setting_choices(setting)
        here = next((place for place, each in enumerate(choices) if each.key == setting.current), 0)
        return self._pick(Picker((f"Enter sets {setting.name}", "Esc leaves it"), choices).moved(here), picked)

    def _set(self, setting: Setting, value: str) -> None:
        async def set_it() -> None:
            await self._client.set(setting, value)
            now = self._client.settings.named(setting.setting_id)
            said = f"{setting.name}: {setting.shown if now is None else now.shown}"
            self._screen.show(Text(render.plain(said), style="dim"))

        self._beside(f"setting {setting.setting_id}", set_it())

    def _fail(self, sentence: str) -> None:
        self._client.tell(Told(Tone.ERROR, (sentence,)))
