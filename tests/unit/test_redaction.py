"""No secret is left, whatever surrounds it; what is no secret is left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import keyring.core
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from acp_agent import credentials, redaction
from acp_agent.redaction import (
    HIDDEN,
    MARGIN,
    Redactor,
    is_secret_name,
    secrets_in,
    secrets_in_environment,
)
from acp_agent.secret import Secret

SECRET = "hunter2-correct/horse=="
NAMES = ["env", "headers", "text", "name", "value", "api_key", "args", "data", "params", "url", SECRET]

scalars: st.SearchStrategy[JsonValue] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=20),
    st.sampled_from([SECRET, f"before {SECRET} after", f"https://x/?q={SECRET}", json.dumps({"x": SECRET})]),
)
values: st.SearchStrategy[JsonValue] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=5)), inner, max_size=4)
    ),
    max_leaves=20,
)

KEPT = [
    "The basic idea of bearer tokens is simple: max_tokens=5, tokens: 7.",
    "https://example.org/a?page=2&q=keys#token",
    "A monkey has no key. git@example.org:owner/name and mail to ada@example.org",
    "0123456789abcdef0123456789abcdef is a session, sk-learn a library, AIza is short",
]

FORMS = {
    "a Google key": ("see AIzaSyA-1234567890_abcdefghij now", f"see {HIDDEN} now"),
    "a Google access token": ("ya29.a0AfH6SMBx-12345", HIDDEN),
    "an OpenAI key": ("use sk-proj-abcDEF1234567890abcd.", f"use {HIDDEN}."),
    "a GitHub token": ("ghp_abcdefghijklmnopqrst1234", HIDDEN),
    "a JSON web token": (f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln {1}", f"{HIDDEN} 1"),
    "a private key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", None),
    "half a private key": ("-----BEGIN PRIVATE KEY-----\nMIIEvQ", HIDDEN),
    "a header": ('{"Authorization": "Basic dXNlcjpwYXNz"}', f'{{"Authorization": "{HIDDEN}"}}'),
    "a header in JSON in JSON": (r"{\"authorization\": \"Basic dXNlcjpwYXNz\"}", None),
    "a cookie": ("Cookie: id=77; theme=dark\r\nHost: x", f"Cookie: {HIDDEN}\r\nHost: x"),
    "a bearer token": ("curl -H 'bearer 1234abcd'", f"curl -H 'bearer {HIDDEN}'"),
    "a user in a URL": ("http://ada:pass@host:80/x@y", f"http://{HIDDEN}@host:80/x@y"),
    "a key in a URL": ("https://host/v1?alt=sse&key=abc123&x=1", f"https://host/v1?alt=sse&key={HIDDEN}&x=1"),
    "a token in a URL": ("wss://host/?access_token=abc#top", f"wss://host/?access_token={HIDDEN}"),
    "a variable": ("export DB_PASSWORD=hunter2; make", f"export DB_PASSWORD={HIDDEN}; make"),
    "a quoted variable": ('api_key = "two words"', f'api_key = {HIDDEN}"'),
    "a member": ('{"client_secret": "two words"}', f'{{"client_secret": {HIDDEN}"}}'),
}


@pytest.mark.parametrize("form", FORMS)
def test_secrets_of_a_known_form(form: str) -> None:
    text, expected = FORMS[form]
    shown = Redactor().text(text)
    assert HIDDEN in shown
    assert not {"MIIE", "dXNlcjpwYXNz"} & set(shown.replace('"', " ").replace("\\", " ").split())
    assert expected is None or shown == expected
    assert Redactor().text(shown) == shown


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_is_left(text: str) -> None:
    assert Redactor([SECRET]).text(text) == text
    assert Redactor().value({"text": text, "input_tokens": 5}) == {"text": text, "input_tokens": 5}


@example({"args": []})
@given(values)
def test_a_known_secret_is_nowhere_in_what_is_left(value: JsonValue) -> None:
    shown = Redactor([SECRET]).value(value, 200)
    assert SECRET not in json.dumps(shown)
    assert SECRET.replace("/", "%2F").replace("=", "%3D") not in json.dumps(shown)


@given(st.text(min_size=6, max_size=40), st.text(max_size=50), st.text(max_size=50))
def test_any_text_can_be_a_secret(secret: str, before: str, after: str) -> None:
    assume(secret not in HIDDEN and not set("[]") & set(secret))
    redactor = Redactor([secret])
    assert secret not in redactor.text(before + secret + after)
    inner = json.dumps({"x": secret})
    assert json.dumps(secret)[1:-1] not in redactor.text(inner)


VARIABLES = st.text().filter(lambda name: name != "value")
"""Of variables in an object. One with `name` and `value` is a variable itself, and its name is shown."""


@given(st.recursive(st.text(max_size=30), lambda inner: st.lists(inner) | st.dictionaries(VARIABLES, inner)))
@example({"name": SECRET})
def test_every_value_in_a_place_of_secrets_is_hidden_and_learned(value: JsonValue) -> None:
    for place in ("env", "headers", "Authorization", "apiKey"):
        params: JsonValue = {"mcpServers": [{"name": "x", place: value}]}
        leaves = set(texts(Redactor().value(params)))
        assert leaves <= {HIDDEN, "x"}
    servers: JsonValue = {
        "env": [{"name": "PATH", "value": SECRET}],
        "headers": {"Authorization": "Bearer abcdef"},
    }
    assert set(secrets_in(servers)) == {SECRET, "Bearer abcdef", "abcdef"}


def texts(value: JsonValue) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in texts(item)]
        case dict():
            return [text for item in value.values() for text in texts(item)]
    return []


PARTS = (
    *(
        "token",
        "=",
        ":",
        " ",
        '"',
        "'",
        "\\",
        "AIza",
        "://",
        "@",
        "?key=",
        "Bearer ",
        "1",
        "abcdefgh",
        "cookie",
        ".",
    ),
    *("Authorization", "-----BEGIN PRIVATE KEY-----", "eyJ", "sk-", HIDDEN, "\n", "é", "\ud800"),
)
SOUP = st.lists(st.sampled_from(PARTS), max_size=25).map("".join)


@given(SOUP)
def test_to_redact_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor([SECRET])
    assert redactor.text(redactor.text(text)) == redactor.text(text)


@given(st.integers(0, 2 * MARGIN), st.integers(1, 300))
def test_a_cut_leaves_no_part_of_a_secret(place: int, limit: int) -> None:
    whole = "x" * place + SECRET + "y" * 2 * MARGIN
    shown = Redactor([SECRET]).text(whole, limit)
    assert "hunt" not in shown
    assert shown.startswith("x" * min(limit, place))
    assert len(shown) < limit + 60
    assert shown.endswith(f"… [{len(whole) - limit:,} characters more]")


def test_of_authenticate_only_the_method_is_left() -> None:
    message: JsonValue = {
        "id": 1,
        "method": "authenticate",
        "params": {"methodId": "login", "_meta": {"x": "abc", "n": [1, None]}, "key": "abc"},
    }
    hidden = {"methodId": "login", "_meta": {"x": HIDDEN, "n": [HIDDEN, None]}, "key": HIDDEN}
    assert Redactor().message(message) == {"id": 1, "method": "authenticate", "params": hidden}
    assert Redactor().message({"method": "authenticate", "params": "abc"}) == {
        "method": "authenticate",
        "params": HIDDEN,
    }


def test_secrets_by_name_by_flag_and_large_data() -> None:
    image = "iVBORw0KGgo" * 100
    message: JsonValue = {
        "_meta": {"example.org/token": "abc", "traceparent": "00-1"},
        "args": ["--token", "abc", "--api-key=abc", "--verbose", "yes"],
        "extra": [{"name": "GITHUB_TOKEN", "value": "abc"}, {"name": "LANG", "value": "C"}],
        "data": image,
        "uri": f"data:image/png;base64,{image}",
        "short": "QUJD",
    }
    assert Redactor().message(message) == {
        "_meta": {"example.org/token": HIDDEN, "traceparent": "00-1"},
        "args": ["--token", HIDDEN, f"--api-key={HIDDEN}", "--verbose", "yes"],
        "extra": [{"name": "GITHUB_TOKEN", "value": HIDDEN}, {"name": "LANG", "value": "C"}],
        "data": "[1,100 characters of base64]",
        "uri": "data:image/png;base64,[1,100 characters of base64]",
        "short": "QUJD",
    }


def test_what_is_no_json_is_left_out_from_the_first_place_of_secrets_on() -> None:
    broken = '{"method":"session/new","params":{"mcpServers":[{"name":"x","env":[{"name":"A","value":"abc'
    expected = '{"method":"session/new","params":{"mcpServers":[{"name":"x",' + HIDDEN
    assert Redactor().unreadable(broken, 500) == expected
    assert Redactor().unreadable("GET / HTTP/1.1", 500) == "GET / HTTP/1.1"
    assert Redactor().unreadable("x" * 9000, 500) == f"{'x' * 500}… [8,500 characters more]"


@pytest.mark.parametrize("backend", ["tests.agent.file_keyring.FileKeyring", "keyring.backends.fail.Keyring"])
def test_a_key_that_was_kept_is_known_to_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    key = f"unlike-any-other-key-{backend.split('.')[-2]}"
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    keyring.core.init_backend()
    credentials.keep(Secret(key))
    assert credentials.kept() is not None
    assert redaction.process.text(f"It is {key}.") == f"It is {HIDDEN}."


def test_secrets_of_the_environment_are_those_that_are_named_so() -> None:
    environment = {"GEMINI_API_KEY": "abcdef", "HOME": "/home/ada", "GITHUB_TOKEN": "ghijkl", "X_TOKEN": "1"}
    assert set(secrets_in_environment(environment)) == {"abcdef", "ghijkl"}
    for name in ("apiKey", "x-goog-api-key", "db.password", "example.org/accessToken", "AUTH_TOKEN"):
        assert is_secret_name(name)
    for name in ("key", "inputTokens", "tokenizer", "author", "toolCallId", "keyboard"):
        assert not is_secret_name(name)


@pytest.mark.parametrize(
    "part",
    ["a-", "eyJ-", "sk-", "token", "://", "AIza", "-----BEGIN PRIVATE KEY-----", "bearer ", "cookie", "a://"],
)
def test_no_text_takes_long(part: str) -> None:
    text = part * (300_000 // len(part))
    redactor = Redactor([SECRET])
    # In quadratic time this would not end before anybody's patience does.
    shown = redactor.text(text)
    assert redactor.text(shown) == shown
