"""What a message says, in a few words on one line. Pure.

Nothing is taken for granted: a client or an agent may have sent anything, and a trace may be without texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from pydantic import JsonValue

    JsonObject: TypeAlias = dict[str, JsonValue]

LIMIT: Final = 200
"""Characters of a gist."""


def of_params(method: str, params: JsonObject) -> str:
    """What a request or notification says."""
    if method == "session/update":
        return bounded(_update(_object(params, "update")))
    says = _PARAMS.get(method)
    return bounded(says(params) if says else _names(params))


def of_result(method: str, result: JsonValue) -> str:
    """What the answer to a request says."""
    found = result if isinstance(result, dict) else {}
    says = _RESULTS.get(method)
    return bounded(says(found) if says else _names(found) or "done")


def of_error(error: JsonValue) -> str:
    """What an error says: its code, its message and its reason."""
    found = error if isinstance(error, dict) else {}
    reason = _text(_object(found, "data"), "reason")
    return bounded(f"error {found.get('code')}: {_text(found, 'message')}{f' ({reason})' if reason else ''}")


def turn_of(result: JsonValue) -> int | None:
    """The turn that the answer to a prompt is about, None if it says none."""
    meta = _object(result, "_meta") if isinstance(result, dict) else {}
    turn = _object(meta, "acp-agent/checkpoint").get("turn")
    return turn if isinstance(turn, int) else None


def update_kind(params: JsonObject) -> str:
    """The kind of a `session/update`."""
    return _text(_object(params, "update"), "sessionUpdate") or "session/update"


def chunk_text(params: JsonObject) -> str:
    """The text of a piece of a message, empty if it has none."""
    return _text(_object(_object(params, "update"), "content"), "text")


def _update(update: JsonObject) -> str:
    kind = _text(update, "sessionUpdate")
    if kind.endswith("_chunk"):
        content = _object(update, "content")
        return _quoted(_text(content, "text")) or _text(content, "type")
    says = _UPDATES.get(kind)
    return says(update) if says else _names(update, "sessionUpdate")


def _tool_call(update: JsonObject) -> str:
    words = [_text(update, name) for name in ("status", "kind", "title")]
    call = _text(update, "toolCallId")
    return " ".join(word for word in (call, *words) if word)


def _initialize(params: JsonObject) -> str:
    info = _object(params, "clientInfo")
    about = " ".join(filter(None, (_text(info, "name"), _text(info, "version"))))
    can = ", ".join(sorted(_object(params, "clientCapabilities")))
    return f"{about or 'unknown client'}, protocol {params.get('protocolVersion')}{f', can {can}' if can else ''}"


def _initialized(result: JsonObject) -> str:
    info = _object(result, "agentInfo")
    login = f", {_count(result, 'authMethods')} ways to log in" if result.get("authMethods") else ""
    return f"{_text(info, 'name')} {_text(info, 'version')}, protocol {result.get('protocolVersion')}{login}"


def _opening(params: JsonObject) -> str:
    servers = _count(params, "mcpServers")
    return f"in {_text(params, 'cwd')}" + (f", {servers} MCP servers" if servers else "")


def _prompt(params: JsonObject) -> str:
    blocks = params.get("prompt")
    found = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    text = " ".join(_text(block, "text") for block in found if block.get("type") == "text")
    others = [_text(block, "type") for block in found if block.get("type") != "text"]
    return " ".join(filter(None, (_quoted(text), *(f"+{other}" for other in others if other))))


def _prompted(result: JsonObject) -> str:
    saved = _object(_object(result, "_meta"), "acp-agent/checkpoint")
    words = _text(result, "stopReason")
    if saved:
        state = f"on disk, {saved.get('steps')} steps" if saved.get("durable") else "NOT on disk"
        words += f", turn {saved.get('turn')} {state}, {saved.get('ms')} ms"
    return words


def _loaded(result: JsonObject) -> str:
    report = _object(_object(result, "_meta"), "acp-agent/resume")
    if not report:
        return "done"
    context = f"{report.get('turnsInContext')} of {report.get('turns')} turns in context"
    return f"{_text(report, 'outcome')}/{_text(report, 'reason')}, {context}"


def _permission(params: JsonObject) -> str:
    options = params.get("options")
    found = (
        [_text(each, "optionId") for each in options if isinstance(each, dict)]
        if isinstance(options, list)
        else []
    )
    return f"{_tool_call(_object(params, 'toolCall'))} ({', '.join(found)})"


def _permitted(result: JsonObject) -> str:
    outcome = _object(result, "outcome")
    return _text(outcome, "optionId") or _text(outcome, "outcome")


def _listed(name: str) -> Callable[[JsonObject], str]:
    return lambda value: f"{_count(value, name)} {name}"


def _said(*names: str) -> Callable[[JsonObject], str]:
    return lambda value: " ".join(str(value[name]) for name in names if value.get(name) is not None)


_PARAMS: Final[Mapping[str, Callable[[JsonObject], str]]] = {
    "initialize": _initialize,
    "authenticate": _said("methodId"),
    "session/new": _opening,
    "session/load": _opening,
    "session/resume": _opening,
    "session/fork": _opening,
    "session/prompt": _prompt,
    "session/cancel": lambda _: "",
    "session/close": lambda _: "",
    "session/set_mode": _said("modeId"),
    "session/set_config_option": _said("configId", "value"),
    "session/list": _said("cwd", "cursor"),
    "session/request_permission": _permission,
    "elicitation/create": lambda params: _quoted(_text(params, "message")),
    "$/cancel_request": lambda params: f"#{params.get('requestId')}",
}

_RESULTS: Final[Mapping[str, Callable[[JsonObject], str]]] = {
    "initialize": _initialized,
    "session/new": _said("sessionId"),
    "session/fork": _said("sessionId"),
    "session/load": _loaded,
    "session/resume": _loaded,
    "session/list": _listed("sessions"),
    "session/prompt": _prompted,
    "session/request_permission": _permitted,
    "session/status": _said("status"),
    "elicitation/create": _said("action"),
}

_UPDATES: Final[Mapping[str, Callable[[JsonObject], str]]] = {
    "tool_call": _tool_call,
    "tool_call_update": _tool_call,
    "plan": _listed("entries"),
    "available_commands_update": _listed("availableCommands"),
    "config_option_update": _listed("configOptions"),
    "current_mode_update": _said("currentModeId"),
    "usage_update": lambda update: f"{update.get('used')} of {update.get('size')} tokens",
    "session_info_update": lambda update: (
        _loaded(update) if "_meta" in update else _quoted(_text(update, "title"))
    ),
    "notice": lambda update: (
        f"{_text(update, 'severity')}: {_text(update, 'title')}: {_text(update, 'description')}"
    ),
}


def _names(value: JsonObject, *but: str) -> str:
    return ", ".join(name for name in value if name not in ("sessionId", "_meta", *but))


def _quoted(text: str) -> str:
    return f"“{text}”" if text else ""


def _object(value: JsonObject, name: str) -> JsonObject:
    member = value.get(name)
    return member if isinstance(member, dict) else {}


def _text(value: JsonObject, name: str) -> str:
    member = value.get(name)
    return member if isinstance(member, str) else ""


def _count(value: JsonObject, name: str) -> int:
    member = value.get(name)
    return len(member) if isinstance(member, list) else 0


def bounded(text: str) -> str:
    """On one line, without anything that a terminal would act upon."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * LIMIT]).split())
    return line if len(line) <= LIMIT else f"{line[: LIMIT - 1]}…"
