"""Where a setting comes from, what a bad one is answered with, and which endpoint the credentials lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import platformdirs
import pytest

from acp_agent import config
from acp_agent.config import BadSettings, Settings
from acp_agent.steps import Endpoint, GeminiEndpoint, OpenAIEndpoint, VertexEndpoint

VALUES: dict[str, tuple[object, object, object]] = {
    # setting: three values, no two in a row alike, and different from the default where there are so many
    "data_dir": ("/flag", "/environment", "/file"),
    "model": ("flag", "environment", "file"),
    "base_url": ("http://flag/v1", "https://environment/v1", "http://file/v1"),
    "gemini_url": ("http://flag", "https://environment", "http://file"),
    "offline": (True, "1", True),
    "require": ("resumed", "recovered", "rebuilt"),
    "interrupted": ("rollback", "keep", "rollback"),
    "leftovers": ("report", "end", "report"),
    "announce": ("always", "never", "always"),
    "hibernate": (5.0, "1.5", 0),
    "silence": (60.0, "30", 1),
    "mode": ("plan", "autonomous", "auto-edit"),
    "log_level": ("debug", "info", "error"),
    "log_file": ("/flag.log", "~/environment.log", "/file.log"),
    "trace": ("/flag.jsonl", "~/environment.jsonl", "/file.jsonl"),
    "trace_content": ("none", "text", "none"),
}

BAD: dict[str, object] = {
    "data_dir": "~nobody-has-this-name/data",
    "base_url": "localhost:11434",
    "gemini_url": "ftp://host",
    "offline": "perhaps",
    "require": "fresh",
    "interrupted": "forget",
    "leftovers": "spare",
    "announce": "sometimes",
    "hibernate": -1,
    "silence": "nan",
    "mode": "yolo",
    "log_level": "loud",
    "log_file": "~nobody-has-this-name/log",
    "trace": "~nobody-has-this-name/trace",
    "trace_content": "some",
}


@pytest.fixture(autouse=True)
def no_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platformdirs, "user_config_path", lambda *_, **__: tmp_path / "user")


def toml(value: object) -> str:
    return "true" if value is True else f'"{value}"'


def load(
    tmp_path: Path,
    name: str,
    *,
    flag: object = None,
    environment: object = None,
    file: object = None,
) -> Settings:
    """Load with one setting given in some of the places."""
    path = tmp_path / "settings.toml"
    path.write_text("" if file is None else f"{name} = {toml(file)}\n")
    variables = {"ACP_AGENT_CONFIG": str(path)}
    if environment is not None:
        variables[f"ACP_AGENT_{name.upper()}"] = str(environment)
    return config.load({name: flag}, variables)


def test_every_setting_is_in_the_tables_above() -> None:
    assert set(VALUES) == set(config.NAMES)
    assert {setting.name for setting in fields(Settings)} == set(config.NAMES)
    assert set(BAD) == set(config.NAMES) - {"model"}, "any text is a model's name"


@pytest.mark.parametrize("name", VALUES)
def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path, name: str) -> None:
    flag, environment, file = VALUES[name]
    default = getattr(config.load({}, {}), name)

    def got(**places: object) -> object:
        return getattr(load(tmp_path, name, **places), name)

    def means(value: object) -> object:
        return getattr(config.load({name: value}, {}), name)

    assert got() == default
    assert got(file=file) == means(file) != default
    assert got(file=file, environment=environment) == got(environment=environment) == means(environment)
    assert got(file=file, environment=environment, flag=flag) == got(flag=flag) == means(flag)
    assert got(file=file, environment="") == means(file), "an empty variable is not set"


@pytest.mark.parametrize("name", ["offline"])
def test_a_switch_can_be_turned_off_by_a_higher_place(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, name, file=True, environment="false").offline is False
    assert load(tmp_path, name, file=True, environment="true", flag=False).offline is False


def test_the_defaults() -> None:
    settings = config.load({}, {})
    assert settings == Settings(data_dir=platformdirs.user_data_path("acp-agent", appauthor=False))
    assert settings.data_dir.is_absolute()


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    ("place", "origin"),
    [("flag", "the command line"), ("environment", "the environment"), ("file", "the configuration file")],
)
def test_a_bad_value_is_named_with_its_origin(tmp_path: Path, name: str, place: str, origin: str) -> None:
    with pytest.raises(BadSettings) as caught:
        load(tmp_path, name, **{place: BAD[name]})
    assert str(caught.value).startswith(f"{name} (from {origin}): ")


def test_a_bad_value_that_is_overridden_does_no_harm(tmp_path: Path) -> None:
    assert load(tmp_path, "base_url", file="nonsense", flag="http://flag/v1").base_url == "http://flag/v1"


def test_an_unknown_name_in_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"^modle \(from the configuration file\): "):
        load(tmp_path, "modle", file="x")


@pytest.mark.parametrize("truth", ["true", "1", "yes", "True", "on"])
def test_two_model_endpoints_exclude_each_other_wherever_they_come_from(tmp_path: Path, truth: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('base_url = "http://localhost/v1"\n')
    with pytest.raises(BadSettings) as caught:
        config.load({"config": str(path)}, {"ACP_AGENT_OFFLINE": truth})
    assert str(caught.value).startswith(
        "offline (from the environment) and base_url (from the configuration file) exclude each other"
    )


def test_the_file_is_the_flags_or_the_variables_or_the_users(tmp_path: Path) -> None:
    for folder in ("flag", "variable", "user"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.toml").write_text(f'model = "{folder}"\n')
    flag, variable = str(tmp_path / "flag" / "config.toml"), str(tmp_path / "variable" / "config.toml")
    assert config.load({"config": flag}, {"ACP_AGENT_CONFIG": variable}).model == "flag"
    assert config.load({"config": None}, {"ACP_AGENT_CONFIG": variable}).model == "variable"
    assert config.load({}, {}).model == "user"


@pytest.mark.parametrize("content", [None, b"model = ", b"\xff"], ids=["missing", "not TOML", "not UTF-8"])
def test_a_named_file_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "named.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSettings) as caught:
        config.load({"config": str(path)}, {})
    assert str(path) in str(caught.value)


def test_a_file_in_the_home_of_nobody_is_an_error() -> None:
    with pytest.raises(BadSettings, match=r"~nobody-has-this-name/settings\.toml cannot be read"):
        config.load({"config": "~nobody-has-this-name/settings.toml"}, {})


OFFLINE_URL = "http://127.0.0.1:1"
KEY = {"GEMINI_API_KEY": "secret"}
VERTEX = {"GOOGLE_GENAI_USE_VERTEXAI": "True"}
LOCAL = {"base_url": "http://localhost/v1"}


@pytest.mark.parametrize(
    ("flags", "environment", "offline_url", "expected"),
    [
        ({}, {}, None, None),
        ({}, {"GEMINI_API_KEY": ""}, None, None),
        ({}, {"GOOGLE_GENAI_USE_VERTEXAI": "false"}, None, None),
        ({"model": "m"}, {}, None, None),
        ({"model": "m"}, KEY, None, GeminiEndpoint),
        ({"model": "m"}, KEY | {"GOOGLE_GENAI_USE_VERTEXAI": "0"}, None, GeminiEndpoint),
        ({"model": "m"}, KEY | VERTEX, None, VertexEndpoint),
        ({"model": "m"}, {"GOOGLE_GENAI_USE_ENTERPRISE": "1"}, None, VertexEndpoint),
        (LOCAL | {"model": "m"}, {}, None, OpenAIEndpoint),
        (LOCAL | {"model": "m"}, KEY | VERTEX, None, OpenAIEndpoint),
        ({"offline": True}, {}, OFFLINE_URL, GeminiEndpoint),
        ({"offline": True}, KEY | VERTEX, OFFLINE_URL, GeminiEndpoint),
    ],
)
def test_settings_and_credentials_lead_to_one_endpoint(
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    offline_url: str | None,
    expected: type[Endpoint] | None,
) -> None:
    settings = config.load(flags, environment)
    found = config.endpoint(settings, environment, offline_url=offline_url)
    if expected is None:
        assert found is None
        return
    assert isinstance(found, expected)
    assert found.model == ("offline" if offline_url else "m")
    assert "secret" not in repr(found)
    if isinstance(found, GeminiEndpoint):
        assert found.base_url == offline_url
        assert found.api_key.reveal() == ("offline" if offline_url else "secret")
    if isinstance(found, OpenAIEndpoint):
        assert found.base_url == LOCAL["base_url"]


def test_an_openai_endpoint_needs_no_model_name() -> None:
    settings = config.load(LOCAL, {})
    assert config.endpoint(settings, {}, offline_url=None) == OpenAIEndpoint(LOCAL["base_url"], "default")
