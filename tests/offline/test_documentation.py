"""`docs/offline-model.md` says what the offline model does: its table and its examples are run."""

import re
from pathlib import Path

import pytest

from acp_agent.offline.decide import decide
from acp_agent.offline.forms import FORMS
from acp_agent.offline.reply import Answer
from tests.offline.conversations import Prompt, request

PAGE = (Path(__file__).parents[2] / "docs" / "offline-model.md").read_text("utf-8")
EXAMPLES = re.findall(r"```prompt\n(.*?)\n```\n\n```answer\n(.*?)\n```", PAGE, re.DOTALL)


def test_the_table_of_directives_is_the_one_that_is_read() -> None:
    rows = re.findall(r"^\| `(!.*?)` \| (.*) \|$", PAGE, re.MULTILINE)

    assert rows == [(form.usage, form.meaning) for form in FORMS.values()]


@pytest.mark.parametrize(("prompt", "answer"), EXAMPLES)
def test_an_example_is_answered_as_printed(prompt: str, answer: str) -> None:
    reply = decide(request("openai", Prompt(prompt)))

    assert isinstance(reply, Answer)
    assert reply.text == answer


def test_every_example_was_found() -> None:
    assert len(EXAMPLES) == PAGE.count("```prompt") == PAGE.count("```answer") > 0
