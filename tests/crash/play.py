"""One life of an agent process: what a client does with it, what it sees, and the moment at which it is killed.

Whatever is done is noted in `history` before it is done, so that a failure can be read afterwards. A kill goes to
the whole process group, as IDEs do it, and may come while anything is in flight: whoever waits then gets
`PeerGone`, but not before everything that was in the pipe has been read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from acp_agent.chat.rpc import PeerGone, RpcError
from acp_agent.offline.model_request import ModelRequest
from tests.agent.driver import Agent, Json, World, checkpoint_report, is_announcement, resume_report
from tests.crash.truth import Truth, expect, number


@dataclass(frozen=True, slots=True)
class Fuse:
    """When to kill: `delay` seconds after the `count`th event of a kind since the last operation began.

    The events are `begin`, `update`, `question`, `written` (an answer was shown to its last word), and `end`.
    The end of the operation takes the place of one that does not come.
    """

    event: str
    count: int
    delay: float


@dataclass(frozen=True, slots=True)
class Back:
    """A load or resume that was answered: what it reported, and how long it took in seconds."""

    outcome: str
    reason: str
    turns_lost: int
    seconds: float


@dataclass(slots=True)
class Play:
    """A client with one agent process and some sessions."""

    world: World
    agent: Agent
    random: Random
    truths: list[Truth]
    history: list[str]
    answer: str | None = "allow_once"
    """What a permission question is answered with; None leaves it open."""
    doing: str = "idle"
    backs: dict[str, Back] = field(default_factory=dict)
    killed_at: str | None = None
    _places: dict[str, int] = field(default_factory=dict)
    _asked: int = 0
    _before: int = 0
    _requests: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.agent.choose = self._choose

    # --- What a client does -----------------------------------------------------------------------------

    async def new(self) -> Truth:
        """Begin a session."""
        self._begin("new")
        truth = Truth(await self.agent.new(self.world.workspace))
        self._places[truth.session_id] = len(self.agent.received)
        self.truths.append(truth)
        self._end()
        return truth

    async def bring_back(self, truth: Truth, method: str = "session/load") -> None:
        """Load or resume a session and check what is said of it."""
        what = "resume" if method == "session/resume" else "load"
        self._begin(f"{what} of a damaged session" if truth.damaged else what, truth)
        place = len(self.agent.received)
        began = asyncio.get_running_loop().time()
        params: Json = {"sessionId": truth.session_id, "cwd": str(self.world.workspace), "mcpServers": []}
        report = resume_report(await self.agent.call(method, params))
        seconds = asyncio.get_running_loop().time() - began
        self.history.append(f"  {report['outcome']}/{report['reason']}: {report['summary']}")
        lost = number(report, "turnsLost")
        back = Back(str(report["outcome"]), str(report["reason"]), lost, seconds)
        self.backs.setdefault(truth.session_id, back)
        self._places[truth.session_id] = len(self.agent.received)
        replayed = None if method == "session/resume" else self._updates(truth, place)
        truth.brought_back(report, replayed)
        self._end()

    def start_prompt(self, truth: Truth, text: str) -> asyncio.Task[None]:
        """Send a prompt; the task ends when its answer has been received and checked, or the agent is gone."""
        self._begin("prompt", truth, text)
        truth.sent(text)
        task = asyncio.create_task(self._prompt(truth, text))
        self._requests.append(task)
        return task

    async def prompt(self, truth: Truth, text: str) -> None:
        """Send a prompt and wait for its answer."""
        await self.start_prompt(truth, text)

    async def cancel(self, truth: Truth) -> None:
        """Cancel the session's turn."""
        self.history.append("  cancel")
        self.doing = "cancel"
        await self.agent.cancel(truth.session_id)

    async def close(self, truth: Truth) -> None:
        """Close a session."""
        self._begin("close", truth)
        await self.agent.call("session/close", {"sessionId": truth.session_id})
        self._end()

    async def list_sessions(self) -> None:
        """List all sessions: each that was handed out must be there."""
        self._begin("list")
        listed = (await self.agent.call("session/list", {}))["sessions"]
        assert isinstance(listed, list)
        ids = {entry["sessionId"] for entry in listed if isinstance(entry, dict)}
        expect(all(truth.session_id in ids for truth in self.truths), "every session is listed", ids)
        self._end()

    async def wait(self, prompt: asyncio.Task[None], *, updates: int = 0, questions: int = 0) -> None:
        """Wait until a prompt has shown so much, or has ended."""

        def enough() -> bool:
            return prompt.done() or (self.updates() >= updates and self.questions() >= questions)

        await self._either(prompt, enough)

    def updates(self) -> int:
        """The number of updates of a turn or replay since the last operation began."""
        return len(self._seen())

    def questions(self) -> int:
        """The number of permission questions since the last operation began."""
        return len(self.agent.questions) - self._asked

    # --- The kill ---------------------------------------------------------------------------------------

    async def run_until_killed(self, operation: asyncio.Task[None], fuse: Fuse) -> None:
        """Let an operation run and kill the agent when the fuse has burnt down, even if it has ended."""
        burning = asyncio.create_task(self._burn(operation, fuse))
        await asyncio.wait({operation, burning}, return_when=asyncio.FIRST_COMPLETED)
        if operation.done() and operation.exception() is not None:
            burning.cancel()
            operation.result()
        await burning
        await self.kill()
        operation.cancel()
        with suppress(asyncio.CancelledError, PeerGone):
            await operation

    async def kill(self) -> None:
        """SIGKILL the process group; afterwards everything that had reached the pipe has been taken in."""
        self.killed_at = self._moment()
        self.history.append(f"  KILL: {self.killed_at}")
        await self.agent.kill()
        for request in self._requests:
            with suppress(PeerGone):
                await request
        for truth in self.truths:
            self._take_in(truth)

    # --- Inside -----------------------------------------------------------------------------------------

    async def _prompt(self, truth: Truth, text: str) -> None:
        before = len(self.world.model.requests)
        try:
            checkpoint = checkpoint_report(
                await self.agent.call(
                    "session/prompt",
                    {"sessionId": truth.session_id, "prompt": [{"type": "text", "text": text}]},
                )
            )
        except RpcError as failed:
            expect(
                failed.code == -31006 and "!fail" in text,
                "only a failing model fails a turn",
                str(failed),
                failed.data,
            )
            assert isinstance(failed.data, dict)
            checkpoint = checkpoint_report(failed.data)
        finally:
            self._take_in(truth)
            request = self._first_request(before, text)
            if request is not None:
                truth.received(request)
            elif self.updates() and self.doing == "prompt":
                truth.begun()
        truth.answered(text, checkpoint, reached_model=request is not None)
        self._end()

    def _first_request(self, before: int, text: str) -> ModelRequest | None:
        requests = self.world.model.requests[before:]
        return next((request for request in requests if request.user_turns[-1:] == (text,)), None)

    async def _choose(self, _: Json) -> str | None:
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer

    def _begin(self, what: str, truth: Truth | None = None, text: str = "") -> None:
        whose = f" {truth.session_id[:6]}" if truth else ""
        self.history.append(f"{what}{whose} {text!r}" if text else f"{what}{whose}")
        self.doing = what
        self._before, self._asked = len(self.agent.received), len(self.agent.questions)

    def _end(self) -> None:
        self.doing = f"just after {'an answer' if self.doing in ('prompt', 'cancel') else self.doing}"

    def _updates(self, truth: Truth, place: int) -> list[Json]:
        """The updates of a session that are part of its transcript, from a place in what was received on."""
        found: list[Json] = []
        for message in self.agent.received[place:]:
            update = message["update"]
            assert isinstance(update, dict)
            if message["sessionId"] == truth.session_id and not is_announcement(update):
                found.append(update)
        return found

    def _seen(self) -> list[Json]:
        """What was shown since the last operation began; the commands are sent after an answer, at any moment."""
        updates = (message["update"] for message in self.agent.received[self._before :])
        return [u for u in updates if isinstance(u, dict) and u["sessionUpdate"] != "available_commands_update"]

    def _take_in(self, truth: Truth) -> None:
        """Note what was shown of a session that is open."""
        place = self._places.get(truth.session_id)
        if place is not None:
            truth.shown += self._updates(truth, place)
            self._places[truth.session_id] = len(self.agent.received)

    async def _burn(self, operation: asyncio.Task[None], fuse: Fuse) -> None:
        def burnt() -> bool:
            match fuse.event:
                case "begin":
                    return True
                case "update":
                    return self.updates() >= fuse.count
                case "question":
                    return self.questions() >= fuse.count
                case "written":
                    return self._written()
                case _:
                    return False

        await self._either(operation, burnt)
        await asyncio.sleep(fuse.delay)

    async def _either(self, task: asyncio.Task[None], happened: Callable[[], bool]) -> None:
        """Wait for the end of a task or for something to be received, whichever is first."""
        watching = asyncio.ensure_future(self.agent.until(happened))
        try:
            await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def _written(self) -> bool:
        """Whether the answer to the running prompt has been shown to its last word."""
        words = re.findall(r"!stream (\d+)", self.history[-1])
        shown = self._seen()
        return bool(words and shown) and f"word{words[-1]}" in str(shown[-1])

    def _moment(self) -> str:
        if self.doing != "prompt":
            return self.doing
        if self.agent.questions[self._asked :] and self.answer is None:
            return "prompt: a question is open"
        shown = self._seen()
        calls = [update for update in shown if isinstance(update, dict) and "toolCallId" in update]
        if not shown:
            return "prompt: nothing shown yet"
        if calls and calls[-1] is shown[-1] and calls[-1].get("status") in ("pending", "in_progress"):
            return "prompt: a tool runs"
        return "prompt: the answer comes"
