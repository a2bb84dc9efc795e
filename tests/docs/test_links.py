"""Every link of the documentation leads somewhere, and every page can be reached from the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.names import located
from tests.docs.pages import ROOT

CHANGELOG = ROOT / "CHANGELOG.md"
PAGES = pages.paths()


def linked(page: Path) -> list[tuple[Path, str]]:
    """What a page links to in this project: a file or folder, and the anchor in it."""
    found = [target for target in pages.targets(page) if "://" not in target and not target.startswith("mailto:")]
    split = (target.partition("#") for target in found)
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in split]


@pytest.mark.parametrize("page", [*PAGES, CHANGELOG], ids=pages.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in linked(page):
        assert target.exists(), f"{pages.name(page)} links to {target}"
        assert target.is_relative_to(ROOT), target
        assert not anchor or anchor in pages.anchors(target), f"{pages.name(page)}: {target.name} has no #{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    # A page that describes a folder for those who look into it is found there.
    documentation = {page for page in PAGES if not page.is_relative_to(ROOT / "tests")}
    reached: set[Path] = set()
    due = [ROOT / "README.md"]
    while due:
        page = due.pop()
        if page not in reached:
            reached.add(page)
            due += [target for target, _ in linked(page) if target.suffix == ".md"]
    assert documentation <= reached, sorted(pages.name(page) for page in documentation - reached)


def test_the_way_through_the_documentation_names_every_page_once() -> None:
    index = ROOT / "docs" / "README.md"
    named = [target for target, _ in linked(index) if target.parent == index.parent]
    assert sorted(named) == sorted(page for page in PAGES if page.parent == index.parent and page != index)


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_files_and_modules_that_are_named_exist(page: Path) -> None:
    for text in pages.code(page):
        if re.fullmatch(r"(tests|acp_agent|sessions|bench|docs|ide-configs)/[\w./-]*", text):
            assert (ROOT / text).exists(), f"{pages.name(page)}: there is no {text}"
        elif re.fullmatch(r"(tests|acp_agent|sessions|bench)(\.\w+)+", text) and not text.endswith(".json"):
            assert located(text), f"{pages.name(page)}: there is no {text}"
