"""One line of input under edit: keys in, text and cursor out. Pure, and with it the decoding of key bytes."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias


class Key(Enum):
    """The keys that edit a line, whatever bytes the terminal sends for them."""

    ENTER = auto()
    END_OF_INPUT = auto()
    BACKSPACE = auto()
    DELETE = auto()
    LEFT = auto()
    RIGHT = auto()
    WORD_LEFT = auto()
    WORD_RIGHT = auto()
    HOME = auto()
    END = auto()
    UP = auto()
    DOWN = auto()
    CUT_BEFORE = auto()
    CUT_AFTER = auto()
    CUT_WORD = auto()


@dataclass(frozen=True, slots=True)
class Typed:
    """Text that was typed or pasted; pasted text may contain line ends."""

    text: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A finished line."""

    text: str


class EndOfInput:
    """The user, or the pipe, has nothing more to say."""


KeyPress: TypeAlias = Key | Typed

_CONTROLS = {
    "\r": Key.ENTER,
    "\n": Key.ENTER,
    "\x04": Key.END_OF_INPUT,
    "\x7f": Key.BACKSPACE,
    "\x08": Key.BACKSPACE,
    "\x01": Key.HOME,
    "\x05": Key.END,
    "\x02": Key.LEFT,
    "\x06": Key.RIGHT,
    "\x10": Key.UP,
    "\x0e": Key.DOWN,
    "\x15": Key.CUT_BEFORE,
    "\x0b": Key.CUT_AFTER,
    "\x17": Key.CUT_WORD,
}
_SEQUENCES = {
    "[A": Key.UP,
    "[B": Key.DOWN,
    "[C": Key.RIGHT,
    "[D": Key.LEFT,
    "[H": Key.HOME,
    "[F": Key.END,
    "[1~": Key.HOME,
    "[4~": Key.END,
    "[3~": Key.DELETE,
    "[1;5C": Key.WORD_RIGHT,
    "[1;5D": Key.WORD_LEFT,
    "OA": Key.UP,
    "OB": Key.DOWN,
    "OC": Key.RIGHT,
    "OD": Key.LEFT,
    "OH": Key.HOME,
    "OF": Key.END,
    "b": Key.WORD_LEFT,
    "f": Key.WORD_RIGHT,
    "\x7f": Key.CUT_WORD,
}
_PASTE_BEGIN, _PASTE_END = "\x1b[200~", "\x1b[201~"
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O[ -~]|[^\[O])", re.DOTALL)


class KeyDecoder:
    """Decodes the bytes of a terminal into key presses; bytes may be cut anywhere."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._pending = ""

    def feed(self, data: bytes) -> list[KeyPress]:
        """The key presses that are complete with these bytes; unknown sequences are left out."""
        self._pending += self._decode(data)
        presses: list[KeyPress] = []
        while self._pending:
            length, press = self._next()
            if length == 0:
                break
            self._pending = self._pending[length:]
            if press is not None:
                presses.append(press)
        return presses

    def _next(self) -> tuple[int, KeyPress | None]:
        """Length and meaning of what the pending text begins with; length 0 when it is incomplete."""
        pending = self._pending
        if pending.startswith(_PASTE_BEGIN):
            end = pending.find(_PASTE_END)
            if end < 0:
                return 0, None
            pasted = pending[len(_PASTE_BEGIN) : end].replace("\r\n", "\n").replace("\r", "\n")
            return end + len(_PASTE_END), Typed(_printable(pasted))
        if pending[0] == "\x1b":
            sequence = _SEQUENCE.match(pending)
            return (sequence.end(), _SEQUENCES.get(sequence[1])) if sequence else (0, None)
        if pending[0] in _CONTROLS:
            return 1, _CONTROLS[pending[0]]
        typed = re.match(r"[^\x00-\x1f\x7f]+", pending)
        return (typed.end(), Typed(typed[0])) if typed else (1, None)


class LineEditor:
    """The line being typed, its cursor, and the lines submitted before it."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._history: list[str] = []
        self._place = 0
        self._unsent = ""

    def press(self, press: KeyPress) -> Submitted | EndOfInput | None:
        """Apply one key press; returns what it completes, if it does."""
        if isinstance(press, Typed):
            self._replace(self.cursor, self.cursor, press.text)
        elif press is Key.ENTER:
            return self._submit()
        elif press is Key.END_OF_INPUT:
            if not self.text:
                return EndOfInput()
            self._replace(self.cursor, self.cursor + 1)
        elif press is Key.UP:
            self._recall(self._place - 1)
        elif press is Key.DOWN:
            self._recall(self._place + 1)
        else:
            self._edit(press)
        return None

    def clear(self) -> None:
        """Drop what has been typed."""
        self._replace(0, len(self.text))

    def _edit(self, key: Key) -> None:
        here, end = self.cursor, len(self.text)
        moves = {
            Key.LEFT: max(here - 1, 0),
            Key.RIGHT: min(here + 1, end),
            Key.WORD_LEFT: self._word_left(),
            Key.WORD_RIGHT: self._word_right(),
            Key.HOME: 0,
            Key.END: end,
        }
        cuts = {
            Key.BACKSPACE: (max(here - 1, 0), here),
            Key.DELETE: (here, here + 1),
            Key.CUT_BEFORE: (0, here),
            Key.CUT_AFTER: (here, end),
            Key.CUT_WORD: (self._word_left(), here),
        }
        if key in moves:
            self.cursor = moves[key]
        else:
            self._replace(*cuts[key])

    def _replace(self, start: int, end: int, text: str = "") -> None:
        self.text = self.text[:start] + text + self.text[end:]
        self.cursor = start + len(text)

    def _submit(self) -> Submitted:
        submitted = Submitted(self.text)
        if self.text.strip() and self._history[-1:] != [self.text]:
            self._history.append(self.text)
        self._place = len(self._history)
        self.clear()
        return submitted

    def _recall(self, place: int) -> None:
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._unsent = self.text
        self._place = place
        self._replace(0, len(self.text), self._unsent if place == len(self._history) else self._history[place])

    def _word_left(self) -> int:
        before = self.text[: self.cursor].rstrip()
        return len(before) - len(re.split(r"\s", before)[-1])

    def _word_right(self) -> int:
        after = self.text[self.cursor :]
        word = re.match(r"\s*\S*", after)
        return self.cursor + (word.end() if word else 0)


def _printable(text: str) -> str:
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)
