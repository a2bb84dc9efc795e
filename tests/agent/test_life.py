"""What a session's life says is what was reported then, and what the model received."""

from __future__ import annotations

import pytest

from acp_agent import session_page
from sessions import life
from sessions.events import Kind
from sessions.store import Store
from tests.agent.driver import World
from tests.lives import KILLED, live

pytestmark = pytest.mark.anyio


async def test_the_life_of_a_session_is_what_happened(world: World) -> None:
    lived = await live(world)
    store = Store(world.data_dir)
    with store.open(lived.session_id) as session, life.reading(session) as found:
        assert found.unread == ()
        assert found.complete
        kinds = [event.kind for event in found.events]
        loaded = Kind.LOADED
        assert kinds == [Kind.MADE, loaded, loaded, Kind.RESTORED, loaded, Kind.FORKED, loaded]
        loads = [event for event in found.events if event.kind is loaded]
        told = [event.detail["report"] for event in loads if "again" not in event.detail]
        assert told == list(lived.reports)
        assert {event.detail["client"] for event in loads} == {"test-client"}
        assert [turn.record.turn for turn in found.turns if turn.cut] == [4, 6]
        assert found.events[5].detail == {"session": lived.fork_id, "turn": 1}

        # At the model's endpoint: each turn's prompt came with exactly the turns that are said.
        prompts = {turn.record.turn: turn.record.prompt_excerpt for turn in found.turns}
        received = [request.user_turns for request in world.model.requests]
        for turn in found.turns:
            assert turn.context is not None
            assert turn.context.turns is not None
            expected = tuple(prompts[number] for number in turn.context.turns.whole)
            assert expected in received, (turn.record.turn, expected)
        lost = {turn.record.turn: turn.context.lost for turn in found.turns if turn.context}
        assert lost == {1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 1, 8: 0}
        assert [turn.basis for turn in found.turns if turn.cut] == ["before", "before"]
        (written,) = [entry for entry in found.entries(2) if entry.kind == "tool_call"]
        seconds = life.between(written.began_at, written.ended_at)
        assert seconds is not None
        assert 0 <= seconds < 60
        assert all(turn.seconds is None for turn in found.turns if turn.record.prompt_excerpt == KILLED)

        text = session_page.render(found)
    for report in lived.reports:
        assert str(report["summary"]).replace("'", "&#39;") in text
    with store.open(lived.fork_id) as forked, life.reading(forked) as found:
        (made,) = found.events
        assert made.detail == {"as": "fork", "from": lived.session_id, "turn": 1}
        assert found.moments == (found.turns[0], made)
