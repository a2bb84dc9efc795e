"""One open harness, and turns through it.

What the SDK leaves to its caller is done here (measured with 0.1.22):

- A stream may end before the turn began, on an announcement of idle that belongs to the turn before. The step
  that repeats the user's prompt marks the true beginning: an end of stream before it is not the turn's end.
- A turn's stream may stop (by an exception) before the harness is idle. The commit point is idle, so the
  stream is drained to idle before a turn is given back.
- `cancel()` ends the stream with a subclass of `asyncio.CancelledError`; it must not cancel our own task.
- Closing waits up to three minutes in a blocking call for the harness to exit; a timer bounds that, and the
  wait is done on a thread first. Starting blocks as well (`starting`).
- Nothing notices a harness that is stuck before its websocket's keep-alive does, after 40 s (`watchdog`).
- A tool that the SDK's steps have no form for (`schedule`, `manage_task`, `ask_question` and the like) comes as a
  text of the model for the environment. A Python tool comes twice, the second time under a wrong number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
from google.antigravity import Agent, types
from google.antigravity.connections.local.local_connection_config import make_step_id
from pydantic import JsonValue

from acp_agent.antigravity import starting
from acp_agent.antigravity.details import Details
from acp_agent.antigravity.mcp_servers import McpBridges, ServerFailure
from acp_agent.antigravity.sdk_config import AgentConfig, Place, for_conversation
from acp_agent.antigravity.watchdog import Watchdog
from acp_agent.logs import Event, ms_since, say
from acp_agent.logs.line import Fact
from acp_agent.steps import (
    HarnessDied,
    HarnessError,
    HarnessNotStarted,
    HarnessRefused,
    KeyNotTaken,
    Limit,
    Part,
    PlanFirst,
    Source,
    Status,
    Step,
    Text,
    ToolUse,
    TurnFailed,
    Usage,
)
from sessions import leftovers

log = logging.getLogger(__name__)

CLOSE_SECONDS = 0.8
"""How long a harness may take to close in order before it is killed; 0.02 s is usual (facts, section 9)."""

KILLED_SECONDS = 0.3
"""How long the end of killed commands is waited for; a cancelled prompt waits with it."""

OPEN_SECONDS = 20.0
"""How long a harness may take to open a conversation before it is killed; 0.1 to 1 s is usual."""

_SOURCES = {"USER": Source.USER, "MODEL": Source.MODEL, "SYSTEM": Source.SYSTEM}
_STATUSES = {
    "ACTIVE": Status.ACTIVE,
    "DONE": Status.DONE,
    "WAITING_FOR_USER": Status.WAITING,
    "ERROR": Status.ERROR,
    "CANCELED": Status.CANCELED,
}


_LIMITS = {
    "MAX_MODEL_CALLS_EXCEEDED": Limit.REQUESTS,
    "MAX_TOOL_CALLS_EXCEEDED": Limit.REQUESTS,
    "MAX_INPUT_TOKENS_EXCEEDED": Limit.TOKENS,
    "MAX_OUTPUT_TOKENS_EXCEEDED": Limit.TOKENS,
    "MAX_TOTAL_TOKENS_EXCEEDED": Limit.TOKENS,
}


# The endpoint's own words reach us in the harness's error (measured with 0.1.22: "Error 401, Message: ..., Status:
# UNAUTHENTICATED"). The Gemini API says 400 and the rest for a key that it does not know, or no longer.
_KEY_NOT_TAKEN = re.compile(r"Status: UNAUTHENTICATED|API_KEY_INVALID|API key (not valid|expired)")


def _never() -> bool:
    return False


class Harness:
    """One running harness with one open conversation. Not for use by two tasks at once, except `cancel`."""

    def __init__(self, agent: Agent, place: Place, bridges: McpBridges) -> None:
        conversation_id = place.conversation_id
        self._agent: Any = agent
        self._conversation_id = conversation_id
        self._details = Details(
            place.save_dir / f"{conversation_id}.db", place.app_data_dir.resolve() / "brain" / conversation_id
        )
        self._bridges = bridges
        self._cancelled = False
        self._killed = False
        self._before: asyncio.Future[list[psutil.Process]] | None = None
        connection: Any = self._agent.conversation.connection
        self._process: Any = connection._process
        # The public history is cut to 10,000 steps; the handshake's is whole.
        self.history: tuple[Step, ...] = tuple(
            _step(step, conversation_id) for step in connection._initial_history
        )

    @classmethod
    async def open(cls, config: AgentConfig, place: Place, *, exists: bool) -> Harness:
        """Start a harness and open a conversation in it.

        Args:
            config: how the agent is to be.
            place: which conversation, and where its files are.
            exists: whether it must be there already; if not, it must not be there.

        Raises:
            HarnessRefused: the harness would not open it; the message holds the harness's own words.
            HarnessNotStarted: it ended before it answered, or did not answer in time.
        """
        began = time.perf_counter()
        bridges = McpBridges(place.conversation_id)
        # The SDK waits for a starting harness in calls that nothing but its end can interrupt.
        timer = threading.Timer(OPEN_SECONDS, starting.end_started, [place.conversation_id])
        timer.daemon = True
        timer.start()
        try:
            agent = Agent(for_conversation(config, place, exists=exists, bridges=bridges))
            starting.start_on_thread(agent)
            await agent.__aenter__()
        except Exception as error:
            bridges.remove()
            why = _why_not_open(error)
            words, kind = f"the harness did not open: {error}", type(why).__name__
            say(
                log,
                Event.HARNESS_NOT_OPENED,
                words,
                session=place.conversation_id,
                error=kind,
                ms=ms_since(began),
            )
            raise why from error
        finally:
            timer.cancel()
        harness = cls(agent, place, bridges)
        harness.say(Event.HARNESS_OPENED, existed=exists, steps=len(harness.history), ms=ms_since(began))
        return harness

    @property
    def pid(self) -> int:
        """The id of the harness process."""
        return int(self._process.pid)

    @property
    def usage(self) -> Usage:
        """The tokens of the last turn, as the model counted them."""
        used = self._agent.conversation.last_turn_usage
        if used is None:
            return Usage()
        output = [count for count in (used.candidates_token_count, used.thoughts_token_count) if count is not None]
        return Usage(used.prompt_token_count, sum(output) if output else None)

    @property
    def stopped_by(self) -> Limit | None:
        """The limit that ended the last turn, None if none did."""
        return _LIMITS.get(self._agent.conversation._last_turn_stop_reason.value)

    async def used_tokens(self) -> int | None:
        """The tokens of the newest request to the model, prompt and answer, None if they are not known."""
        return await self._details.used_tokens()

    async def history_with_details(self) -> tuple[Step, ...]:
        """The history, with the details of the steps of the last turn. The harness must be idle."""
        begins = [
            place for place, step in enumerate(self.history) if step.source is Source.USER and not step.subagent
        ]
        last = begins[-1] if begins else len(self.history)
        return (*self.history[:last], *await self._details.of_last_turn(self.history[last:]))

    def mcp_failures(self) -> list[ServerFailure]:
        """The MCP servers that could not be had since it was opened. They are started with the first turn."""
        return self._bridges.failures()

    @property
    def alive(self) -> bool:
        """Whether the harness process still runs."""
        return self._process is not None and self._process.poll() is None

    async def turn(
        self, prompt: tuple[Part, ...], *, silence: float | None = None, asking: Callable[[], bool] = _never
    ) -> AsyncIterator[Step]:
        """Send a prompt and yield every state of every step until the harness is idle.

        After `cancel()` the iterator simply ends. `silence` and `asking` are what the watchdog wants to know.

        Raises:
            TurnFailed: the model or its endpoint failed; the harness is idle, and best not used again.
            HarnessDied: the harness process is gone, does not answer, or never began the turn.
        """
        self._cancelled = False
        conversation = self._agent.conversation
        # Start times would tell as well, but for the second that they can be off.
        self._before = asyncio.ensure_future(asyncio.to_thread(leftovers.marked, self._conversation_id))
        began = False
        failure: HarnessError | None = None
        await self._details.begin_turn()
        try:
            await conversation.send([_content(part) for part in prompt])
        except Exception as error:
            raise HarnessDied(f"The harness did not take the prompt: {_one_line(str(error))}") from error
        watchdog = Watchdog(self._pong, silence=silence, expected=asking)
        while True:
            try:
                steps = aiter(conversation.receive_steps())
                async for step in self._received(steps, watchdog):
                    began = began or (step.source is Source.USER and not step.subagent)
                    watchdog.saw(step, began=began)
                    yield step
            except HarnessError:
                self.kill("silence")
                raise
            except (types.AntigravityConnectionError, types.AntigravityExecutionError) as error:
                if not self.alive:
                    raise HarnessDied(_one_line(str(error))) from error
                # Before the turn began this is the tail of an earlier failed turn.
                if began and not self._cancelled:
                    failure = failure or _turn_failed(_one_line(str(error)))
            if conversation.is_idle and (began or self._cancelled):
                break
            if not self.alive:
                raise HarnessDied("The harness process ended during the turn.")
            await asyncio.sleep(0.002)
        if failure and not self._cancelled:
            raise failure

    async def _received(self, steps: AsyncIterator[Any], watchdog: Watchdog) -> AsyncIterator[Step]:
        """The steps of a stream with their details, and what commands have put out in between."""
        while True:
            arriving = asyncio.ensure_future(watchdog.watched(self._next(steps)))
            try:
                async for late in self._details.looks(arriving):
                    yield late
                raw = await arriving
            finally:
                arriving.cancel()
            if raw is None:
                return
            if not _is_repeated(raw):
                yield await self._details.of(_step(raw, self._conversation_id))

    async def _next(self, steps: AsyncIterator[Any]) -> Any | None:
        """The next step, None at the end of the stream."""
        try:
            return await anext(steps)
        except StopAsyncIteration:
            return None
        except types.AntigravityCancelledError:
            # A subclass of what cancels a task, which this must not do.
            self._cancelled = True
            return None

    async def _pong(self) -> None:
        websocket = self._agent.conversation.connection._ws
        await (await websocket.ping())

    async def cancel(self) -> None:
        """Ask the harness to halt the running turn; the turn's iterator ends when the harness is idle."""
        with contextlib.suppress(Exception):  # a dead harness needs no cancelling: the turn itself reports it
            await asyncio.wait_for(self._agent.conversation.cancel(), CLOSE_SECONDS)

    async def end_commands(self) -> None:
        """Kill what was started in the last turn and still runs, and see it end.

        A cancel that comes while a command is being started does not end that command, or only its shell (measured
        with 0.1.22). Servers, and what earlier turns left running, are not touched.
        """
        before = await self._before if self._before is not None else []
        spared = {self.pid, *(process.pid for process in before)}
        killed = await asyncio.to_thread(_kill_marked, self._conversation_id, spared)
        if killed:
            await asyncio.to_thread(psutil.wait_procs, killed, KILLED_SECONDS)

    def kill(self, why: str) -> None:
        """End the harness at once with everything it runs; for a harness that does not answer. `why` is logged."""
        if self._process is not None:
            self._killed = True
            _kill_tree(self.pid)
            self.say(Event.HARNESS_KILLED, f"the harness is ended ({why})", why=why)

    def say(self, event: Event, words: str | None = None, **facts: Fact) -> None:
        """Log an event of this harness; timers that end one know no session."""
        say(log, event, words, session=self._conversation_id, harness=self.pid, **facts)

    async def close(self) -> None:
        """Close in order, so that the database is checkpointed into one file; kill what takes too long."""
        began, in_order = time.perf_counter(), True
        timer = threading.Timer(CLOSE_SECONDS, self.kill, ["close"])
        timer.daemon = True
        timer.start()
        try:
            await self._hang_up()
            await self._agent.__aexit__(None, None, None)
        except Exception as error:  # the SDK reports a harness that was already dead this way
            in_order = False
            self.say(Event.HARNESS_NOT_CLOSED, f"the harness did not close in order: {_one_line(str(error))}")
        finally:
            timer.cancel()
            self._bridges.remove()
        if self.alive:
            # The SDK does not wait for a harness whose connection is gone, and it may still write.
            self.kill("close")
            await asyncio.to_thread(self._process.wait)
        if in_order and not self._killed:
            self.say(Event.HARNESS_CLOSED, ms=ms_since(began))

    async def _hang_up(self) -> None:
        """Do what the SDK does first when it closes, and wait for the end of the process on another thread.

        The SDK waits for it in a call that blocks the event loop, and with it every other session. Hooks for the
        end of a session need the connection; with them it is left to the SDK.
        """
        connection = self._agent.conversation.connection
        hooks = connection._hook_runner
        if hooks is not None and hooks.on_session_end_hooks:
            return
        connection._disconnecting = True
        await connection._processor.cancel_background_tasks()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(connection._ws.close(), CLOSE_SECONDS)
        self._process.stdin.close()
        await asyncio.to_thread(self._process.wait)


def _content(part: Part) -> Any:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, PlanFirst):
        return types.SlashCommand(name=types.BuiltinSlashCommandName.PLAN)
    kind = types.Image if part.mime_type.startswith("image/") else types.Document
    return kind(mime_type=part.mime_type, data=part.data)


def unsupported_media(mime_type: str) -> bool:
    """Whether a prompt may not carry media of this type, because the SDK takes none such."""
    return mime_type not in types.Image._SUPPORTED_MIMES | types.Document._SUPPORTED_MIMES


def _is_repeated(raw: Any) -> bool:
    """Whether this is the second time that a Python tool comes, under the wrong number."""
    return bool(raw.tool_calls) and raw.id != make_step_id(raw.trajectory_id, raw.step_index)


def _step(raw: Any, conversation_id: str) -> Step:
    call = raw.tool_calls[0] if raw.tool_calls else None
    tool: ToolUse | None = None
    source = _SOURCES.get(raw.source.value, Source.UNKNOWN)
    compaction = raw.type.value == "COMPACTION"
    if call is not None:
        args: dict[str, JsonValue] = dict(call.args)
        if raw.workflow_progress is not None and raw.workflow_progress.output:
            args["output"] = str(raw.workflow_progress.output)
        tool = ToolUse(name=str(call.name), args=args, server=call.server_name)
    elif source is Source.MODEL and raw.target.value == "TARGET_ENVIRONMENT" and not compaction and not raw.error:
        tool = ToolUse(name="", args={})
    return Step(
        index=int(raw.step_index),
        source=source,
        status=_STATUSES.get(raw.status.value, Status.UNKNOWN),
        content=str(raw.content),
        thinking=str(raw.thinking),
        tool=tool,
        error=str(raw.error),
        subagent="" if raw.trajectory_id in ("", conversation_id) else str(raw.trajectory_id),
        parent="" if raw.parent_trajectory_id in ("", conversation_id) else str(raw.parent_trajectory_id),
        compaction=compaction,
        http_code=int(getattr(raw, "http_code", 0) or 0),
    )


def _why_not_open(error: Exception) -> HarnessError:
    """What the failure to open says: the harness prints this phrase when it refuses a conversation."""
    text = str(error)
    said, found, reason = text.partition("Failed to create agent: ")
    if found:
        return HarnessRefused(_one_line(reason))
    return HarnessNotStarted(_one_line(said.partition("Stderr:")[0]) or type(error).__name__)


def _kill_marked(conversation_id: str, spared: set[int]) -> list[psutil.Process]:
    killed: list[psutil.Process] = []
    for process in leftovers.marked(conversation_id):
        if process.pid not in spared:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.append(process)
    return killed


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        harness = psutil.Process(pid)
        for process in [*harness.children(recursive=True), harness]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _turn_failed(said: str) -> TurnFailed:
    return KeyNotTaken(said) if _KEY_NOT_TAKEN.search(said) else TurnFailed(said)


def _one_line(text: str, limit: int = 600) -> str:
    """An SDK message without the harness's log, which may quote paths and more that is nobody's business."""
    text = text.partition("Harness stderr:")[0]
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
