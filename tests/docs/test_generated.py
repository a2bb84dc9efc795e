"""What is generated in the documentation is what its programs print now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import cli_page, generated, pages

PARTS = [(page, module) for page in pages.paths() for module in generated.parts(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "module"), PARTS, ids=lambda each: each if isinstance(each, str) else each.stem)
def test_a_part_is_what_its_program_prints(page: Path, module: str) -> None:
    written = generated.parts(page.read_text(encoding="utf-8"))[module]
    assert written == generated.printed(module), "run: make docs"


def test_every_begin_is_the_begin_of_a_part() -> None:
    begun = [(page, page.read_text(encoding="utf-8").count("<!-- begin: ")) for page in pages.paths()]
    assert {page: count for page, count in begun if count} == {
        page: sum(page == other for other, _ in PARTS) for page, _ in PARTS
    }


def test_the_help_of_every_command_is_on_its_page() -> None:
    assert ("cli", cli_page.__name__) in [(page.stem, module) for page, module in PARTS]
