"""What is released holds what is needed to run, and nothing else; the same tree gives the same bytes."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from packaging.utils import parse_sdist_filename, parse_wheel_filename
from syrupy.assertion import SnapshotAssertion

from acp_agent import __version__
from tests.packaging.conftest import ROOT, build, metadata, requirements

PACKAGES = ("acp_agent", "sessions")
IMPORTED_AS = {
    "agent-client-protocol": "acp",
    "google-antigravity": "google.antigravity",
    "json-five": "json5",
    "markdown-it-py": "markdown_it",
    "prompt-toolkit": "prompt_toolkit",
}
"""The modules of packages that have another name."""

MODULES = re.compile(r"(acp_agent|sessions)/([a-z][a-z_0-9]*/)*(__init__|__main__|[a-z][a-z_0-9]*)\.py")


def in_tree() -> set[str]:
    """The files of the packages, as they lie here."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def in_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def in_sdist(sdist: Path) -> list[str]:
    """The files of a source distribution, which all lie in one folder, without that."""
    with tarfile.open(sdist) as archive:
        names = [PurePosixPath(name) for name in archive.getnames()]
    assert {name.parts[0] for name in names} == {f"antigravity_acp_agent-{__version__}"}
    return sorted(str(PurePosixPath(*name.parts[1:])) for name in names)


def unnumbered(text: str) -> str:
    """A text without the version, which a release need not change in a snapshot."""
    return text.replace(__version__, "VERSION")


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path, snapshot: SnapshotAssertion) -> None:
    names = in_wheel(wheel)
    assert {name for name in names if name.startswith(tuple(f"{package}/" for package in PACKAGES))} == in_tree()
    # Modules come and go; whatever else is in there is looked at by somebody.
    assert [unnumbered(name) for name in names if not MODULES.fullmatch(name)] == snapshot


def test_the_source_distribution_holds_what_the_wheel_is_made_of(sdist: Path, snapshot: SnapshotAssertion) -> None:
    names = in_sdist(sdist)
    assert in_tree() <= set(names)
    assert [name for name in names if name not in in_tree()] == snapshot


def test_the_same_tree_gives_the_same_bytes(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    again = {"HOME": str(tmp_path), "LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo"}
    assert build("wheel", ROOT, tmp_path / "wheel", **again).read_bytes() == wheel.read_bytes()
    assert build("sdist", ROOT, tmp_path / "sdist", **again).read_bytes() == sdist.read_bytes()


def test_the_source_distribution_gives_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert build("wheel", source, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


def test_the_metadata(wheel: Path, snapshot: SnapshotAssertion) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entry_points = archive.read(f"antigravity_acp_agent-{__version__}.dist-info/entry_points.txt").decode()
    found = metadata(wheel)
    assert found.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    said = [f"{key}: {value}" for key, value in found.items() if key not in ("Version", "Requires-Dist")]
    assert "\n".join([*said, "", entry_points]) == snapshot


def test_the_wheel_needs_what_it_imports_within_bounds(wheel: Path) -> None:
    needed = requirements(wheel)
    for requirement in needed:
        assert requirement.marker is None, "what only development needs is nobody else's"
        assert {each.operator for each in requirement.specifier} == {">=", "<"}, f"{requirement} has no bounds"
    names = {requirement.name for requirement in needed}
    with zipfile.ZipFile(wheel) as archive:
        source = "\n".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".py"))
    imported = {
        name for name in names if re.search(rf"^\s*(import|from) {IMPORTED_AS.get(name, name)}\b", source, re.M)
    }
    # It bounds what the SDKs bring with them.
    assert names - imported == {"anyio"}


def test_the_version_has_one_source(wheel: Path, sdist: Path) -> None:
    assert str(parse_wheel_filename(wheel.name)[1]) == __version__
    assert str(parse_sdist_filename(sdist.name)[1]) == __version__
    for path in ROOT.glob("ide-configs/**/agent.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["version"] == __version__, path
    written = [
        path.relative_to(ROOT).as_posix()
        for path in (
            ROOT / "pyproject.toml",
            *(ROOT / "acp_agent").rglob("*.py"),
            *(ROOT / "sessions").rglob("*.py"),
        )
        if re.search(rf"""["']{re.escape(__version__)}["']""", path.read_text(encoding="utf-8"))
    ]
    assert written == ["acp_agent/__init__.py"]


def test_the_page_shows_what_is_tested() -> None:
    # test_installed.py runs them, with a wheel where the page has the tree, and the other way round.
    page = (ROOT / "docs" / "packaging.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    assert [line for block in blocks for line in block.splitlines()] == [
        "$ uvx --from . acp-agent chat --offline",
        "$ pipx install .",
        "$ pipx uninstall antigravity-acp-agent",
        "$ python -m venv agent",
        "$ agent/bin/pip install .",
        "$ agent/bin/acp-agent --version",
    ]
