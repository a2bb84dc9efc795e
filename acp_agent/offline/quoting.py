r"""How arguments are written on one line of a prompt.

A word is either bare (anything without white space, taken literally) or quoted. 'Single' quotes take everything
literally; "double" quotes know the escapes `\n`, `\t`, `\r`, `\"` and `\\`, and leave any other backslash alone.
A text is the rest of a line with the same escapes; one that is a double-quoted word as a whole loses its quotes,
which is how a text begins or ends with white space.
"""

import re

_BARE = re.compile(r"[\w./:=@%+,-]+", re.ASCII)
_WORD = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"']\S*))(?=\s|$)""")
_ESCAPE = re.compile(r'\\([ntr"\\])')
_MEANING = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def take_word(line: str) -> tuple[str, str] | None:
    """The first word of `line` and what follows it; None if there is none or its quotes are not closed."""
    found = _WORD.match(line)
    if found is None:
        return None
    double, single, bare = found.groups()
    word = unescape(double) if double is not None else single if single is not None else bare
    return word, line[found.end() :].strip()


def take_words(line: str) -> list[str] | None:
    """All words of `line`; None if quotes are not closed."""
    words: list[str] = []
    rest = line.strip()
    while rest:
        taken = take_word(rest)
        if taken is None:
            return None
        word, rest = taken
        words.append(word)
    return words


def read_text(line: str) -> str:
    """`line` as a text; any line is one."""
    stripped = line.strip()
    if stripped.startswith('"') and (taken := take_word(stripped)) is not None and not taken[1]:
        return taken[0]
    return unescape(stripped)


def write_word(word: str) -> str:
    """`word` so that `take_word` gives it back."""
    if _BARE.fullmatch(word):
        return word
    return '"' + _escape(word).replace('"', '\\"') + '"'


def write_text(text: str) -> str:
    """`text` on one line so that `read_text` gives it back."""
    escaped = _escape(text)
    if not escaped or escaped != escaped.strip() or escaped.startswith('"'):
        return write_word(text)
    return escaped


def unescape(text: str) -> str:
    r"""`text` with `\n`, `\t`, `\r`, `\"` and `\\` replaced by what they stand for."""
    return _ESCAPE.sub(lambda found: _MEANING[found[1]], text)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
