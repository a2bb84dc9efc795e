"""The API key that `acp-agent login` keeps: in the system's keyring, or in a file that only its user can read.

A key in the environment, and flags that name another endpoint, come first; this is looked at only without them.
The keyring may be slow to answer, or ask a person to unlock it, and a client waits for the answer to
`initialize`: it is given `KEYRING_SECONDS`, on a thread that nobody waits for any longer. Keys are never logged,
and an error never holds one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from acp_agent import redaction
from acp_agent.logs import Event, say
from acp_agent.secret import Secret
from acp_agent.system import paths
from sessions.system import files

if TYPE_CHECKING:
    from acp_agent.wire.errors import JsonObject

log = logging.getLogger(__name__)

SERVICE: Final = "acp-agent"
USER: Final = "gemini-api-key"
"""What the key is kept under in the keyring."""

KEYRING_SECONDS: Final = 1.0
"""How long the keyring may take to give a key."""

ASKED_SECONDS: Final = 60.0
"""How long it may take when a person has asked for it, who may have to unlock it first."""

_FORM: Final = re.compile(r"[\x21-\x7e]{8,512}")

Result = TypeVar("Result")


class BadKey(ValueError):
    """What was given cannot be an API key; the message says why and does not hold it."""


class KeyFileRefused(Exception):
    """The file cannot be used as it is; one sentence says why, and what to do."""


class KeyringRefused(Exception):
    """There is a keyring, and it did not do what it was asked, or not in time; one sentence says so."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A key that was kept, and where: `keyring` or the file."""

    key: Secret
    where: str


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where a key is kept now, in words; `instead` says why not in the keyring that there is, None otherwise."""

    where: str
    instead: str | None = None


def key_file() -> Path:
    """Where the key is kept if there is no keyring."""
    return paths.configuration() / "credentials"


def unfinished_file() -> Path:
    """What the file is written to first. A login that is killed leaves it, with the key in it."""
    return key_file().with_name(f"{key_file().name}.new")


def checked(text: str) -> Secret:
    """A key as it was typed or piped in, without the white space around it.

    Raises:
        BadKey: it cannot be one.
    """
    key = text.strip()
    if not key:
        raise BadKey("No key was given.")
    if not _FORM.fullmatch(key):
        raise BadKey("An API key has 8 to 512 letters, digits and signs, and no white space.")
    return Secret(key)


def kept(*, seconds: float = KEYRING_SECONDS) -> Kept | None:
    """The key that was kept, None if there is none, or none that can be read now."""
    try:
        if found := in_keyring(seconds=seconds):
            return Kept(found, "keyring")
    except KeyringRefused as refused:
        say(log, Event.KEYRING_SILENT, str(refused))
    try:
        key = in_file()
    except KeyFileRefused as refused:
        say(log, Event.KEY_UNREADABLE, str(refused))
        return None
    return Kept(key, str(key_file())) if key else None


def in_keyring(*, seconds: float) -> Secret | None:
    """The key that the system's keyring holds, None if it holds none, or there is no keyring.

    Raises:
        KeyringRefused: there is one, and it refuses, or does not answer in time.
    """
    found = _in_time(_from_keyring, seconds)
    redaction.process.learn([found] if found else [])
    return Secret(found) if found else None


def in_file() -> Secret | None:
    """The key that the file holds, None if there is no file.

    Raises:
        KeyFileRefused: the file cannot be used as it is.
    """
    path = key_file()
    try:
        handle = files.open_strange(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileRefused(f"The key in {path} cannot be read: {error.strerror}.") from None
    with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileRefused(f"{path} is no file.")
        if files.others_may(found):
            raise KeyFileRefused(f"The key in {path} is not used: others can read it. Run chmod 600 on the file.")
        text = file.read(1024)
    try:
        key = checked(text)
        redaction.process.learn([key.reveal()])
        return key
    except BadKey:
        raise KeyFileRefused(f"What is in {path} is no API key.") from None


def keep(key: Secret) -> Keeping:
    """Keep a key, in place of the one before.

    A keyring that refuses may hold an earlier key, which cannot be removed then, and comes first again when the
    keyring answers: `Keeping.instead` is for telling that.

    Raises:
        OSError: it could not be kept anywhere.
    """
    instead: str | None = None
    try:
        if _in_time(lambda: _to_keyring(key.reveal()), ASKED_SECONDS):
            # One that an earlier login left in the file would come back when this one is gone.
            _remove_files()
            return Keeping("the system keyring")
    except KeyringRefused as refused:
        instead = str(refused)
    _to_file(key.reveal())
    return Keeping(str(key_file()), instead)


def forget() -> bool:
    """Remove the key that was kept, wherever it is; whether there was one.

    Raises:
        OSError: the file cannot be removed.
        KeyringRefused: there is none in the file any more, and there may be one in the keyring.
    """
    in_file = _remove_files()
    return bool(_in_time(_out_of_keyring, ASKED_SECONDS)) or in_file


def auth_methods(params: JsonObject) -> list[JsonObject]:
    """How a client can have credentials made, for the answer to `initialize`. Only for when there are none.

    Args:
        params: the parameters of `initialize`: a terminal is offered only to a client that has said it has one.
    """
    capabilities = params.get("clientCapabilities")
    auth = capabilities.get("auth") if isinstance(capabilities, dict) else None
    if isinstance(auth, dict) and auth.get("terminal") is True:
        return [
            {
                "type": "terminal",
                "id": TERMINAL,
                "name": "Log in with an API key",
                "description": "Asks for a Gemini API key in a terminal and keeps it in the system keyring",
                "args": ["login"],
            }
        ]
    return [
        {
            "id": AGENT,
            "name": "Log in with an API key",
            "description": "Run `acp-agent login` in a terminal, or set GEMINI_API_KEY, then try again",
        }
    ]


TERMINAL: Final = "login"
AGENT: Final = "login-elsewhere"
METHODS: Final = (TERMINAL, AGENT)

KEY_VARIABLE: Final = "GEMINI_API_KEY"
VERTEX_VARIABLES: Final = ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE")
"""The variables that ask for Vertex AI, as the SDK documents them."""


def in_environment(environment: Mapping[str, str]) -> str | None:
    """The variable that credentials come from, None if there is none."""
    for name in VERTEX_VARIABLES:
        if environment.get(name, "").lower() in ("true", "1"):
            return name
    return KEY_VARIABLE if environment.get(KEY_VARIABLE) else None


def _from_keyring() -> str | None:
    import keyring  # noqa: PLC0415  (takes long, and is seldom needed)

    return keyring.get_password(SERVICE, USER)


def _to_keyring(key: str) -> bool:
    import keyring  # noqa: PLC0415

    keyring.set_password(SERVICE, USER, key)
    return keyring.get_password(SERVICE, USER) == key


def _out_of_keyring() -> bool:
    import keyring  # noqa: PLC0415

    if keyring.get_password(SERVICE, USER) is None:
        return False
    keyring.delete_password(SERVICE, USER)
    return True


def _in_time(ask: Callable[[], Result], seconds: float) -> Result | None:
    """What the keyring says, None if there is no keyring.

    Raises:
        KeyringRefused: there is one, and it refuses, or does not answer in time.
    """
    answers: queue.SimpleQueue[tuple[Result | None, str | None]] = queue.SimpleQueue()

    def run() -> None:
        result: Result | None = None
        try:
            from keyring.errors import NoKeyringError  # noqa: PLC0415

            with contextlib.suppress(NoKeyringError):
                result = ask()
        except Exception as error:  # a keyring raises what it likes: locked, dismissed, no session bus
            answers.put((None, type(error).__name__))
        else:
            answers.put((result, None))

    threading.Thread(target=run, name="keyring", daemon=True).start()
    try:
        result, trouble = answers.get(timeout=seconds)
    except queue.Empty:
        raise KeyringRefused(f"The system keyring did not answer in {seconds:.0f} s.") from None
    if trouble is not None:
        raise KeyringRefused(f"The system keyring cannot be used now ({trouble}).")
    return result


def _to_file(key: str) -> None:
    from sessions import durable  # noqa: PLC0415  (imports sqlite3, which reading a key does not need)

    key_file().parent.mkdir(mode=files.FOLDER_MODE, parents=True, exist_ok=True)
    durable.write_file(key_file(), f"{key}\n".encode())


def _remove_files() -> bool:
    """Remove every file that may hold a key; whether there was one."""
    gone = False
    for path in (unfinished_file(), key_file()):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            gone = True
    return gone
