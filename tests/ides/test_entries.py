"""Entries: what is written for each IDE, and how one that is there already is brought up to date."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from acp_agent.ides import entries
from acp_agent.ides.catalogue import BY_KEY
from acp_agent.ides.entries import NotOurs
from acp_agent.ides.jsonc import Document, NotEdited
from acp_agent.ides.launching import Launch

ZED, ACPX = BY_KEY["zed"], BY_KEY["acpx"]
LAUNCH = Launch("/new/acp-agent")


def put(ide: str, there: JsonValue, arguments: list[str] | None = None, *, force: bool = False) -> JsonValue:
    known = BY_KEY[ide]
    container, name = entries.path(known, known.name)
    document = Document(json.dumps({container: {name: there}} if there is not None else {}))
    text = entries.put(known, document, known.name, LAUNCH, arguments, force=force)
    found: JsonValue = json.loads(text)[container][name]
    return found


def test_what_is_written() -> None:
    command = {"command": "/new/acp-agent", "args": ["--offline"], "env": {}}
    assert put("zed", None, ["--offline"]) == {"type": "custom", **command}
    assert put("jetbrains", None, ["--offline"]) == command
    assert put("acpx", None, ["--offline"]) == {"argv": ["/new/acp-agent", "--offline"]}


def test_an_entry_of_ours_keeps_what_is_not_the_command() -> None:
    mine: dict[str, JsonValue] = {"env": {"GOOGLE_CLOUD_PROJECT": "p"}, "default_mode": "plan"}
    old: JsonValue = {
        "type": "custom",
        "command": "/old/python3",
        "args": ["-m", "acp_agent", "--model", "m"],
        **mine,
    }
    assert put("zed", old) == {"type": "custom", "command": "/new/acp-agent", "args": ["--model", "m"], **mine}
    assert put("zed", old, ["--offline"]) == {
        "type": "custom",
        "command": "/new/acp-agent",
        "args": ["--offline"],
        **mine,
    }
    # Zed reads no entry without a type; this one was written for an older Zed.
    assert put("zed", {"command": "acp-agent"}) == {"command": "/new/acp-agent", "type": "custom", "args": []}
    assert put("jetbrains", {"command": "acp-agent", "use_idea_mcp": True}) == {
        "command": "/new/acp-agent",
        "args": [],
        "use_idea_mcp": True,
    }
    assert put("acpx", {"argv": ["acp-agent", "--offline"]}) == {"argv": ["/new/acp-agent", "--offline"]}
    # acpx takes `argv` or these two, never both.
    assert put("acpx", {"command": "acp-agent", "args": ["--offline"], "note": "mine"}) == {
        "argv": ["/new/acp-agent", "--offline"],
        "note": "mine",
    }


@pytest.mark.parametrize(
    "other",
    [
        {"type": "custom", "command": "/opt/gemini", "args": ["--acp"], "env": {"KEY": "k"}},
        {"type": "registry"},
        {"command": ["acp-agent"]},
        {"command": "acp-agent", "args": "--offline"},
        {"command": "acp-agent", "args": [1]},
        {"argv": []},
        "acp-agent",
        [],
        {},
    ],
)
def test_what_is_not_ours_is_replaced_by_force_only(other: JsonValue) -> None:
    text = json.dumps({"agent_servers": {"Antigravity": other}})
    with pytest.raises(NotOurs, match="'Antigravity' is the name of another agent in Zed"):
        put("zed", other)
    with pytest.raises(NotOurs):
        entries.taken(ZED, Document(text), "Antigravity", force=False)
    assert put("zed", other, force=True) == entries.new(ZED, LAUNCH.command())
    assert json.loads(entries.taken(ZED, Document(text), "Antigravity", force=True)) == {}


def test_what_is_right_already_is_not_touched() -> None:
    entry = '{"env": {"A": "b"}, "args":[] ,"command": "/new/acp-agent","type":"custom"}'
    text = f'{{"agent_servers": {{"Antigravity": {entry}}}}}'
    assert entries.put(ZED, Document(text), "Antigravity", LAUNCH, None, force=False) == text


def test_only_an_entry_of_that_name_is_taken_out() -> None:
    text = '{"agent_servers": {"Mine": {"command": "acp-agent"}, "Antigravity": {"command": "acp-agent"}}}'
    assert [entry.name for entry in entries.read(ZED, Document(text)) if entry.ours] == ["Mine", "Antigravity"]
    assert json.loads(entries.taken(ZED, Document(text), "Antigravity", force=False)) == {
        "agent_servers": {"Mine": {"command": "acp-agent"}}
    }
    with pytest.raises(NotEdited, match=r"has nothing at agent_servers\.Other"):
        entries.taken(ZED, Document(text), "Other", force=False)


def test_a_kept_text_counts_only_if_the_entry_is_all_that_came() -> None:
    now = Document("{}").with_value(("agent_servers", "Antigravity"), {"command": "acp-agent"})
    assert entries.before(ZED, now, "Antigravity", ["", '{"a": 1}', "[", now, "{}", "{ }"]) == "{}"
    assert entries.before(ZED, now, "Antigravity", ['{"a": 1}', now]) is None
