"""The example of the library page runs as it stands, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from acp_agent.offline.server import OfflineModel

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    printed = re.search(r"```text\n(.*?)```", PAGE[PAGE.index("answers like this") :], re.DOTALL)
    assert code is not None
    assert printed is not None
    example = tmp_path / "example.py"
    example.write_text(code[1], encoding="utf-8")
    with OfflineModel() as model:
        run = subprocess.run(
            [sys.executable, str(example), model.openai_url, str(tmp_path / "data")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout == printed[1]
        assert model.requests[-1].user_turns == ("My name is Ada.", "What is my name?")
