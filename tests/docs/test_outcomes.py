"""`docs/outcomes.md` has everything that the agent may tell a user, in the words in which it is told."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from acp_agent.wire import errors
from sessions import narrative
from sessions.report import Outcome, Reason
from sessions.resume import TABLE, OnInterrupted, decide, needs_transcript
from tests.docs.pages import ROOT
from tests.unit.evidences import every

PAGE = (ROOT / "docs" / "outcomes.md").read_text(encoding="utf-8")
DAMAGES = set(Reason) - {Reason.VERIFIED, Reason.AHEAD, Reason.INTERRUPTED, Reason.NEVER_PROMPTED}


def section(title: str) -> str:
    return PAGE.split(f"\n{title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without their heads."""
    table = [
        [cell.strip() for cell in row.strip("|").split(" | ")] for row in re.findall(r"^\| .*\|$", text, re.M)
    ]
    return [row for row in table if "it means" not in row and row[0] not in ("reason", "code")]


@cache
def told() -> dict[tuple[Outcome, Reason], set[str]]:
    """What can be said of each outcome and reason."""
    found: dict[tuple[Outcome, Reason], set[str]] = {}
    for evidence in every():
        if not needs_transcript(evidence):
            for policy in OnInterrupted:
                plan = decide(evidence, policy)
                found.setdefault((plan.outcome, plan.reason), set()).add(narrative.summary(plan))
    return found


def test_every_outcome_is_explained_in_the_words_that_are_used() -> None:
    parts = re.findall(r"^### `(\w+)(?:/(\w+))?`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    explained: set[tuple[Outcome, Reason]] = set()
    for outcome, reason, text in parts:
        pairs = {pair for pair in told() if pair[0] == outcome and (not reason or pair[1] == reason)}
        quotes = re.findall(r"^> (.*)$", text, re.MULTILINE)
        assert quotes
        assert set(quotes) <= set[str]().union(*(told()[pair] for pair in pairs)), (outcome, reason)
        assert "**It means**" in text
        assert "**What to do:**" in text
        explained |= pairs
    assert explained == set(told())
    assert {pair[0] for pair in explained} == set(Outcome)


def test_every_damage_has_plain_words() -> None:
    named = [row[0].strip("`") for row in rows(section("### `recovered`").split("\n### ")[0])]
    assert sorted(named) == sorted(DAMAGES)
    assert {row.reason for row in TABLE if row.reason} | DAMAGES == set(Reason)


def texts() -> Iterator[tuple[str, str]]:
    """Every text in the code of the agent, with the name of the call that it is an argument of."""
    for path in (ROOT / "acp_agent").rglob("*.py"):
        if "chat" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func).rpartition(".")[2]
                    for each in ast.walk(node):
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield name, each.value


def test_every_refusal_is_explained() -> None:
    said = {text for name, text in texts() if name == "AgentError"}
    reasons = {text for text in said if re.fullmatch(r"[a-z]+(_[a-z]+)+", text)}
    explained = rows(section("## A request was refused"))
    for _, message, reason, _ in explained:
        assert any(text.startswith(message.rstrip("…")) for text in said), message
        assert reason.strip("`") in reasons or reason == "the reason that it came to"
    codes = {int(row[0]) for row in explained}
    assert codes == errors.OWN_CODES | {errors.AUTH_REQUIRED, errors.UNKNOWN_SESSION}


def test_every_word_during_a_turn_is_explained() -> None:
    titles = {text for name, text in texts() if name in ("tell", "Told") and re.fullmatch(r"[A-Z][\w ]+\w", text)}
    assert {row[0] for row in rows(section("## Something during a turn")) if row[0] != "title"} == titles
