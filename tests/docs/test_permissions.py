"""`docs/permissions.md` says what the code decides."""

from __future__ import annotations

import re
from pathlib import Path

from acp_agent import permissions
from acp_agent.antigravity.sdk_config import GUARDED_TOOLS
from acp_agent.options import Mode
from acp_agent.permissions import Scope
from acp_agent.steps import ToolUse

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text(encoding="utf-8")
WORDS = {"free": "allow", "asks": "ask", "refused": "refuse"}
EDIT = ToolUse("edit_file", {"TargetFile": "/a/b"})
CALLS = {
    "an edit in the session's folders": (EDIT, True, False),
    "an edit elsewhere": (EDIT, False, False),
    "a command": (ToolUse("run_command", {"CommandLine": "make"}), False, False),
    "a tool of an MCP server, an image, a workflow": (ToolUse("x", {}, server="s"), False, False),
    "a document of the model's own (an artifact)": (EDIT, False, True),
}


def test_the_table_of_modes() -> None:
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", PAGE, re.MULTILINE)
    ]
    assert rows[0] == ["call", *(mode.value for mode in Mode)]
    table = {row[0]: row[1:] for row in rows[2:8]}
    assert table.pop("reading, searching") == ["free"] * len(Mode)
    assert not {"view_file", "list_directory", "search_directory", "find_file"} & set(GUARDED_TOOLS)
    assert set(table) == set(CALLS)
    for call, (tool, inside, artifact) in CALLS.items():
        found = [permissions.verdict(tool, mode, (), inside=inside, artifact=artifact).value for mode in Mode]
        assert [WORDS[word] for word in table[call]] == found, call


def test_every_scope_has_a_row() -> None:
    rules = PAGE.split("| rule | covers |\n|---|---|\n")[1].split("\n\n")[0]
    assert len(rules.splitlines()) == len(Scope)
