"""Edits the text of JSON with comments, as IDEs keep their settings, in the asked place and nowhere else. Pure.

The text is cut into tokens by the lexer of `json-five`. With comments and trailing commas blanked it is plain
JSON, read by Python's own parser, which is as strict as the IDEs' parsers: what it refuses is not edited. An edit
is a few splices into the original text. Before a new text is handed out it is parsed again: it must hold what the
old one held, changed as asked and in nothing else, or the edit is refused (`NotEdited`).

A value is shown with its objects as tuples of pairs, so that repeated keys and their order count as well.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from json5.tokenizer import JSON5Token, tokenize
from json5.utils import JSON5DecodeError
from pydantic import JsonValue

if TYPE_CHECKING:
    from typing import TypeAlias

BLANK: Final = " \t\r\n"
BOM: Final = "\ufeff"

_DEEPEST: Final = 100
"""How many levels are read; nothing in the settings of an IDE comes near."""

_COMMENTS: Final = ("LINE_COMMENT", "BLOCK_COMMENT")
_OPENING: Final = ("LBRACE", "LBRACKET")
_CLOSING: Final = ("RBRACE", "RBRACKET")


class NotJson(ValueError):
    """The text cannot be read; the message says where and why, as the end of a sentence."""


class NotEdited(ValueError):
    """The text can be read, and not be edited as asked; the message says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Object:
    """A JSON object: its members as they are written, in order."""

    pairs: tuple[tuple[str, Value], ...]

    def get(self, key: str) -> Value:
        """The value of a key, which must be there at most once; None if it is not there.

        Raises:
            NotEdited: it is there more than once.
        """
        found = [value for name, value in self.pairs if name == key]
        if len(found) > 1:
            raise NotEdited(f"has the key {key!r} more than once")
        return found[0] if found else None

    def has(self, key: str) -> bool:
        """Whether there is a member with this key."""
        return any(name == key for name, _ in self.pairs)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written."""

    text: str


if TYPE_CHECKING:
    Value: TypeAlias = Object | list["Value"] | Number | str | bool | None


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of an object in the text; `start` is where its key begins, the others are of its value."""

    key: str
    start: int
    value: int
    end: int
    token: int


@dataclass(frozen=True, slots=True)
class _Splice:
    """At `start`, text up to `end` goes and `text` comes."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Braces:
    """An object in the text: the tokens of its braces, by number, and its members."""

    opening: int
    closing: int
    members: tuple[_Member, ...]


class Document:
    """A text that can be read. `value` is what it holds, None if that is nothing but white space and comments."""

    def __init__(self, text: str, *, comments: bool = True) -> None:
        """Read a text.

        Args:
            text: the whole text.
            comments: whether comments and trailing commas are allowed.

        Raises:
            NotJson: it cannot be read.
        """
        self.text = text
        self.comments = comments
        self._all = [] if not text.strip(BLANK + BOM) else _tokens(text)
        self._tokens = [token for token in self._all if token.type not in ("WHITESPACE", *_COMMENTS)]
        self.empty = not self._tokens
        if self.empty:
            if self._all and not comments:
                raise NotJson("has a comment, which JSON does not allow")
            self.value: Value = None
        else:
            if _depth(self._tokens) > _DEEPEST:
                raise NotJson("is nested too deeply")
            self.value = _parse(_masked(text, self._all) if comments else text)

    def at(self, *path: str) -> Value:
        """What is at a path of keys, None if there is nothing.

        Raises:
            NotEdited: a key of the path is there more than once, or what should hold the next one is no object.
        """
        found = self.value
        for done, key in enumerate(path):
            if found is None:
                return None
            if not isinstance(found, Object):
                raise NotEdited(f"has no object at {_shown(path[:done])}")
            found = found.get(key)
        return found

    def with_value(self, path: Sequence[str], value: JsonValue) -> str:
        """The text with a value at a path: in the place of the one there, or as a new last member.

        What is missing above it is made. The layout is that of the surroundings.

        Raises:
            NotEdited: see the module, and `at`.
        """
        path = tuple(path)
        if self.empty:
            splices = [self._new_root(path, value)]
        else:
            parent, depth = self._deepest(path)
            known = {member.key: member for member in parent.members}
            if depth == len(path) - 1 and (there := known.get(path[-1])):
                splices = [_Splice(there.value, there.end, self._rendered(value, parent, self._inline(parent)))]
            else:
                splices = self._insertion(parent, path[depth], _nested(path[depth + 1 :], value))
        return self._spliced(splices, _with(self.value, path, _frozen(value)))

    def without(self, path: Sequence[str]) -> str:
        """The text without the member at a path, and without what holds nothing else and no comment then.

        The outermost braces stay.

        Raises:
            NotEdited: there is nothing at the path; see also the module and `at`.
        """
        path = tuple(path)
        holder = self.at(*path[:-1])
        if not isinstance(holder, Object) or not holder.has(path[-1]):
            raise NotEdited(f"has nothing at {_shown(path)}")
        holder.get(path[-1])  # what is there twice is refused
        objects = self._objects(path[:-1])
        while len(path) > 1 and len(objects[-1].members) == 1 and not self._comments_in(objects[-1]):
            member = next(member for member in objects[-2].members if member.key == path[-2])
            if self._last_comment(self._tokens[member.token], self._tokens[objects[-1].opening]):
                break
            path, objects = path[:-1], objects[:-1]
        parent = objects[-1]
        member = next(member for member in parent.members if member.key == path[-1])
        if len(parent.members) == 1 and not self._comments_in(parent):
            first, last = self._tokens[parent.opening], self._tokens[parent.closing]
            splices = [_Splice(first.end, last.index, "")]
        else:
            splices = self._removal(parent, member)
        return self._spliced(splices, _without(self.value, path))

    def _insertion(self, parent: _Braces, key: str, value: JsonValue) -> list[_Splice]:
        before, closing = self._tokens[parent.closing - 1], self._tokens[parent.closing]
        trailing = before.type == "COMMA"
        place = self._after_comments(before, closing)
        inline = self._inline(parent)
        rendered = f"{json.dumps(key, ensure_ascii=False)}: {self._rendered(value, parent, inline)}"
        lead = " " if inline else self._newline + self._indent_of_members(parent)
        tail = ""
        if not parent.members and "\n" not in self.text[place : closing.index]:
            tail = self._newline + self._indent_at(self._tokens[parent.opening].index)
        splices = [_Splice(place, place, f"{lead}{rendered}{',' if trailing else ''}{tail}")]
        if parent.members and not trailing:
            splices.insert(0, _Splice(parent.members[-1].end, parent.members[-1].end, ","))
        return splices

    def _removal(self, parent: _Braces, member: _Member) -> list[_Splice]:
        before = self._tokens[member.token - 1]
        after = next(token for token in self._tokens if token.index >= member.end)
        start = self._after_comments(before, self._tokens[member.token])
        comment = self._last_comment(before, self._tokens[member.token])
        taken = after.end if after.type == "COMMA" else after.index
        rest = self.text[member.end : after.index] + self.text[taken:]
        if comment and comment.type == "LINE_COMMENT" and not rest.lstrip(" \t\r").startswith("\n"):
            start = member.start  # what follows on the line must not get into the comment before it
        splices = [_Splice(start, member.end, "")]
        if after.type == "COMMA":
            splices.append(_Splice(after.index, after.end, ""))
        elif before.type == "COMMA" and member is parent.members[-1]:
            splices.insert(0, _Splice(before.index, before.end, ""))
        return splices

    def _new_root(self, path: tuple[str, ...], value: JsonValue) -> _Splice:
        end = len(self.text)
        lead = "" if not self.text.strip(BOM) or self.text.endswith("\n") else self._newline
        root = json.dumps(_nested(path, value), indent=2, ensure_ascii=False).replace("\n", self._newline)
        return _Splice(end, end, f"{lead}{root}{self._newline}")

    def _spliced(self, splices: Sequence[_Splice], expected: Value) -> str:
        pieces: list[str] = []
        done = 0
        for splice in splices:
            assert splice.start >= done
            pieces += [self.text[done : splice.start], splice.text]
            done = splice.end
        new = "".join([*pieces, self.text[done:]])
        try:
            found = Document(new, comments=self.comments).value
        except NotJson as error:
            raise NotEdited("cannot be edited without breaking it") from error
        if found != expected:
            raise NotEdited("cannot be edited without changing something else in it")
        return new

    def _deepest(self, path: tuple[str, ...]) -> tuple[_Braces, int]:
        """The innermost object on the way to a path that is there, and how many keys of the path lead to it."""
        found, depth = self.value, 0
        while isinstance(found, Object) and depth < len(path) - 1 and found.has(path[depth]):
            found, depth = found.get(path[depth]), depth + 1
        if not isinstance(found, Object):
            raise NotEdited(f"has no object at {_shown(path[:depth])}")
        found.get(path[depth])  # what is there twice is refused
        return self._objects(path[:depth])[-1], depth

    def _objects(self, path: tuple[str, ...]) -> list[_Braces]:
        """The outermost object, and those that each key of a path leads to."""
        found = [self._braces(0)]
        for key in path:
            member = next(member for member in found[-1].members if member.key == key)
            found.append(self._braces(member.token + 2))
        return found

    def _braces(self, opening: int) -> _Braces:
        members: list[_Member] = []
        number = opening + 1
        while self._tokens[number].type != "RBRACE":
            if self._tokens[number].type == "COMMA":
                number += 1
                continue
            key, first, last = self._tokens[number], number + 2, self._last_of_value(number + 2)
            start, end = self._tokens[first].index, self._tokens[last].end
            members.append(_Member(str(json.loads(key.value)), key.index, start, end, number))
            number = last + 1
        return _Braces(opening, number, tuple(members))

    def _last_of_value(self, number: int) -> int:
        depth = 0
        while True:
            kind = self._tokens[number].type
            depth += (kind in _OPENING) - (kind in _CLOSING)
            if depth == 0 and self._tokens[number + 1].type in ("COMMA", *_CLOSING):
                return number
            number += 1

    def _last_comment(self, first: JSON5Token, last: JSON5Token) -> JSON5Token | None:
        between = [t for t in self._all if first.end <= t.index < last.index and t.type in _COMMENTS]
        return between[-1] if between else None

    def _after_comments(self, first: JSON5Token, last: JSON5Token) -> int:
        """Where the last comment between two tokens ends, or the first token if there is none."""
        comment = self._last_comment(first, last)
        if comment is None:
            return first.end
        # To the lexer the first half of a line end of two characters is a part of a line comment.
        return comment.end - (comment.type == "LINE_COMMENT" and comment.value.endswith("\r"))

    def _comments_in(self, braces: _Braces) -> bool:
        start, end = self._tokens[braces.opening].index, self._tokens[braces.closing].index
        inner = [(member.start, member.end) for member in braces.members]
        return any(
            token.type in _COMMENTS
            and start < token.index < end
            and not any(first < token.index < last for first, last in inner)
            for token in self._all
        )

    @property
    def _newline(self) -> str:
        first = self.text.find("\n")
        return "\r\n" if first > 0 and self.text[first - 1] == "\r" else "\n"

    def _inline(self, braces: _Braces) -> bool:
        start, end = self._tokens[braces.opening].index, self._tokens[braces.closing].index
        return bool(braces.members) and "\n" not in self.text[start:end]

    def _rendered(self, value: JsonValue, parent: _Braces, inline: bool) -> str:
        if inline:
            return json.dumps(value, ensure_ascii=False)
        text = json.dumps(value, indent=self._indent_unit(), ensure_ascii=False)
        return text.replace("\n", self._newline + self._indent_of_members(parent))

    def _indent_of_members(self, braces: _Braces) -> str:
        for member in braces.members:
            if (own := self._indent_before(member.start)) is not None:
                return own
        return self._indent_at(self._tokens[braces.opening].index) + self._indent_unit()

    def _indent_unit(self) -> str:
        """How much deeper the members of the outermost object are than it is."""
        root = self._braces(0)
        base = self._indent_at(self._tokens[0].index)
        for member in root.members:
            own = self._indent_before(member.start)
            if own is not None and own.startswith(base) and len(own) > len(base):
                return own.removeprefix(base)
        return "  "

    def _indent_before(self, index: int) -> str | None:
        """The white space before something that begins its line; None if it does not."""
        before = self.text[self.text.rfind("\n", 0, index) + 1 : index]
        return before if not before.strip(" \t") else None

    def _indent_at(self, index: int) -> str:
        """The white space that the line of something begins with."""
        line = self.text[self.text.rfind("\n", 0, index) + 1 : index]
        return line[: len(line) - len(line.lstrip(" \t"))]


def plain(value: Value) -> JsonValue:
    """A value as Python has JSON; of a repeated key the last counts, as for the IDEs' parsers."""
    if isinstance(value, Object):
        return {key: plain(inner) for key, inner in value.pairs}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, Number):
        # Python turns no text into a number of more digits than this.
        number: int | float = json.loads(value.text) if len(value.text) < 4300 else float(value.text)
        return number
    return value


def _tokens(text: str) -> list[JSON5Token]:
    found: list[JSON5Token] = []
    try:
        found.extend(tokenize(text))
    except JSON5DecodeError as error:
        # What the lexer had found before it stopped.
        raise NotJson(f"is not valid at {_place(text, found[-1].end if found else 0)}") from error
    return found


def _depth(tokens: Sequence[JSON5Token]) -> int:
    steps = ((token.type in _OPENING) - (token.type in _CLOSING) for token in tokens)
    return max(itertools.accumulate(steps))


def _place(text: str, index: int) -> str:
    line = text.count("\n", 0, index) + 1
    return f"line {line}, column {index - text.rfind(chr(10), 0, index)}"


def _masked(text: str, tokens: Sequence[JSON5Token]) -> str:
    """The text with blanks for comments, trailing commas and a byte order mark; all else keeps its place."""
    pieces: list[str] = []
    solid = [token for token in tokens if token.type not in ("WHITESPACE", *_COMMENTS)]
    dropped = {
        comma.index
        for before, comma, after in zip(solid, solid[1:], solid[2:], strict=False)
        if comma.type == "COMMA" and after.type in _CLOSING and before.type not in ("COMMA", "COLON", *_OPENING)
    }
    for token in tokens:
        blank = token.type in _COMMENTS or token.index in dropped
        pieces.append(re.sub(r"[^\r\n]", " ", token.value) if blank else token.value)
    masked = "".join(pieces)
    return f" {masked[1:]}" if text.startswith(BOM) else masked


def _parse(text: str) -> Value:
    try:
        value: Value = json.loads(
            text,
            object_pairs_hook=lambda pairs: Object(tuple(pairs)),
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        reason = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise NotJson(f"is not valid at line {error.lineno}, column {error.colno}: {reason}") from error
    return value


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"holds {name}, which JSON does not have")


def _frozen(value: JsonValue) -> Value:
    """A value as `Document.value` shows it."""
    return _parse(json.dumps(value))


def _nested(path: Sequence[str], value: JsonValue) -> JsonValue:
    for key in reversed(path):
        value = {key: value}
    return value


def _with(whole: Value, path: Sequence[str], value: Value) -> Value:
    if not path:
        return value
    pairs = whole.pairs if isinstance(whole, Object) else ()
    if not any(key == path[0] for key, _ in pairs):
        return Object((*pairs, (path[0], _with(None, path[1:], value))))
    return Object(tuple((k, _with(v, path[1:], value) if k == path[0] else v) for k, v in pairs))


def _without(whole: Value, path: Sequence[str]) -> Value:
    assert isinstance(whole, Object)
    if len(path) == 1:
        return Object(tuple((k, v) for k, v in whole.pairs if k != path[0]))
    return Object(tuple((k, _without(v, path[1:]) if k == path[0] else v) for k, v in whole.pairs))


def _shown(path: Sequence[str]) -> str:
    return ".".join(path) if path else "its top"
