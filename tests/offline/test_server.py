"""The offline model over real sockets: routes, refusals, cut and endless answers, and the record of requests."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from acp_agent.offline import OfflineModel
from acp_agent.offline.decide import decide
from acp_agent.offline.gemini_dialect import GeminiDialect
from acp_agent.offline.openai_dialect import OpenAiDialect
from acp_agent.offline.reply import Answer
from acp_agent.offline.server import MAX_BODY, MODELS
from tests.offline.conversations import Prompt, gemini_body, openai_body

SECONDS = 20
"""How long a test waits for something that is certain to happen; it never passes by waiting this long."""


@pytest.fixture
def model() -> Iterator[OfflineModel]:
    with OfflineModel() as running:
        yield running


def url_of(model: OfflineModel, dialect: str) -> str:
    if dialect == "openai":
        return f"{model.openai_url}/chat/completions"
    return f"{model.gemini_url}/v1beta/models/offline:streamGenerateContent?alt=sse"


def body_of(dialect: str, prompt: str) -> bytes:
    return openai_body(Prompt(prompt)) if dialect == "openai" else gemini_body(Prompt(prompt))


@contextmanager
def send(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """A response whose body has not been read; without a request body a GET."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET" if body is None and headers is None else "POST", path, body, headers or {})
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def read_until_cut(response: http.client.HTTPResponse) -> bytes:
    """The rest of a body that has no end."""
    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    return caught.value.partial


def message_of(response: http.client.HTTPResponse) -> str:
    message = json.loads(response.read())["error"]["message"]
    assert isinstance(message, str)
    return message


both_dialects = pytest.mark.parametrize("dialect", ["openai", "gemini"])


@both_dialects
def test_an_answer_arrives_whole_and_the_request_is_recorded(model: OfflineModel, dialect: str) -> None:
    with send(url_of(model, dialect), body_of(dialect, "hello")) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Connection"] == "close"
        received = response.read()

    (request,) = model.requests
    assert request.user_turns == ("hello",)
    assert request.model == "offline"
    reply = decide(request)
    assert isinstance(reply, Answer)
    codec = OpenAiDialect() if dialect == "openai" else GeminiDialect()
    assert received == b"".join(piece.data for piece in codec.encode(request, reply))


def test_an_unstreamed_answer_is_one_json_object(model: OfflineModel) -> None:
    with send(url_of(model, "openai"), openai_body(Prompt("!stream 2 1"), stream=False)) as response:
        assert response.headers["Content-Type"] == "application/json"
        completion = json.loads(response.read())

    assert completion["choices"][0]["message"]["content"] == "word1 word2"


def test_the_models_are_listed(model: OfflineModel) -> None:
    with send(f"{model.openai_url}/models") as response:
        assert [entry["id"] for entry in json.loads(response.read())["data"]] == list(MODELS)
    with send(f"{model.gemini_url}/v1beta/models?pageSize=9") as response:
        listed = json.loads(response.read())["models"]
        assert [entry["name"] for entry in listed] == [f"models/{name}" for name in MODELS]


@pytest.mark.parametrize(
    "path",
    [
        "/{token}",
        "/{token}/v1/models/x",
        "/{token}/v1/embeddings",
        "/{token}/v1beta/models/offline:generateContent",
        "/{other}/v1/models",
        "/{other}/v1/chat/completions",
        "/{other}/v1beta/models/offline:streamGenerateContent",
        "//v1/models",
        "/v1/models",
        "/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_path_or_token_is_not_found(model: OfflineModel, method: str, path: str) -> None:
    root = model.gemini_url.removesuffix(f"/{model.token}")
    other = ("b" if model.token[0] == "a" else "a") + model.token[1:]
    url = root + path.format(token=model.token, other=other)

    with send(url, openai_body(Prompt("hello")) if method == "POST" else None) as response:
        assert response.status == 404
        assert "nothing at this path" in message_of(response)

    assert model.requests == ()


@both_dialects
def test_a_bad_body_is_refused_in_the_dialects_own_form(model: OfflineModel, dialect: str) -> None:
    with send(url_of(model, dialect), b'{"model": 1}') as response:
        assert response.status == 400
        error = json.loads(response.read())["error"]

    assert "Field required" in error["message"]
    assert set(error) == (
        {"message", "type", "param", "code"} if dialect == "openai" else {"code", "message", "status"}
    )
    assert model.requests == ()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(MAX_BODY + 1)}, 413),
        ({"Content-Length": "9" * 5000}, 413),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "²".encode().decode("latin-1")}, 411),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
    ids=["too large", "far too large", "negative", "no digits", "missing"],
)
def test_a_body_of_unknown_or_excessive_length_is_not_read(
    model: OfflineModel, headers: dict[str, str], status: int
) -> None:
    with send(url_of(model, "openai"), None, headers) as response:
        assert response.status == status


@both_dialects
def test_a_failure_is_answered_with_its_status_and_recorded(model: OfflineModel, dialect: str) -> None:
    with send(url_of(model, dialect), body_of(dialect, "!fail 503 try later")) as response:
        assert response.status == 503
        assert message_of(response) == "try later"

    assert model.requests[0].user_turns == ("!fail 503 try later",)


@both_dialects
def test_a_dropped_answer_begins_and_has_no_end(model: OfflineModel, dialect: str) -> None:
    with send(url_of(model, dialect), body_of(dialect, "!say half of\n!fail drop")) as response:
        assert b"half of" in read_until_cut(response)


@both_dialects
@pytest.mark.parametrize(
    "prompt", ["!say begun\n!stall", "!say begun\n!stream 10000 60000"], ids=["stall", "slow stream"]
)
def test_closing_the_model_ends_waiting_answers_at_once(model: OfflineModel, dialect: str, prompt: str) -> None:
    with send(url_of(model, dialect), body_of(dialect, prompt)) as response:
        begun = b""
        while b"begun" not in begun:
            begun += response.readline()
        model.close()
        read_until_cut(response)


@pytest.mark.parametrize(
    "prompt", ["!stall", "!stream 10000 60000", "!stream 10000 0"], ids=["stall", "slow", "fast"]
)
def test_an_answer_ends_quietly_when_its_client_goes_away(
    model: OfflineModel, prompt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    with send(url_of(model, "openai"), body_of("openai", prompt)) as response:
        response.readline()
        serving = set(threading.enumerate()) - before
    for thread in serving:
        thread.join(SECONDS)

    assert not any(thread.is_alive() for thread in serving)
    assert capfd.readouterr() == ("", "")


def test_closing_ends_idle_connections_and_the_port_and_may_be_done_twice(model: OfflineModel) -> None:
    address = urlsplit(model.openai_url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 0), SECONDS) as idle:
        with send(f"{model.openai_url}/models") as response:
            response.read()  # served after `idle` was accepted
        model.close()
        model.close()
        assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port or 0), SECONDS)


def test_requests_of_many_clients_are_all_recorded_and_can_be_waited_for(model: OfflineModel) -> None:
    def ask(number: int) -> None:
        with send(url_of(model, "openai"), body_of("openai", f"prompt {number}")) as response:
            response.read()

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for client in clients:
        client.start()
    last = model.wait_for_request(20, SECONDS)
    for client in clients:
        client.join(SECONDS)

    assert {request.user_turns[0] for request in model.requests} == {f"prompt {number}" for number in range(20)}
    assert model.requests[-1] == last
    with pytest.raises(TimeoutError, match="20 model requests"):
        model.wait_for_request(21, 0)


def test_an_agent_that_runs_for_days_records_nothing() -> None:
    with (
        OfflineModel(record=False) as model,
        send(url_of(model, "openai"), body_of("openai", "hello")) as response,
    ):
        assert b"[DONE]" in response.read()
        assert model.requests == ()


@pytest.mark.parametrize("ending", ["end of input", "interrupt"])
def test_it_serves_on_its_own_until_its_input_closes_or_an_interrupt(ending: str) -> None:
    command = [sys.executable, "-m", "acp_agent.offline"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        with send(f"{urls['openai_url']}/models") as response:
            assert json.loads(response.read())["data"][0]["id"] == urls["model"]
        with send(
            f"{urls['gemini_url']}/v1beta/models/x:streamGenerateContent", gemini_body(Prompt("hi"))
        ) as response:
            assert response.status == 200
        if ending == "interrupt":
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)  # closes its input

    assert process.returncode == 0
    assert errors == b""
