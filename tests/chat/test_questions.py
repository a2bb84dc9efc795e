"""Questions are answered in order, and with a rejection where nobody answers."""

import asyncio

from acp_agent.chat.agent import PermissionOption, PermissionQuestion
from acp_agent.chat.questions import Questions
from acp_agent.chat.transcript import read_tool_call

ALLOW = PermissionOption("yes", "Allow", "allow_once")
NEVER = PermissionOption("never", "Never", "reject_always")
REJECT = PermissionOption("no", "Reject", "reject_once")


def question(*options: PermissionOption) -> PermissionQuestion:
    return PermissionQuestion("s-1", read_tool_call("c", {}), options)


def asked(questions: Questions, *options: PermissionOption) -> asyncio.Task[str | None]:
    return asyncio.create_task(questions.ask(question(*options)))


def test_answers_go_to_the_questions_in_their_order() -> None:
    async def talk() -> None:
        news: list[PermissionQuestion | None] = []
        questions = Questions(on_asked=lambda: news.append(questions.first))
        first, second, third = (
            asked(questions, ALLOW, REJECT),
            asked(questions, ALLOW, NEVER, REJECT),
            asked(questions, ALLOW, NEVER),
        )
        await asyncio.sleep(0)
        assert news == [question(ALLOW, REJECT)] * 3
        assert [questions.answer(line) for line in ("0", "3", "yes", "²", "1")] == [
            None,
            None,
            None,
            None,
            "Allow",
        ]
        assert questions.first == question(ALLOW, NEVER, REJECT)
        assert [questions.answer(line) for line in ("", "")] == ["Reject", "Never"]
        assert [await first, await second, await third] == ["yes", "no", "never"]
        assert questions.first is None

    asyncio.run(talk())


def test_without_a_rejection_on_offer_the_question_is_cancelled() -> None:
    async def talk() -> None:
        questions = Questions(on_asked=lambda: None)
        answer = asked(questions, ALLOW)
        await asyncio.sleep(0)
        assert questions.answer("") == "cancelled"
        assert await answer is None

    asyncio.run(talk())


def test_when_the_input_has_ended_every_question_is_rejected() -> None:
    async def talk() -> None:
        questions = Questions(on_asked=lambda: None)
        before = asked(questions, ALLOW, REJECT)
        await asyncio.sleep(0)
        questions.reject_all()
        assert [await before, await asked(questions, ALLOW, REJECT)] == ["no", "no"]

    asyncio.run(talk())


def test_when_the_turn_is_cancelled_so_are_its_questions_but_not_later_ones() -> None:
    async def talk() -> None:
        questions = Questions(on_asked=lambda: None)
        before = asked(questions, ALLOW, REJECT)
        await asyncio.sleep(0)
        questions.cancel_all()
        assert await before is None
        after = asked(questions, ALLOW, REJECT)
        await asyncio.sleep(0)
        assert questions.answer("1") == "Allow"
        assert await after == "yes"

    asyncio.run(talk())
