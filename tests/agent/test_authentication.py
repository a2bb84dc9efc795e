"""Logging in and out: what is offered, where the key is kept, what the endpoint gets, and where else it is not."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from acp_agent.offline.server import OfflineModel
from tests.agent.driver import Agent, Json, World
from tests.agent.processes import harnesses

pytestmark = pytest.mark.anyio

KEY = "AIza-kept-by-login-0123456789"
OTHER_KEY = "AIza-another-key-0123456789"
ROOT = Path(__file__).parents[2]
TERMINAL: Json = {"auth": {"terminal": True}}


class Place:
    """A world whose endpoint takes one key, a home folder, and a keyring."""

    def __init__(self, world: World, home: Path) -> None:
        self.world = replace(world, endpoint=("--gemini-url", world.model.gemini_url))
        self.home = home
        self.keyring = home / "keyring"
        self.file = home / "config" / "acp-agent" / "credentials"

    def run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of `acp-agent`."""
        command = [sys.executable, "-m", "acp_agent", *self.world.command()[3:], *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(params=["keyring", "no keyring"])
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Place]:
    home = tmp_path / "home"
    home.mkdir()
    backend = {"keyring": "tests.agent.file_keyring.FileKeyring", "no keyring": "keyring.backends.fail.Keyring"}
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend[request.param])
    monkeypatch.setenv("TEST_KEYRING", str(home / "keyring"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    with OfflineModel(api_key=KEY) as model:
        world = World(tmp_path, model)
        world.workspace.mkdir()
        yield Place(world, home)


async def refused_for_want_of_a_key(agent: Agent, method: str, params: Json) -> None:
    error = await agent.refused(method, params)
    assert error.code == -32000
    assert isinstance(error.data, dict)
    assert "acp-agent login" in str(error.data["details"])


async def test_a_life_with_and_without_a_key(place: Place, request: pytest.FixtureRequest) -> None:
    world = place.world
    new: Json = {"cwd": str(world.workspace), "mcpServers": []}
    shown = place.run("login", "--show")
    assert (shown.returncode, shown.stdout) == (1, "No credentials were found.\n")
    async with world.agent() as agent:
        (method,) = objects(agent.initialized["authMethods"])
        assert method.get("type", "agent") == "agent"
        assert (await agent.refused("authenticate", {"methodId": "magic"})).code == -32602
        await refused_for_want_of_a_key(agent, "authenticate", {"methodId": method["id"]})
        await refused_for_want_of_a_key(agent, "session/new", new)
        assert (await agent.call("session/list", {}))["sessions"] == []
    async with world.agent(capabilities=TERMINAL) as agent:
        (method,) = objects(agent.initialized["authMethods"])
        assert (method["type"], method["args"]) == ("terminal", ["login"])
        # What the client does in a terminal; the same connection goes on.
        for wrong in ("", "short", f"{KEY} {KEY}", OTHER_KEY):
            done = place.run("login", given=wrong)
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            assert wrong == "" or wrong not in done.stderr
        done = place.run("login", given=f"{KEY}\n")
        assert (done.returncode, done.stderr) == (0, "")
        assert KEY not in done.stdout
        assert await agent.call("authenticate", {"methodId": method["id"]}) == {}
        session_id = str((await agent.call("session/new", new))["sessionId"])
        await agent.prompt(session_id, "My name is Ada.")
        await agent.prompt(session_id, "!run_command env > environment")
        (harness,) = harnesses(session_id)
        assert KEY not in str((harness.cmdline(), harness.environ()))
        assert (await agent.call("logout", {})) == {}
        await refused_for_want_of_a_key(
            agent,
            "session/prompt",
            {"sessionId": session_id, "prompt": [{"type": "text", "text": "Still there?"}]},
        )
        assert (await agent.prompt(session_id, "/session"))["stopReason"] == "end_turn"
    assert place.run("login", "--show").returncode == 1
    assert KEY not in (world.workspace / "environment").read_text()
    assert places_with((world.data_dir, world.workspace, place.home), KEY.encode()) == []
    async with world.agent() as agent:
        # Without a key everything can be looked at, and nothing is said that is not so.
        report = await agent.load(session_id, world.workspace)
        assert (report["reason"], report["turnsInContext"]) == ("verified", 2)
        assert len(agent.shown()) > 3
        question: Json = {"sessionId": session_id, "prompt": [{"type": "text", "text": "Who am I?"}]}
        await refused_for_want_of_a_key(agent, "session/prompt", question)
        assert place.run("login", "--no-check", given=KEY).returncode == 0
        await agent.prompt(session_id, "Who am I?")
        assert len(world.model.requests[-1].user_turns) == 3
        # The list of models could not be asked for before.
        await agent.until(lambda: "offline-second" in str(agent.option_updates))
    async with world.agent(capabilities=TERMINAL) as agent:
        assert agent.initialized["authMethods"] == []
        assert agent.initialized["agentCapabilities"]["auth"] == {"logout": {}}  # type: ignore[index, call-overload]
    kept_in = place.keyring if "[keyring]" in request.node.name else place.file
    assert KEY in kept_in.read_text()
    assert places_with((world.data_dir, world.workspace, place.home), KEY.encode()) == [str(kept_in)]
    gone = place.run("logout")
    assert (gone.returncode, gone.stdout) == (0, "The key is forgotten.\n")
    assert place.run("logout").stdout == "No key was kept.\n"


@pytest.mark.parametrize("place", ["no keyring"], indirect=True)
async def test_a_key_that_the_endpoint_refuses_is_replaced_without_a_restart(place: Place) -> None:
    assert place.run("login", "--no-check", given=OTHER_KEY).returncode == 0
    async with place.world.agent() as agent:
        session_id, another = await agent.new(place.world.workspace), await agent.new(place.world.workspace)
        prompt: Json = {"sessionId": session_id, "prompt": [{"type": "text", "text": "Hello."}]}
        error = await agent.refused("session/prompt", prompt)
        assert error.code == -32000
        assert isinstance(error.data, dict)
        assert error.data["reason"] == "key_refused"
        assert error.data["_meta"]["acp-agent/checkpoint"]["durable"] is True  # type: ignore[index, call-overload]
        assert OTHER_KEY not in str(error.data)
        assert place.run("login", given=KEY).returncode == 0
        # Without `authenticate`: not every client calls it after the terminal.
        await agent.prompt(session_id, "Hello again.")
        await agent.until(lambda: str(agent.option_updates).count("'offline-second'") == 1)
        await agent.prompt(another, "Hello again.")
        await agent.until(lambda: str(agent.option_updates).count("'offline-second'") == 2)
        # How the Gemini API says it (400, not 401).
        invalid: Json = {"type": "text", "text": "!fail 400 API key not valid. Please pass a valid API key."}
        assert (await agent.refused("session/prompt", {**prompt, "prompt": [invalid]})).code == -32000
        # A logout elsewhere is seen when the client asks.
        assert place.run("logout").returncode == 0
        await refused_for_want_of_a_key(agent, "authenticate", {"methodId": "login"})
        await refused_for_want_of_a_key(agent, "session/prompt", prompt)


@pytest.mark.parametrize("place", ["keyring"], indirect=True)
async def test_a_locked_keyring_is_never_said_to_be_empty(place: Place) -> None:
    assert place.run("login", "--no-check", given=OTHER_KEY).returncode == 0
    (place.home / "locked").touch()
    gone = place.run("logout")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "A key that it holds is not forgotten" in gone.stderr
    kept = place.run("login", "--no-check", given=KEY)
    assert (kept.returncode, kept.stdout) == (0, f"The key is kept in {place.file}.\n")
    assert "A key that it holds from an earlier login comes first." in kept.stderr
    unfinished = place.file.with_name("credentials.new")
    unfinished.write_text(KEY)
    async with place.world.agent() as agent:
        error = await agent.refused("logout", {})
        assert error.code == -31007
        assert isinstance(error.data, dict)
        assert error.data["reason"] == "keyring_refused"
        assert not place.file.exists()
        assert not unfinished.exists(), "what a login left that was killed holds a key as well"
        (place.home / "locked").unlink()
        assert await agent.call("logout", {}) == {}
        await refused_for_want_of_a_key(agent, "session/new", {"cwd": str(place.home), "mcpServers": []})
    assert OTHER_KEY not in place.keyring.read_text()
    shown = place.run("--offline", "login", "--show")
    assert (shown.returncode, shown.stdout) == (
        0,
        "The model endpoint that is set needs no credentials of ours.\n",
    )


@pytest.mark.parametrize("place", ["keyring"], indirect=True)
@pytest.mark.parametrize("trouble", ["locked", "hangs"])
async def test_a_keyring_that_does_not_answer_holds_nothing_up(place: Place, trouble: str) -> None:
    place.file.parent.mkdir(parents=True)
    place.file.write_text(f"{KEY}\n")
    place.file.chmod(0o600)
    (place.home / trouble).touch()
    async with place.world.agent() as agent:
        assert agent.initialized["authMethods"] == []
        session_id = await agent.new(place.world.workspace)
        await agent.prompt(session_id, "Hello.")


@pytest.mark.parametrize("place", ["no keyring"], indirect=True)
async def test_a_file_that_others_can_read_is_not_used(place: Place) -> None:
    assert place.run("login", given=KEY).returncode == 0
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.file.parent.stat().st_mode) == 0o700
    assert f"An API key is kept: {place.file}." in place.run("login", "--show").stdout
    for mode, text in ((0o644, KEY), (0o600, "no key"), (0o600, "")):
        place.file.chmod(mode)
        place.file.write_text(text)
        async with place.world.agent() as agent:
            assert len(objects(agent.initialized["authMethods"])) == 1
    assert place.run("login", given=KEY).returncode == 0
    assert place.file.read_text() == f"{KEY}\n"
    place.file.unlink()
    place.file.symlink_to(place.home / "elsewhere")
    (place.home / "elsewhere").write_text(KEY)
    async with place.world.agent() as agent:
        assert len(objects(agent.initialized["authMethods"])) == 1


def places_with(folders: tuple[Path, ...], secret: bytes) -> list[str]:
    """The files that hold a secret."""
    found = []
    for folder in folders:
        found += [str(path) for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
    return found


def objects(value: object) -> list[Json]:
    assert isinstance(value, list)
    return value
