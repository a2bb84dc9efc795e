"""`docs/doctor.md` names every check and every option, and its example has the shape that is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from acp_agent.doctor import bundle, checks, doctor
from acp_agent.doctor.findings import JSON_VERSION, Checked, as_json, warning

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")


def test_every_check_is_explained_in_its_group_and_in_order() -> None:
    groups = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert [named(group) for group in groups] == list(dict.fromkeys(check.group for check in checks.CHECKS))
    for group in groups:
        section = PAGE.split(f"### {group}\n")[1].split("\n#")[0]
        explained = re.findall(r"^- \*\*`([a-z-]+)`\*\*:", section, re.MULTILINE)
        assert explained == [check.name for check in checks.CHECKS if check.group == named(group)]


def named(heading: str) -> str:
    """The group that a heading is for."""
    return heading[0].lower() + heading[1:] if heading != "IDEs" else heading


def test_every_option_has_a_row() -> None:
    rows = re.findall(r"^\| `(--[a-z]+)", PAGE, re.MULTILINE)
    options = [parameter.opts[0] for parameter in doctor.params if isinstance(parameter, click.Option)]
    assert rows == options


def test_every_file_of_the_support_file_has_a_row() -> None:
    rows = re.findall(r"`([a-zA-Z]+\.(?:txt|json))`", PAGE.split("## The support file")[1])
    assert rows == [name for name, _ in bundle.CONTENTS]


def test_the_example_has_the_shape_of_the_result() -> None:
    example = json.loads(PAGE.split("```json\n")[1].split("```")[0])
    finding = warning("Only 700.0 MB are free.", "Make room: …")
    assert example == {**as_json([Checked("space", "data folder", (finding,), 1)]), "agent": example["agent"]}
    assert example["version"] == JSON_VERSION
