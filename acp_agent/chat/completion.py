"""What Tab offers: commands after `/`, their arguments, and files after `@`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from acp_agent.chat.agent import ListedSession
from acp_agent.chat.render import plain
from acp_agent.chat.settings import Setting, Settings

_MENTION = re.compile(r"(?:^|\s)(@(?:\"[^\"\n]*|[^\s\"]\S*)?)$")
_PATH = re.compile(r"\"[^\"]*|[^\s\"]\S*|")
PATHS = 50
"""The most files that are offered."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What can be completed: commands with their meanings, what can be set, and where relative paths begin."""

    commands: Mapping[str, str]
    settings: Settings
    cwd: Path


@dataclass(frozen=True, slots=True)
class Offer:
    """One completion: what takes the place of how many characters before the cursor, and what it means."""

    text: str
    replaced: int
    meaning: str = ""
    shown: str = ""


def offers(before: str, words: Vocabulary) -> Iterator[Offer]:
    """What can follow the text before the cursor, sessions excepted."""
    if mention := _MENTION.search(before):
        yield from _paths(mention[1], words.cwd, at="@")
        return
    if not before.startswith("/") or "\n" in before:
        return
    command, space, argument = before[1:].partition(" ")
    if not space:
        for name, meaning in words.commands.items():
            if name.startswith(command):
                yield Offer(f"/{name}", len(before), meaning)
    elif command == "image" and _PATH.fullmatch(argument):
        yield from _paths(argument, words.cwd, at="")
    elif command == "set":
        yield from _of_set(argument, words.settings)
    elif (setting := words.settings.named(command)) is not None:
        yield from _values(argument, setting)


def sessions(before: str, listed: tuple[ListedSession, ...]) -> Iterator[Offer]:
    """The sessions that can follow `/load`, found by their id or a part of their title."""
    wanted = before.removeprefix("/load ").lower()
    for entry in listed:
        if entry.session_id.lower().startswith(wanted) or wanted in (entry.title or "").lower():
            yield Offer(entry.session_id, len(wanted), entry.title or "(no title)", entry.session_id[:8])


class ChatCompleter(Completer):
    """Offers at the cursor. `listed` asks the agent for the sessions; whatever it raises, none are offered."""

    def __init__(
        self, words: Callable[[], Vocabulary], listed: Callable[[], Awaitable[tuple[ListedSession, ...]]]
    ) -> None:
        self._words = words
        self._listed = listed

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """All but the sessions, which take asking."""
        for offer in offers(document.text_before_cursor, self._words()):
            yield _completion(offer)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """All of them."""
        before = document.text_before_cursor
        found = sessions(before, await self._listed()) if before.startswith("/load ") else None
        for offer in offers(before, self._words()) if found is None else found:
            yield _completion(offer)


def _completion(offer: Offer) -> Completion:
    return Completion(
        offer.text,
        start_position=-offer.replaced,
        display=plain(offer.shown or offer.text),
        display_meta=" ".join(plain(offer.meaning).split()),
    )


def _of_set(argument: str, settings: Settings) -> Iterator[Offer]:
    name, space, value = argument.partition(" ")
    if space:
        setting = settings.named(name)
        yield from _values(value, setting) if setting is not None else ()
    else:
        for setting in settings.all:
            if setting.setting_id.startswith(name):
                yield Offer(setting.setting_id, len(name), f"{setting.name}: {setting.shown}")


def _values(begun: str, setting: Setting) -> Iterator[Offer]:
    for each in setting.values:
        if each.value.startswith(begun):
            yield Offer(each.value, len(begun), each.description or each.name)


def _paths(begun: str, cwd: Path, *, at: str) -> Iterator[Offer]:
    """Files whose path begins so; a path with spaces is put in quotes."""
    typed = begun.removeprefix(at).removeprefix('"')
    found = PathCompleter(get_paths=lambda: [str(cwd)], expanduser=True)
    completions = found.get_completions(Document(typed, len(typed)), CompleteEvent())
    for _, completion in zip(range(PATHS), completions, strict=False):
        path = typed + completion.text
        folder = completion.display_text.endswith("/")
        path += "/" if folder else ""
        quoted = f'"{path}' + ("" if folder else '"') if " " in path else path
        yield Offer(at + quoted, len(begun), "", completion.display_text)
