"""The proof fails for everything that could be wrong, and only then."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent.chat.fields import JsonObject
from acp_agent.chat.proof import Observed, checks, differences, verdict
from acp_agent.chat.transcript import Message, Plan, Role, ToolCall, Transcript
from sessions.report import Outcome, Reason, ResumeReport

REPORT = ResumeReport(
    outcome=Outcome.RESUMED,
    reason=Reason.INTERRUPTED,
    summary="",
    turns=2,
    turns_in_context=2,
    turns_lost=0,
)


def agent(text: str, message_id: str) -> JsonObject:
    return {
        "sessionUpdate": "agent_message_chunk",
        "messageId": message_id,
        "content": {"type": "text", "text": text},
    }


def tool(status: str, *texts: str, call_id: str = "c") -> JsonObject:
    content: list[JsonValue] = [{"type": "content", "content": {"type": "text", "text": text}} for text in texts]
    return {"sessionUpdate": "tool_call", "toolCallId": call_id, "status": status, "content": content}


def live(*cut_turn: JsonObject) -> tuple[Message | ToolCall | Plan, ...]:
    transcript = Transcript()
    transcript.prompted("one")
    for update in (agent("ans", "m-1"), tool("completed", "out"), agent("wer", "m-1")):
        transcript.apply(update)
    transcript.prompted("two")
    for update in cut_turn:
        transcript.apply(update)
    return transcript.conversation


def replayed(*cut_turn: JsonObject, answer: str = "answer") -> tuple[Message | ToolCall | Plan, ...]:
    prompts: list[JsonObject] = [
        {"sessionUpdate": Role.USER.value, "messageId": text, "content": {"type": "text", "text": text}}
        for text in ("one", "two")
    ]
    return Transcript(
        [prompts[0], agent(answer, "m-1"), tool("completed", "out"), prompts[1], *cut_turn]
    ).conversation


GOOD = Observed(
    asked=2,
    questions=1,
    report=REPORT,
    shown=live(agent("word", "m-2")),
    replayed=replayed(agent("word", "m-2")),
    answer="I am a model. I can see 3 of your messages; the first was “one”.",
    file_expected="final",
    file_seen="final",
)


def test_it_holds() -> None:
    assert verdict(checks(GOOD)) == (
        "PROOF HOLDS: after the kill the model sees 3 messages, "
        "the 2 turns that the report promised and the new one."
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (replace(GOOD, questions=0), "“allow once”: expected 1, seen 0"),
        (replace(GOOD, file_seen="draft"), "the edited file: expected 'final', seen 'draft'"),
        (replace(GOOD, answer="I can see 2 of your messages"), "sees: expected 3, seen 2"),
        (replace(GOOD, answer="Hello."), "sees: expected 3, seen no count in the answer"),
        (replace(GOOD, report=None), "by the report: expected 2, seen no report"),
        (replace(GOOD, asked=3), "by the report: expected 3, seen 2"),
        (
            replace(GOOD, report=REPORT.model_copy(update={"reason": Reason.VERIFIED})),
            "expected resumed/interrupted, seen resumed/verified",
        ),
        (
            replace(GOOD, report=REPORT.model_copy(update={"outcome": Outcome.RECOVERED})),
            "expected resumed/interrupted, seen recovered/interrupted",
        ),
        (
            # The model and the report agree with each other, but not with what was asked.
            replace(
                GOOD,
                report=REPORT.model_copy(update={"turns_in_context": 1}),
                answer="I can see 2 of your messages",
            ),
            "by the report: expected 2, seen 1",
        ),
        (replace(GOOD, replayed=GOOD.replayed[:-1]), "item 5 (agent message) is missing"),
        (replace(GOOD, replayed=replayed(agent("word", "m-2"), answer="answe")), "item 2 (agent message) is diff"),
    ],
)
def test_it_fails(wrong: Observed, says: str) -> None:
    line = verdict(checks(wrong))
    assert line.startswith("PROOF FAILS: ")
    assert says in line


@given(st.text(), st.text())
def test_of_the_cut_turn_more_may_come_back_but_not_less(seen: str, more: str) -> None:
    assert differences(live(agent(seen, "m-2")), replayed(agent(seen + more, "m-2"))) == []
    if more:
        assert differences(live(agent(seen + more, "m-2")), replayed(agent(seen, "m-2"))) != []
        assert differences(live(), replayed(answer=f"answer{more}")) != []


def test_an_unfinished_call_of_the_cut_turn_may_have_failed_since() -> None:
    assert (
        differences(live(tool("in_progress", "a", call_id="d")), replayed(tool("failed", "a", "cut", call_id="d")))
        == []
    )


@pytest.mark.parametrize(
    ("shown", "came_back"),
    [
        (tool("in_progress", "a", call_id="d"), tool("failed", "cut", call_id="d")),
        (tool("in_progress", "a", call_id="d"), tool("completed", "a", call_id="d")),
        (tool("completed", "a", call_id="d"), tool("failed", "a", call_id="d")),
        (tool("in_progress", "a", call_id="d"), tool("failed", "a", call_id="e")),
        (agent("word", "m-2"), agent("word", "m-3")),
        (agent("word", "m-2"), tool("failed", "word")),
    ],
)
def test_other_changes_of_the_cut_turn_are_differences(shown: JsonObject, came_back: JsonObject) -> None:
    assert differences(live(shown), replayed(came_back)) != []


def test_what_was_never_shown_is_a_difference() -> None:
    assert differences(live(), replayed(agent("word", "m-2"))) == ["item 5 (agent message) was never shown"]
