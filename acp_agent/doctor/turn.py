"""The check that it all works together: two turns with the offline model, and a kill between them.

It goes the way an IDE goes: a real agent process, the real protocol, the real harness, in a temporary data folder,
without the user's settings and without the network. The promise is looked at where it counts: the offline model
says how many of the user's messages were in its request.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from acp_agent import credentials
from acp_agent.chat.agent import Agent, AgentDied, PermissionQuestion
from acp_agent.chat.attachments import Content
from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.forms import Form
from acp_agent.chat.process import AgentStartError, Spawn
from acp_agent.chat.proof import MESSAGES_SEEN
from acp_agent.chat.rpc import RpcError
from acp_agent.config import ENVIRONMENT_PREFIX
from acp_agent.doctor.findings import Finding, ok, problem
from acp_agent.doctor.situation import Situation
from acp_agent.system import processes

SECONDS: Final = 60.0
"""How long both turns may take together; 2 s are usual."""

_CREDENTIALS: Final = (credentials.KEY_VARIABLE, "GOOGLE_API_KEY", *credentials.VERTEX_VARIABLES)


class _Wrong(Exception):
    """Something was not as promised; one sentence says what."""


def offline_turn(situation: Situation) -> Iterator[Finding]:
    """Whether a turn is stored before it is answered, and is remembered after the agent was killed."""
    spawn = situation.spawn or partial(processes.start, environment=clean(situation.environment))
    with _folder() as folder:
        try:
            yield ok(asyncio.run(_stoppable(situation, _turns(folder, spawn))))
        except asyncio.CancelledError:
            return
        except TimeoutError:
            yield _failed(f"it was not done after {SECONDS:.0f} s")
        except AgentDied as died:
            words = died.ending.last_words
            said = f": {words[-1]}" if words else ""
            yield _failed(f"the agent ended ({died.ending.cause}){said}", private=words[-1:])
        except RpcError as error:
            data = error.data if isinstance(error.data, dict) else {}
            details = str(data.get("details") or "")
            said = f"{error.message} {details}".rstrip(" .")
            yield _failed(f"the agent answered: {said}", private=(details.rstrip("."),))
        except (AgentStartError, FieldError, _Wrong) as error:
            yield _failed(str(error).rstrip("."))


def _failed(why: str, *, private: tuple[str, ...] = ()) -> Finding:
    return problem(
        f"A turn with the offline model fails: {why}.",
        "If the checks before this one found nothing, run `acp-agent --log-level debug chat --offline`, and report"
        " what it writes.",
        private=private,
    )


async def _stoppable(situation: Situation, turns: Coroutine[None, None, str]) -> str:
    """The turns, which are cut if the check is given up."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(turns)
    situation.stopping = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        return await task
    finally:
        situation.stopping = None


async def _turns(folder: Path, spawn: Spawn) -> str:
    """Two turns with a kill between them; what was seen and how long it took, in words."""
    workspace, settings = folder / "workspace", folder / "config.toml"
    workspace.mkdir()
    settings.touch()
    command = (sys.executable, "-m", "acp_agent", "--config", str(settings), "--data-dir", str(folder / "data"))
    listener = Hearing()
    times: list[str] = []
    agents: list[Agent] = []
    try:
        async with asyncio.timeout(SECONDS):
            with _timed("start", times):
                agents.append(await Agent.start((*command, "--offline"), workspace, listener, spawn=spawn))
            with _timed("turn", times):
                session_id = (await agents[-1].new_session(workspace)).session_id
                await _turn(agents[-1], session_id)
            agents[-1].kill()
            await agents[-1].ended()
            with _timed("load", times):
                agents.append(await Agent.start((*command, "--offline"), workspace, listener, spawn=spawn))
                report = (await agents[-1].load_session(session_id, workspace)).report
            if report is None or report.turns_in_context != 1:
                raise _Wrong(f"after a kill the report says {report.summary if report else 'nothing'}")
            listener.text = ""
            await _turn(agents[-1], session_id)
    finally:
        for agent in agents:
            if not agent.ending.done():
                agent.kill()
            await agent.ended()
    if listener.garbled:
        raise _Wrong("the agent writes something that is no ACP to its standard output")
    seen = MESSAGES_SEEN.search(listener.text)
    if seen is None or seen[1] != "2":
        raise _Wrong(f"after a kill the model sees {seen[1] if seen else 'none'} of 2 messages")
    return f"A turn was stored, the agent killed, and the turn remembered ({', '.join(times)})"


async def _turn(agent: Agent, session_id: str) -> None:
    end = await agent.prompt(session_id, Content.of_text("This is a check."))
    if end.stop_reason != "end_turn":
        raise _Wrong(f"the turn ended with {end.stop_reason}")
    if end.checkpoint is None or not end.checkpoint.durable:
        why = end.checkpoint.reason if end.checkpoint else "the answer does not say that it is"
        raise _Wrong(f"the turn is not durable: {why}")


class Hearing:
    """Keeps the text of an agent, grants it nothing, and notes whether it writes what is no ACP."""

    def __init__(self) -> None:
        self.text = ""
        self.garbled = False

    def updated(self, session_id: str, update: JsonObject) -> None:
        """Part of `acp_agent.chat.agent.Listener`."""
        content = update.get("content")
        if update.get("sessionUpdate") == "agent_message_chunk" and isinstance(content, dict):
            self.text += str(content.get("text", ""))

    async def asked(self, question: PermissionQuestion) -> str | None:
        """Part of `acp_agent.chat.agent.Listener`."""
        return None

    async def given(self, form: Form) -> JsonObject:
        """Part of `acp_agent.chat.agent.Listener`."""
        return {"action": "decline"}

    def complained(self, complaint: str) -> None:
        """Part of `acp_agent.chat.agent.Listener`."""
        self.garbled = True


@contextmanager
def _timed(what: str, times: list[str]) -> Iterator[None]:
    begun = time.monotonic()
    yield
    times.append(f"{what} {(time.monotonic() - begun) * 1000:.0f} ms")


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="acp-agent-doctor-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without settings of the agent and without credentials, which are not what is looked at."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(ENVIRONMENT_PREFIX) and name not in _CREDENTIALS
    }
