"""Questions are answered in order, shown when they are to be answered, and rejected where nobody answers."""

import asyncio
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from acp_agent.chat.agent import PermissionOption, PermissionQuestion
from acp_agent.chat.fields import JsonObject
from acp_agent.chat.forms import NoAnswer, read_form
from acp_agent.chat.questions import Questions
from acp_agent.chat.transcript import read_tool_call

ALLOW = PermissionOption("yes", "Allow", "allow_once")
NEVER = PermissionOption("never", "Never", "reject_always")
REJECT = PermissionOption("no", "Reject", "reject_once")
FORM = read_form(
    {
        "mode": "form",
        "sessionId": "s-1",
        "message": "Which bird?",
        "requestedSchema": {
            "type": "object",
            "properties": {
                "bird": {"type": "string", "title": "Which bird?", "oneOf": [{"const": "h", "title": "heron"}]},
                "why": {"type": "string", "title": "In your own words"},
                "sure": {"type": "boolean"},
            },
            "required": ["sure"],
        },
    }
)


class Seen:
    """What was shown, and how often the question to answer became another."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.answered: list[str] = []
        self.changes = 0
        self.questions = Questions(show=self.show, on_answered=self.hear, on_changed=self.change)

    def show(self, renderable: RenderableType) -> None:
        console = Console(file=StringIO(), width=60)
        with console.capture() as captured:
            console.print(renderable)
        self.shown.append(captured.get().splitlines()[0])

    def hear(self, answer: str) -> None:
        self.answered.append(f"{answer} to {self.shown[-1]}")

    def answer(self, line: str) -> str:
        """Answer by this line; returns the answer in words, which must be told before the next is asked."""
        asked = self.shown[-1]
        self.questions.answer(line)
        answer, _, to = self.answered[-1].partition(" to ")
        assert to == asked
        return answer

    def change(self) -> None:
        self.changes += 1

    def ask(self, call: str, *options: PermissionOption) -> asyncio.Task[str | None]:
        question = PermissionQuestion("s-1", read_tool_call(call, {}), options)
        return asyncio.create_task(self.questions.ask(question))

    def fill_in(self) -> asyncio.Task[JsonObject]:
        return asyncio.create_task(self.questions.fill_in(FORM))


def refused(answer: Callable[[str], None], *lines: str) -> list[str]:
    """What the lines are refused with, all of which answer nothing."""
    said = []
    for line in lines:
        with pytest.raises(NoAnswer) as caught:
            answer(line)
        said.append(str(caught.value))
    return said


def test_answers_go_to_the_questions_in_their_order() -> None:
    async def talk() -> None:
        seen = Seen()
        questions = seen.questions
        tasks = (seen.ask("a", ALLOW, REJECT), seen.ask("b", ALLOW, NEVER, REJECT), seen.ask("c", ALLOW, NEVER))
        await asyncio.sleep(0)
        assert seen.shown == ["The agent asks for permission: a (other)"]
        assert len(refused(questions.answer, "0", "3", "yes", "²")) == 4
        assert seen.answer("1") == "Allow"
        assert (questions.label, len(seen.shown)) == ("1-3, Enter rejects", 2)
        assert [seen.answer(line) for line in ("", "")] == ["Reject", "Never"]
        assert [await task for task in tasks] == ["yes", "no", "never"]
        assert (questions.label, len(seen.shown), seen.changes) == (None, 3, 4)

    asyncio.run(talk())


def test_without_a_rejection_on_offer_the_question_is_cancelled() -> None:
    async def talk() -> None:
        seen = Seen()
        answer = seen.ask("a", ALLOW)
        await asyncio.sleep(0)
        assert seen.answer("") == "cancelled"
        assert await answer is None

    asyncio.run(talk())


def test_when_the_input_has_ended_every_question_is_rejected() -> None:
    async def talk() -> None:
        seen = Seen()
        before, form = seen.ask("a", ALLOW, REJECT), seen.fill_in()
        await asyncio.sleep(0)
        seen.questions.reject_all()
        assert [await before, await seen.ask("b", ALLOW, REJECT)] == ["no", "no"]
        assert [await form, await seen.fill_in()] == [{"action": "decline"}] * 2

    asyncio.run(talk())


def test_when_the_turn_is_cancelled_so_are_its_questions_but_not_later_ones() -> None:
    async def talk() -> None:
        seen = Seen()
        before, form = seen.ask("a", ALLOW, REJECT), seen.fill_in()
        await asyncio.sleep(0)
        seen.questions.cancel_all()
        assert await before is None
        assert await form == {"action": "cancel"}
        after = seen.ask("b", ALLOW, REJECT)
        await asyncio.sleep(0)
        assert seen.answer("1") == "Allow"
        assert await after == "yes"

    asyncio.run(talk())


def test_a_question_that_the_agent_withdraws_makes_way_for_the_next() -> None:
    async def talk() -> None:
        seen = Seen()
        first, second = seen.ask("a", ALLOW, REJECT), seen.ask("b", ALLOW)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert seen.shown[-1] == "The agent asks for permission: b (other)"
        assert seen.answer("1") == "Allow"
        assert await second == "yes"

    asyncio.run(talk())


def test_a_form_is_filled_in_field_by_field() -> None:
    async def talk() -> None:
        seen = Seen()
        answer = seen.fill_in()
        await asyncio.sleep(0)
        assert seen.questions.label == "1-1, Enter skips [1/3]"
        assert seen.answer("heron") == "heron"
        assert seen.answer("") == "(skipped)"
        assert refused(seen.questions.answer, "perhaps") == ["Answer with y or n."]
        assert seen.answer("y") == "yes"
        assert await answer == {"action": "accept", "content": {"bird": "h", "sure": True}}
        assert seen.shown == ["The agent asks: Which bird?", "In your own words", "sure"]
        declined = seen.fill_in()
        await asyncio.sleep(0)
        assert [seen.answer(line) for line in ("1", "because", "")] == ["heron", "because", "declined"]
        assert await declined == {"action": "decline"}

    asyncio.run(talk())
