"""The ready configurations: read as each client reads them, the command started, `initialize` answered.

What cannot be run here is said on their pages: Zed, the JetBrains IDEs, and agent-shell.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import sexpdata
from lupa import LuaRuntime
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from acp_agent import __version__
from acp_agent.ides import entries, snippets
from acp_agent.ides.catalogue import BY_KEY, IDES
from acp_agent.ides.launching import PACKAGE

CONFIGURATIONS = Path(__file__).parents[2] / "ide-configs"
HOME = "/home/YOU"
COMMAND = (f"{HOME}/.local/bin/acp-agent",)
FILES = {
    "zed": "settings.json",
    "jetbrains": "acp.json",
    "acpx": "config.json",
    "neovim": "codecompanion.lua",
    "emacs": "agent-shell.el",
}
REGISTERED = CONFIGURATIONS / "registry" / PACKAGE


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ZedCustom(Strict):
    """As Zed's settings: an enum that is told apart by its type (client-facts 1.1)."""

    type: Literal["custom"]
    command: str
    args: list[str] = []
    env: dict[str, str] = {}


class ZedRegistry(Strict):
    type: Literal["registry"]
    env: dict[str, str] = {}


ZedServer = Annotated[ZedCustom | ZedRegistry, Field(discriminator="type")]


class JetBrainsServer(Strict):
    """The documented keys (client-facts 2)."""

    command: str
    args: list[str] = []
    env: dict[str, str] = {}


class AcpxAgent(Strict):
    """`argv` alone, as acpx wants it of new entries."""

    argv: list[str] = Field(min_length=1)


class Distributed(Strict):
    """A package of the registry's manifest."""

    package: str = Field(min_length=1)
    cmd: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}


class Distribution(Strict):
    uvx: Distributed


class Manifest(BaseModel):
    """The registry's rules for `agent.json` (client-facts 1.2)."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    name: str = Field(min_length=1)
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+")
    description: str = Field(min_length=1)
    license: str
    distribution: Distribution


def text_of(key: str, home: Path | str = HOME) -> str:
    """A ready configuration, for a user whose home is there."""
    text = (CONFIGURATIONS / key / FILES[key]).read_text(encoding="utf-8")
    return text.replace(HOME, str(home))


def initialize(command: Sequence[str], environment: Mapping[str, str], params: JsonValue) -> dict[str, JsonValue]:
    """The answer of a started command, which is killed then: an IDE does so as well."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=dict(environment), text=True) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        print(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}), file=agent.stdin)
        agent.stdin.flush()
        answer = agent.stdout.readline()
        agent.kill()
    result = json.loads(answer)["result"]
    assert isinstance(result, dict)
    assert result["protocolVersion"] == 1
    return result


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home where the agent is installed as pipx and uv do: by a link in a folder on the PATH."""
    programs = tmp_path / ".local" / "bin"
    programs.mkdir(parents=True)
    (programs / "acp-agent").symlink_to(Path(sys.executable).with_name("acp-agent"))
    return tmp_path


def of_zed(text: str) -> list[str]:
    servers = TypeAdapter(dict[str, dict[str, ZedServer]]).validate_json(text)["agent_servers"]
    (server,) = servers.values()
    assert isinstance(server, ZedCustom)
    return [server.command, *server.args]


def of_jetbrains(text: str) -> list[str]:
    servers = TypeAdapter(dict[str, dict[str, JetBrainsServer]]).validate_json(text)["agent_servers"]
    (server,) = servers.values()
    assert Path(server.command).is_absolute()
    assert "PATH" not in server.env  # it would be the whole PATH
    return [server.command, *server.args]


def of_acpx(text: str) -> list[str]:
    return TypeAdapter(dict[str, dict[str, AcpxAgent]]).validate_json(text)["agents"]["antigravity"].argv


def of_emacs(text: str) -> list[str]:
    def flat(form: object) -> list[object]:
        if isinstance(form, sexpdata.Quoted):
            form = form.x
        return [word for inner in form for word in flat(inner)] if isinstance(form, list) else [form]

    words = flat(sexpdata.loads(text))
    command, parameters = (words.index(sexpdata.Symbol(name)) for name in (":command", ":command-params"))
    end = words.index(sexpdata.Symbol(":environment-variables"))
    return [str(word) for word in [*words[command + 1 : parameters], *words[parameters + 1 : end]]]


def lua_adapter(text: str) -> Any:  # noqa: ANN401  (what Lua made)
    """The adapter that the configuration gives CodeCompanion, whose modules are stood in for."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.execute("""
        given = nil
        function require(name)
          if name == "codecompanion" then return { setup = function(options) given = options end } end
          if name == "codecompanion.adapters.acp.helpers" then
            return { form_messages = function(self, messages) return messages end }
          end
          error("no module " .. name)
        end
    """)
    lua.execute(text)
    return lua.eval("given.adapters.acp.antigravity()")


def of_neovim(text: str) -> list[str]:
    adapter = lua_adapter(text)
    assert (adapter.type, adapter.name) == ("acp", "antigravity")
    assert adapter.handlers.setup(adapter) is True
    assert adapter.handlers.auth(adapter) is True
    assert adapter.handlers.form_messages(adapter, "messages") == "messages"
    assert dict(adapter.roles) == {"llm": "assistant", "user": "user"}
    return list(adapter.commands.default.values())


READERS = {"zed": of_zed, "jetbrains": of_jetbrains, "acpx": of_acpx, "neovim": of_neovim, "emacs": of_emacs}


@pytest.mark.parametrize("key", READERS)
def test_a_ready_configuration_starts_an_agent_that_answers(key: str, home: Path) -> None:
    command = READERS[key](text_of(key, home))
    params: JsonValue = {"protocolVersion": 1, "clientCapabilities": {}}
    if key == "neovim":  # where what is sent is a part of the configuration
        sent = lua_adapter(text_of(key, home)).parameters
        capabilities: JsonValue = {"fs": dict(sent.clientCapabilities.fs)}
        params = {
            "protocolVersion": sent.protocolVersion,
            "clientCapabilities": capabilities,
            "clientInfo": dict(sent.clientInfo),
        }
    result = initialize(command, {"HOME": str(home), "PATH": "/usr/bin:/bin"}, params)
    assert result["agentInfo"] == {"name": "acp-agent", "title": "Antigravity", "version": __version__}


def test_the_ready_configurations_are_what_install_writes() -> None:
    assert {ide.key for ide in IDES} == FILES.keys()
    for ide in IDES:
        if ide.by_hand:
            assert text_of(ide.key) == snippets.snippet(ide, ide.name, COMMAND)
        else:
            container, name = entries.path(ide, ide.name)
            assert json.loads(text_of(ide.key)) == {container: {name: entries.new(ide, COMMAND)}}


@pytest.mark.parametrize("word", ['say "hi"', "C:\\agents\\new", "a'b", "two\nlines", "ü {x}"])
def test_no_word_of_a_command_gets_out_of_its_quotes(word: str) -> None:
    command = ["/bin/acp-agent", "--model", word]
    assert of_neovim(snippets.snippet(BY_KEY["neovim"], "antigravity", command)) == command
    assert of_emacs(snippets.snippet(BY_KEY["emacs"], "antigravity", command)) == command


def test_every_page_says_how_to_install_and_its_links_lead_somewhere() -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in CONFIGURATIONS.rglob("README.md")}
    assert {page.parent.name for page in pages} == {*FILES, "registry", CONFIGURATIONS.name}
    for page, text in pages.items():
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert (page.parent / target).exists(), f"{page} links to {target}"
    for key in FILES:
        assert f"$ acp-agent install {key}\n" in pages[CONFIGURATIONS / key / "README.md"]


def test_the_entry_for_zeds_registry_names_the_manifest() -> None:
    text = (CONFIGURATIONS / "zed" / "settings.registry.json").read_text(encoding="utf-8")
    servers = TypeAdapter(dict[str, dict[str, ZedServer]]).validate_json(text)["agent_servers"]
    assert {name: server.type for name, server in servers.items()} == {PACKAGE: "registry"}


def test_the_manifest_follows_the_rules_of_the_registry() -> None:
    manifest = Manifest.model_validate_json((REGISTERED / "agent.json").read_bytes())
    assert manifest.id == REGISTERED.name
    assert manifest.version == __version__
    about = metadata.metadata(PACKAGE)
    assert manifest.description == about["Summary"]
    assert manifest.license == about["License-Expression"]
    # A version in the package's name must be the manifest's, and what is started a command of that package.
    assert manifest.distribution.uvx.package == f"{PACKAGE}=={__version__}"
    scripts = {
        script.name for script in metadata.distribution(PACKAGE).entry_points if script.group == "console_scripts"
    }
    assert manifest.distribution.uvx.cmd in scripts


def test_the_icon_follows_the_rules_of_the_registry() -> None:
    text = (REGISTERED / "icon.svg").read_text(encoding="utf-8")
    assert "<!--" not in text
    assert "<style" not in text
    root = ET.fromstring(text)  # noqa: S314  (our own file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("16", "16", "0 0 16 16")
    colours = {value for each in root.iter() for name in ("fill", "stroke") if (value := each.get(name))}
    assert "currentColor" in colours
    assert colours <= {"currentColor", "none", "inherit"}
    assert not re.search(r"style=|#[0-9a-f]{3}", text, re.IGNORECASE)


def test_initialize_offers_a_way_to_log_in_as_the_registry_demands(tmp_path: Path) -> None:
    # What the registry's validator hands on of the environment, HOME being an empty folder, and what it sends.
    # It starts the agent through uvx; here its command is started, since nothing is published yet.
    command = Manifest.model_validate_json((REGISTERED / "agent.json").read_bytes()).distribution.uvx
    assert command.cmd is not None
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(tmp_path)}
    capabilities: JsonValue = {
        "terminal": True,
        "fs": {"readTextFile": True, "writeTextFile": True},
        "_meta": {"terminal_output": True, "terminal-auth": True},
    }
    params: JsonValue = {
        "protocolVersion": 1,
        "clientInfo": {"name": "ACP Registry Validator", "version": "1.0.0"},
        "clientCapabilities": capabilities,
    }
    program = Path(sys.executable).with_name(command.cmd)
    terminal: JsonValue = {"protocolVersion": 1, "clientCapabilities": {"auth": {"terminal": True}}}
    for given in (params, terminal):
        methods = initialize([str(program), *command.args], {**environment, **command.env}, given)["authMethods"]
        assert isinstance(methods, list)
        kinds = [method.get("type", "agent") for method in methods if isinstance(method, dict)]
        assert kinds and set(kinds) <= {"agent", "terminal"}
