"""`docs/configuration.md` has every setting, in its three spellings."""

from __future__ import annotations

import re

from click.testing import CliRunner

from acp_agent.cli import main
from acp_agent.config import NAMES
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_every_flag_is_documented_with_its_variable_and_key() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    rows = dict(re.findall(r"^\| `(--[a-z-]+)[^`]*` \| (.*?) \|", PAGE, re.MULTILINE))
    flags = {f"--{name.replace('_', '-')}": f"`ACP_AGENT_{name.upper()}`, `{name}`" for name in NAMES}
    assert rows == flags
    assert all(flag in shown for flag in flags)
