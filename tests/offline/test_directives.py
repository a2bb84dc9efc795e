"""Reading directives: what is written is read back, and nothing a user can type makes it raise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from acp_agent.offline.decide import decide
from acp_agent.offline.directives import (
    Call,
    Directive,
    Drop,
    Fail,
    Help,
    ReplaceFileContent,
    RunCommand,
    Say,
    Stall,
    Stream,
    Think,
    ToolDirective,
    ViewFile,
    WriteToFile,
    write_directive,
)
from acp_agent.offline.forms import FORMS, MAX_PAUSE_MS, MAX_WORDS, Malformed, read_directives
from acp_agent.offline.reply import Answer
from acp_agent.offline.script import read_script
from tests.offline.conversations import Prompt, request

texts = st.text(min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
commands = st.text().map(lambda text: text.replace("\n", " ").strip() or "true")
names = st.text().map(lambda text: "".join(text.split()) or "tool")
tool_directives: st.SearchStrategy[ToolDirective] = st.one_of(
    st.builds(ViewFile, texts),
    st.builds(WriteToFile, texts, texts),
    st.builds(ReplaceFileContent, texts, texts, st.text()),
    st.builds(RunCommand, commands),
    st.builds(Call, names, st.dictionaries(st.text(), json_values)),
)
directives: st.SearchStrategy[Directive] = st.one_of(
    tool_directives,
    st.builds(Say, texts),
    st.builds(Think, texts),
    st.builds(Stream, st.integers(1, MAX_WORDS), st.integers(0, MAX_PAUSE_MS)),
    st.builds(Fail, st.integers(400, 599), st.text()),
    st.just(Drop()),
    st.just(Stall()),
    st.just(Help()),
)
ordinary_lines = st.one_of(
    st.text().map(lambda line: line.replace("\n", " ")).filter(lambda line: not line.startswith("!")),
    st.sampled_from(["![a picture](x.png)", "!", "! not a directive", "!1", " !say indented", "!écoute"]),
)
scribbles = st.lists(
    st.one_of(
        st.text(), st.builds(lambda name, rest: f"!{name} {rest}", st.sampled_from([*FORMS, "x"]), st.text())
    )
).map("\n".join)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(directives, ordinary_lines)), st.sampled_from(["\n", "\r\n"]))
def test_every_directive_is_read_back_from_its_line_among_ordinary_lines(
    pairs: list[tuple[Directive, str]], line_end: str
) -> None:
    prompt = "".join(f"{write_directive(d)}{line_end}{line}{line_end}" for d, line in pairs)

    assert read_directives(prompt) == tuple(directive for directive, _ in pairs)


@settings(deadline=None)  # the machine may be busy
@given(scribbles)
def test_no_prompt_makes_the_model_raise(prompt: str) -> None:
    decide(request("openai", Prompt(prompt)))


def test_handwritten_lines_mean_what_the_documentation_says() -> None:
    prompt = "\n".join(
        [
            "!view_file  src/main.py ",
            "!view_file 'it is \\n raw'",
            r'!write_to_file "a b.txt" one\n\ttwo\\n "three"',
            r'!write_to_file a.txt "  kept  \n"',
            r'!replace_file_content a.txt "old \"word\"" ""',
            r'!run_command printf "a\n" | wc -l',
            '!call mcp_tool {"x": [1, null]}',
            "!stream 3",
            "!fail",
            "!fail 503",
            "!fail 429 slow down",
            "!fail drop",
        ]
    )

    assert read_directives(prompt) == (
        ViewFile("src/main.py"),
        ViewFile("it is \\n raw"),
        WriteToFile("a b.txt", 'one\n\ttwo\\n "three"'),
        WriteToFile("a.txt", "  kept  \n"),
        ReplaceFileContent("a.txt", 'old "word"', ""),
        RunCommand(r'printf "a\n" | wc -l'),
        Call("mcp_tool", {"x": [1, None]}),
        Stream(3, 50),
        Fail(400),
        Fail(503),
        Fail(429, "slow down"),
        Drop(),
    )


MALFORMED = [
    "!vieuw_file a",
    "!VIEW_FILE a",
    "!view_file",
    "!view_file a b",
    '!view_file ""',
    '!view_file "a',
    '!view_file "a"b',
    "!write_to_file",
    "!write_to_file a",
    '!write_to_file a ""',
    '!write_to_file "a text',
    '!write_to_file "" text',
    "!replace_file_content a old",
    '!replace_file_content a "" new',
    '!replace_file_content a "old new',
    "!run_command",
    "!call",
    "!call tool",
    "!call tool [1]",
    "!say",
    "!think",
    '!say ""',
    "!stream",
    "!stream 0",
    "!stream 10001",
    "!stream 1 60001",
    "!stream -1",
    "!stream ²",
    "!stream 1 2 3",
    "!stream " + "9" * 5000,
    "!fail 399",
    "!fail 600",
    "!fail with words",
    "!fail drop it",
    "!stall now",
    "!help me",
    "!stall\n!say more",
    "!fail\n!view_file a",
    "!say text\n!fail 500",
    "!think thought\n!help",
]


def explanation(prompt: str) -> str:
    """The answer to a prompt that holds a malformed line, after a good one of which nothing may be done."""
    reply = decide(request("openai", Prompt(f"!run_command true\n{prompt}")))
    assert isinstance(read_script(prompt), Malformed)
    assert isinstance(reply, Answer)
    assert reply.tool_call is None
    return reply.text


def test_malformed_lines_are_explained_and_nothing_of_the_prompt_is_done(snapshot: SnapshotAssertion) -> None:
    assert {prompt[:40]: explanation(prompt) for prompt in MALFORMED} == snapshot


@pytest.mark.parametrize("json", ["{", '{"a": 1e999}', '{"a": NaN}', '{"a":' * 1000], ids=lambda json: json[:9])
def test_a_tool_gets_only_arguments_that_json_can_say(json: str) -> None:
    assert "The arguments are not JSON" in explanation(f"!call tool {json}")
