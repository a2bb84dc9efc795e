"""The support file: what others need to know to help, and nothing that is only the user's.

No conversation, title, prompt, path of a project, key or environment of an MCP server is put in, and everything
that is put in goes through `privacy`, which takes out the rest: the names of the user and the machine, folders,
what looks like a secret. Of settings and variables there are the names. Nothing is sent anywhere; the user looks
at it first.
"""

from __future__ import annotations

import getpass
import io
import json
import locale
import os
import platform
import re
import socket
import sqlite3
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil
from pydantic import JsonValue
from rich.console import Console

from acp_agent.config import ENVIRONMENT_PREFIX
from acp_agent.doctor import access, versions
from acp_agent.doctor.findings import Checked, Finding, as_json
from acp_agent.doctor.privacy import Privacy
from acp_agent.doctor.showing import as_text
from acp_agent.doctor.situation import Situation
from acp_agent.redaction import secrets_in_environment
from acp_agent.system import paths
from sessions import durable
from sessions.health import Happened, Health

LOG_BYTES: Final = 200_000
"""How much of the end of the log is put in."""

WIDTH: Final = 120

CONTENTS: Final = (
    ("README.txt", "this list"),
    ("doctor.txt", "the findings, to be read"),
    ("doctor.json", "the same for programs"),
    ("versions.json", "the versions of Python, of the system and of the packages"),
    ("settings.json", "which settings are set and where; addresses and folders are left out"),
    ("environment.json", "the names of variables that count, and whether they are empty"),
    ("sessions.json", "of each session: id, sizes, what it holds, what happened to it"),
    ("log.txt", "the end of the log file, if there is one"),
)

_VARIABLES: Final = re.compile(
    r"ACP_|ANTIGRAVITY|GEMINI|GOOGLE|CLOUDSDK|OPENAI|OLLAMA|(?:https?|all|no|ftp|socks)_proxy$|SSL_CERT|REQUESTS_CA"
    r"|PYTHON|VIRTUAL_ENV|UV_|PIPX|XDG_|HOME$|USERPROFILE|APPDATA|TMPDIR|TEMP$|TMP$|PATH$|LANG$|LC_|TERM|COLORTERM"
    r"|NO_COLOR|FORCE_COLOR|SSH_CONNECTION|WSL|container$|DBUS_SESSION|SHELL$",
    re.IGNORECASE,
)

_OPEN_WORDS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,40}")
"""What the name of a client may be that is put in as it is, before the names of the user and the machine go."""


def default_name() -> str:
    """The name of a support file that is made now."""
    return f"acp-agent-support-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"


def told(target: Path) -> str:
    """What the user is told of a support file."""
    lines = "\n".join(f"  {name:<16} {what}" for name, what in CONTENTS)
    return (
        f"\nThe support file {target} was written, for you alone. In it are\n{lines}\n"
        "There are no conversations, titles, folders of projects or keys in it, as far as they can be told.\n"
        "Look at it before you send it to anybody. It was not sent anywhere."
    )


def write(target: Path, checked: Sequence[Checked], situation: Situation) -> None:
    """Write the support file, which only its user can read.

    Raises:
        FileExistsError: there is such a file already; it is left as it is.
        OSError: it cannot be written.
    """
    content = packed(checked, situation)
    durable.make_file(target)
    try:
        target.write_bytes(content)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def packed(checked: Sequence[Checked], situation: Situation) -> bytes:
    """The support file's bytes."""
    privacy = _privacy(situation)
    clean = [_clean(each, privacy) for each in checked]
    files = {
        "README.txt": "\n".join(f"{name}: {what}" for name, what in CONTENTS) + "\n",
        "doctor.txt": _text(clean),
        "doctor.json": _json(as_json(clean)),
        "versions.json": _json(_versions()),
        "settings.json": _json(_settings(situation, privacy)),
        "environment.json": _json(_environment(situation.environment)),
        "sessions.json": _json(_sessions(situation, privacy)),
        "log.txt": _log(situation, privacy),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, _ in CONTENTS:
            archive.writestr(name, files[name])
    return made.getvalue()


def _privacy(situation: Situation) -> Privacy:
    home = Path.home()
    places: dict[str, str] = {}
    for path, name in (
        (Path(sys.prefix), "<python>"),
        (Path(__file__).parents[2], "<packages>"),
        (paths.configuration(), "<config>"),
        (situation.settings.data_dir, "<data>"),
    ):
        # One that the whole home folder is in would show what is there.
        places |= {str(each): name for each in (path, path.resolve()) if not home.is_relative_to(each)}
    # What is inside these is the user's.
    for path in (home, home.resolve(), Path.cwd(), *_folders(situation.sessions)):
        places.setdefault(str(path), "<path>")
    kept = situation.kept
    secrets = [*secrets_in_environment(situation.environment)]
    secrets += [key.reveal() for key in (kept.keyring, kept.file) if key is not None]
    return Privacy(secrets=secrets, places=places, private=_titles(situation.sessions), names=_names())


def _folders(found: Iterable[Health]) -> set[Path]:
    """The folders that sessions work in."""
    of_all: set[Path] = set()
    for each in found:
        if each.summary is not None:
            of_all |= {Path(path) for path in (each.summary.cwd, *each.summary.additional_directories) if path}
    return of_all - {Path("/")}


def _titles(found: Iterable[Health]) -> set[str]:
    return {each.summary.title for each in found if each.summary is not None and each.summary.title}


def _names() -> dict[str, str]:
    names: dict[str, str] = {}
    host = socket.gethostname()
    if host and host != "localhost":
        names |= {host: "<host>", host.partition(".")[0]: "<host>"}
    with suppress(Exception):  # there may be no such user
        names[getpass.getuser()] = "<user>"
    with suppress(psutil.Error):
        names[re.split(r"[\\/]", psutil.Process().username())[-1]] = "<user>"
    names[Path.home().name] = "<user>"
    return names


def _clean(checked: Checked, privacy: Privacy) -> Checked:
    return Checked(
        checked.name, checked.group, tuple(_clean_finding(each, privacy) for each in checked.findings), checked.ms
    )


def _clean_finding(finding: Finding, privacy: Privacy) -> Finding:
    def clean(text: str) -> str:
        for private in sorted(finding.private, key=len, reverse=True):
            if private:
                text = text.replace(private, "<private>")
        return privacy.text(text)

    return Finding(finding.state, clean(finding.found), None if finding.remedy is None else clean(finding.remedy))


def _text(checked: Sequence[Checked]) -> str:
    written = io.StringIO()
    as_text(checked, Console(file=written, width=WIDTH, highlight=False, markup=False, emoji=False))
    return written.getvalue()


def _json(value: JsonValue) -> str:
    return json.dumps(value, indent=2) + "\n"


def _versions() -> JsonValue:
    return {
        "packages": dict(versions.versions()),
        "testedHarness": versions.TESTED_HARNESS,
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "implementation": platform.python_implementation(),
        "sqlite": sqlite3.sqlite_version,
        "encoding": locale.getpreferredencoding(do_setlocale=False),
        "virtualEnvironment": sys.prefix != sys.base_prefix,
    }


def _settings(situation: Situation, privacy: Privacy) -> JsonValue:
    look = situation.look
    told: dict[str, JsonValue] = {}
    for setting in fields(look.settings):
        value = getattr(look.settings, setting.name)
        url = isinstance(value, str) and "://" in value
        shown = (
            value if isinstance(value, bool | int | float | None) else access.shown(value) if url else str(value)
        )
        told[setting.name] = {
            "value": privacy.text(shown) if isinstance(shown, str) else shown,
            "from": look.origins.get(setting.name, "the defaults"),
        }
    return told


def _environment(environment: Mapping[str, str]) -> JsonValue:
    """The names of the variables that count; what they hold is not told."""
    return {
        name: "<set>" if value else "<empty>"
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX) or _VARIABLES.match(name)
    }


def _sessions(situation: Situation, privacy: Privacy) -> JsonValue:
    return [_session(each, privacy) for each in situation.sessions]


def _session(each: Health, privacy: Privacy) -> JsonValue:
    summary = each.summary
    client = each.client if each.client and _OPEN_WORDS.fullmatch(each.client) else None
    return {
        "sessionId": each.session_id,
        "version": each.version,
        "readable": each.problem is None,
        "tooNew": each.too_new,
        "client": privacy.text(client) if client else None,
        "updatedAt": summary.updated_at if summary else None,
        "turns": summary.turns if summary else None,
        "checkpoint": summary.checkpoint.wire() if summary and summary.checkpoint else None,
        "outcome": summary.outcome.value if summary and summary.outcome else None,
        "reason": summary.reason.value if summary and summary.reason else None,
        "rows": dict(each.rows),
        "events": [_event(happened) for happened in each.events],
        "bytes": each.bytes,
        "aside": each.aside,
        "restoring": each.restoring,
        "salvaging": each.salvaging,
        "open": each.busy is not None,
    }


def _event(happened: Happened) -> JsonValue:
    load = {"outcome": happened.outcome.value if happened.outcome else None, "reason": happened.reason}
    return {
        "at": happened.at,
        "kind": happened.kind.value,
        "turn": happened.turn,
        **(load if happened.outcome else {}),
    }


def _log(situation: Situation, privacy: Privacy) -> str:
    """The end of the log file, as far as there is one."""
    path = situation.settings.log_file
    if path is None:
        return "No log file is set.\n"
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - LOG_BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"The log file cannot be read: {error.strerror}.\n"
    if size > LOG_BYTES:
        lines = lines[1:]  # the first is cut
    return "".join(f"{privacy.text(line, quotes=True)}\n" for line in lines)
