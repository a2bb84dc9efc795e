"""What one "always" covers, and that nothing is allowed without a clear yes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent import permissions
from acp_agent.steps import ToolUse
from acp_agent.toolcalls import subject

CREATE = ToolUse("create_file", {"TargetFile": "/project/a.txt", "CodeContent": "a", "Overwrite": True})
EDIT = ToolUse("edit_file", {"TargetFile": "/project/b.txt", "TargetContent": "a", "ReplacementContent": "b"})
COMMAND = ToolUse("run_command", {"CommandLine": "make test", "Cwd": "/project", "WaitMsBeforeAsync": 500})
MCP = ToolUse("deploy", {"target": "production"}, server="ops")

ARGUMENTS = st.dictionaries(
    st.sampled_from(["TargetFile", "file_path", "CommandLine", "command_line", "query"]), st.text(max_size=9)
)
TOOLS = st.builds(
    ToolUse,
    name=st.sampled_from(["create_file", "edit_file", "run_command", "view_file", "generate_image", "deploy", ""]),
    args=ARGUMENTS,
    server=st.sampled_from([None, None, "ops", "files"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def test_a_rule_covers_all_edits_one_command_line_or_one_tool() -> None:
    assert permissions.rule(CREATE) == permissions.rule(EDIT) == "edit"
    assert permissions.rule(COMMAND) == "execute:make test"
    assert permissions.rule(MCP) == "tool:ops/deploy"
    assert permissions.rule(ToolUse("deploy", {}, server="other")) == "tool:other/deploy"
    assert permissions.rule(ToolUse("deploy", {})) == "tool:/deploy"


@given(TOOLS, TOOLS)
def test_two_calls_share_a_rule_only_if_they_are_edits_the_same_command_or_the_same_tool(
    one: ToolUse, other: ToolUse
) -> None:
    same_tool = (one.server, one.name) == (other.server, other.name)
    own = one.server is None and other.server is None
    kinds = {subject(one).kind, subject(other).kind}
    same_kind = own and (kinds == {"edit"} or (kinds == {"execute"} and subject(one).on == subject(other).on))
    expected = same_kind if own and kinds & {"edit", "execute"} else same_tool
    assert (permissions.rule(one) == permissions.rule(other)) == expected


def test_an_mcp_tool_with_the_name_of_a_harness_tool_is_not_covered_by_its_rule() -> None:
    for own in (CREATE, EDIT, COMMAND):
        named_alike = ToolUse(own.name, own.args, server="ops")
        assert permissions.rule(named_alike) == f"tool:ops/{own.name}"
        assert [option["name"] for option in permissions.options(named_alike)] == [
            "Allow",
            "Always allow this tool in this session",
            "Reject",
            "Always reject this tool in this session",
        ]


def test_the_options_say_what_their_answers_mean() -> None:
    scopes = {"all edits": EDIT, "this command": COMMAND, "this tool": MCP}
    for scope, tool in scopes.items():
        offered = {str(option["optionId"]): option for option in permissions.options(tool)}
        assert all(option["kind"] == option_id for option_id, option in offered.items())
        for option_id, option in offered.items():
            allows, lasts = permissions.answer(option_id)
            assert ("allow" in str(option["name"]).lower()) == allows
            assert ("reject" in str(option["name"]).lower()) == (not allows)
            assert (
                f"lways {'allow' if allows else 'reject'} {scope} in this session" in str(option["name"])
            ) == lasts
        assert {permissions.answer(option_id) for option_id in offered} == {
            (True, False),
            (True, True),
            (False, False),
            (False, True),
        }


@given(st.none() | st.text())
def test_nothing_but_a_clear_yes_allows(option_id: str | None) -> None:
    allows, lasts = permissions.answer(option_id)
    assert allows == (option_id in ("allow_once", "allow_always"))
    assert lasts == (option_id in ("allow_always", "reject_always"))


@given(st.dictionaries(st.text(), st.booleans()))
def test_kept_rules_come_back(rules: dict[str, bool]) -> None:
    assert permissions.rules_from(dict[str, JsonValue](rules)) == rules


@given(JSON)
def test_a_damaged_store_adds_no_rule(stored: JsonValue) -> None:
    answers = (
        {name: value for name, value in stored.items() if value is True or value is False}
        if (isinstance(stored, dict))
        else {}
    )
    assert permissions.rules_from(stored) == answers
