"""What holds the documentation finds what is wrong with it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.docs import pages, test_architecture, test_commands
from tests.docs.pages import Command
from tests.docs.sandbox import Sandbox, fits, normal

PAGE = """\
# A page

<!-- before: cd / -->
<!-- in the checkout -->
```console
$ echo one \\
    two
one two
$ false
$ echo $?
1
```

1. A list

   ```sh
   ls
   ```

A paragraph

    indented

## A page
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_blocks_are_found_wherever_they_are(page: Path) -> None:
    console, listed, indented = pages.blocks(page)
    assert (console.language, console.line, console.in_checkout) == ("console", 5, True)
    assert console.said("before") == ["cd /"]
    assert console.commands() == (
        Command("echo one \\\n    two", ("one two",)),
        Command("false", ()),
        Command("echo $?", ("1",)),
    )
    assert (listed.language, listed.comments) == ("sh", ())
    assert indented.language is None
    assert pages.anchors(page) == {"a-page", "a-page-1"}


def test_a_block_begins_with_a_command(page: Path) -> None:
    page.write_text("```console\nmake\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        next(pages.blocks(page)).commands()


def complaints(page: Path, text: str) -> list[bool]:
    """For each command of a block whether something is wrong with it."""
    page.write_text(text, encoding="utf-8")
    ran = Sandbox(Path(tempfile.mkdtemp(dir=page.parent))).run([*pages.blocks(page)])
    return [
        test_commands.complaint(each, after) is not None
        for each, after in zip(ran, [*ran[1:], None], strict=True)
        if each.command or each.status
    ]


def test_what_is_not_as_shown_is_found(page: Path) -> None:
    text = "<!-- before: exit_with() { return $1; } -->\n```console\n{}\n```\n"
    assert complaints(page, PAGE.partition("1. ")[0]) == [False, False, False]
    assert complaints(page, text.replace("{}", "$ echo one\ntwo\n$ cd ..; pwd\n/home/ada")) == [True, False]
    assert complaints(page, text.replace("{}", "$ exit_with 3\n$ echo $?\n2")) == [False, True]
    assert complaints(page, text.replace("{}", "$ exit_with 3")) == [True]
    assert complaints(page, "<!-- before: false -->\n```console\n$ true\n```\n") == [True, False]


def test_a_line_of_dots_stands_for_any_lines() -> None:
    assert fits(["a", "...", "d"], ["a", "b", "c", "d"])
    assert fits(["a", "..."], ["a"])
    assert not fits(["a", "...", "d"], ["a", "b"])
    assert not fits(["a"], ["a", "b"])
    assert normal("process 12, 3.5 kB     and 2 ms\n\n") == normal("process 4711, 1 GB  and 17 ms")


@pytest.mark.parametrize(
    "text",
    [
        "run by: tests/docs/test_pages.py::test_that_is_not_there, since it is not",
        "run by: tests/docs/test_pages.py::test_a_block_begins_with_a_command",
        "run by: tests/docs/nowhere.py::test_x, since it is not",
        "run by: .ci/run, since it holds no such command",
    ],
)
def test_a_test_that_does_not_run_it_is_refused(page: Path, text: str) -> None:
    page.write_text(f"<!-- {text} -->\n```console\n$ make coffee\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        test_commands.check_elsewhere(page)


@pytest.mark.parametrize(
    "command",
    ["acp-agent coffee", "acp-agent sessions list --coffee", "make coffee", "python -m acp_agent.coffee"],
)
def test_what_cannot_be_typed_is_found_in_running_text(command: str) -> None:
    with pytest.raises((AssertionError, ModuleNotFoundError)):
        test_commands.understood(command, "a page")


@pytest.mark.parametrize("arrow", [("journal", "session"), ("session", "journal")])
def test_a_diagram_with_another_arrow_is_refused(arrow: tuple[str, str]) -> None:
    diagram = test_architecture.diagrams()[-1]
    diagram.arrows ^= {arrow}
    with pytest.raises(AssertionError):
        test_architecture.check(diagram)
