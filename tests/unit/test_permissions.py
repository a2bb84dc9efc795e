"""What may run by mode and rule, what one "always" covers, and that nothing is allowed without a clear yes."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent import permissions
from acp_agent.antigravity import arguments
from acp_agent.options import Mode
from acp_agent.permissions import Rule, Scope, Verdict
from acp_agent.steps import ToolUse

CREATE = ToolUse("create_file", {"TargetFile": "/project/a.txt", "CodeContent": "a", "Overwrite": True})
EDIT = ToolUse("edit_file", {"TargetFile": "/project/b.txt", "TargetContent": "a", "ReplacementContent": "b"})
MCP = ToolUse("deploy", {"target": "production"}, server="ops")
IMAGE = ToolUse("generate_image", {"Prompt": "a cat"})


def command(line: str, at: str = "/project") -> ToolUse:
    return ToolUse("run_command", {"CommandLine": line, "Cwd": at, "WaitMsBeforeAsync": 500})


TOOLS = st.sampled_from([CREATE, EDIT, MCP, IMAGE, command("make test"), command("npm test -- -x"), command("ls")])
LINES = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from([*"abgit ;&|<>$()`\n\\\"'*?!{}~#=-", "git ", "push ", "&& ", "rm -r ."]), max_size=9
    ).map("".join),
)
RULES = st.builds(
    Rule,
    st.sampled_from(list(Scope)),
    st.sampled_from(["/project/a.txt", "make test", "npm test", "ops/deploy", "generate_image", "ls", ""]),
    st.booleans(),
    st.sampled_from(["", "/project", "/elsewhere"]),
)
SHELL = set(";&|<>$`\n\r\\*?~#!(){}[]^")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["scope", "on", "allow", "at"]), inner)
    ),
)


@given(TOOLS, st.sampled_from(Mode), st.lists(RULES, max_size=4), st.booleans())
def test_the_first_line_of_the_table_that_applies_decides(
    tool: ToolUse, mode: Mode, rules: list[Rule], inside: bool
) -> None:
    edit = tool in (CREATE, EDIT)
    covering = [rule for rule in rules if rule.covers(tool, inside=inside)]
    assert permissions.verdict(tool, mode, rules, inside=inside, artifact=edit) is Verdict.ALLOW or not edit
    found = permissions.verdict(tool, mode, rules, inside=inside, artifact=False)
    if mode is Mode.PLAN or any(not rule.allow for rule in covering):
        assert found is Verdict.REFUSE
    elif mode is Mode.AUTONOMOUS or (mode is Mode.AUTO_EDIT and edit and inside) or covering:
        assert found is Verdict.ALLOW
    else:
        assert found is Verdict.ASK


@given(LINES, LINES)
def test_no_command_that_is_more_than_a_program_and_its_arguments_matches_by_its_beginning(
    line: str, more: str
) -> None:
    begins = permissions.prefix(command(line))
    if begins:
        # What a shell makes of it is those two words, and arguments.
        try:
            words = shlex.split(line)
        except ValueError:
            words = line.split()
        assert words[:2] == begins.split(" ")
        assert not set(line) & set(";&|<>$`\n\r\\*?~#!(){}[]^")
    longer = f"git push {line}{more}"
    covered = Rule(Scope.PREFIX, "git push", allow=True, at="/project").covers(command(longer), inside=False)
    assert covered == (not set(longer) & SHELL and permissions.prefix(command(longer)) == "git push")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("npm test", "npm test"),
        ("git log --oneline -5 'a b'", "git log"),
        ("cargo build:all --x=/y", "cargo build:all"),
        ("git", ""),
        ("git -c core.pager=x log", ""),
        ("npm test; rm -r .", ""),
        ("npm test && true", ""),
        ("npm test | tee x", ""),
        ("npm test > /etc/passwd", ""),
        ("npm test $(id)", ""),
        ("npm test `id`", ""),
        ("npm test\nrm -r .", ""),
        ("npm test &", ""),
        ("npm  test", ""),
        (" npm test", ""),
        ("python3 tool.py", ""),
        ("python3.12 m", ""),
        ("bash build", ""),
        ("sudo make", ""),
        ("SUDO make", ""),
        ("bash.exe build", ""),
        ("bash-5.2 build", ""),
        ("podman run", ""),
        ("cp a /etc/passwd", ""),
        ("npm exec rm", ""),
        ("uv run rm", ""),
        ("git config alias.x y", ""),
        ("npm run build", "npm run"),
        ("./npm test", ""),
        ("A=1 npm test", ""),
        ("", ""),
    ],
)
def test_what_a_command_begins_with(line: str, expected: str) -> None:
    assert permissions.prefix(command(line)) == expected


def test_a_rule_about_a_file_holds_however_its_path_is_written() -> None:
    for allow in (True, False):
        rule = Rule(Scope.FILE, "/project/a.txt", allow=allow)
        for path in ("/project/a.txt", "/project/./a.txt", "/project//a.txt", "/project/link/../a.txt"):
            assert rule.covers(replace(CREATE, args={"TargetFile": path}), inside=False)
        for path in ("/project/a.txt/b", "/project/a.txt ", "/a.txt", "/project/b.txt"):
            assert not rule.covers(replace(CREATE, args={"TargetFile": path}), inside=False)
    written = permissions.choices(replace(CREATE, args={"TargetFile": "/project/x/../a.txt"}), inside=False)
    assert Rule(Scope.FILE, "/project/a.txt", allow=True) in [choice.rule for choice in written]


def test_a_rule_about_a_command_holds_for_its_directory_and_no_other_tool() -> None:
    exact = Rule(Scope.COMMAND, "make test", allow=True, at="/project")
    assert exact.covers(command("make test"), inside=False)
    assert not exact.covers(command("make test", "/elsewhere"), inside=False)
    assert not exact.covers(command("make test x"), inside=False)
    for own in (CREATE, EDIT, command("make test")):
        named_alike = replace(own, server="ops")
        rules = [exact, Rule(Scope.FILE, "/project/a.txt", allow=True), Rule(Scope.FOLDERS, "", allow=True)]
        assert not any(rule.covers(named_alike, inside=True) for rule in rules)
        assert Rule(Scope.TOOL, f"ops/{own.name}", allow=True).covers(named_alike, inside=False)
        assert not Rule(Scope.TOOL, own.name, allow=True).covers(own, inside=True)


@given(TOOLS, st.booleans(), st.none() | st.text())
def test_the_options_do_what_they_say_and_nothing_else_allows(
    tool: ToolUse, inside: bool, stranger: str | None
) -> None:
    offered = permissions.choices(tool, inside=inside)
    ids = [choice.id for choice in offered]
    assert len(set(ids)) == len(ids)
    assert {choice.kind for choice in offered} == {"allow_once", "allow_always", "reject_once", "reject_always"}
    for choice in offered:
        assert choice.kind == f"{'allow' if choice.allow else 'reject'}_{'always' if choice.rule else 'once'}"
        assert permissions.chosen(offered, choice.id) == choice
        if choice.rule is not None:
            assert choice.rule.allow == choice.allow
            assert choice.rule.covers(tool, inside=inside)
            after = permissions.verdict(tool, Mode.ASK, [choice.rule], inside=inside, artifact=False)
            assert after is (Verdict.ALLOW if choice.allow else Verdict.REFUSE)
    if stranger not in ids:
        nothing = permissions.chosen(offered, stranger)
        assert (nothing.allow, nothing.rule) == (False, None)


@pytest.mark.parametrize("more", [{"RunPersistent": True}, {"RequestedTerminalID": "t"}])
def test_a_terminal_that_keeps_its_variables_is_asked_about_each_time(more: dict[str, JsonValue]) -> None:
    tool = command("make test")
    kept = replace(tool, args={**tool.args, **more})
    assert {choice.kind for choice in permissions.choices(kept, inside=False)} == {"allow_once", "reject_once"}
    for scope in (Scope.COMMAND, Scope.PREFIX):
        assert not Rule(scope, "make test", allow=True, at="/project").covers(kept, inside=False)
        assert Rule(scope, "make test", allow=False, at="/project").covers(kept, inside=False)


STRANGERS = st.dictionaries(st.text(max_size=3).map(lambda text: f"~{text}"), st.integers(), max_size=3)
"""Arguments that the harness reads for no tool, whatever their case."""


@given(st.sampled_from(sorted(arguments.READ)), STRANGERS)
def test_no_argument_has_a_second_spelling(tool: str, more: dict[str, JsonValue]) -> None:
    for name in arguments.READ[tool]:
        given: dict[str, JsonValue] = {name: 1, **more}
        assert arguments.read(tool, given) == {name: 1}
        assert not arguments.is_unclear(tool, given)
        for other in {name.lower(), name.upper(), name.swapcase()} - {name}:
            assert arguments.is_unclear(tool, {**given, other: 2})
            assert arguments.is_unclear(tool, {other: 2})
    assert arguments.read("view_file", more) == more


def test_what_is_too_long_for_a_rule_is_offered_once_only() -> None:
    offered = permissions.choices(command("x" * permissions.LONGEST_RULE), inside=False)
    assert [choice.kind for choice in offered] == ["allow_once", "reject_once"]


@given(st.lists(RULES, max_size=5), RULES)
def test_rules_are_kept_and_the_last_word_counts(rules: list[Rule], last: Rule) -> None:
    kept = permissions.with_rule(rules, last)
    assert permissions.rules_from(permissions.stored(kept)) == kept
    assert kept[-1] == last
    assert replace(last, allow=not last.allow) not in kept
    text = permissions.rules_text(kept, Mode.ASK)
    assert text.count("\n| ") == len(kept) + 1
    assert permissions.rules_text([], Mode.PLAN).startswith("The session is in *plan* mode.")


@given(JSON)
def test_a_damaged_store_adds_no_rule(kept: JsonValue) -> None:
    for rule in permissions.rules_from(kept):
        assert isinstance(kept, list)
        assert {"scope": rule.scope.value, "on": rule.on, "allow": rule.allow, "at": rule.at}.items() <= max(
            (item.items() for item in kept if isinstance(item, dict) and item.get("on") == rule.on), key=len
        )
