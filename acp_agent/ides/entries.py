"""What an entry for the agent is in each IDE's settings, and how one that is there is brought up to date. Pure.

No entry ever holds a key or another secret; those are kept by `acp-agent login`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import JsonValue

from acp_agent.ides import launching
from acp_agent.ides.catalogue import Ide
from acp_agent.ides.jsonc import Document, NotEdited, NotJson, Object, plain
from acp_agent.ides.launching import Launch


class NotOurs(Exception):
    """There is an entry of that name, and it starts something else; one sentence says so."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry in a settings file: its name, and the command that it starts, None if that cannot be told.

    `registered` is whether the IDE installs this agent from the ACP registry and starts that.
    """

    name: str
    command: tuple[str, ...] | None
    registered: bool = False

    @property
    def ours(self) -> bool:
        """Whether it starts this agent, wherever that is installed."""
        return self.registered or (self.command is not None and launching.is_ours(self.command))


def new(ide: Ide, command: Sequence[str]) -> dict[str, JsonValue]:
    """An entry that starts a command."""
    program, *arguments = command
    if ide.key == "acpx":
        return {"argv": [program, *arguments]}
    entry: dict[str, JsonValue] = {"command": program, "args": [*arguments], "env": {}}
    # Zed tells kinds of entries apart by their type, and reads none without.
    return {"type": "custom", **entry} if ide.key == "zed" else entry


def path(ide: Ide, name: str) -> tuple[str, str]:
    """The keys that lead to an entry."""
    assert ide.container is not None
    return (ide.container, name)


def read(ide: Ide, document: Document) -> tuple[Entry, ...]:
    """The entries in an IDE's settings, in their order.

    Raises:
        NotEdited: where entries should be is something else.
    """
    assert ide.container is not None
    holder = document.at(ide.container)
    if not isinstance(holder, Object):
        return ()
    return tuple(_entry(name, plain(value)) for name, value in holder.pairs)


def put(
    ide: Ide, document: Document, name: str, launch: Launch, arguments: Sequence[str] | None, *, force: bool
) -> str:
    """The settings with an entry that starts the agent.

    One of that name that starts the agent already keeps what is not the command: its environment, its other keys,
    and its arguments for the agent unless others are given. With `force` it is replaced, whatever it is.

    Args:
        ide: the IDE.
        document: its settings.
        name: what the entry is called.
        launch: the command.
        arguments: what the agent is given; None for what there is, or nothing.
        force: replace an entry, whatever it is.

    Raises:
        NotOurs: the name is taken.
        NotEdited: the settings cannot be edited.
    """
    there = document.at(*path(ide, name))
    wanted = new(ide, launch.command(arguments or ()))
    if there is None or force:
        return document.text if plain(there) == wanted else document.with_value(path(ide, name), wanted)
    command = _command(plain(there))
    if command is None or not launching.is_ours(command) or not isinstance(there, Object):
        raise NotOurs(f"{name!r} is the name of another agent in {ide.title}.")
    kept = launching.arguments_of(command) if arguments is None else arguments
    fresh = new(ide, launch.command(tuple(kept)))
    changes = {key: value for key, value in fresh.items() if key != "env" and plain(there.get(key)) != value}
    if "argv" in fresh and (there.has("command") or there.has("args")):
        # acpx takes one form or the other.
        rest = {key: plain(value) for key, value in there.pairs if key not in ("command", "args")}
        return document.with_value(path(ide, name), {**rest, **fresh})
    text = document.text
    for key, value in changes.items():
        text = Document(text, comments=ide.comments).with_value((*path(ide, name), key), value)
    return text


def taken(ide: Ide, document: Document, name: str, *, force: bool) -> str:
    """The settings without an entry.

    Raises:
        NotOurs: it starts something else, and is not to be forced.
        NotEdited: there is none, or the settings cannot be edited.
    """
    there = document.at(*path(ide, name))
    if there is not None and not force and not _entry(name, plain(there)).ours:
        raise NotOurs(f"{name!r} is the name of another agent in {ide.title}.")
    return document.without(path(ide, name))


def before(ide: Ide, text: str, name: str, kept: Iterable[str]) -> str | None:
    """Of the kept texts the first that became this one by an entry that was put into it, and by nothing else.

    Taking an entry out cannot always tell what was there before: an empty object, or none. This can.
    """
    document = Document(text, comments=ide.comments)
    value = plain(document.at(*path(ide, name)))
    for old in kept:
        with suppress(NotJson, NotEdited):
            candidate = Document(old, comments=ide.comments)
            if candidate.at(*path(ide, name)) is None and candidate.with_value(path(ide, name), value) == text:
                return old
    return None


def _entry(name: str, value: JsonValue) -> Entry:
    # The registry's id of the agent is its package's name; "extension" is what Zed called such entries before.
    kind = value.get("type") if isinstance(value, dict) else None
    return Entry(name, _command(value), name == launching.PACKAGE and kind in ("registry", "extension"))


def _command(entry: JsonValue) -> tuple[str, ...] | None:
    if not isinstance(entry, dict):
        return None
    words = entry.get("argv")
    if words is None:
        arguments = entry.get("args") or []
        words = [entry.get("command"), *arguments] if isinstance(arguments, list) else None
    if not isinstance(words, list) or not words:
        return None
    command = tuple(word for word in words if isinstance(word, str))
    return command if len(command) == len(words) else None
