"""`acp-agent install` and `uninstall`, as a person runs them, in a home of their own."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import click.testing
import pytest
from hypothesis import HealthCheck, given, settings
from syrupy.assertion import SnapshotAssertion

from acp_agent.chat.process import AgentProcess
from acp_agent.cli import main
from acp_agent.ides import inspection, launching, settings_file
from acp_agent.ides.inspection import State
from acp_agent.ides.launching import Launch
from acp_agent.ides.machine import Machine
from acp_agent.install_command import install, uninstall
from tests.agent.driver import Agent
from tests.ides.texts import Text, texts

ZED = """\
// Zed settings
{
  "theme": "One Dark", // mine
  "agent_servers": {
    "Other": { "type": "custom", "command": "other", "env": { "KEY": "secret" } },
  },
}
"""


class Home:
    """A home folder, and what the commands say there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.zed = folder / ".config" / "zed" / "settings.json"
        self.jetbrains = folder / ".jetbrains" / "acp.json"

    def with_zed(self, text: str = ZED) -> Path:
        self.zed.parent.mkdir(parents=True, exist_ok=True)
        self.zed.write_bytes(text.encode())
        return self.zed

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a command says, both streams, without what differs from run to run."""
        done = click.testing.CliRunner().invoke(main, arguments)
        assert done.exit_code == status, done.output
        said = done.output.replace(str(self.folder), "~").replace(str(Path(sys.executable).parent), "/programs")
        said = re.sub(rf"\.\d{{8}}-\d{{6}}{re.escape(settings_file.BACKUP)}(-\d+)?", ".TIME", said)
        return re.sub(r" +\n", "\n", re.sub(r"(?<=\S)  +", "  ", said))  # columns are as wide as the home's path

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA", "GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr(sys, "platform", "linux")
    return Home(tmp_path)


def test_a_life_in_zed(home: Home, snapshot: SnapshotAssertion) -> None:
    path = home.with_zed()
    assert home.run("install") == snapshot(name="nothing set up yet")
    assert home.run("install", "zed", "--dry-run") == snapshot(name="dry run")
    assert list(home.files()) == [".config/zed/settings.json"]
    assert home.run("install", "zed") == snapshot(name="install")
    assert path.read_text().replace(str(Path(sys.executable).parent), "/programs") == snapshot(name="settings")
    assert home.run("install") == snapshot(name="set up")
    before = home.files()
    assert home.run("install", "zed") == snapshot(name="install again")
    assert home.files() == before
    assert home.run("install", "zed", "--", "--mode", "plan") == snapshot(name="install with options")
    assert home.run("uninstall", "zed", "--dry-run") == snapshot(name="dry run of uninstall")
    assert home.run("uninstall", "zed") == snapshot(name="uninstall")
    assert path.read_text() == ZED
    before = home.files()
    assert home.run("uninstall", "zed") == snapshot(name="uninstall again")
    assert home.files() == before


def test_without_kept_copies_the_rest_comes_back_all_the_same(home: Home) -> None:
    path = home.with_zed()
    home.run("install", "zed")
    for copy in path.parent.glob(f"*{settings_file.BACKUP}"):
        copy.unlink()
    path.write_text(path.read_text().replace("One Dark", "One Light"))
    home.run("uninstall", "zed")
    assert path.read_text() == ZED.replace("One Dark", "One Light")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts())
def test_any_settings_come_back_to_the_byte(home: Home, given: Text) -> None:
    path = home.with_zed(given.text)
    home.run("install", "zed", "--", "--offline")
    assert path.read_bytes() != given.text.encode()
    home.run("uninstall", "zed")
    assert path.read_bytes() == given.text.encode()


def test_an_ide_that_is_not_there_gets_a_file_and_loses_it_again(home: Home, snapshot: SnapshotAssertion) -> None:
    assert home.run("install", "intellij", "--", "--offline") == snapshot(name="install")
    assert json.loads(home.jetbrains.read_bytes())["agent_servers"]["Antigravity"]["args"] == ["--offline"]
    assert home.run("uninstall", "jetbrains") == snapshot(name="uninstall")
    assert not home.jetbrains.exists()


def test_both_zeds_are_set_up_and_one_that_cannot_be_hinders_no_other(home: Home) -> None:
    native = home.with_zed("{,}")
    flatpak = home.folder / ".var" / "app" / "dev.zed.Zed" / "config" / "zed" / "settings.json"
    flatpak.parent.mkdir(parents=True)
    said = home.run("install", "zed", status=1)
    assert "~/.config/zed/settings.json is not valid at line 1, column 2" in said
    assert native.read_text() == "{,}"
    assert "Antigravity" in json.loads(flatpak.read_bytes())["agent_servers"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b'{\n  "a": 1,,\n}',
            "~/.config/zed/settings.json is not valid at line 2, column 10: expecting property name",
        ),
        (
            b'{"agent_servers": {"Antigravity": {}, "Antigravity": {}}}',
            "~/.config/zed/settings.json has the key 'Antigravity' more than once; it is left alone.",
        ),
        (b"\xff\xfe{}", "~/.config/zed/settings.json is not UTF-8 (at byte 0); it is left alone."),
        (
            b'{"agent_servers": {"Antigravity": {"command": "other"}}}',
            "'Antigravity' is the name of another agent in Zed. Choose another with --name, or use --force;",
        ),
    ],
)
def test_settings_that_cannot_be_edited_are_left_alone(home: Home, content: bytes, sentence: str) -> None:
    home.with_zed()
    home.zed.write_bytes(content)
    for command in ("install", "uninstall"):
        assert sentence in home.run(command, "zed", status=1)
        assert sentence in home.run(command, "zed", "--dry-run", status=1)
    assert home.files() == {".config/zed/settings.json": content}


def test_force_and_names(home: Home) -> None:
    path = home.with_zed('{"agent_servers": {"Antigravity": {"command": "other"}}}')
    home.run("install", "zed", "--name", "Mine")
    assert "'Mine' starts this agent as well; --name 'Mine' removes that" in home.run("uninstall", "zed", status=1)
    home.run("install", "zed", "--force")
    servers = json.loads(path.read_bytes())["agent_servers"]
    assert servers["Antigravity"] == servers["Mine"]
    home.run("uninstall", "zed", "--name", "Mine")
    home.run("uninstall", "zed", "--force")
    assert json.loads(path.read_bytes()) == {}


def test_what_the_ide_gives_the_agent_is_checked_and_never_a_secret(home: Home) -> None:
    home.with_zed()
    for arguments, sentence in (
        (("--modle", "m"), "No such option '--modle'"),
        (("--mode", "fast"), "must be one of"),
        (("chat",), "'chat' is not one of those"),
        (("--help",), "options only"),
        (("--data-dir", "here"), "'here' must be an absolute path"),
        (("--base-url", "localhost"), "must begin with http:// or https://"),
        (("--base-url", "https://ada:secret@example.org"), "is not written into settings"),
    ):
        said = home.run("install", "zed", "--", *arguments, status=2)
        assert sentence in said
        assert "ada:secret" not in said
    assert "are not UTF-8" in home.run("install", "zed", "--", "--model", "\udcff", status=1)
    assert "acp-agent install IDE -- --offline" in home.run("--offline", "install", "zed", status=2)
    assert "No such option" in home.run("install", "zed", "--offline", status=2)
    assert "a program, and is not edited" in home.run("install", "emacs", "--file", "x", status=2)
    assert "a text that can be shown" in home.run("install", "zed", "--name", "\x1b", status=2)
    assert home.files() == {".config/zed/settings.json": ZED.encode()}


def test_the_other_entries_are_not_shown(home: Home) -> None:
    home.with_zed()
    for arguments in (("install", "zed", "--dry-run"), ("install", "zed"), ("install",), ("uninstall", "zed")):
        assert "secret" not in home.run(*arguments)


def test_what_is_a_program_is_pasted_by_hand(home: Home, snapshot: SnapshotAssertion) -> None:
    for ide in ("neovim", "emacs"):
        assert home.run("install", ide, "--", "--mode", "plan", status=3) == snapshot(name=ide)
        assert home.run("install", ide, "--print").count("Paste") == 0
        assert "by hand" in home.run("uninstall", ide, status=3)
    assert home.run("install", "acpx", "--print") == snapshot(name="acpx")
    assert home.files() == {}


def test_it_says_where_the_key_comes_from(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Run `acp-agent login`: no API key is kept yet." in home.run("install", "zed")
    assert "login" not in home.run("install", "zed", "--", "--offline")
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-secret-key")
    said = home.run("install", "zed", "--", "--mode", "ask")
    assert "GEMINI_API_KEY is set here" in said
    assert not any(b"AIza" in content for content in home.files().values())
    assert "AIza" not in said


def test_it_says_which_settings_the_ide_will_not_have(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Set here" not in home.run("install", "zed")
    monkeypatch.setenv("ACP_AGENT_BASE_URL", "http://u:secret@localhost:1/v1")
    said = home.run("install", "zed")
    assert "Set here, and not in an IDE that is not started from here: ACP_AGENT_BASE_URL." in said
    assert "secret" not in said


def test_the_page_is_right(home: Home) -> None:
    page = (Path(__file__).parents[2] / "docs" / "ides.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ acp-agent (.*)$", page, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        home.run(*command.split())
    assert re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE) == [*State]
    options = {
        option
        for command in (install, uninstall)
        for each in command.params
        for option in each.opts
        if option[0] == "-"
    }
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)) == options


def test_what_is_set_up_is_seen(home: Home, tmp_path: Path) -> None:
    program = tmp_path / "acp-agent"
    program.touch(mode=0o755)
    launch = Launch(str(program))
    machine = Machine("linux", home.folder, {})

    def zed(entry: object = None) -> tuple[State, str]:
        home.with_zed(json.dumps({"agent_servers": {"Antigravity": entry}} if entry else {}))
        found = inspection.look(machine, launch)[0]
        assert (found.ide, found.file) == ("zed", home.zed)
        return found.state, found.detail

    assert {found.state for found in inspection.look(machine, launch)} == {State.ABSENT}
    assert zed() == (State.WITHOUT_ENTRY, "")
    assert zed({"command": str(program), "args": ["--offline"]}) == (State.CONFIGURED, "")
    assert zed({"command": "/gone/acp-agent"}) == (
        State.OTHER_COMMAND,
        "'Antigravity' starts /gone/acp-agent, which is not there.",
    )
    other = tmp_path / "other" / "acp-agent"
    other.parent.mkdir()
    other.touch(mode=0o755)
    assert zed({"command": str(other)}) == (
        State.OTHER_COMMAND,
        f"'Antigravity' starts another acp-agent: {other}.",
    )
    assert zed({"command": "/bin/sh"}) == (State.OTHER_COMMAND, "'Antigravity' starts another agent.")
    registered = {"agent_servers": {launching.PACKAGE: {"type": "registry"}}}
    home.with_zed(json.dumps(registered))
    assert inspection.look(machine, launch)[0].state is State.REGISTERED
    home.with_zed(json.dumps({"agent_servers": {"other-agent": {"type": "registry"}}}))
    assert inspection.look(machine, launch)[0].state is State.WITHOUT_ENTRY
    home.with_zed("{,}")
    found = inspection.look(machine, launch)[0]
    assert found.state is State.UNREADABLE
    assert found.detail.startswith("The file is not valid at line 1, column 2")
    (home.folder / ".config" / "nvim").mkdir()
    assert [f.state for f in inspection.look(machine, launch) if f.ide == "neovim"] == [State.BY_HAND]


def test_what_was_installed_starts_a_session(home: Home) -> None:
    data, workspace = home.folder / "data", home.folder / "workspace"
    workspace.mkdir()
    home.run("install", "jetbrains", "--", "--offline", "--data-dir", str(data))
    entry = json.loads(home.jetbrains.read_bytes())["agent_servers"]["Antigravity"]

    async def life() -> None:
        agent = Agent(await AgentProcess.start((entry["command"], *entry["args"]), workspace))
        try:
            assert (await agent.initialize())["protocolVersion"] == 1
            session_id = await agent.new(workspace)
            assert (data / "sessions" / session_id).is_dir()
        finally:
            await agent.stop()

    asyncio.run(life())
    home.run("uninstall", "jetbrains")
    assert not home.jetbrains.exists()
