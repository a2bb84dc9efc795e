"""Where IDEs keep their settings on each platform, and which command starts the agent for good."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from acp_agent import __version__
from acp_agent.ides import launching
from acp_agent.ides.catalogue import BY_KEY, IDES, files_in_use, present
from acp_agent.ides.launching import Launch, NoLaunch, Running
from acp_agent.ides.machine import Machine

HOME = Path("/home/ada")


def places(platform: str, environment: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    machine = Machine(platform, HOME, environment or {})
    return {ide.key: [str(file).removeprefix("/home/ada/") for file in ide.files(machine)] for ide in IDES}


def test_the_places_on_linux() -> None:
    assert places("linux") == {
        "zed": [".config/zed/settings.json", ".var/app/dev.zed.Zed/config/zed/settings.json"],
        "jetbrains": [".jetbrains/acp.json"],
        "acpx": [".acpx/config.json"],
        "neovim": [".config/nvim/init.lua"],
        "emacs": [".emacs.d/init.el", ".config/emacs/init.el"],
    }
    moved = places("linux", {"XDG_CONFIG_HOME": "/etc/ada"})
    assert moved["zed"][0] == "/etc/ada/zed/settings.json"
    assert moved["neovim"] == ["/etc/ada/nvim/init.lua"]
    assert moved["jetbrains"] == [".jetbrains/acp.json"]
    for unusable in ("", "relative"):
        assert places("linux", {"XDG_CONFIG_HOME": unusable}) == places("linux")


def test_the_places_on_macos() -> None:
    # Zed goes by no variable there.
    found = places("darwin", {"XDG_CONFIG_HOME": "/etc/ada"})
    assert found["zed"] == [".config/zed/settings.json"]
    assert found["jetbrains"] == [".jetbrains/acp.json"]
    traces = BY_KEY["jetbrains"].traces(Machine("darwin", HOME, {}))
    assert HOME / "Library" / "Application Support" / "JetBrains" in traces


def test_the_places_on_windows() -> None:
    assert places("win32", {"APPDATA": "/roaming", "LOCALAPPDATA": "/local"}) == {
        "zed": ["/roaming/Zed/settings.json"],
        "jetbrains": [".jetbrains/acp.json"],
        "acpx": [".acpx/config.json"],
        "neovim": ["/local/nvim/init.lua"],
        "emacs": ["/roaming/.emacs.d/init.el", ".config/emacs/init.el"],
    }
    assert places("win32")["zed"] == ["AppData/Roaming/Zed/settings.json"]
    assert places("win32")["neovim"] == ["AppData/Local/nvim/init.lua"]


def test_what_is_there_is_found(tmp_path: Path) -> None:
    machine = Machine("linux", tmp_path, {})
    zed = BY_KEY["zed"]
    native, flatpak = zed.files(machine)
    assert not any(present(ide, machine) for ide in IDES)
    assert files_in_use(zed, machine) == (native,)
    flatpak.parent.mkdir(parents=True)
    assert files_in_use(zed, machine) == (flatpak,)
    native.parent.mkdir(parents=True)
    assert files_in_use(zed, machine) == (native, flatpak)
    (tmp_path / ".config" / "JetBrains").mkdir()
    (tmp_path / ".emacs").touch()
    assert [ide.key for ide in IDES if present(ide, machine)] == ["zed", "jetbrains", "emacs"]


def nowhere(_: str) -> None:
    return None


def installed(folder: Path, *, script: str = "acp-agent") -> Running:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / script).touch()
    return Running(folder / "python", folder.parent)


def test_the_script_beside_the_python_is_what_starts_it(tmp_path: Path) -> None:
    running = installed(tmp_path / "env" / "bin")
    assert launching.choose(running, nowhere) == Launch(str(tmp_path / "env" / "bin" / "acp-agent"))
    windows = installed(tmp_path / "windows" / "Scripts", script="acp-agent.exe")
    assert launching.choose(windows, nowhere) == Launch(str(tmp_path / "windows" / "Scripts" / "acp-agent.exe"))


def test_a_link_to_it_on_the_path_is_better_and_another_script_is_not_it(tmp_path: Path) -> None:
    running = installed(tmp_path / "env" / "bin")
    link = tmp_path / "acp-agent"
    link.symlink_to(tmp_path / "env" / "bin" / "acp-agent")
    assert launching.choose(running, lambda _: str(link)) == Launch(str(link))
    assert launching.choose(running, lambda _: os.path.relpath(link)).program == str(
        running.executable.with_name("acp-agent")
    )
    other = installed(tmp_path / "other" / "bin").executable.with_name("acp-agent")
    assert launching.choose(running, lambda _: str(other)).program != str(other)


def test_without_a_script_its_python_starts_it(tmp_path: Path) -> None:
    running = Running(tmp_path / "bin" / "python3", tmp_path)
    assert launching.choose(running, nowhere).command(["--offline"]) == (
        str(tmp_path / "bin" / "python3"),
        "-m",
        "acp_agent",
        "--offline",
    )
    with pytest.raises(NoLaunch, match="no absolute path"):
        launching.choose(Running(Path("python3"), tmp_path), nowhere)


@pytest.mark.parametrize(
    ("source", "requirement"),
    [
        (None, f"antigravity-acp-agent=={__version__}"),
        ({"url": "file:///home/ada/agent", "dir_info": {}}, "file:///home/ada/agent"),
        (
            {"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "git+https://example.org/a.git@abc",
        ),
    ],
)
def test_in_a_cache_its_owner_starts_it(source: object, requirement: str) -> None:
    text = None if source is None else json.dumps(source)
    uvx = Running(
        Path("/home/ada/.cache/uv/archive-v0/x1/bin/python"), Path("/home/ada/.cache/uv/archive-v0/x1"), text
    )
    launch = launching.choose(uvx, lambda name: f"/usr/bin/{name}")
    assert launch.command() == ("/usr/bin/uvx", "--from", requirement, "acp-agent")
    assert launch.remark is not None
    pipx = Running(Path("/home/ada/.cache/pipx/12/bin/python"), Path("/home/ada/.cache/pipx/12"), text)
    launch = launching.choose(pipx, lambda name: f"/usr/bin/{name}")
    assert launch.command() == ("/usr/bin/pipx", "run", "--spec", requirement, "acp-agent")
    assert launching.is_ours(launch.command())
    assert launching.arguments_of(launch.command(["--offline"])) == ("--offline",)


@pytest.mark.parametrize("source", ["", "{", "[]", "{}", '{"url": "x", "vcs_info": {}}'])
def test_in_a_cache_that_nothing_fills_again_there_is_no_command(source: str) -> None:
    prefix = Path("/cache/archive-v0/x")
    with pytest.raises(NoLaunch, match="Install it to stay"):
        launching.choose(Running(prefix / "bin" / "python", prefix, source), lambda name: f"/usr/bin/{name}")
    with pytest.raises(NoLaunch, match="Install it to stay"):
        launching.choose(Running(prefix / "bin" / "python", prefix), nowhere)


def test_caches_are_told_from_installations() -> None:
    for folder in ("/home/ada/.local/share/uv/tools/antigravity-acp-agent", "/home/ada/.local/share/pipx/venvs/a"):
        assert launching.cached_by(PurePosixPath(folder)) is None
    assert launching.cached_by(PureWindowsPath(r"C:\Users\ada\AppData\Local\uv\cache\archive-v0\x")) == "uvx"
    assert launching.cached_by(PurePosixPath("/Users/ada/Library/Caches/pipx/12")) == "pipx"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (["/opt/x/acp-agent", "--model", "m"], ("--model", "m")),
        (["acp-agent"], ()),
        (["C:\\Tools\\Acp-Agent.EXE", "--offline"], ("--offline",)),
        (["/usr/bin/python3.12", "-m", "acp_agent", "--offline"], ("--offline",)),
        (["uvx", "antigravity-acp-agent@latest", "--offline"], ("--offline",)),
        (["/x/uv", "tool", "run", "--from", "antigravity-acp-agent", "acp-agent", "--offline"], ("--offline",)),
        (["/usr/bin/python3", "-m", "other"], None),
        (["/opt/gemini", "acp-agent"], None),
        (["uvx", "other"], None),
        (["uvx", "--from", "acp-agent", "other"], None),
        ([], None),
    ],
)
def test_a_command_that_starts_the_agent_is_recognized(
    command: list[str], arguments: tuple[str, ...] | None
) -> None:
    assert launching.is_ours(command) == (arguments is not None)
    assert launching.arguments_of(command) == (arguments or ())
