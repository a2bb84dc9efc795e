"""The changelog has the form of Keep a Changelog 1.1.0, and its newest release is this version."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version

from acp_agent import __version__

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
RELEASE = re.compile(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})( \[YANKED\])?")


def faults(text: str, version: str) -> Iterator[str]:
    """What is wrong with a changelog of a program of this version."""
    if not text.startswith("# Changelog\n\n"):
        yield "it does not begin with its title"
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    names = [section.partition("\n")[0] for section in sections]
    if names[:1] != ["[Unreleased]"]:
        yield "the first section is not [Unreleased]"
    releases: list[tuple[Version, datetime.date]] = []
    for name in names[1:]:
        if not (found := RELEASE.fullmatch(name)):
            yield f"'{name}' is not [version] - date"
            continue
        try:
            releases.append((Version(found[1]), datetime.date.fromisoformat(found[2])))
        except ValueError:
            yield f"'{name}' has no date"
    if releases != sorted(releases, reverse=True) or len({number for number, _ in releases}) != len(releases):
        yield "the releases are not in order, newest first"
    if releases and releases[0][0] != Version(version):
        yield f"the newest release is not {version}"
    for name, section in zip(names, sections, strict=True):
        yield from (f"{name}: {fault}" for fault in _section_faults(section.partition("\n")[2], name))


def _section_faults(body: str, name: str) -> Iterator[str]:
    before, *parts = re.split(r"^### ", body, flags=re.MULTILINE)
    if before.strip():
        yield "there is something before its first heading"
    if not parts and name != "[Unreleased]":
        yield "it is empty"
    kinds = [part.partition("\n")[0] for part in parts]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        yield f"'{unknown[0]}' is no kind of change"
    elif [kind for kind in KINDS if kind in kinds] != kinds:
        yield "its headings are doubled or not in the usual order"
    for part in parts:
        kind, _, entries = part.partition("\n")
        lines = entries.strip("\n").split("\n")
        if any(not re.match(r"- \S|  \S", line) for line in lines) or not lines[0].startswith("- "):
            yield f"{kind}: something is no entry of a list"


def test_the_changelog_is_in_the_usual_form() -> None:
    text = CHANGELOG.read_text(encoding="utf-8")
    assert list(faults(text, __version__)) == []
    assert "https://keepachangelog.com/en/1.1.0/" in text
    assert "https://semver.org/spec/v2.0.0.html" in text


GOOD = """# Changelog

## [Unreleased]

## [1.1.0] - 2026-11-26

### Added

- One,
  in two lines.

### Fixed

- Another.

## [1.0.0] - 2026-11-01

### Added

- All.
"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", None),
        ("# Changelog", "# Changes", "its title"),
        ("## [Unreleased]\n", "", "not [Unreleased]"),
        ("[Unreleased]", "Unreleased", "not [Unreleased]"),
        ("[1.1.0] - 2026-11-26", "1.1.0", "is not [version] - date"),
        ("[1.1.0] - 2026-11-26", "[1.1.0] - 2026-13-26", "has no date"),
        ("2026-11-26", "2026-10-01", None),
        ("[1.1.0]", "[1.2.0]", "the newest release is not 1.1.0"),
        ("[1.0.0]", "[1.3.0]", "newest first"),
        ("[1.0.0]", "[1.1.0]", "newest first"),
        ("### Fixed", "### Mended", "'Mended' is no kind"),
        ("### Fixed", "### Added", "doubled or not in the usual order"),
        ("### Added\n\n- One", "### Security\n\n- One", "doubled or not in the usual order"),
        ("### Added\n\n- All.\n", "", "it is empty"),
        ("- Another.", "Another.", "no entry of a list"),
        ("- Another.\n", "", "no entry of a list"),
        ("### Added\n\n- All", "All.\n\n### Added\n\n- All", "before its first heading"),
    ],
)
def test_another_form_is_told(old: str, new: str, fault: str | None) -> None:
    found = list(faults(GOOD.replace(old, new, 1), "1.1.0"))
    if fault is None:
        assert found == []
    else:
        assert any(fault in each for each in found), found
