"""`docs/resume.md` says what the code does: the table, the fields and the examples are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import BaseModel

from sessions import narrative, outcome_table
from sessions.primer import BUDGET
from sessions.report import CheckpointReport, CommandState, EditState, Outcome, Reason, ResumeReport
from sessions.resume import Live, OnInterrupted, decide
from tests.unit.evidences import evidence

PAGE = (Path(__file__).parents[2] / "docs" / "resume.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^ *```json\n(.*?)^ *```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The code words in the first column of the tables in a text."""
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def wire_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def test_the_table_names_every_reason_and_every_outcome_that_is_produced() -> None:
    table = outcome_table.markdown()
    assert set(re.findall(r"`(\w+)`", table)) == {
        *(reason.value for reason in Reason),
        *(outcome.value for outcome in Outcome),
        *(choice.value for choice in OnInterrupted),
    }


def test_every_state_and_field_is_explained() -> None:
    assert sorted(first_cells(section("The ladder"))) == sorted(state.value for state in Live)
    assert first_cells(section("The report")) == wire_names(ResumeReport)


def test_every_state_of_what_was_unfinished_is_explained_and_the_budget_is_the_one_that_holds() -> None:
    explained = set(re.findall(r"`(\w+)`", section("Interrupted turns")))
    assert {state.value for state in (*EditState, *CommandState)} <= explained
    assert f"at most {BUDGET:,} characters" in section("The ladder")


def test_the_examples_are_what_the_models_send() -> None:
    report, checkpoint = (json.loads(example) for example in EXAMPLES)
    assert ResumeReport.model_validate(report).wire() == report
    assert CheckpointReport.model_validate(checkpoint).wire() == checkpoint


def test_the_example_of_a_report_is_what_such_a_session_gets() -> None:
    report = ResumeReport.model_validate_json(EXAMPLES[0])
    plan = decide(evidence(4, Live.CUT, open_turn=4, checkpoints=(3,)))
    assert report.checkpoint is not None
    assert report.interrupted is not None
    assert plan.checkpoint is not None
    assert (report.outcome, report.reason) == (plan.outcome, plan.reason)
    assert report.summary == narrative.summary(plan, report.interrupted.unfinished, report.interrupted.files)
    assert (report.turns, report.turns_in_context, report.turns_lost) == (
        plan.turns,
        plan.turns_in_context,
        plan.turns_lost,
    )
    assert report.interrupted.turn == plan.interrupted_turn
    assert report.checkpoint.model_dump() == {
        name: getattr(plan.checkpoint, name) for name in ("turn", "steps", "at")
    }
    (steps,) = re.findall(r"reopened with (\d+) steps", report.checks[-1].detail)
    assert plan.fewest_visible <= int(steps) <= plan.most_visible
