"""Whatever pieces a conversation comes in, the transcript is the same."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.transcript import Diff, Message, Notice, Output, Role, Transcript, Unknown

TEXTS = st.text(max_size=30)
IDS = st.sampled_from(["m-1", "m-2", "m-3"])
ROLES = st.sampled_from(list(Role))
CALL_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "title": TEXTS,
        "kind": st.sampled_from(["edit", "execute"]),
        "status": st.sampled_from(["pending", "in_progress", "completed", "failed"]),
        "rawInput": st.dictionaries(TEXTS, TEXTS, max_size=2),
        "content": st.lists(
            st.builds(lambda text: {"type": "content", "content": {"type": "text", "text": text}}, TEXTS),
            max_size=2,
        ),
    },
)


def chunk(role: Role, text: str, message_id: str | None = None) -> JsonObject:
    update: JsonObject = {"sessionUpdate": role.value, "content": {"type": "text", "text": text}}
    return update if message_id is None else {**update, "messageId": message_id}


@st.composite
def split(draw: st.DrawFn, text: str) -> Sequence[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(st.data(), ROLES, TEXTS, st.none() | IDS)
def test_any_split_of_a_message_is_the_message(
    data: st.DataObject, role: Role, text: str, message_id: str | None
) -> None:
    pieces = data.draw(split(text))
    folded = Transcript(chunk(role, piece, message_id) for piece in pieces)
    assert folded.items == Transcript([chunk(role, text, message_id)]).items
    assert folded.items == (Message(role, message_id, ({"type": "text", "text": text},)),)


@given(st.lists(st.tuples(ROLES, IDS, TEXTS), max_size=20))
def test_messages_with_ids_are_joined_however_their_chunks_are_mixed(
    chunks: list[tuple[Role, str, str]],
) -> None:
    mixed = Transcript(chunk(role, text, message_id) for role, message_id, text in chunks)
    order = list(dict.fromkeys((role, message_id) for role, message_id, _ in chunks))
    assert [(item.role, item.message_id, item.text) for item in mixed.items if isinstance(item, Message)] == [
        (*key, "".join(text for role, message_id, text in chunks if (role, message_id) == key)) for key in order
    ]


@given(st.lists(st.tuples(ROLES, TEXTS), max_size=20))
def test_messages_without_ids_end_where_another_role_speaks(chunks: list[tuple[Role, str]]) -> None:
    folded = [
        (item.role, item.text)
        for item in Transcript(chunk(role, text) for role, text in chunks).items
        if isinstance(item, Message)
    ]
    expected: list[tuple[Role, str]] = []
    for role, text in chunks:
        if expected and expected[-1][0] is role:
            expected[-1] = (role, expected[-1][1] + text)
        else:
            expected.append((role, text))
    assert folded == expected


@given(st.lists(st.tuples(IDS, CALL_FIELDS), max_size=12))
def test_a_tool_call_is_its_fields_as_last_named(updates: list[tuple[str, JsonObject]]) -> None:
    kinds = ["tool_call", *["tool_call_update"] * len(updates)]
    folded = Transcript(
        {"sessionUpdate": kind, "toolCallId": call_id, **fields}
        for kind, (call_id, fields) in zip(kinds, updates, strict=False)
    )
    merged: dict[str, JsonObject] = {}
    for call_id, fields in updates:
        merged.setdefault(call_id, {}).update(fields)
    replay = Transcript({"sessionUpdate": "tool_call", "toolCallId": key, **all_} for key, all_ in merged.items())
    assert folded.items == replay.items


def test_null_fields_of_a_tool_call_change_nothing() -> None:
    folded = Transcript(
        [
            {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "Edit", "status": "in_progress"},
            {"sessionUpdate": "tool_call_update", "toolCallId": "c", "title": None, "status": "failed"},
        ]
    )
    assert (
        folded.items
        == Transcript(
            [{"sessionUpdate": "tool_call", "toolCallId": "c", "title": "Edit", "status": "failed"}]
        ).items
    )


def test_what_is_not_conversation_is_kept_apart() -> None:
    transcript = Transcript(
        [
            {"sessionUpdate": "session_info_update", "title": "Herons", "_meta": {"a": 1}},
            {"sessionUpdate": "session_info_update", "updatedAt": "2026-01-01T00:00:00Z", "_meta": {"b": 2}},
            {"sessionUpdate": "available_commands_update", "availableCommands": [{"name": "session"}]},
            {"sessionUpdate": "usage_update", "used": 7, "size": 100},
            {"sessionUpdate": "current_mode_update", "currentModeId": "m"},
            {"sessionUpdate": "notice", "severity": "warning", "title": "Not saved", "_meta": {"c": 3}},
            {"sessionUpdate": "of_the_future"},
            chunk(Role.AGENT, "hello"),
        ]
    )
    assert transcript.items[:2] == (Notice("warning", "Not saved", None, {"c": 3}), Unknown("of_the_future"))
    assert transcript.conversation == Transcript([chunk(Role.AGENT, "hello")]).items
    state = transcript.state
    assert (state.title, state.updated_at, state.meta) == ("Herons", "2026-01-01T00:00:00Z", {"a": 1, "b": 2})
    assert (state.commands, state.tokens_used, state.tokens_size) == ({"session": ""}, 7, 100)


def test_a_title_is_cleared_by_null_only() -> None:
    transcript = Transcript([{"sessionUpdate": "session_info_update", "title": "Herons"}])
    transcript.apply({"sessionUpdate": "session_info_update", "updatedAt": "2026-01-01T00:00:00Z"})
    assert transcript.state.title == "Herons"
    transcript.apply({"sessionUpdate": "session_info_update", "title": None})
    assert transcript.state.title is None


def test_blocks_that_are_not_text_stay_blocks() -> None:
    image: JsonObject = {"type": "image", "mimeType": "image/png", "data": "AA=="}
    link: JsonObject = {"type": "resource_link", "uri": "file:///a", "name": "a"}
    transcript = Transcript(
        [
            chunk(Role.USER, "see ", "m"),
            {"sessionUpdate": Role.USER.value, "messageId": "m", "content": image},
            {"sessionUpdate": Role.USER.value, "messageId": "m", "content": link},
            chunk(Role.USER, "?", "m"),
        ]
    )
    (message,) = transcript.items
    assert isinstance(message, Message)
    assert message.content == ({"type": "text", "text": "see "}, image, link, {"type": "text", "text": "?"})
    assert message.text == "see [image image/png][resource_link file:///a]?"


def test_tool_content_is_read_as_diffs_and_output() -> None:
    transcript = Transcript(
        [
            {
                "sessionUpdate": "tool_call",
                "toolCallId": "c",
                "content": [
                    {"type": "diff", "path": "/a", "oldText": None, "newText": "x"},
                    {"type": "content", "content": {"type": "text", "text": "done"}},
                    {"type": "terminal", "terminalId": "t"},
                ],
            }
        ]
    )
    (call,) = transcript.items
    assert getattr(call, "content") == (Diff("/a", None, "x"), Output("done"), Output("[terminal]"))  # noqa: B009


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"sessionUpdate": 7},
        {"sessionUpdate": "agent_message_chunk"},
        {"sessionUpdate": "agent_message_chunk", "content": {"type": "text"}},
        {"sessionUpdate": "agent_message_chunk", "messageId": 7, "content": {"type": "text", "text": ""}},
        {"sessionUpdate": "tool_call", "title": "no id"},
        {"sessionUpdate": "tool_call", "toolCallId": "c", "status": 7},
        {"sessionUpdate": "tool_call_update", "toolCallId": "c", "content": "text"},
        {"sessionUpdate": "tool_call_update", "toolCallId": "c", "content": [{"type": "diff"}]},
        {"sessionUpdate": "plan", "entries": ["step"]},
        {"sessionUpdate": "notice", "severity": "info"},
        {"sessionUpdate": "usage_update", "used": "many"},
        {"sessionUpdate": "available_commands_update", "availableCommands": [{}]},
    ],
)
def test_an_update_that_cannot_be_read_changes_nothing(update: JsonObject) -> None:
    transcript = Transcript([chunk(Role.AGENT, "kept")])
    before = (transcript.items, transcript.state)
    with pytest.raises(FieldError):
        transcript.apply(update)
    assert (transcript.items, transcript.state) == before


def test_changes_name_the_item_and_the_text_it_gained() -> None:
    transcript = Transcript()
    prompted = transcript.prompted("hi")
    grown = [transcript.apply(chunk(Role.AGENT, text, "m")) for text in ("a", "b")]
    assert [(change.index, change.role, change.added) for change in (prompted, *grown) if change] == [
        (0, Role.USER, "hi"),
        (1, Role.AGENT, "a"),
        (1, Role.AGENT, "b"),
    ]
