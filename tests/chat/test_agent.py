"""The connection to an agent process: calls, the agent's own messages, bad lines, errors and deaths."""

import asyncio
import json
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from acp_agent.chat.agent import Agent, AgentDied, ListedSession, PermissionQuestion, TurnFailed
from acp_agent.chat.attachments import Content
from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.forms import Form
from acp_agent.chat.process import AgentStartError
from acp_agent.chat.rpc import RpcError
from tests.chat.conftest import MakeBook, Step

REPORT: JsonObject = {
    "outcome": "resumed",
    "reason": "verified",
    "summary": "Fine.",
    "turns": 1,
    "turnsInContext": 1,
    "turnsLost": 0,
}
CHECKPOINT: JsonObject = {"turn": 1, "steps": 2, "at": "2026-11-22T10:00:00Z", "durable": True, "ms": 3.5}
OPEN_IN: JsonObject = {"pid": 7, "client": "Zed"}
LISTED: JsonObject = {"turns": 2, "outcome": "resumed", "reason": "verified", "openIn": OPEN_IN}
CHUNK: JsonObject = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "hi"}}
QUESTION: JsonObject = {
    "sessionId": "s-1",
    "toolCall": {"toolCallId": "c", "title": "Edit"},
    "options": [
        {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
        {"optionId": "no", "name": "Reject", "kind": "reject_once"},
    ],
}


class Recorder:
    """A listener that keeps everything and answers questions as told."""

    def __init__(self, answer: str | None = None) -> None:
        self.updates: list[tuple[str, JsonObject]] = []
        self.questions: list[PermissionQuestion] = []
        self.complaints: list[str] = []
        self.forms: list[Form] = []
        self.spoken_to = asyncio.Event()
        self._answer = answer

    def updated(self, session_id: str, update: JsonObject) -> None:
        if update.get("sessionUpdate") == "bad":
            raise FieldError("“sessionUpdate” is bad")
        self.updates.append((session_id, update))
        self.spoken_to.set()

    async def asked(self, question: PermissionQuestion) -> str | None:
        self.questions.append(question)
        self.spoken_to.set()
        return self._answer

    async def given(self, form: Form) -> JsonObject:
        self.forms.append(form)
        return {"action": "decline"}

    def complained(self, complaint: str) -> None:
        self.complaints.append(complaint)


def test_a_session_from_its_beginning_to_its_end(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        ("await", "session/new"),
        ("result", {"sessionId": "s-1"}),
        ("await", "session/prompt"),
        ("update", CHUNK),
        ("request", "session/request_permission", QUESTION),
        ("await", "answer"),
        ("await", "session/cancel"),
        ("raw", '{"jsonrpc": "2.0", "id": 3, "result": {"stopReason": "cancelled", "_meta": '),
        ("raw", json.dumps({"acp-agent/checkpoint": CHECKPOINT}) + "}}\n"),
        ("await", "session/close"),
        ("result", {}),
    )
    recorder = Recorder(answer="yes")

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, recorder)
        assert (await agent.new_session(tmp_path)).session_id == "s-1"
        turn = asyncio.create_task(agent.prompt("s-1", Content.of_text("hello")))
        while not recorder.questions:
            await recorder.spoken_to.wait()
            recorder.spoken_to.clear()
        await agent.cancel("s-1")
        end = await turn
        assert end.stop_reason == "cancelled"
        assert end.checkpoint is not None
        assert end.checkpoint.wire() == {**CHECKPOINT, "reason": None}
        await agent.close_session("s-1")
        assert (await agent.stop()).status == 0

    asyncio.run(talk())
    assert recorder.updates == [("s-1", CHUNK)]
    assert [option.option_id for option in recorder.questions[0].options] == ["yes", "no"]
    assert recorder.complaints == []
    sent = agents_book.received
    assert sent[0]["params"] == {
        "protocolVersion": 1,
        "clientCapabilities": {"session": {"notices": {}}, "elicitation": {"form": {}}},
        "clientInfo": {"name": "acp-agent-chat", "version": "0.1.0"},
    }
    assert sent[2]["params"] == {"sessionId": "s-1", "prompt": [{"type": "text", "text": "hello"}]}
    assert {"outcome": {"outcome": "selected", "optionId": "yes"}} in [message.get("result") for message in sent]


def test_loading_gives_the_report_after_the_replay(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        ("await", "session/load"),
        *[("update", CHUNK)] * 500,
        ("result", {"_meta": {"acp-agent/resume": REPORT}}),
    )
    recorder = Recorder()

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, recorder)
        report = (await agent.load_session("s-1", tmp_path)).report
        assert len(recorder.updates) == 500
        assert report is not None
        assert report.turns_in_context == 1
        await agent.stop()

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("meta", "complaints"),
    [
        ({}, []),
        (None, []),
        (
            {"acp-agent/resume": {**REPORT, "outcome": "perfect"}},
            ["The agent sent a report that cannot be read: acp-agent/resume outcome: Input should be"],
        ),
    ],
)
def test_a_missing_or_unreadable_report_is_no_report(
    book: MakeBook, tmp_path: Path, meta: JsonObject | None, complaints: list[str]
) -> None:
    agents_book = book(("await", "session/load"), ("result", {"_meta": meta}))
    recorder = Recorder()

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, recorder)
        assert (await agent.load_session("s-1", tmp_path)).report is None
        await agent.stop()

    asyncio.run(talk())
    assert [complaint[: len(complaints[0])] for complaint in recorder.complaints] == complaints


def test_all_pages_of_the_sessions_are_listed(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        ("await", "session/list"),
        ("result", {"sessions": [{"sessionId": "a", "cwd": "/w"}], "nextCursor": "next"}),
        ("await", "session/list"),
        (
            "result",
            {"sessions": [{"sessionId": "b", "cwd": "/w", "title": "B", "_meta": {"acp-agent/session": LISTED}}]},
        ),
    )

    async def talk() -> tuple[ListedSession, ...]:
        agent = await Agent.start(agents_book.command, tmp_path, Recorder())
        listed = await agent.list_sessions(tmp_path)
        await agent.stop()
        return listed

    assert asyncio.run(talk()) == (
        ListedSession("a", "/w"),
        ListedSession("b", "/w", "B", None, 2, "resumed", "verified", "Zed (process 7)"),
    )
    assert [message["params"] for message in agents_book.received[1:]] == [
        {"cwd": str(tmp_path)},
        {"cwd": str(tmp_path), "cursor": "next"},
    ]


BAD_LINES = {
    "not json": "hello\n",
    "no object": "[1]\n",
    "no utf-8": "\udcff\n",
    "a stray answer": '{"jsonrpc": "2.0", "id": 99, "result": {}}\n',
    "an answer to nobody": '{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "?"}}\n',
    "too deep": "[" * 100_000 + "\n",
    "params of no object": '{"jsonrpc": "2.0", "method": "session/update", "params": [1]}\n',
    "unreadable update": json.dumps(
        {"method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": "bad"}}}
    )
    + "\n",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_told_and_nothing_else_is_lost(book: MakeBook, tmp_path: Path, name: str) -> None:
    agents_book = book(
        ("await", "session/new"),
        ("raw", BAD_LINES[name]),
        ("raw", "\n  \n"),
        ("update", CHUNK),
        ("result", {"sessionId": "s-1"}),
    )
    recorder = Recorder()

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, recorder)
        assert (await agent.new_session(tmp_path)).session_id == "s-1"
        await agent.stop()

    asyncio.run(talk())
    assert recorder.updates == [("s-1", CHUNK)]
    assert len(recorder.complaints) == 1
    assert recorder.complaints[0].startswith("The agent sent a line that is not ACP")


def test_a_line_that_is_too_long_is_told_and_skipped(
    book: MakeBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acp_agent.chat.process.LINE_LIMIT", 1000)
    agents_book = book(("await", "session/new"), ("raw", "x" * 100_000 + "\n"), ("result", {"sessionId": "s-1"}))
    recorder = Recorder()

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, recorder)
        assert (await agent.new_session(tmp_path)).session_id == "s-1"
        await agent.stop()

    asyncio.run(talk())
    assert "a line of more than" in recorder.complaints[0]


def test_notifications_of_other_kinds_are_ignored(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        ("raw", '{"jsonrpc": "2.0", "method": "_of/the_future", "params": {}}\n'),
        ("await", "session/new"),
        ("result", {"sessionId": "s-1"}),
    )
    recorder = Recorder()

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, recorder)
        await agent.new_session(tmp_path)
        await agent.stop()

    asyncio.run(talk())
    assert (recorder.updates, recorder.complaints) == ([], [])


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("fs/read_text_file", {"path": "/etc/passwd"}, -32601),
        ("session/request_permission", {"sessionId": "s-1", "toolCall": {}}, -32602),
    ],
)
def test_requests_that_cannot_be_served_are_refused(
    book: MakeBook, tmp_path: Path, method: str, params: JsonObject, code: int
) -> None:
    agents_book = book(
        ("await", "session/new"),
        ("request", method, params),
        ("await", "answer"),
        ("raw", '{"jsonrpc": "2.0", "id": 2, "result": {"sessionId": "s-1"}}\n'),
    )

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, Recorder())
        await agent.new_session(tmp_path)
        await agent.stop()

    asyncio.run(talk())
    error = agents_book.received[-1]["error"]
    assert isinstance(error, dict)
    assert error["code"] == code


def test_a_question_that_is_cancelled_says_so(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(
        ("await", "session/new"),
        ("request", "session/request_permission", QUESTION),
        ("await", "answer"),
        ("raw", '{"jsonrpc": "2.0", "id": 2, "result": {"sessionId": "s-1"}}\n'),
    )

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, Recorder(answer=None))
        await agent.new_session(tmp_path)
        await agent.stop()

    asyncio.run(talk())
    assert agents_book.received[-1]["result"] == {"outcome": {"outcome": "cancelled"}}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            {"code": -32002, "message": "No such session.", "data": {"sessionId": "s-1"}},
            -32002,
            "No such session.",
        ),
        ({"code": "x"}, -32603, "the other side answered with an error of no known form: {'code': 'x'}"),
        ("broken", -32603, "the other side answered with an error of no known form: 'broken'"),
    ],
)
def test_error_answers(book: MakeBook, tmp_path: Path, error: object, code: int, message: str) -> None:
    agents_book = book(("await", "session/load"), ("error", error))

    async def talk() -> RpcError:
        agent = await Agent.start(agents_book.command, tmp_path, Recorder())
        with pytest.raises(RpcError) as refused:
            await agent.load_session("s-1", tmp_path)
        await agent.stop()
        return refused.value

    refusal = asyncio.run(talk())
    assert (refusal.code, refusal.message) == (code, message)


def test_an_answer_without_what_it_must_hold(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book(("await", "session/new"), ("result", {}), ("await", "session/new"), ("result", "s-1"))

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, Recorder())
        for _ in range(2):
            with pytest.raises(FieldError):
                await agent.new_session(tmp_path)
        await agent.stop()

    asyncio.run(talk())


def test_a_failed_turn_tells_what_was_saved(book: MakeBook, tmp_path: Path) -> None:
    data = {"reason": "turn_failed", "_meta": {"acp-agent/checkpoint": CHECKPOINT}}
    agents_book = book(("await", "session/prompt"), ("error", {"code": 1, "message": "No.", "data": data}))

    async def talk() -> TurnFailed:
        agent = await Agent.start(agents_book.command, tmp_path, Recorder())
        with pytest.raises(TurnFailed) as failed:
            await agent.prompt("s-1", Content.of_text("hello"))
        await agent.stop()
        return failed.value

    checkpoint = asyncio.run(talk()).checkpoint
    assert checkpoint is not None
    assert checkpoint.turn == 1


@pytest.mark.parametrize(
    ("last_steps", "cause"),
    [
        ((("kill-self",),), "killed by SIGKILL"),
        ((("exit", 3),), "exit status 3"),
        ((("raw", '{"jsonrpc": "2.0", "id'), ("exit", 0)), "exit status 0"),
    ],
)
def test_a_death_fails_what_was_asked_and_keeps_the_last_words(
    book: MakeBook, tmp_path: Path, last_steps: tuple[Step, ...], cause: str
) -> None:
    many = "".join(f"line {number}\n" for number in range(100))
    agents_book = book(("await", "session/new"), ("stderr", many + "the end"), ("update", CHUNK), *last_steps)
    recorder = Recorder()

    async def talk() -> None:
        agent = await Agent.start(agents_book.command, tmp_path, recorder)
        with pytest.raises(AgentDied) as died:
            await agent.new_session(tmp_path)
        assert died.value.ending.cause == cause
        assert died.value.ending.last_words == (*(f"line {number}" for number in range(81, 100)), "the end")
        for call in (agent.prompt("s-1", Content.of_text("x")), agent.cancel("s-1")):
            with pytest.raises(AgentDied):
                await call
        assert await agent.stop() == died.value.ending

    asyncio.run(talk())
    assert recorder.updates == [("s-1", CHUNK)]


def test_one_who_waits_for_the_end_may_give_up(book: MakeBook, tmp_path: Path) -> None:
    agents_book = book()

    async def talk() -> str:
        agent = await Agent.start(agents_book.command, tmp_path, Recorder())
        waiting = asyncio.create_task(agent.ended())
        await asyncio.wait({waiting}, timeout=0)
        waiting.cancel()
        await asyncio.wait({waiting})
        return (await agent.stop()).cause

    assert asyncio.run(talk()) == "exit status 0"


def test_a_death_while_starting(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('no key')")

    async def talk() -> AgentDied:
        with pytest.raises(AgentDied) as died:
            await Agent.start(command, tmp_path, Recorder())
        return died.value

    death = asyncio.run(talk())
    assert death.ending.last_words == ("no key",)


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(AgentStartError, match="could not be started"):
        asyncio.run(Agent.start((str(tmp_path / "no-such-program"),), tmp_path, Recorder()))


def test_the_whole_group_is_killed_and_a_pipe_that_stays_open_is_not_waited_for(tmp_path: Path) -> None:
    # The child of the agent keeps the agent's pipes; a second one has left the group and survives with them.
    program = (
        "import subprocess, sys\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "child, stray = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)\n"
        "sys.stdin.readline()\n"
        'print(\'{"jsonrpc": "2.0", "id": 1, "result": {}}\', flush=True)\n'
        'print(\'{"method": "session/update", "params": {"sessionId": "%d %d", "update": {}}}\'\n'
        "      % (child.pid, stray.pid), flush=True)\n"
        "sys.stdin.read()\n"
    )
    recorder = Recorder()

    async def talk() -> tuple[int, int]:
        agent = await Agent.start((sys.executable, "-c", program), tmp_path, recorder)
        await recorder.spoken_to.wait()
        child, stray = map(int, recorder.updates[0][0].split())
        child_end = os.pidfd_open(child)
        assert os.getpgid(child) == agent.pid != os.getpgid(0)
        agent.kill()
        async with asyncio.timeout(60):
            assert (await agent.ended()).cause == "killed by SIGKILL"
        await asyncio.to_thread(_wait_for_end, child_end)
        agent.kill()  # nothing is left to kill
        return child, stray

    _, stray = asyncio.run(talk())
    os.kill(stray, signal.SIGKILL)


def test_an_agent_that_does_not_leave_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acp_agent.chat.process._EOF_SECONDS", 0.05)
    monkeypatch.setattr("acp_agent.chat.process._TERM_SECONDS", 0.05)
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "sys.stdin.readline()\n"
        'print(\'{"jsonrpc": "2.0", "id": 1, "result": {}}\', flush=True)\n'
        "time.sleep(60)\n"
    )

    async def talk() -> str:
        agent = await Agent.start((sys.executable, "-c", program), tmp_path, Recorder())
        return (await agent.stop()).cause

    assert asyncio.run(talk()) == "killed by SIGKILL"


def _wait_for_end(pidfd: int) -> None:
    select.select([pidfd], [], [])
    os.close(pidfd)
