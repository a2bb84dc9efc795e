"""`docs/reliability.md` has the limits that the code has."""

from __future__ import annotations

from acp_agent.prompts import PASSED_ON
from sessions.primer import BUDGET
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_the_limits_are_those_of_the_code() -> None:
    assert f"at most {BUDGET:,} characters" in PAGE
    assert f"about {PASSED_ON:,} bytes" in PAGE
