"""What a client is told, and what it is never told."""

import json

import pytest
from acp import RequestError
from acp.schema import InitializeRequest, NewSessionRequest, PromptRequest, SetSessionConfigOptionBooleanRequest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue, ValidationError

from acp_agent.redaction import HIDDEN, Redactor
from acp_agent.wire.errors import (
    DETAILS_LIMIT,
    HARNESS_FAILED,
    INTERNAL,
    MESSAGE_LIMIT,
    OWN_CODES,
    UNKNOWN_SESSION,
    AgentError,
    JsonObject,
    completed,
)

SECRET = "hunter2-correct-horse"
WORDS = sorted(
    {name for model in (NewSessionRequest, PromptRequest) for name in model.model_json_schema()["properties"]}
    | {"type", "name", "value", "env", "headers", "command", "args", "url", "text", "uri", "resource"}
)
inputs: st.SearchStrategy[JsonValue] = st.recursive(
    st.sampled_from([SECRET, 1, True, None, "text", "http", "resource"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)
models = st.sampled_from(
    [NewSessionRequest, PromptRequest, InitializeRequest, SetSessionConfigOptionBooleanRequest]
)


def sent(
    error: RequestError | AgentError, session_id: str | None = None, secrets: tuple[str, ...] = ()
) -> JsonObject:
    """The error as the SDK and then the wire send it."""
    if isinstance(error, AgentError):
        error = RequestError(error.code, str(error), error.data)
    return completed(error.to_error_obj(), session_id=session_id, redactor=Redactor(secrets))


def data_of(error: JsonObject) -> dict[str, JsonValue]:
    data = error["data"]
    assert isinstance(data, dict)
    return data


@given(models, st.dictionaries(st.sampled_from(WORDS), inputs, max_size=5))
def test_a_validation_error_names_the_paths_and_no_value(model: type[BaseModel], value: JsonObject) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        answer = sent(RequestError.invalid_params({"errors": error.errors()}), "s")
        data = data_of(answer)
        assert SECRET not in json.dumps(answer)
        assert data["sessionId"] == "s"
        assert isinstance(data["errors"], list)
        assert len(data["errors"]) == error.error_count()
        for refused, original in zip(data["errors"], error.errors(), strict=True):
            assert refused["path"] == ".".join(map(str, original["loc"]))  # type: ignore[index,call-overload]
    # A discriminator is quoted by pydantic, though it is input.
    tagged = [
        {"loc": ("prompt", 0), "type": "union_tag_invalid", "msg": f"Input tag '{SECRET}' found", "input": 1}
    ]
    assert data_of(sent(RequestError.invalid_params({"errors": tagged})))["errors"] == [
        {"path": "prompt.0", "message": "union tag invalid"}
    ]


@example("m" * 1000, {"details": "d" * 1000})
@example(SECRET, SECRET)
@given(st.text(), st.one_of(inputs, st.text(), st.dictionaries(st.just("details"), st.text(max_size=2000))))
def test_an_unforeseen_error_is_short_complete_and_hides_secrets(message: str, data: JsonValue) -> None:
    answer = sent(RequestError(INTERNAL, message, data), None, (SECRET, SECRET[:7]))
    assert set(data_of(answer)) == {"reason", "details"}
    details, sentence = data_of(answer)["details"], answer["message"]
    assert isinstance(details, str)
    assert isinstance(sentence, str)
    assert 0 < len(sentence) <= MESSAGE_LIMIT or not message.strip()
    assert len(sentence.splitlines()) <= 1
    assert len(details) <= DETAILS_LIMIT
    assert SECRET[:7] not in json.dumps(answer)
    assert SECRET[7:] not in json.dumps(answer)


def test_errors_of_the_sdk_say_what_is_meant() -> None:
    assert sent(RequestError.method_not_found("x/y")) == {
        "code": -32601,
        "message": "Method not found",
        "data": {"reason": "method_not_found", "method": "x/y", "details": "This agent has no method x/y."},
    }
    hidden = sent(RequestError.internal_error({"details": f"key={SECRET}\nrefused"}), "s", (SECRET,))
    assert hidden == {
        "code": INTERNAL,
        "message": "Internal error",
        "data": {"reason": "internal_error", "details": f"key={HIDDEN} refused", "sessionId": "s"},
    }


def test_an_agent_error_passes_unchanged() -> None:
    details = f"two\nlines, {SECRET}, " + "x" * 1000
    error = AgentError(
        UNKNOWN_SESSION, "No such session", reason="r", details=details, session_id="mine", extra=[1]
    )
    expected = {"reason": "r", "details": details, "sessionId": "mine", "extra": [1]}
    assert sent(error, "theirs", (SECRET,)) == {
        "code": UNKNOWN_SESSION,
        "message": "No such session",
        "data": expected,
    }
    bare = AgentError(HARNESS_FAILED, "It died", reason="r", details="d")
    assert data_of(sent(bare, "theirs"))["sessionId"] == "theirs"
    assert "sessionId" not in bare.data


@pytest.mark.parametrize("code", sorted(OWN_CODES))
@pytest.mark.parametrize(
    "phrase", ["Session not found", "Unknown session 1", "Resource Not Found", "Invalid session identifier"]
)
def test_no_text_under_an_own_code_makes_acpx_start_a_new_session(code: int, phrase: str) -> None:
    assert not -32768 <= code <= -32000
    assert not -32899 <= code <= -32800
    with pytest.raises(ValueError, match="acpx"):
        AgentError(code, phrase, reason="r", details="d")
    details = AgentError(code, "m", reason="r", details=f"It said: {phrase}, {phrase}.").data
    assert phrase.lower() not in str(details["details"]).lower()
    assert str(AgentError(UNKNOWN_SESSION, phrase, reason="r", details=phrase)) == phrase


@pytest.mark.parametrize("message", ["", "two\nlines", " space", "two  spaces"])
def test_a_message_is_one_sentence_on_one_line(message: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        AgentError(HARNESS_FAILED, message, reason="r", details="d")
