"""The settings of the agent: flags, then environment variables, then a TOML file, then defaults.

Every setting has one name in three spellings: `--data-dir`, `ACP_AGENT_DATA_DIR`, `data_dir = …`. Credentials are
not settings: they are read from the environment where the SDK documents them, and kept out of every store and log.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from acp_agent import credentials
from acp_agent.options import Mode
from acp_agent.secret import Secret
from acp_agent.steps import Endpoint, GeminiEndpoint, OpenAIEndpoint, VertexEndpoint
from acp_agent.system import paths
from sessions.outcomes import Outcome
from sessions.resume import OnInterrupted, OnLeftovers

ENVIRONMENT_PREFIX = "ACP_AGENT_"
CONFIG_VARIABLE = "ACP_AGENT_CONFIG"
OPENAI_DEFAULT_MODEL = "default"


class Announce(StrEnum):
    """When a person is told, in the conversation, how a session was brought back."""

    ALWAYS = "always"
    PROBLEMS = "problems"
    NEVER = "never"


class LogLevel(StrEnum):
    """What is written to standard error, from most to least."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TraceContent(StrEnum):
    """What a trace holds of the texts in a message: all of them, or only how long they are."""

    TEXT = "text"
    NONE = "none"


class BadSettings(ValueError):
    """A setting has a value that cannot be used; the message names the setting and where it came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings.

    `hibernate` is after how many seconds an idle session gives its harness up, `silence` after how many a turn
    in which nothing comes is given up; 0 is never. `mode` is what new sessions begin in; `require` refuses a
    load whose outcome is lower than it on the ladder; `interrupted` and `leftovers` say what becomes of a turn
    that was cut, and of the commands that it left running. `log_file` and `trace` are files that are appended to.
    """

    data_dir: Path
    model: str | None = None
    base_url: str | None = None
    gemini_url: str | None = None
    offline: bool = False
    require: Outcome | None = None
    interrupted: OnInterrupted = OnInterrupted.KEEP
    leftovers: OnLeftovers = OnLeftovers.END
    announce: Announce = Announce.PROBLEMS
    mode: Mode = Mode.ASK
    hibernate: float = 600
    silence: float = 900
    log_level: LogLevel = LogLevel.WARNING
    log_file: Path | None = None
    trace: Path | None = None
    trace_content: TraceContent = TraceContent.TEXT


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _path(value: object) -> Path:
    try:
        return Path(value if isinstance(value, Path) else _text(value)).expanduser().absolute()
    except RuntimeError as error:  # a "~name" of nobody's
        raise ValueError(str(error).rstrip(".")) from error


def _http(value: object) -> str:
    url = _text(value)
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return url


def _switch(value: object) -> bool:
    word = str(value).lower()
    if word not in _SWITCHES:
        raise ValueError("must be true or false")
    return _SWITCHES[word]


def _seconds(value: object) -> float:
    try:
        seconds = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds < math.inf:
        raise ValueError("must be a number of seconds, 0 or more")
    return seconds


def _one_of(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    def read(value: object) -> StrEnum:
        try:
            return kind(_text(value))
        except ValueError as error:
            raise ValueError(f"must be one of {', '.join(kind)}") from error

    return read


def _outcome(value: object) -> StrEnum:
    if value == Outcome.FRESH:
        raise ValueError("'fresh' would require nothing; leave it out instead")
    return _one_of(Outcome)(value)


_SWITCHES: Final = dict.fromkeys(("true", "1", "yes", "y", "on", "t"), True) | dict.fromkeys(
    ("false", "0", "no", "n", "off", "f"), False
)

_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "data_dir": _path,
    "model": _text,
    "base_url": _http,
    "gemini_url": _http,
    "offline": _switch,
    "require": _outcome,
    "interrupted": _one_of(OnInterrupted),
    "leftovers": _one_of(OnLeftovers),
    "announce": _one_of(Announce),
    "mode": _one_of(Mode),
    "hibernate": _seconds,
    "silence": _seconds,
    "log_level": _one_of(LogLevel),
    "log_file": _path,
    "trace": _path,
    "trace_content": _one_of(TraceContent),
}
"""What makes the value of a setting of what was given; it raises `ValueError` with what is wrong."""

NAMES: Final = tuple(_READERS)
"""The names of all settings."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was given as settings, readable or not.

    `origins` names where the value of each setting that was given comes from, `problems` is one sentence for
    each that cannot be used; in `settings` those have their defaults. `file` is the configuration file that was
    looked for, whether it is there or not.
    """

    settings: Settings
    origins: Mapping[str, str]
    problems: tuple[str, ...]
    file: Path


def load(flags: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Put the settings together.

    Args:
        flags: the flags that were given on the command line, by setting name; absent ones are None or missing.
            `config` names the TOML file and is not itself a setting.
        environment: the process's environment.

    Raises:
        BadSettings: the file cannot be read, or a name or value is not understood.
    """
    found = look(flags, environment)
    if found.problems:
        raise BadSettings(found.problems[0])
    return found.settings


def look(flags: Mapping[str, object], environment: Mapping[str, str]) -> Look:
    """Put the settings together as far as that goes. Arguments as for `load`."""
    problems: list[str] = []
    path, must_exist = _file(flags.get("config"), environment)
    in_file: dict[str, object] = {}
    try:
        in_file = _read_file(path, must_exist=must_exist)
    except BadSettings as error:
        problems.append(str(error))
    values: dict[str, Any] = {"data_dir": paths.data()}
    origins: dict[str, str] = {}
    for source, found in (
        ("the configuration file", in_file),
        ("the environment", _environment(environment)),
        ("the command line", {k: v for k, v in flags.items() if v is not None and k != "config"}),
    ):
        values.update(found)
        origins.update(dict.fromkeys(found, source))
    read: dict[str, Any] = {"data_dir": paths.data()}
    for name, value in values.items():
        try:
            if name not in _READERS:
                raise ValueError("there is no such setting")
            read[name] = _READERS[name](value)
        except ValueError as error:
            problems.append(f"{name} (from {origins.get(name, 'the defaults')}): {error}.")
    settings = Settings(**read)
    if settings.offline and settings.base_url is not None:
        given = f"offline (from {origins['offline']}) and base_url (from {origins['base_url']})"
        problems.append(f"{given} exclude each other: choose one model endpoint.")
    if settings.trace is not None and settings.trace == settings.log_file:
        problems.append(f"log_file and trace are both {settings.trace}: choose another file for one of them.")
    return Look(settings, origins, tuple(problems), path)


def endpoint(
    settings: Settings, environment: Mapping[str, str], *, offline_url: str | None, kept: Secret | None = None
) -> Endpoint | None:
    """The model endpoint that the settings and the environment lead to, None without credentials.

    Args:
        settings: the settings.
        environment: the process's environment, for the credentials that the SDK documents.
        offline_url: where the embedded model listens, if it runs.
        kept: the key that `acp-agent login` kept, if it did.
    """
    if offline_url is not None:
        return GeminiEndpoint(api_key=Secret("offline"), model="offline", base_url=offline_url)
    if settings.base_url is not None:
        return OpenAIEndpoint(base_url=settings.base_url, model=settings.model or OPENAI_DEFAULT_MODEL)
    variable = credentials.in_environment(environment)
    if variable is not None and variable != "GEMINI_API_KEY":
        return VertexEndpoint(model=settings.model)
    key = Secret(environment["GEMINI_API_KEY"]) if variable else kept
    if key is None:
        return None
    return GeminiEndpoint(api_key=key, model=settings.model, base_url=settings.gemini_url)


def needs_kept_key(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Whether nothing but a key that was kept can lead to an endpoint."""
    return not settings.offline and settings.base_url is None and credentials.in_environment(environment) is None


def _file(flag: object, environment: Mapping[str, str]) -> tuple[Path, bool]:
    """The configuration file, and whether it was asked for."""
    named = flag if isinstance(flag, str) else environment.get(CONFIG_VARIABLE)
    default = paths.configuration() / "config.toml"
    return (Path(named), True) if named else (default, False)


def _read_file(path: Path, *, must_exist: bool) -> dict[str, object]:
    try:
        path = path.expanduser()
        if not must_exist and not path.exists():
            return {}
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, RuntimeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"The configuration file {path} cannot be read: {error}.") from error


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{ENVIRONMENT_PREFIX}{name.upper()}"


def _environment(environment: Mapping[str, str]) -> dict[str, object]:
    # An empty variable is how a launcher that cannot unset one says "not set".
    return {name: text for name in NAMES if (text := environment.get(variable(name)))}
