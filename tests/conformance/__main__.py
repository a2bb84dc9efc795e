"""`python -m tests.conformance`: run the kit and write docs/conformance.md; exits with 1 if something failed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.conformance import page
from tests.conformance.run import run

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        results = run(Path(folder))
    page.PAGE.write_text(page.write(results), encoding="utf-8")
    failed = {name: result for name, result in results.items() if result.verdict == "failed"}
    for name, result in failed.items():
        sys.stderr.write(f"{name}: {result.note}\n")
    sys.exit(bool(failed))
