"""Takes secrets out of what is written where others may read it: logs, traces, support bundles. Pure.

A secret is found in three ways. By its place: environments and headers of MCP servers, the parameters of
`authenticate`, members whose name says so (`api_key`, `Authorization`, …), the value after a flag like `--token`.
By its form: keys of Google and others, bearer tokens, private keys, user names and keys in URLs. And by its value:
what this process has learned to be a secret is hidden inside any text, also escaped as in JSON or in a URL.

What is hidden becomes `[hidden]`. It is better to hide too much than too little: nothing here is ever read back.
To redact twice changes nothing more.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic import JsonValue

HIDDEN: Final = "[hidden]"

SHORTEST_SECRET: Final = 6
"""In characters; a shorter value (`1`, `true`) is hidden in its place, not wherever the same characters stand."""

MARGIN: Final = 4096
"""A secret of up to so many characters is not cut in two where a text is."""

_READ_ON: Final = 2 * MARGIN
"""How far a text is read beyond where it is cut: it gets shorter by what is hidden."""

_HIDDEN_IN_TEXT: Final = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        # Each is bounded or begins where a run of its characters begins, so that none takes quadratic time.
        (r"AIza[\w-]{10,}", re.ASCII, HIDDEN),  # Google API keys
        (r"ya29\.[\w.-]{10,}", re.ASCII, HIDDEN),  # Google access tokens
        (r"(?<![\w-])(?:sk|rk|pk)[-_][\w-]{16,}", re.ASCII, HIDDEN),  # OpenAI, Anthropic, Stripe and others
        (r"(?<!\w)(?:gh[opsru]_|github_pat_|glpat-)[\w-]{16,}", re.ASCII, HIDDEN),
        (r"(?<!\w)xox[a-z]-[\w-]{10,}", re.ASCII, HIDDEN),
        (r"(?<!\w)A(?:KIA|SIA)[0-9A-Z]{16}", re.ASCII, HIDDEN),
        (r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", re.ASCII, HIDDEN),  # JSON web tokens
        (r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END|\Z)", re.DOTALL, HIDDEN),
        # Names that are followed by their value: headers, URL queries, shell and configuration files, JSON.
        (
            r"((?:proxy-)?authorization|(?:set-)?cookie)(\\?[\"']?[ \t]*[:=][ \t]*\\?[\"']?)[^\"'\\\r\n]+",
            re.IGNORECASE,
            rf"\1\2{HIDDEN}",
        ),
        (r"\b(bearer)[ \t]+(?=\S{0,256}\d|\S{16})[\w.~+/=-]{6,}", re.IGNORECASE | re.ASCII, rf"\1 {HIDDEN}"),
        (
            r"((?:(?:api|access|auth|private|secret|client|signing)[_-]?key|secret|token|password|passwd|passphrase"
            r"|credentials?)\\?[\"']?[ \t]*(?:=|:[ \t])[ \t]*)"
            r"(\\?\"[^\"\\\r\n]*|'[^'\r\n]*|[^\s\"',;&\\]+)",
            re.IGNORECASE,
            rf"\1{HIDDEN}",
        ),
        (r"([?&;](?:key|sig|signature|auth|code|pass|pwd)=)[^&\s#\"'<>\\]+", re.IGNORECASE, rf"\1{HIDDEN}"),
        (r"(://)[^\s/?#@\"'<>]{1,512}@", 0, rf"\1{HIDDEN}@"),
    )
)

_PERHAPS: Final = re.compile(
    r"aiza|ya29|[srp]k[-_]|gh[opsru]_|github_|glpat|xox|a[ks]ia|eyj|-----|auth|cookie|bearer|key|secret|token|pass"
    r"|credential|=|://",
    re.IGNORECASE,
)
"""Part of whatever one of the patterns matches; most texts have none of it."""

_SECRET_NAME: Final = re.compile(
    r"(?:^|[_\-./ ])(?:(?:api|access|auth|private|secret|client|signing|goog)[_-]?key|apikey|secret|token|password"
    r"|passwd|passphrase|credentials?|authorization|cookie|authtoken)$"
)
_PLACE_IN_TEXT: Final = re.compile(r"\\?[\"'](?:env|headers|authenticate)\b", re.IGNORECASE)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLACES: Final = ("env", "headers")
_SCHEMES: Final = ("basic", "bearer", "digest", "token")
"""What may come before the secret in a header."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=\s-]*")
_BASE64_SHOWN: Final = 256
"""Characters of one unbroken run that is still shown."""


def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret: `apiKey`, `GITHUB_TOKEN`, `x-goog-api-key`, `db.password`."""
    return _ends_secretly(name[-64:])


@lru_cache(4096)
def _ends_secretly(name: str) -> bool:
    return _SECRET_NAME.search(_HUMP.sub("_", name).lower()) is not None


def secrets_in(value: JsonValue) -> Iterator[str]:
    """The values that are secret by their place in a JSON value, and must be hidden wherever else they stand."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name.lower() in _PLACES or is_secret_name(name):
                yield from _long_enough(_placed(member))
            else:
                yield from secrets_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from secrets_in(item)


def secrets_in_environment(environment: Mapping[str, str]) -> Iterator[str]:
    """The values of the environment variables whose names say that they are secret."""
    return _long_enough(value for name, value in environment.items() if is_secret_name(name))


class Redactor:
    """Hides secrets; it learns more of them as it goes. May be used on any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these from now on, inside any text; those shorter than `SHORTEST_SECRET` are passed over."""
        new = set(_long_enough(secrets)) - self._secrets
        if not new:
            return
        with self._lock:
            self._secrets |= new
            spellings = {spelling for secret in self._secrets for spelling in _spellings(secret)}
            # The longest first: one secret may be part of another, and half a secret must not remain.
            ordered = sorted(spellings, key=lambda text: (-len(text), text))
            self._known = re.compile("|".join(map(re.escape, ordered)))

    def text(self, text: str, limit: int | None = None) -> str:
        """A text without secrets, cut to `limit` characters, with a note of how many were left out."""
        if limit is not None and len(text) > limit:
            shown = self.text(text[: limit + _READ_ON])
            if len(text) > limit + _READ_ON:
                # Half of a secret that was cut in two is within the last `MARGIN` characters.
                shown = shown[:-MARGIN]
            return f"{shown[:limit]}… [{len(text) - limit:,} characters more]"
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if _PERHAPS.search(text):
            for pattern, replacement in _HIDDEN_IN_TEXT:
                text = pattern.sub(replacement, text)
        return text

    def value(self, value: JsonValue, limit: int | None = None) -> JsonValue:
        """A JSON value without secrets; long runs of base64 become their size, texts are cut to `limit`."""
        match value:
            case str():
                return _size_of_base64(value) or self.text(value, limit)
            case list():
                return [self.value(item, limit) for item in value]
            case dict():
                return self._object(value, limit)
        return value

    def _object(self, value: dict[str, JsonValue], limit: int | None) -> dict[str, JsonValue]:
        named = value.get("name")
        secret_value = isinstance(named, str) and is_secret_name(named)
        redacted: dict[str, JsonValue] = {}
        for name, member in value.items():
            if name.lower() in _PLACES or is_secret_name(name) or (secret_value and name == "value"):
                shown = self._names_only(member)
            elif name == "args" and isinstance(member, list):
                shown = [self.value(item, limit) for item in _without_flag_values(member)]
            else:
                shown = self.value(member, limit)
            redacted[self.text(name, limit)] = shown
        return redacted

    def message(self, message: JsonValue, limit: int | None = None) -> JsonValue:
        """A JSON-RPC message without secrets; of `authenticate` only the method's id is left."""
        if isinstance(message, dict) and message.get("method") == "authenticate":
            params = message.get("params")
            shown = self._names_only(params)
            if isinstance(params, dict) and isinstance(shown, dict) and "methodId" in params:
                shown["methodId"] = self.value(params["methodId"], limit)
            rest = self._object({name: member for name, member in message.items() if name != "params"}, limit)
            return {**rest, "params": shown}
        return self.value(message, limit)

    def _names_only(self, value: JsonValue) -> JsonValue:
        """A value with the same shape and names, and nothing else."""
        match value:
            case None:
                return None
            case list():
                return [self._names_only(item) for item in value]
            case dict():
                names = {self.text(name): self._names_only(member) for name, member in value.items()}
                # The protocol's shape of a variable; an object of variables may have one that is called so.
                if "value" in value and isinstance(value.get("name"), str):
                    names["name"] = self.text(str(value["name"]))
                return names
        return HIDDEN

    def unreadable(self, text: str, limit: int) -> str:
        """The beginning of something that is no JSON: whatever may follow a place of secrets is left out."""
        place = _PLACE_IN_TEXT.search(text, 0, limit + _READ_ON)
        return self.text(text, limit) if place is None else f"{self.text(text[: place.start()], limit)}{HIDDEN}"


def _long_enough(secrets: Iterable[str]) -> Iterator[str]:
    return (secret for secret in secrets if len(secret) >= SHORTEST_SECRET)


def _placed(value: JsonValue) -> Iterator[str]:
    """The texts in a place of secrets: the values of a mapping, or of a list of names and values."""
    match value:
        case str():
            yield value
            scheme, _, rest = value.partition(" ")
            if scheme.lower() in _SCHEMES:
                yield rest
        case list():
            for item in value:
                yield from _placed(item.get("value") if isinstance(item, dict) and "value" in item else item)
        case dict():
            for member in value.values():
                yield from _placed(member)


def _without_flag_values(arguments: list[JsonValue]) -> list[JsonValue]:
    """The arguments of a program, without what follows a flag that names a secret."""
    flags = [None, *arguments][: len(arguments)]
    return [
        HIDDEN if isinstance(flag, str) and flag.startswith("-") and is_secret_name(flag.lstrip("-")) else argument
        for flag, argument in zip(flags, arguments, strict=True)
    ]


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield urllib.parse.quote(secret, safe="", errors="replace")


def _size_of_base64(text: str) -> str | None:
    beginning, comma, data = text.partition(",")
    if not (comma and beginning.startswith("data:") and beginning.endswith(";base64")):
        beginning, data = "", text
    if len(data) <= _BASE64_SHOWN or " " in data[:_BASE64_SHOWN] or _BASE64.fullmatch(data) is None:
        return None
    return f"{beginning}{comma if beginning else ''}[{len(data):,} characters of base64]"


process: Final = Redactor()
"""Knows the secrets that this process has come across; whatever is logged or traced passes it."""
