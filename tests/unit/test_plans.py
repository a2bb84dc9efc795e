"""Plans are read from what the model writes for the user."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from acp_agent import plans

TASKS = """# Tasks

- [x] Read the engine <!-- id: 0 -->
  - [/] Draw it
* [ ] Test it
- no task
```
- [ ] in a fence, so no task
```
"""

PROPOSAL = """# Replace the engine

## Proposed changes
### engine.txt
```
## no heading
```
"""


def entries(*pairs: tuple[str, str]) -> list[JsonValue]:
    return [{"content": content, "priority": "medium", "status": status} for content, status in pairs]


@pytest.mark.parametrize(
    ("name", "document", "plan"),
    [
        ("task.md", TASKS, [("Read the engine", "completed"), ("Draw it", "in_progress"), ("Test it", "pending")]),
        ("implementation_plan.md", PROPOSAL, [("Proposed changes", "pending"), ("engine.txt", "pending")]),
        (
            "implementation_plan.md",
            TASKS,
            [("Read the engine", "completed"), ("Draw it", "in_progress"), ("Test it", "pending")],
        ),
        ("walkthrough.md", PROPOSAL, []),
        ("task.md", "- [ ] " + "x" * 1000, [("x" * 499 + "…", "pending")]),
    ],
    ids=["tasks", "proposal", "proposal with tasks", "another document", "a long task"],
)
def test_the_plan_in_a_document(name: str, document: str, plan: list[tuple[str, str]]) -> None:
    assert plans.read(name, document) == entries(*plan)


def test_a_plan_is_bounded() -> None:
    assert len(plans.read("task.md", "- [ ] Task\n" * 10_000)) == plans.ENTRIES
