"""The architecture page names every module, and only modules that exist; its arrows are the imports."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import pytest

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


def test_every_module_has_its_job_on_the_page() -> None:
    for package in ("acp_agent", "acp_agent/antigravity", "sessions"):
        assert documented(package) == modules(package)


class Diagram:
    """Boxes of modules, and the arrows between them."""

    def __init__(self, packages: str, text: str) -> None:
        self.package, *self.whole = packages.split(", ")
        arrows = [line.split(" --> ") for line in text.splitlines() if " --> " in line]
        self.arrows = {(left.strip(), right.strip()) for left, rights in arrows for right in rights.split(" & ")}
        labels = dict(re.findall(r'^    (\w+)\["<b>.*?</b><br/>(.*)"\]$', text, re.MULTILINE))
        boxes = {box for arrow in self.arrows for box in arrow} | set(labels)
        self.boxes = {box: re.findall(r"\w+", labels.get(box, box).replace("<br/>", " ")) for box in boxes}

    def box_of(self, module: str) -> str | None:
        """The box that a module is in, None if it is in another package."""
        if (root := module.partition(".")[0]) in self.whole:
            return root
        if not module.startswith(f"{self.package}."):
            return None
        name = module.removeprefix(f"{self.package}.").partition(".")[0]
        boxes = [box for box, names in self.boxes.items() if name in names]
        assert len(boxes) == 1, f"{name} is in the boxes {boxes} of {self.package}; it belongs in one"
        return boxes[0]

    def leads(self, start: str, end: str) -> bool:
        """Whether arrows lead from one box to another."""
        reached: set[str] = set()
        due = {start}
        while due:
            due = {right for left, right in self.arrows if left in due} - reached
            reached |= due
        return end in reached


def diagrams() -> list[Diagram]:
    """The diagrams of imports on the page."""
    found = re.findall(r"<!-- imports: (.*?) -->\n```mermaid\n(.*?)```", PAGE, re.DOTALL)
    return [Diagram(*each) for each in found]


DIAGRAMS = diagrams()


def test_every_package_has_a_diagram() -> None:
    assert [diagram.package for diagram in DIAGRAMS] == ["acp_agent", "acp_agent.antigravity", "sessions"]


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=lambda diagram: diagram.package)
def test_the_arrows_are_the_imports(diagram: Diagram) -> None:
    check(diagram)


def check(diagram: Diagram) -> None:
    """Every module is in one box, every arrow is an import, and arrows lead wherever something is imported."""
    graph = grimp.build_graph("acp_agent", "sessions", exclude_type_checking_imports=True)
    found: dict[tuple[str, str], str] = {}
    for importer in sorted(graph.modules - {f"{diagram.package}.__main__"}):
        for imported in graph.find_modules_directly_imported_by(importer):
            left, right = diagram.box_of(importer), diagram.box_of(imported)
            if left and right and left != right:
                found[left, right] = f"{importer} imports {imported}"
    undrawn = {arrow: why for arrow, why in found.items() if not diagram.leads(*arrow)}
    assert not undrawn, "no arrow leads there"
    assert diagram.arrows - set(found) == set(), "these arrows are no imports"
    assert not [box for box in diagram.boxes if diagram.leads(box, box)], "arrows lead in a circle"
    modules_named = {name for box in diagram.boxes if box not in diagram.whole for name in diagram.boxes[box]}
    assert modules_named == {name.rstrip("/") for name in modules(diagram.package.replace(".", "/"))}
