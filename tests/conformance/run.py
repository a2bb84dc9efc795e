"""One run of all requirements."""

from __future__ import annotations

from pathlib import Path

import tests.conformance.requirements  # noqa: F401  (it fills the table)
from acp_agent.offline.server import OfflineModel
from tests.conformance.kit import Kit, Result


def run(root: Path) -> dict[str, Result]:
    """Try every requirement, with everything that the agents keep in a folder."""
    with OfflineModel() as model:
        return Kit(root, model).run()
