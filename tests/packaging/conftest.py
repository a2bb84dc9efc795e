"""The distributions, built from the tree as it is."""

from __future__ import annotations

import email.parser
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BUILT = 1_000_000_000
"""The time that is written into what is built."""


def build(kind: str, source: Path, target: Path, **environment: str) -> Path:
    """Build a `wheel` or an `sdist` of a tree, with what is installed here and nothing from elsewhere."""
    # A build needs no more of its environment than this, so nothing in it can make a difference.
    minimal = {"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": str(BUILT), **environment}
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    done = subprocess.run(
        command, cwd=source, env=minimal, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = target.iterdir()
    return made


def metadata(wheel: Path) -> Message:
    """What a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode())


def requirements(wheel: Path) -> list[Requirement]:
    """What a wheel needs."""
    return [Requirement(value) for value in metadata(wheel).get_all("Requires-Dist", ())]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
