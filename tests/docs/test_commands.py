"""Every command of the documentation is run, or the page says by which test; what it shows is what is written.

`tests.docs.pages` says how a command is written on a page.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import json5
import pytest

from acp_agent.cli import main
from tests.docs import pages
from tests.docs.pages import ROOT, Block
from tests.docs.sandbox import Ran, Sandbox, fits, normal

SHELLS = {"", "sh", "bash", "zsh", "fish", "shell", "shell-session", "powershell", "pwsh", "cmd", "bat"}
PAGES = pages.paths()
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TEST = ast.FunctionDef | ast.AsyncFunctionDef
_WORD = re.compile(r"[a-z][a-z-]*")


def elsewhere(block: Block) -> bool:
    """Whether a block says that its commands are run by another test."""
    return bool(block.said("run by"))


def console(page: Path) -> list[Block]:
    """The console blocks of a page that are run here."""
    return [block for block in pages.blocks(page) if block.language == "console" and not elsewhere(block)]


@pytest.mark.parametrize("page", [page for page in PAGES if console(page)], ids=pages.name)
def test_the_commands_of_a_page_do_what_it_shows(page: Path, tmp_path: Path) -> None:
    ran = Sandbox(tmp_path).run(console(page))
    following = [*ran[1:], None]
    wrong = [said for each, after in zip(ran, following, strict=True) if (said := _complaint(each, after))]
    assert not wrong, f"{pages.name(page)}:\n" + "\n".join(wrong)


def _complaint(ran: Ran, following: Ran | None) -> str | None:
    """What is not as the page shows it. A status that is not 0 is shown by an `echo $?` after it."""
    if ran.status != 0 and not (following and following.text == "echo $?"):
        return f"$ {ran.text}\nends with {ran.status} and writes:\n{ran.output}"
    shown = ran.command.shown if ran.command else ()
    if shown and not fits(normal("\n".join(shown)), normal(ran.output)):
        return f"$ {ran.text}\nwrites:\n{ran.output}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_no_command_is_hidden_from_the_tests(page: Path) -> None:
    for block in pages.blocks(page):
        where = f"{pages.name(page)}:{block.line}"
        assert block.language is not None, f"{where}: fence this block and name its language"
        assert block.language not in SHELLS or (block.language and elsewhere(block)), (
            f"{where}: write commands as “console”, and what is no command as “text”"
        )


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_commands_that_are_run_elsewhere_are_run_there(page: Path) -> None:
    for block in filter(elsewhere, pages.blocks(page)):
        for said in block.said("run by"):
            _exists(said, block, f"{pages.name(page)}:{block.line}")
        for command in block.commands() if block.language == "console" else ():
            _arguments(command.text, pages.name(page))


def _exists(said: str, block: Block, where: str) -> None:
    """The test that is named exists; a script that is named holds the commands as they are."""
    named = re.fullmatch(r"(\S+?)(?:::(\w+))?, (?:since|because) \S.*", said, re.DOTALL)
    assert named is not None, f"{where}: write “run by: FILE::TEST, since REASON”, not “{said}”"
    file = ROOT / named[1]
    assert file.is_file(), f"{where}: there is no {named[1]}"
    text = file.read_text(encoding="utf-8")
    if named[2] is None:
        assert all(command.text in text for command in block.commands()), (
            f"{where}: {named[1]} has no such command"
        )
    else:
        tests = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, TEST)}
        assert named[2] in tests, f"{where}: there is no {named[2]} in {named[1]}"


def _arguments(command: str, where: str) -> None:
    """What runs elsewhere, as it may take long, would start: targets and options are there, values are taken."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            [words[0], "-n", *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{where}: {command}: {done.stderr}"
        for given in (word.partition("=")[2] for word in words if "=" in word):
            assert given in done.stdout, f"{where}: {command}: nothing becomes of {given}"
        for line in done.stdout.splitlines():
            if re.match(r"\S*python -m (tests|bench)", line):
                _arguments(line, where)
    elif words[0].endswith("python") and words[1:2] == ["-m"] and words[2].startswith(("tests.", "bench")):
        module = importlib.import_module(f"{words[2]}.__main__")
        if isinstance(found := getattr(module, "main", None), click.Command):
            with contextlib.suppress(click.exceptions.Exit):  # --help
                found.make_context(words[2], words[3:])


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_what_is_to_be_typed_in_the_running_text_is_understood(page: Path) -> None:
    for text in pages.code(page):
        for command in text.split(" | "):
            _understood(command, pages.name(page))


def _understood(text: str, where: str) -> None:
    try:
        words = shlex.split(text)
    except ValueError:  # a quote alone: no command
        return
    match words:
        case ["acp-agent", *rest]:
            _options(rest, f"{where}: {text}")
        case ["make", target, *_] if _WORD.fullmatch(target):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"{where}: no target for {text}"
        case [python, "-m", module, *_] if python.endswith(("python", "python3")):
            assert importlib.util.find_spec(module), f"{where}: {text}"


def _options(words: list[str], where: str) -> None:
    """Follow the commands: each option belongs to one of those before it."""
    command: click.Command = main
    context = click.Context(main)
    known = {*_names(main), "--help", "-h"}
    values = _valued(main)
    left = iter(words)
    for word in left:
        if word.startswith("--"):
            assert word.partition("=")[0].rstrip(",;.") in known, f"{where}: there is no {word}"
            if word in values:
                next(left, None)
        elif isinstance(command, click.Group) and _WORD.fullmatch(word):
            found = command.get_command(context, word)
            assert found is not None, f"{where}: there is no command {word}"
            command, known, values = found, known | _names(found), values | _valued(found)


def _names(command: click.Command) -> set[str]:
    return {each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)}


def _valued(command: click.Command) -> set[str]:
    """The options of a command after which its value comes."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    return {name for each in options if not (each.is_flag or each.count) for name in each.opts}


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_examples_in_other_languages_can_be_read(page: Path) -> None:
    for block in pages.blocks(page):
        match block.language:
            case "json" | "jsonc" | "json5":
                json5.loads(block.text)
            case "toml":
                tomllib.loads(block.text)
            case "python":
                for node in ast.walk(ast.parse(block.text)):
                    if isinstance(node, ast.ImportFrom) and node.module:
                        module = importlib.import_module(node.module)
                        assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
