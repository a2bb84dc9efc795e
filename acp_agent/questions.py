"""Questions that the model asks the user: as a form, as questions with options, and what the answers mean. Pure.

A client with forms (`clientCapabilities.elicitation.form`) gets one for all questions of a call. Any other
client gets one permission-style question after the other, whose options are the choices and one more, to skip
it; it has no way to type an answer. Whatever a client answers that was not offered counts as skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from acp_agent.steps import Question, QuestionAnswer

Json = dict[str, JsonValue]

SKIP = "skip"
"""The option that skips a question."""

LONGEST_TEXT = 10_000
"""Characters of an answer that was typed; the rest is left out."""


def form(questions: Sequence[Question]) -> Json:
    """The `requestedSchema` of an `elicitation/create`: a choice and a text for each question."""
    properties: Json = {}
    for number, question in enumerate(questions, start=1):
        choices: list[JsonValue] = [
            {"const": _choice(place), "title": option} for place, option in enumerate(question.options, start=1)
        ]
        if question.multiple:
            properties[f"q{number}"] = {"type": "array", "title": question.text, "items": {"anyOf": choices}}
        elif choices:
            properties[f"q{number}"] = {"type": "string", "title": question.text, "oneOf": choices}
        label = "In your own words" if choices else question.text
        properties[f"q{number}_text"] = {"type": "string", "title": label}
    return {"type": "object", "properties": properties, "required": []}


def form_answers(questions: Sequence[Question], answer: JsonValue) -> list[QuestionAnswer]:
    """What the answer to an `elicitation/create` says; all skipped unless it was accepted."""
    accepted = isinstance(answer, dict) and answer.get("action") == "accept"
    content = answer.get("content") if accepted and isinstance(answer, dict) else None
    given: Json = content if isinstance(content, dict) else {}
    found: list[QuestionAnswer] = []
    for number, question in enumerate(questions, start=1):
        picked = given.get(f"q{number}")
        chosen = _chosen(question, picked if isinstance(picked, list) else [picked])
        text = given.get(f"q{number}_text")
        typed = text.strip()[:LONGEST_TEXT] if isinstance(text, str) else ""
        found.append(QuestionAnswer(chosen if question.multiple else chosen[:1], typed))
    return found


def options(question: Question) -> list[Json]:
    """The options of a permission-style question."""
    choices: list[Json] = [
        {"optionId": _choice(place), "name": option, "kind": "allow_once"}
        for place, option in enumerate(question.options, start=1)
    ]
    return [*choices, {"optionId": SKIP, "name": "Skip this question", "kind": "reject_once"}]


def option_answer(question: Question, option_id: str | None) -> QuestionAnswer:
    """What the chosen option of a permission-style question says."""
    return QuestionAnswer(_chosen(question, [option_id]))


def title(questions: Sequence[Question]) -> str:
    """What the tool call is called: the question, or how many there are."""
    return questions[0].text if len(questions) == 1 else f"{len(questions)} questions"


def transcript(questions: Sequence[Question], answers: Sequence[QuestionAnswer] | None) -> str:
    """The questions, and the answers once they are there, in Markdown."""
    lines: list[str] = []
    for number, question in enumerate(questions):
        lines.append(f"**{question.text}**")
        answer = answers[number] if answers is not None else None
        for place, option in enumerate(question.options, start=1):
            lines.append(f"- {'☑ ' if answer and place in answer.chosen else ''}{option}")
        if answer is not None and answer.text:
            lines.append(f"> {answer.text}")
        if answer is not None and answer.skipped:
            lines.append("*Skipped.*")
        lines.append("")
    return "\n".join(lines).rstrip()


def _choice(place: int) -> str:
    return f"choice-{place}"


def _chosen(question: Question, picked: Sequence[JsonValue]) -> tuple[int, ...]:
    return tuple(place for place, _ in enumerate(question.options, start=1) if _choice(place) in picked)
