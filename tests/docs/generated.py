"""What is generated in the documentation: each part stands between two comments that name what prints it.

`make docs` writes all of them anew. A test compares them.
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.docs import pages

_PART = re.compile(r"(<!-- begin: python -m (\S+) -->\n)(.*?)(\n<!-- end: python -m \2 -->)", re.DOTALL)


def printed(module: str) -> str:
    """What a program prints, without the last line end."""
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=pages.ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.rstrip("\n")


def parts(text: str) -> dict[str, str]:
    """The generated parts of a page, by the program that prints each."""
    return {module: content for _, module, content, _ in _PART.findall(text)}


def renewed(text: str) -> str:
    """A page with what its programs print now."""
    return _PART.sub(lambda part: f"{part[1]}{printed(part[2])}{part[4]}", text)


if __name__ == "__main__":
    for page in pages.paths():
        before = page.read_text(encoding="utf-8")
        if before != (after := renewed(before)):
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{pages.name(page)} is written anew.\n")
