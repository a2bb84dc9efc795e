"""What the offline model answers: steps in order, one message each, then a closing message that is true."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from acp_agent.offline.decide import decide, steps_done
from acp_agent.offline.directives import ToolDirective, write_directive
from acp_agent.offline.model_request import ToolCall
from acp_agent.offline.reply import Answer, Ending, Failure
from acp_agent.offline.tools import tool_call
from tests.offline.conversations import (
    BACKGROUND_NOTICE,
    PNG,
    SUMMARY_WANTED,
    WORKSPACE,
    Answered,
    Entry,
    Injected,
    Prompt,
    Said,
    compacted,
    request,
)
from tests.offline.test_directives import tool_directives


def converse(dialect: str, *prompts: str) -> tuple[list[ToolCall], list[str]]:
    """Play the harness for these prompts; the calls that the model made and its closing answers."""
    entries: list[Entry] = []
    calls: list[ToolCall] = []
    closings: list[str] = []
    for prompt in prompts:
        entries.append(Prompt(prompt))
        while True:
            reply = decide(request(dialect, *entries))
            assert isinstance(reply, Answer)
            entries.append(Said(reply.text, reply.tool_call))
            if reply.tool_call is None:
                closings.append(reply.text)
                break
            calls.append(reply.tool_call)
            entries.append(Answered(reply.tool_call))
    return calls, closings


def answer(*entries: Entry, tools: bool = True) -> Answer:
    reply = decide(request("openai", *entries, tools=tools))
    assert isinstance(reply, Answer)
    return reply


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.lists(tool_directives, max_size=4), max_size=3))
def test_tools_are_used_once_each_in_order_with_unique_ids_in_both_dialects(
    turns: list[list[ToolDirective]],
) -> None:
    prompts = ["\n".join(["please", *map(write_directive, turn)]) for turn in turns]
    wanted = [tool_call(directive, (WORKSPACE,), "") for turn in turns for directive in turn]

    calls, closings = converse("openai", *prompts)

    assert (calls, closings) == converse("gemini", *prompts)
    assert [(call.name, call.arguments) for call in calls] == [(call.name, call.arguments) for call in wanted]
    assert len({call.id for call in calls}) == len(calls)
    assert len(closings) == len(turns)


def test_the_harness_gets_its_own_names_and_absolute_paths(snapshot: SnapshotAssertion) -> None:
    calls, _ = converse(
        "openai",
        "!view_file src/../a.txt\n!view_file /etc/hosts\n!write_to_file new.txt one\\ntwo\n"
        '!replace_file_content a.txt "one" ""\n!run_command make test\n!call mcp_tool {"x": 1}',
    )

    assert calls == snapshot


CLOSINGS: dict[str, list[Entry]] = {
    "one message": [Prompt("hello")],
    "four messages": [
        Prompt("first " * 20),
        Said("x"),
        Prompt("b"),
        Said("x"),
        Prompt("c"),
        Said("x"),
        Prompt("d\n\nd"),
    ],
    "image and note": [Prompt("<acp-agent-note>Turn 1 was cut.</acp-agent-note>\nlook", (PNG,))],
    "two images without text": [Prompt("", (PNG, PNG))],
    "sub-agent": [Injected(BACKGROUND_NOTICE)],
    "after a compaction": [Prompt("old"), Injected(compacted("<summary></summary>")), Said("x"), Prompt("new")],
    "markdown": [Prompt("![a picture](x.png)\nwhat is that?")],
    "help": [Prompt("!help")],
    "say and stream": [Prompt("!say one\n!stream 3\n!think why\n!say two")],
}


@pytest.mark.parametrize("name", CLOSINGS)
def test_the_closing_answer_states_what_was_received(name: str, snapshot: SnapshotAssertion) -> None:
    assert answer(*CLOSINGS[name]).text == snapshot


def test_after_tools_the_closing_answer_tells_what_they_and_the_harness_said(snapshot: SnapshotAssertion) -> None:
    prompt = Prompt("<acp-agent-note>Note.</acp-agent-note>\n!run_command make\n!view_file a")
    first = answer(prompt).tool_call
    assert first is not None
    entries: list[Entry] = [prompt, Said("", first), Answered(first)]
    second = answer(*entries).tool_call
    assert second is not None
    error = "Created At: now\n\nEncountered error in step execution: path file:///a does not exist"

    closing = answer(*entries, Said("", second), Answered(second, error), Injected(BACKGROUND_NOTICE))

    assert closing.text == snapshot


def test_texts_and_thoughts_belong_to_the_message_before_the_next_tool() -> None:
    prompt = Prompt("!think a\n!say b\n!think c\n!stream 2 20\n!run_command x\n!say d")

    first = answer(prompt)

    assert first.tool_call is not None
    assert (first.thought, first.text) == ("a\nc", "b\nword1 word2")
    assert [chunk.delay for chunk in first.chunks] == [0, 0, 0.02]
    last = answer(prompt, Said("", first.tool_call), Answered(first.tool_call))
    assert (last.thought, last.text) == ("", "d")


def test_a_thought_alone_comes_before_the_statement() -> None:
    reply = answer(Prompt("!think hm"))

    assert reply.thought == "hm"
    assert reply.text.startswith("I am the offline model")


@pytest.mark.parametrize(("prompt", "ending"), [("!fail drop", Ending.DROP), ("!stall", Ending.STALL)])
def test_a_cut_answer_has_begun(prompt: str, ending: Ending) -> None:
    assert answer(Prompt(prompt)).ending is ending
    assert answer(Prompt(prompt)).text
    assert answer(Prompt(f"!say my words\n{prompt}")) == Answer(
        chunks=answer(Prompt("!say my words")).chunks, ending=ending
    )


def test_a_failure_comes_after_the_tools_before_it() -> None:
    prompt = Prompt("!run_command x\n!fail 503 busy")
    call = answer(prompt).tool_call
    assert call is not None

    assert decide(request("openai", prompt, Said("", call), Answered(call))) == Failure(503, "busy")


@pytest.mark.parametrize("line", ["!view_file a.txt", "!run_command true"])
def test_without_a_workspace_the_answer_says_so(line: str) -> None:
    reply = decide(request("openai", Prompt(line), system="no folders"))

    assert isinstance(reply, Answer)
    assert reply.tool_call is None
    assert "workspace" in reply.text


def test_an_absolute_path_needs_no_workspace() -> None:
    reply = decide(request("openai", Prompt("!view_file /a//b/../c"), system="no folders"))

    assert isinstance(reply, Answer)
    assert reply.tool_call is not None
    assert reply.tool_call.arguments["AbsolutePath"] == "/a/c"


def test_a_compaction_in_mid_prompt_repeats_no_step() -> None:
    prompt = Prompt("!run_command a\n!run_command b\n!run_command c")
    calls, _ = converse("openai", prompt.text)
    before: list[Entry] = [prompt, Said("", calls[0]), Answered(calls[0]), Said("", calls[1]), Answered(calls[1])]

    summary = answer(*before, Injected(SUMMARY_WANTED), tools=False)

    assert summary.tool_call is None
    assert summary.text.startswith("<summary>")
    assert summary.text.endswith("</summary>")
    after: list[Entry] = [prompt, Injected(compacted(summary.text))]
    assert steps_done(request("openai", *after)) == 2
    third = answer(*after).tool_call
    assert third is not None
    assert third.arguments["CommandLine"] == "c"
    assert answer(*after, Said("", third), Answered(third)).tool_call is None
