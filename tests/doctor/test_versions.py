"""What is installed, and whether it is what was tested."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from google.antigravity.connections.local import local_connection

from acp_agent.doctor import versions
from acp_agent.doctor.findings import State
from tests.doctor.conftest import Machine, worst

ROOT = Path(__file__).parents[2]


def test_the_tested_harness_is_the_locked_one() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert re.findall(r"^google-antigravity==(\S+)", lock, re.MULTILINE) == [versions.TESTED_HARNESS]


def test_all_is_well_here(machine: Machine) -> None:
    for name, said in (("python", platform.python_version()), ("packages", "fit"), ("harness", "was tested")):
        done = machine.check(name)
        assert done.state is State.OK, done
        assert said in worst(done).found


@pytest.mark.parametrize(
    ("version", "state"),
    [("3.10.13", State.PROBLEM), ("3.11.0", State.OK), ("3.13.1", State.OK), ("3.15.0rc1", State.WARNING)],
)
def test_versions_of_python(version: str, state: State) -> None:
    found = versions.judge_python(version, ">=3.11", ["3.11", "3.12", "3.13"])
    assert found.state is state
    assert (found.remedy is None) == (state is State.OK)


def installed(folder: Path, name: str, version: str, *requires: str) -> None:
    """A package as pip leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n", encoding="utf-8")


def test_what_is_missing_or_does_not_fit_is_named_with_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    installed(
        tmp_path, "top", "1.0", "old_one>=2", "gone", "deep", 'other; extra == "x"', 'mac; sys_platform == "none"'
    )
    installed(tmp_path, "old_one", "1.5")
    installed(tmp_path, "deep", "3.0", "deepest<1", "top")
    installed(tmp_path, "deepest", "0.1")
    unmet, fitting = versions.requirements("top")
    assert {(need.requirement, need.by, need.installed) for need in unmet} == {
        ("old_one>=2", "top", "1.5"),
        ("gone", "top", None),
    }
    assert fitting == {"deep": "3.0", "deepest": "0.1", "top": "1.0"}
    monkeypatch.setattr(versions, "PACKAGE", "top")
    found = list(versions.packages(Machine(tmp_path).situation()))
    assert [finding.state for finding in found] == [State.PROBLEM] * 2
    assert {finding.found for finding in found} == {
        "top needs old_one>=2, and 1.5 is installed.",
        "top needs gone, and it is not installed.",
    }
    assert all("pip install" in str(finding.remedy) for finding in found)


def test_an_agent_that_is_not_installed_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "PACKAGE", "no-such-package")
    with pytest.raises(PackageNotFoundError):
        versions.requirements("no-such-package")
    assert machine.check("python").state is State.WARNING
    assert machine.check("packages").state is State.WARNING


def test_the_harness_is_found_as_the_sdk_finds_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    binary = versions.find_harness({})
    assert binary is not None
    assert str(binary.path) == local_connection._get_default_binary_path(None)
    monkeypatch.setenv(versions.HARNESS_VARIABLE, "/elsewhere")
    named = machine.situation()
    binary = versions.find_harness(named.environment)
    assert binary is not None
    assert str(binary.path) == local_connection._get_default_binary_path(None) == "/elsewhere"


def test_a_harness_on_the_path_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(versions, "SDK", "no-such-sdk")
    (tmp_path / "localharness").touch(mode=0o700)
    assert versions.find_harness({"PATH": "/nowhere"}) is None
    assert versions.find_harness({"PATH": str(tmp_path)}) == versions.Binary(
        tmp_path / "localharness", "from PATH"
    )


def test_without_a_harness_there_is_no_agent(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "SDK", "no-such-sdk")
    monkeypatch.setenv("PATH", "/nowhere")
    assert worst(machine.check("harness")).found == "There is no harness binary."


SHELL = "#!/bin/sh\necho 'Usage of me:' >&2\n"


@pytest.mark.parametrize(
    ("file", "state", "said"),
    [
        ((None, 0), State.PROBLEM, "is not there"),
        ((SHELL, 0o600), State.PROBLEM, "may not be executed"),
        (("\x7fELF nothing", 0o700), State.PROBLEM, "Exec format error"),
        (("#!/bin/sh\nexit 3\n", 0o700), State.PROBLEM, "it ends with 3"),
        ((SHELL, 0o700), State.WARNING, "no harness says its version"),
    ],
)
def test_a_harness_from_elsewhere(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, file: tuple[str | None, int], state: State, said: str
) -> None:
    content, mode = file
    path = machine.root / "localharness"
    if content is not None:
        path.write_text(content, encoding="latin-1")
        path.chmod(mode)
    monkeypatch.setenv(versions.HARNESS_VARIABLE, str(path))
    found = worst(machine.check("harness"))
    assert found.state is state
    assert said in found.found
    assert f"nset {versions.HARNESS_VARIABLE}" in str(found.remedy)


def test_the_tested_harness_under_another_name_is_the_tested_harness(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = versions.find_harness({})
    assert binary is not None
    other = machine.root / "linked"
    other.symlink_to(binary.path)
    monkeypatch.setenv(versions.HARNESS_VARIABLE, str(other))
    assert machine.check("harness").state is State.OK


def test_a_harness_that_hangs_is_not_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.root / "localharness"
    path.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    path.chmod(0o700)
    monkeypatch.setattr(versions, "HELP_SECONDS", 0.2)
    monkeypatch.setenv(versions.HARNESS_VARIABLE, str(path))
    assert "does not say in 0 s" in worst(machine.check("harness")).found


def test_another_version_is_told_with_the_one_that_was_tested() -> None:
    found = versions.judge_harness(versions.Binary(Path("/x"), "of it"), "0.1.23", same=True)
    assert found.state is State.WARNING
    assert "0.1.23" in found.found
    assert f"google-antigravity=={versions.TESTED_HARNESS}" in str(found.remedy)
