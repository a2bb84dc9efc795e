"""The campaign of hostile input in short, from a fixed seed, and that its ledger finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acp_agent.wire.framing import DEPTH_LIMIT, ID_LIMIT, LINE_LIMIT
from tests.agent.driver import WAIT_SECONDS
from tests.fuzz.campaign import Plan, campaign
from tests.fuzz.ledger import NULL, Ledger, due

SEED = 11
LINES = 2_000


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_hostile_input_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    # A machine that is busy with other tests says nothing about how long an end takes.
    plan = Plan(SEED, LINES, seconds_to_end=WAIT_SECONDS)
    figures = await campaign(tmp_path, plan, say=told.append)
    assert figures.lines >= LINES
    assert {"result", "-32700", "-32600", "-32601", "-32602", "-32002"} <= figures.answers.keys()
    assert figures.sessions
    assert told


def test_what_is_due() -> None:
    asked = b'{"id": %s, "method": "session/list"}'
    for request_id in (b"1", b"1.5", b'"x"', b'"\\ud83d"', b"null"):
        found = due(asked % request_id + b"\r")
        assert found is not None
        assert found.asked is not None
    deep = b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT
    for line in (
        *(
            asked % request_id
            for request_id in (b"true", b"{}", b"[1]", b"NaN", b'"%s"' % (b"i" * (ID_LIMIT + 1)))
        ),
        b"\xff",
        b"[]",
        b'{"id": 1, "method": "x", "params": %s}' % deep,
        b" " * LINE_LIMIT + b"1",
    ):
        found = due(line)
        assert found is not None
        assert found.key == NULL
    for line in (b"", b" \r", b'{"method": "x"}', b'{"id": 1, "result": 1}', b'{"id": null, "error": 1}'):
        assert due(line) is None


def test_the_ledger_finds_what_is_wrong() -> None:
    error = {"code": -32603, "message": "Internal error", "data": {"reason": "x", "details": "y"}}
    wrong = (
        ("not a message", b"Traceback (most recent call last):\n"),
        ("is not due", _answer(7, result={})),
        ("is not due", _answer(None, error={**error, "code": -32700})),
        ("nobody foresaw", _answer(1, error=error)),
        ("'sessions' is missing", _answer(1, result={})),
    )
    for fault, line in wrong:
        ledger = Ledger()
        ledger.sent(b'{"id": 1, "method": "session/list"}\n')
        ledger.received(line)
        assert any(fault in each for each in ledger.faults), (fault, ledger.faults)
    ledger = Ledger()
    ledger.sent(b'{"id": 1, "method": "session/list"}\nrubbish\n')
    assert dict(ledger.outstanding) == {"1": 1, NULL: 1}
    ledger.received(_answer(1, result={"sessions": []}))
    ledger.received(_answer(None, error={**error, "code": -32700}))
    assert not ledger.outstanding
    assert not ledger.faults
    ledger.received(_answer(1, result={"sessions": []}))
    assert ledger.faults


def _answer(request_id: int | None, **members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, **members}).encode() + b"\n"
