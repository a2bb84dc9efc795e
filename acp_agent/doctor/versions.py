"""Checks of what is installed: Python, the packages, and the harness binary."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from acp_agent.doctor.findings import Finding, ok, problem, warning
from acp_agent.doctor.situation import Situation

PACKAGE: Final = "antigravity-acp-agent"
SDK: Final = "google-antigravity"
PROTOCOL: Final = "agent-client-protocol"

TESTED_HARNESS: Final = "0.1.22"
"""The version of the SDK, and so of the harness in it, that the tests of this version ran with."""

HARNESS_VARIABLE: Final = "ANTIGRAVITY_HARNESS_PATH"
"""The variable with which the SDK takes another harness."""

HELP_SECONDS: Final = 15.0
"""How long the harness may take to say how it is used; 0.1 s is usual."""

_HARNESS_FILES: Final = ("google/antigravity/bin/localharness", "google/antigravity/bin/localharness.exe")

_CLASSIFIER: Final = "Programming Language :: Python :: "


@dataclass(frozen=True, slots=True)
class Need:
    """A requirement that is not met: what is required, by whom, and what is installed (None: nothing)."""

    requirement: str
    by: str
    installed: str | None


@dataclass(frozen=True, slots=True)
class Binary:
    """The harness binary that the SDK takes: where it is, and in words why this one."""

    path: Path
    origin: str


def python(_: Situation) -> Iterator[Finding]:
    """Whether this Python is one that the agent is for."""
    version = platform.python_version()
    try:
        own = distribution(PACKAGE).metadata
    except PackageNotFoundError:
        yield warning(
            f"Python {version}; what the agent needs is not known, since the package {PACKAGE} is not installed.",
            "Install the agent instead of running it from a folder.",
        )
        return
    tested = [
        each.removeprefix(_CLASSIFIER) for each in own.get_all("Classifier") or () if each.startswith(_CLASSIFIER)
    ]
    yield judge_python(version, str(own.json.get("requires_python", "")), tested)


def judge_python(version: str, required: str, tested: list[str]) -> Finding:
    """What there is to say of a version of Python.

    Args:
        version: the version.
        required: which versions the package takes.
        tested: the versions that it was tested with, such as `3.12`.
    """
    if not SpecifierSet(required).contains(version, prereleases=True):
        return problem(f"Python {version}; the agent needs {required}.", "Install the agent with a newer Python.")
    if tested and ".".join(version.split(".")[:2]) not in tested:
        return warning(
            f"Python {version}; the agent was tested with {', '.join(tested)}.",
            "If something goes wrong, try one of these versions first.",
        )
    return ok(f"Python {version}")


def packages(_: Situation) -> Iterator[Finding]:
    """Whether every package that is needed is there, in a version that fits."""
    try:
        unmet, fitting = requirements(PACKAGE)
    except PackageNotFoundError:
        yield warning(
            f"What the agent needs is not known, since the package {PACKAGE} is not installed.",
            "Install the agent instead of running it from a folder.",
        )
        return
    for need in unmet:
        there = f"{need.installed} is installed" if need.installed else "it is not installed"
        yield problem(
            f"{need.by} needs {need.requirement}, and {there}.",
            f'Run {sys.executable} -m pip install "{need.requirement}", or install the agent anew.',
        )
    if not unmet:
        sdks = " and ".join(f"{name} {fitting[name]}" for name in (SDK, PROTOCOL) if name in fitting)
        yield ok(f"All {len(fitting)} packages fit, {sdks} among them")


def requirements(package: str) -> tuple[list[Need], dict[str, str]]:
    """What a package needs, and what that needs: requirements that are not met, and the versions that fit.

    Raises:
        PackageNotFoundError: the package itself is not installed.
    """
    unmet: list[Need] = []
    fitting: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [distribution(package)]
    while waiting:
        one = waiting.pop()
        for text in one.requires or ():
            needed = _needed(text)
            if needed is None or str(needed) in seen:
                continue
            seen.add(str(needed))
            name = needed.name.lower().replace("_", "-")
            found = _installed(needed.name)
            if found is None or not needed.specifier.contains(found.version, prereleases=True):
                shown = f"{needed.name}{needed.specifier}"
                unmet.append(Need(shown, str(one.metadata["Name"]), found.version if found else None))
            elif name not in fitting:
                fitting[name] = found.version
                waiting.append(found)
    return unmet, fitting


def harness(situation: Situation) -> Iterator[Finding]:
    """Whether there is a harness binary, whether it runs here, and whether its version is one that was tested."""
    binary = find_harness(situation.environment)
    if binary is None:
        yield problem(
            "There is no harness binary.",
            f"Install {SDK} anew: its wheel for this platform holds the binary.",
        )
        return
    path = binary.path
    if not path.is_file():
        yield problem(f"The harness {path} ({binary.origin}) is not there.", _other_harness(binary))
        return
    if not os.access(path, os.X_OK):
        yield problem(
            f"The harness {path} ({binary.origin}) may not be executed.",
            f"Run chmod +x on it, or {_other(binary)}.",
        )
        return
    if trouble := _does_not_run(path):
        yield problem(f"The harness {path} ({binary.origin}) does not run: {trouble}.", _other_harness(binary))
        return
    sdk = _installed(SDK)
    yield judge_harness(binary, sdk.version if sdk else None, same=sdk is not None and _is_of(sdk, path))


def judge_harness(binary: Binary, sdk: str | None, *, same: bool) -> Finding:
    """What there is to say of a harness that runs.

    Args:
        binary: the harness.
        sdk: the version of the SDK that is installed, None if none is.
        same: whether it is, byte for byte, the one that this version of the SDK came with.
    """
    if not same or sdk is None:
        return warning(
            f"The harness {binary.path} ({binary.origin}) is not the one that {SDK} {sdk or ''} came with, and no"
            " harness says its version: it was not tested.".replace("  ", " "),
            f"To use the one that was tested, {_other(binary)}.",
        )
    if sdk != TESTED_HARNESS:
        return warning(
            f"The harness is that of {SDK} {sdk}; this version of the agent was tested with {TESTED_HARNESS}.",
            f'Run {sys.executable} -m pip install "{SDK}=={TESTED_HARNESS}", or update the agent.',
        )
    return ok(f"The harness of {SDK} {sdk}, which was tested")


def find_harness(environment: Mapping[str, str]) -> Binary | None:
    """The binary that the SDK would start, found as the SDK does (0.1.22), but without importing it."""
    if named := environment.get(HARNESS_VARIABLE):
        return Binary(Path(named), f"from {HARNESS_VARIABLE}")
    sdk = _installed(SDK)
    if sdk and (brought := _brought(sdk)):
        path = Path(str(brought.locate())).resolve()
        if path.exists():
            return Binary(path, f"of {SDK}")
    if found := shutil.which("localharness", path=environment.get("PATH")):
        return Binary(Path(found), "from PATH")
    return None


def versions() -> dict[str, str | None]:
    """The versions of everything that counts, for a support file."""
    _, fitting = requirements(PACKAGE) if _installed(PACKAGE) else ([], {})
    own = _installed(PACKAGE)
    return {
        "python": platform.python_version(),
        PACKAGE: own.version if own else None,
        **dict(sorted(fitting.items())),
    }


def _needed(text: str) -> Requirement | None:
    """A requirement that holds here, None if it does not, or cannot be read."""
    try:
        needed = Requirement(text)
    except InvalidRequirement:
        return None
    return needed if needed.marker is None or needed.marker.evaluate({"extra": ""}) else None


def _installed(name: str) -> Distribution | None:
    try:
        found = distribution(name)
        Version(found.version)
    except (PackageNotFoundError, InvalidVersion, TypeError):
        return None
    return found


def _does_not_run(path: Path) -> str | None:
    """Why the harness cannot be used on this machine, None if it can."""
    try:
        said = subprocess.run(
            [path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=HELP_SECONDS
        )
    except OSError as error:  # such as a binary for another machine
        return error.strerror or type(error).__name__
    except subprocess.TimeoutExpired:
        return f"it does not say in {HELP_SECONDS:.0f} s how it is used"
    if b"Usage of" not in said.stdout + said.stderr:
        return f"it ends with {said.returncode} and does not say how it is used"
    return None


def _brought(sdk: Distribution) -> PackagePath | None:
    """The harness in the record of an SDK's wheel."""
    return next((file for file in sdk.files or () if file.as_posix() in _HARNESS_FILES), None)


def _is_of(sdk: Distribution, path: Path) -> bool:
    """Whether a file is, byte for byte, the harness that this SDK's wheel brought."""
    brought = _brought(sdk)
    if brought is None or (recorded := brought.hash) is None:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, recorded.mode).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == recorded.value


def _other(binary: Binary) -> str:
    if HARNESS_VARIABLE in binary.origin:
        return f"unset {HARNESS_VARIABLE}"
    return f"install {SDK} {TESTED_HARNESS} anew"


def _other_harness(binary: Binary) -> str:
    wanted = _other(binary)
    return f"{wanted[0].upper()}{wanted[1:]}."
