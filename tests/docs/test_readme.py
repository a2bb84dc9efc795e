"""What the README says is so: a minute proves what it promises, and its picture is of today."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rich.text import Text

from tests.docs import picture
from tests.docs.sandbox import normal

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_make_try_proves_what_the_model_remembers() -> None:
    # As a user starts it, not as a part of the make that runs this test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment |= picture.TERMINAL
    done = subprocess.run(
        ["make", "try"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = picture.seen(done.stdout)
    assert written.plain.splitlines()[-1].startswith("PROOF HOLDS")
    _is_in_the_picture(written)


def _is_in_the_picture(written: Text) -> None:
    """The picture shows what the script writes now, piece by piece, but for what differs each time."""
    place = 0
    # Drawn as well: the picture has no spaces between what it puts in different places.
    drawn = (word for piece in picture.words(picture.draw(written)) for word in piece)
    text = " ".join(normal(" ".join(drawn))).split()
    for piece in picture.words(picture.PICTURE.read_text(encoding="utf-8")):
        wanted = " ".join(normal(" ".join(piece))).split()
        found = next((at for at in range(place, len(text)) if text[at : at + len(wanted)] == wanted), None)
        assert found is not None, f"run: make docs; this is not written any more: {' '.join(piece)}"
        place = found + len(wanted)


def test_the_example_of_a_resume_is_what_a_user_reads() -> None:
    assert "Turn 4 was cut when the agent was stopped; what it finished is kept. All 4 turns" in README
