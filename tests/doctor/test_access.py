"""Credentials and the endpoint, with real files, a real keyring backend and real servers on loopback."""

from __future__ import annotations

import socket
import ssl
import urllib.error
from http.client import BadStatusLine
from threading import Event

import pytest

from acp_agent import models
from acp_agent.doctor import access, situation
from acp_agent.doctor.findings import State
from acp_agent.offline.server import OfflineModel
from tests.doctor.conftest import KEY, Answer, Machine, garbage, serving, silence, states, status, worst

KEYRING = "tests.agent.file_keyring.FileKeyring"


def test_without_credentials_there_is_no_model(machine: Machine) -> None:
    done = machine.check("credentials")
    assert done.state is State.PROBLEM
    assert "acp-agent login" in str(worst(done).remedy)
    assert machine.check("endpoint").state is State.SKIPPED


@pytest.mark.parametrize("flags", [{"offline": True}, {"base_url": "http://localhost:1/v1"}])
def test_another_endpoint_needs_none(machine: Machine, flags: dict[str, object]) -> None:
    machine.flags |= flags
    assert machine.check("credentials").state is State.OK


@pytest.mark.parametrize(
    ("value", "state", "said"),
    [
        (KEY, State.OK, "comes from the environment"),
        (f"{KEY}\n", State.PROBLEM, "white space around it"),
        (f'"{KEY}"', State.PROBLEM, "quotation marks"),
        ("short", State.PROBLEM, "8 to 512"),
        (f"{KEY} {KEY}", State.PROBLEM, "8 to 512"),
    ],
)
def test_a_key_in_the_environment(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, value: str, state: State, said: str
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", value)
    done = machine.check("credentials")
    assert done.state is state
    assert said in worst(done).found
    assert KEY not in str(done)


def test_a_key_under_a_name_that_is_not_read(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    done = machine.check("credentials")
    assert states(done) == [State.WARNING, State.PROBLEM]
    assert done.findings[0].remedy == "Give the key the name GEMINI_API_KEY."


def test_a_key_in_the_file(machine: Machine) -> None:
    machine.write(machine.key_file, KEY)
    done = machine.check("credentials")
    assert done.state is State.OK
    assert worst(done).found == f"A key is kept in {machine.key_file}"


@pytest.mark.parametrize(
    ("mode", "content", "said"), [(0o644, KEY, "others can read it"), (0o600, "no key", "is no API key")]
)
def test_a_file_that_is_not_used(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, mode: int, content: str, said: str
) -> None:
    machine.write(machine.key_file, content).chmod(mode)
    done = machine.check("credentials")
    assert done.state is State.PROBLEM
    assert said in worst(done).found
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    assert machine.check("credentials").state is State.WARNING, "it is not needed now"


def test_what_a_cut_login_left(machine: Machine) -> None:
    left = machine.write(machine.key_file.with_name("credentials.new"), KEY)
    machine.write(machine.key_file, KEY)
    done = machine.check("credentials")
    assert states(done) == [State.WARNING, State.OK]
    assert done.findings[0].found == f"{left} was left by a login that was cut, and holds a key."
    assert KEY not in str(done)


def test_a_keyring(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", KEYRING)
    import keyring.core  # noqa: PLC0415

    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    machine.write(machine.home / "keyring", f'{{"acp-agent/gemini-api-key": "{KEY}"}}')
    done = machine.check("credentials")
    assert done.state is State.OK
    assert worst(done).found == "A key is kept in the system keyring"
    monkeypatch.setattr("acp_agent.credentials.KEYRING_SECONDS", 0.0)
    assert "the agent waits 0 s" in worst(machine.check("credentials")).found
    (machine.home / "locked").touch()
    done = machine.check("credentials")
    assert done.state is State.PROBLEM
    assert "(KeyringLocked)" in worst(done).found
    (machine.home / "locked").unlink()
    (machine.home / "hangs").touch()
    monkeypatch.setattr(situation, "KEYRING_SECONDS", 0.05)
    done = machine.check("credentials")
    (machine.home / "hangs").unlink()
    assert "did not answer" in worst(done).found


def test_vertex(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    done = machine.check("credentials")
    assert states(done) == [State.PROBLEM, State.WARNING]
    assert done.findings[0].found.endswith("GOOGLE_CLOUD_LOCATION is not set.")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "l")
    machine.write(machine.home / ".config" / "gcloud" / "application_default_credentials.json", "{}")
    assert machine.check("credentials").state is State.OK
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(machine.root / "nowhere"))
    assert machine.check("credentials").state is State.WARNING
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(machine.root / "nothing"))
    assert machine.check("credentials").state is State.PROBLEM
    assert machine.check("endpoint").state is State.SKIPPED


def test_the_network_is_asked_only_if_it_may_be(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "listed", lambda _: pytest.fail("it was asked"))
    machine.flags["base_url"] = "http://127.0.0.1:1/v1"
    assert machine.check("endpoint", network=False).state is State.SKIPPED
    machine.flags = {"offline": True}
    assert machine.check("endpoint").state is State.OK


def test_the_gemini_api_and_its_key(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with OfflineModel(api_key=KEY) as model:
        machine.flags |= {"gemini_url": model.gemini_url, "model": "offline"}
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        done = machine.check("endpoint")
        assert done.state is State.OK
        assert "answers and takes the key; it lists 2 models" in worst(done).found
        monkeypatch.setenv("GEMINI_API_KEY", "AIza-another-0123456789")
        done = machine.check("endpoint")
        assert done.state is State.PROBLEM
        assert "refuses the key (40" in worst(done).found
        assert "AIza" not in str(done)


def test_an_openai_endpoint_and_its_models(machine: Machine) -> None:
    with OfflineModel() as model:
        machine.flags |= {"base_url": model.openai_url, "model": "another"}
        done = machine.check("endpoint")
    assert states(done) == [State.OK, State.WARNING]
    assert done.findings[1].remedy == "Choose one of the list (offline, offline-second, …)."


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(401), "wants credentials (401), and the agent sends it none"),
        (status(404), "has no list of models (404)"),
        (status(407), "behind a proxy that wants credentials (407)"),
        (status(418), "answers with 418"),
        (status(429), "takes no more requests for now (429)"),
        (status(500), "is in trouble itself (500)"),
        (status(200, b"<html>Welcome</html>"), "something that is no list of models"),
        (garbage, "something that is not HTTP"),
    ],
    ids=lambda value: value[-20:] if isinstance(value, str) else "",
)
def test_every_bad_answer_has_its_words_and_its_remedy(machine: Machine, answer: Answer, said: str) -> None:
    with serving(answer) as url:
        machine.flags["base_url"] = f"{url}/v1"
        done = machine.check("endpoint")
    assert done.state is State.PROBLEM
    assert said in worst(done).found
    assert worst(done).remedy
    assert f"{url}/v1" in worst(done).found


def test_an_endpoint_without_models(machine: Machine) -> None:
    with serving(status(200, b'{"data": []}')) as url:
        machine.flags["base_url"] = url
        assert machine.check("endpoint").state is State.WARNING


def test_an_endpoint_that_never_answers(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SECONDS", 0.2)
    stop = Event()
    with serving(silence(stop)) as url:
        machine.flags["base_url"] = url
        done = machine.check("endpoint")
        stop.set()
    assert "does not answer in" in worst(done).found


def test_an_address_where_nobody_listens_and_a_name_that_is_none(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    machine.flags["base_url"] = f"http://127.0.0.1:{port}/v1?key=secret"
    done = machine.check("endpoint")
    assert worst(done).found == f"http://127.0.0.1:{port}/v1 takes no connection: nothing listens there."
    machine.flags["base_url"] = "http://no-such-host.invalid/v1"
    done = machine.check("endpoint")
    assert "cannot be found" in worst(done).found
    assert "no-such-host.invalid" in worst(done).private


def test_an_address_with_a_user_name(machine: Machine) -> None:
    machine.flags["base_url"] = "http://ada:secret@127.0.0.1:1/v1"
    done = machine.check("endpoint")
    assert done.state is State.WARNING
    assert worst(done).found.startswith("http://127.0.0.1:1/v1 was not asked")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (urllib.error.URLError(ssl.SSLCertVerificationError(1, "self-signed")), "certificate that is not trusted"),
        (urllib.error.URLError(ssl.SSLError(1, "WRONG_VERSION_NUMBER")), "does not speak TLS"),
        (urllib.error.URLError(OSError(113, "No route to host")), "No route to host"),
        (urllib.error.URLError("no host given"), "cannot be reached"),
        (BadStatusLine("x"), "is not HTTP"),
    ],
)
def test_errors_that_need_another_network(error: Exception, said: str) -> None:
    assert said in access.why(error, openai=False)[0]


def test_a_proxy_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(status(502)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("http://", "http://ada:secret@"))
        machine.flags["base_url"] = "http://models.invalid/v1"
        done = machine.check("endpoint")
        assert states(done) == [State.OK, State.PROBLEM]
        assert "through the proxy 127.0.0.1" in done.findings[0].found
        assert "secret" not in str(done)
        monkeypatch.setenv("no_proxy", "models.invalid")
        assert len(machine.check("endpoint").findings) == 1


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("ada:secret@127.0.0.1:9", "127.0.0.1"),
        ("http://[secret", "that is set"),
        ("http://:secret@", "that is set"),
    ],
)
def test_no_form_of_a_proxy_shows_its_password(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, proxy: str, shown: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    machine.flags["base_url"] = "http://models.invalid/v1"
    done = machine.check("endpoint")
    assert done.findings[0].found == f"It is asked through the proxy {shown}"
    assert "secret" not in str(done)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (urllib.error.URLError(OSError("Tunnel connection failed: 407 Who are you")), "wants credentials (407)"),
        (urllib.error.URLError(OSError("Tunnel connection failed: 403 No")), "the proxy p refuses it (403)"),
        (urllib.error.URLError(ConnectionRefusedError(111, "no")), "the proxy p takes no connection"),
        (urllib.error.URLError(socket.gaierror(-2, "no")), "the proxy p is not found"),
        (urllib.error.URLError(TimeoutError()), "does not answer in"),
    ],
)
def test_what_goes_wrong_at_a_proxy_is_not_blamed_on_the_endpoint(error: Exception, said: str) -> None:
    assert said in access.why(error, openai=False, proxy="p")[0]


def test_an_endpoint_on_this_machine_is_asked_past_the_proxy(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")
    with serving(status(200, b'{"data": [{"id": "m"}]}')) as url:
        machine.flags["base_url"] = url
        assert states(machine.check("endpoint")) == [State.OK]
