"""The architecture page names every module, and only modules that exist; its arrows are imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def modules(package: str) -> set[str]:
    """The modules and subpackages (with a slash) directly in a package."""
    folder = ROOT / package
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    return files | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}


def documented(package: str) -> set[str]:
    """The names in the first column of a package's table."""
    table = re.search(rf"\| `{package}` \| job \|\n\|---\|---\|\n(.*?)\n\n", PAGE, re.DOTALL)
    assert table is not None
    return {name for row in table[1].splitlines() for name in re.findall(r"`([a-z_0-9]+/?)`", row.split("|")[1])}


def imports(module: Path) -> set[str]:
    """The names of this project's modules that a module imports, without their package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in ("acp_agent", "sessions"):
            found |= {alias.name for alias in node.names}
            found.add(node.module)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("acp_agent.", "sessions.")):
            found |= set(str(node.module).split("."))
    return found


def test_every_module_has_its_job_on_the_page() -> None:
    for package in ("acp_agent", "acp_agent/antigravity", "sessions"):
        assert documented(package) == modules(package)


def test_the_arrows_inside_the_process_are_imports() -> None:
    inside = re.search(r'subgraph process\["acp-agent"\]\n(.*?)\n    end', PAGE, re.DOTALL)
    assert inside is not None
    arrows = {
        (left, right)
        for chain in inside[1].splitlines()
        for left, right in zip(chain.split(" --> "), chain.split(" --> ")[1:], strict=False)
    }
    arrows = {(left.strip(), right.strip()) for left, right in arrows}
    assert len(arrows) >= 5
    for left, right in arrows - {("wire", "server")}:  # there the arrow is what happens: the SDK calls the server
        folder = ROOT / "acp_agent" / left
        files = [*folder.glob("*.py")] if folder.is_dir() else [folder.with_suffix(".py")]
        found = set[str]().union(*(imports(module) for module in files))
        assert right in found, f"{left} does not import {right}"
