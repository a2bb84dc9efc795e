"""Where a session works and with which MCP servers, as the request says that opens it; checked at the border.

The parameters are read as they came: the SDK's models leave out what is malformed in a list, and a server or
folder that a client names must not be missing without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import JsonValue

from acp_agent.steps import HttpMcpServer, McpServer, StdioMcpServer
from acp_agent.wire import errors
from acp_agent.wire.errors import AgentError, JsonObject

MOST_SERVERS: Final = 64
MOST_FOLDERS: Final = 64

_LONGEST_PATH: Final = 4095
_LONGEST_NAME: Final = 255
"""In bytes; no system call takes more (Linux: PATH_MAX and NAME_MAX)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """See the module. `folders` are the session's own and the additional ones, each once."""

    folders: tuple[Path, ...]
    mcp_servers: tuple[McpServer, ...]

    @property
    def folder(self) -> Path:
        """The session's own folder."""
        return self.folders[0]

    @property
    def additional(self) -> tuple[str, ...]:
        """The other folders, as they are stored and listed."""
        return tuple(str(folder) for folder in self.folders[1:])


def for_new(params: JsonObject, session_id: str | None = None) -> Setup:
    """The setup of a new session, whose folders must be there. `session_id` is the one that it is made of."""
    found = for_stored(params, session_id)
    for number, path in enumerate(found.folders):
        if not path.is_dir():
            name = "cwd" if number == 0 else "additionalDirectories"
            raise _refused(
                "The session's folder does not exist.",
                "no_such_folder",
                f"{name} names {str(path)!r}, and there is no such folder on this machine.",
                session_id,
            )
    return found


def for_stored(params: JsonObject, session_id: str | None) -> Setup:
    """The setup of a session; its folders must be absolute paths, and need not exist."""
    own = folder(params.get("cwd"), "cwd", session_id)
    listed = _items(params, "additionalDirectories", MOST_FOLDERS, session_id)
    others = [folder(path, "additionalDirectories", session_id) for path in listed]
    given = _items(params, "mcpServers", MOST_SERVERS, session_id)
    servers: list[McpServer] = []
    for server in given:
        servers.append(_server(server, {known.name for known in servers}, session_id))
    return Setup(tuple(dict.fromkeys([own, *others])), tuple(servers))


def folder(path: JsonValue, name: str, session_id: str | None = None) -> Path:
    """The folder that a parameter names, which must be an absolute path; it need not exist."""
    if not isinstance(path, str) or "\0" in path or not Path(path).is_absolute():
        raise _refused(
            "The session's folder must be an absolute path.",
            "relative_cwd" if name == "cwd" else "invalid_folder",
            f"{name} is {str(path)[:200]!r}.",
            session_id,
        )
    if len(path.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in path.split("/")):
        raise _refused(
            "The session's folder has a path that is too long.",
            "invalid_folder",
            f"{name} has {len(path.encode())} bytes; {_LONGEST_PATH} are taken, {_LONGEST_NAME} in each name.",
            session_id,
        )
    return Path(path)


def _items(params: JsonObject, name: str, most: int, session_id: str | None) -> list[JsonValue]:
    found = params.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise _refused("Invalid params", "invalid_params", f"{name} must be a list.", session_id)
    if len(found) > most:
        raise _refused(
            "Invalid params", "invalid_params", f"{name} has {len(found)} items; {most} are taken.", session_id
        )
    return found


def _server(given: JsonValue, taken: set[str], session_id: str | None) -> McpServer:
    if not isinstance(given, dict):
        raise _bad_server("An MCP server must be an object.", session_id)
    label = given.get("name")
    if not isinstance(label, str) or not label.strip():
        raise _bad_server("An MCP server needs a name.", session_id)
    name = _distinct(re.sub(r"[^A-Za-z0-9_-]", "_", label)[:60], taken)
    transport = given.get("type") or "stdio"
    if transport == "stdio":
        command, arguments = given.get("command"), given.get("args") or []
        if not isinstance(command, str) or not command:
            raise _bad_server(f"The MCP server {label!r} needs a command.", session_id)
        if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
            raise _bad_server(f"The arguments of the MCP server {label!r} must be a list of strings.", session_id)
        words = tuple(str(argument) for argument in arguments)
        if "\0" in "".join((command, *words)):
            raise _bad_server(f"The command of the MCP server {label!r} cannot be run.", session_id)
        environment = _pairs(given.get("env"), f"The environment of the MCP server {label!r}", session_id)
        return StdioMcpServer(name, command, words, environment)
    if transport == "http":
        url = given.get("url")
        if not isinstance(url, str) or not _is_http(url):
            raise _bad_server(f"The MCP server {label!r} needs a URL of http or https.", session_id)
        return HttpMcpServer(
            name, url, _pairs(given.get("headers"), f"The headers of the MCP server {label!r}", session_id)
        )
    raise _refused(
        "Only MCP servers over stdio and streamable HTTP are supported.",
        "unsupported_mcp_transport",
        f"The MCP server {label[:60]!r} uses {str(transport)[:20]!r}.",
        session_id,
    )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _pairs(given: JsonValue, what: str, session_id: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given if isinstance(given, list) else [] if given is None else [given]:
        name = pair.get("name") if isinstance(pair, dict) else None
        value = pair.get("value") if isinstance(pair, dict) else None
        if (
            not isinstance(name, str)
            or not isinstance(value, str)
            or not name
            or set("\0\r\n") & set(name + value)
        ):
            # What they are is nobody's business, also where they are malformed.
            raise _bad_server(f"{what} must be a list of names and values.", session_id)
        found[name] = value
    return found


def _distinct(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number, found = number + 1, f"{name}_{number + 1}"
    return found


def _bad_server(details: str, session_id: str | None) -> AgentError:
    return _refused("The MCP servers cannot be used.", "invalid_mcp_server", details, session_id)


def _refused(message: str, reason: str, details: str, session_id: str | None) -> AgentError:
    return AgentError(errors.INVALID_PARAMS, message, reason=reason, details=details, session_id=session_id)
