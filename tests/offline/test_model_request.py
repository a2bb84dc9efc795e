"""What a request holds is the same through both dialects, and user turns are told from what the harness adds."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent.offline.gemini_dialect import GeminiDialect
from acp_agent.offline.model_request import Message, Role, ToolCall, UserTurn
from acp_agent.offline.openai_dialect import OpenAiDialect
from tests.offline.conversations import (
    BACKGROUND_NOTICE,
    PNG,
    PNG_IMAGE,
    SUMMARY_WANTED,
    WORKSPACE,
    Answered,
    Entry,
    Injected,
    Prompt,
    Said,
    compacted,
    request,
    wrapped,
)

CALL = ToolCall("call_1", "run_command", {"CommandLine": "true", "WaitMsBeforeAsync": 10_000})
NOTE = "<acp-agent-note>Turn 2 was cut.\nThe command was killed.</acp-agent-note>\n"

both_dialects = pytest.mark.parametrize("dialect", ["openai", "gemini"])
prompts = st.text() | st.text().map(wrapped) | st.just("\n</USER_REQUEST>") | st.just(BACKGROUND_NOTICE)
others: st.SearchStrategy[Entry] = st.one_of(
    st.builds(
        Injected, st.sampled_from([BACKGROUND_NOTICE, SUMMARY_WANTED, compacted("<summary></summary>"), ""])
    ),
    st.builds(Said, st.text()),
    st.just(Said("", CALL)),
    st.builds(Answered, st.just(CALL), st.text()),
)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(prompts, st.booleans(), st.lists(others, max_size=3)), max_size=4))
def test_user_turns_are_exactly_the_prompts_in_both_dialects(turns: list[tuple[str, bool, list[Entry]]]) -> None:
    entries: list[Entry] = []
    for prompt, has_image, after in turns:
        entries += [Prompt(prompt, (PNG,) if has_image else ()), *after]

    openai, gemini = request("openai", *entries), request("gemini", *entries)

    assert openai.user_turns == gemini.user_turns == tuple(prompt for prompt, _, _ in turns)
    assert [turn.images for turn in openai.turns] == [(PNG_IMAGE,) if image else () for _, image, _ in turns]
    assert len(openai.since_last_turn) == (len(turns[-1][2]) if turns else 0)
    assert (openai.messages, openai.system, openai.workspaces) == (
        gemini.messages,
        gemini.system,
        gemini.workspaces,
    )


@both_dialects
def test_every_field_of_a_conversation_is_read(dialect: str) -> None:
    parsed = request(dialect, Prompt("look", (PNG,)), Said("I run it.", CALL), Answered(CALL, "done"), tools=False)

    assert parsed.dialect == dialect
    assert parsed.model == "offline"
    assert parsed.workspaces == (WORKSPACE, "/home/user/other")
    assert not parsed.tools_allowed
    assert parsed.messages == (
        Message(Role.USER, wrapped("look"), images=(PNG_IMAGE,)),
        Message(Role.ASSISTANT, "I run it.", tool_calls=(CALL,)),
        Message(Role.TOOL, "done", tool_name="run_command"),
    )


@both_dialects
@pytest.mark.parametrize("prompt", ["and now?", "", "</acp-agent-note>", NOTE])
def test_the_agents_note_is_no_part_of_the_prompt(dialect: str, prompt: str) -> None:
    parsed = request(dialect, Prompt("first"), Said("ok"), Prompt(NOTE + prompt))

    assert parsed.user_turns == ("first", prompt)
    assert parsed.turns[1] == UserTurn(prompt, "Turn 2 was cut.\nThe command was killed.", ())


@both_dialects
def test_a_note_counts_only_before_the_prompt(dialect: str) -> None:
    parsed = request(dialect, Prompt(f"see: {NOTE}"))

    assert parsed.turns == (UserTurn(f"see: {NOTE}", None, ()),)


@both_dialects
def test_a_sub_agent_has_no_user_turns(dialect: str) -> None:
    assert request(dialect, Injected(BACKGROUND_NOTICE)).user_turns == ()


@both_dialects
def test_a_caller_that_is_not_the_harness_wraps_nothing(dialect: str) -> None:
    parsed = request(dialect, Injected("hello"), Said("hi"), Injected("and"), system="You are helpful.")

    assert parsed.user_turns == ("hello", "and")
    assert parsed.workspaces == ()


def test_an_answer_to_several_calls_is_several_messages_in_gemini() -> None:
    parts: JsonValue = [
        {"functionResponse": {"name": "view_file", "response": {"output": "text"}}},
        {"functionResponse": {"name": "mcp_tool", "response": {"rows": [1]}}},
    ]
    body: JsonValue = {"contents": [{"role": "user", "parts": parts}]}

    parsed = GeminiDialect().parse(json.dumps(body).encode(), "offline")

    assert parsed.messages == (
        Message(Role.TOOL, "text", tool_name="view_file"),
        Message(Role.TOOL, '{"rows":[1]}', tool_name="mcp_tool"),
    )
    assert parsed.user_turns == ()


def test_openai_system_and_developer_messages_are_one_system_prompt() -> None:
    messages: JsonValue = [
        {"role": "developer", "content": [{"type": "text", "text": "one"}]},
        {"role": "system", "content": "two"},
        {"role": "assistant", "content": None},
    ]

    parsed = OpenAiDialect().parse(json.dumps({"model": "m", "messages": messages}).encode())

    assert parsed.system == "one\ntwo"
    assert parsed.messages == (Message(Role.ASSISTANT, ""),)
    assert not parsed.stream
