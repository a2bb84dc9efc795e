"""Asks the client what the model wants to know of the user, in the way that the client has for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from acp_agent import questions
from acp_agent.client_link import Client, unless
from acp_agent.logs import Event, ms_since, say
from acp_agent.steps import Question, QuestionAnswer
from acp_agent.toolcalls import Json

log = logging.getLogger(__name__)


class Answering:
    """The questions of one session."""

    def __init__(self, session_id: str, client: Client) -> None:
        self._session_id = session_id
        self._client = client

    async def answers(
        self, asked: Sequence[Question], tool_call: Json, cancelled: asyncio.Event
    ) -> list[QuestionAnswer]:
        """The user's answers, one each; those that were not given are skipped.

        Args:
            asked: the questions of one call.
            tool_call: the call as the client was shown it, with its id.
            cancelled: set when the turn is cancelled, which withdraws what is being asked and skips the rest.
        """
        began = time.perf_counter()
        say(log, Event.QUESTIONS_ASKED, count=len(asked))
        found = await self._asked(asked, tool_call, cancelled)
        ms = ms_since(began)
        say(log, Event.QUESTIONS_ANSWERED, count=sum(not answer.skipped for answer in found), ms=ms)
        return found

    async def _asked(
        self, asked: Sequence[Question], tool_call: Json, cancelled: asyncio.Event
    ) -> list[QuestionAnswer]:
        if self._client.takes_forms:
            schema, key = questions.form(asked), str(tool_call["toolCallId"])
            asking = self._client.fill_in(self._session_id, key, questions.title(asked), schema)
            return questions.form_answers(asked, await unless(cancelled, asking))
        found: list[QuestionAnswer] = []
        for question in asked:
            shown: Json = {**tool_call, "title": question.text}
            asking_one = self._client.ask(self._session_id, shown, questions.options(question))
            found.append(questions.option_answer(question, await unless(cancelled, asking_one)))
        return found
