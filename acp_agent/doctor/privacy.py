"""Takes out of a text what belongs to the user and to nobody else: for what is sent to others.

Secrets are hidden by `acp_agent.redaction`. Here go the things that are no secrets and are nobody's business all
the same: the names of the user, of the machine and of other machines, folders, what sessions are called, addresses
of mail. A place that says something about the agent is named, with what follows inside it; any other path is
`<path>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from acp_agent.loopback import is_loopback
from acp_agent.redaction import Redactor

SHORTEST: Final = 2
"""In characters: a shorter name is left, since it would be found in every word."""

_QUOTED: Final = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"(?:[^"\\\n]|\\.)*"|“[^”\n]*”|`[^`\n]*`)""")
_MAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}")
_URL: Final = re.compile(r"\b(https?|wss?|socks\w*)://([^\s/'\"<>()]*)([^\s'\"<>()]*)", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_PATH: Final = re.compile(
    r"(?<![\w<>/\\.:])(?:~|[A-Za-z]:(?=[\\/])|\.{1,2}(?=[\\/]))?(?:[\\/][^\s\\/:;,'\"<>()|]+){1,}[\\/]?"
)
_INSIDE: Final = re.compile(r"<path>[^\s:;,'\"<>()|]*")
_KNOWN_HOSTS: Final = ("googleapis.com", "localhost")


class Privacy:
    """What to take out of texts.

    Args:
        secrets: what must not be seen by anybody.
        places: folders, by what is written in their place.
        private: texts that are left out wherever they stand, such as titles.
        names: of the user and of the machine, by what is written in their place; only whole words are taken.
    """

    def __init__(
        self,
        *,
        secrets: Iterable[str] = (),
        places: Mapping[str, str],
        private: Iterable[str] = (),
        names: Mapping[str, str],
    ) -> None:
        self._redactor = Redactor(secrets)
        known = {text: "<private>" for text in private if len(text) >= SHORTEST}
        known |= {place: name for place, name in places.items() if len(place) > SHORTEST}
        # The longest first: a folder may be in another.
        self._known = [(text, known[text]) for text in sorted(known, key=len, reverse=True)]
        self._names = [
            (re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE), instead)
            for name, instead in names.items()
            if len(name) >= SHORTEST
        ]

    def text(self, text: str, *, quotes: bool = False) -> str:
        """The text without them; with `quotes` also without everything that is quoted."""
        text = self._redactor.text(text)
        for known, instead in self._known:
            text = text.replace(known, instead)
        if quotes:
            text = _QUOTED.sub("<quoted>", text)
        text = _URL.sub(_url, text)
        text = _MAIL.sub("<mail>", text)
        text = _ADDRESS.sub(_address, text)
        text = _PATH.sub("<path>", text)
        text = _INSIDE.sub("<path>", text)
        for name, instead in self._names:
            text = name.sub(instead, text)
        return text


def _url(found: re.Match[str]) -> str:
    scheme, where, _ = found.groups()
    host, _, port = where.rpartition("@")[2].partition(":")
    known = any(f".{host}".lower().endswith(f".{name}") for name in _KNOWN_HOSTS) or is_loopback(f"//{host}")
    shown = host if known else "<host>"
    return f"{scheme}://{shown}{f':{port}' if port.isdecimal() else ''}/…"


def _address(found: re.Match[str]) -> str:
    return found[0] if is_loopback(f"//{found[0]}") else "<address>"
