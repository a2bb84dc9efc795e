"""What is offered fits what was typed: taking it gives a line that means what was offered."""

import asyncio
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from acp_agent.chat.agent import ListedSession
from acp_agent.chat.completion import ChatCompleter, Vocabulary, offers
from tests.chat.test_settings import BOTH

LISTED = (ListedSession("a1b2", "/w", "Herons\x1b[2J"), ListedSession("c3d4", "/w"))


@pytest.fixture
def words(tmp_path: Path) -> Vocabulary:
    (tmp_path / "bird.png").touch()
    (tmp_path / "my bird.png").touch()
    (tmp_path / "big folder").mkdir()
    (tmp_path / "big folder" / "inner.txt").touch()
    return Vocabulary({"set": "say or change", "sessions": "pick", "mode": "the agent's"}, BOTH, tmp_path)


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("/s", ["/set", "/sessions"]),
        ("/", ["/set", "/sessions", "/mode"]),
        ("/x", []),
        ("hello /s", []),
        ("one\n/s", []),
        ("/set ", ["/set mode", "/set model"]),
        ("/set model ", ["/set model big", "/set model small"]),
        ("/set model s", ["/set model small"]),
        ("/set wrong ", []),
        ("/mode p", ["/mode plan"]),
        ("/model b", ["/model big"]),
        ("/image b", ['/image "big folder/', "/image bird.png"]),
        ('/image "my', ['/image "my bird.png"']),
        ('/image "big folder/', ['/image "big folder/inner.txt"']),
        ('/image "my bird.png" and', []),
        ("/image bird.png and", []),
        ("look @bi", ['look @"big folder/', "look @bird.png"]),
        ("look @m", ['look @"my bird.png"']),
        ('look @"big folder/', ['look @"big folder/inner.txt"']),
        ("mail a@b", []),
        ("look @bird.png and", []),
    ],
)
def test_offers(words: Vocabulary, typed: str, lines: list[str]) -> None:
    found = [typed[: len(typed) - offer.replaced] + offer.text for offer in offers(typed, words)]
    assert sorted(found) == sorted(lines)


@pytest.mark.parametrize(
    ("typed", "ids"), [("/load ", ["a1b2", "c3d4"]), ("/load c3", ["c3d4"]), ("/load heron", ["a1b2"])]
)
def test_sessions_are_offered_by_id_and_title(words: Vocabulary, typed: str, ids: list[str]) -> None:
    async def ask() -> list[tuple[str, str]]:
        async def listed() -> tuple[ListedSession, ...]:
            return LISTED

        completer = ChatCompleter(lambda: words, listed)
        document = Document(typed, len(typed))
        found = [each async for each in completer.get_completions_async(document, CompleteEvent())]
        return [(typed[: len(typed) + each.start_position] + each.text, each.display_meta_text) for each in found]

    offered = asyncio.run(ask())
    assert [line for line, _ in offered] == [f"/load {each}" for each in ids]
    assert ("/load a1b2", "Herons") in offered or "a1b2" not in ids
