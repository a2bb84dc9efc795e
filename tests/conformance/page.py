"""The page of what was found: docs/conformance.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import tests.conformance.requirements  # noqa: F401  (it fills the table)
from tests.conformance.kit import REQUIREMENTS, Level, Result

PAGE: Final = Path(__file__).parents[2] / "docs" / "conformance.md"

_HEAD: Final = """\
# Conformance

The requirements of the protocol's official test kit (`agentclientprotocol/acp-tck`) for ACP v1, each tried on
the real agent process with the real harness and the offline model by `tests/conformance`, a client of its own
that knows nothing of the agent. Every line that the agents wrote in these runs, and in all other tests, was
checked against the protocol's schema (`tests/protocol`). This page is written by `make conformance`; a test
compares it with what the suite finds.

"Source" is the page of the protocol's documentation, `https://agentclientprotocol.com/protocol/v1/…`, that the
requirement is from.
"""

_TITLES: Final = {
    Level.MANDATORY: "Mandatory",
    Level.CAPABILITY: "Capabilities: they count if they are advertised",
    Level.ADVISORY: "Advisory",
    Level.INFORMATIONAL: "Facts, neither right nor wrong",
}


def write(results: Mapping[str, Result]) -> str:
    """The whole page."""
    parts = [_HEAD]
    for level, title in _TITLES.items():
        rows = [
            f"| {each.id} | {each.sentence} | {each.source} | {_cell(level, results[each.id])} |\n"
            for each in sorted(REQUIREMENTS, key=lambda each: each.id)
            if each.level is level
        ]
        parts.append(f"\n## {title}\n\n| id | requirement | source | result |\n|---|---|---|---|\n{''.join(rows)}")
    return "".join(parts)


def _cell(level: Level, result: Result) -> str:
    if level is Level.INFORMATIONAL and result.verdict == "passed":
        return result.note
    if result.verdict == "not advertised":
        return f"not advertised: {result.note}"
    return result.verdict
