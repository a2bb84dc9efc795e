"""Both sides of a comparison as the bench drives them: our agent over ACP, and the raw SDK.

Both work on a copy of the same stored session, with the same model, and are asked and answered over pipes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from acp_agent.offline.server import OfflineModel
from bench.process import Json, LineProcess, StepFailed

PROMPT = "Say ok.\n!say ok"
"""The prompt of every turn; the offline model answers it at once."""

ANSWER = "ok"
MODEL = "default"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run works: a folder of its own, and the model that all talk to. `flags` are the agent's."""

    root: Path
    model: OfflineModel
    flags: tuple[str, ...] = ()

    @property
    def workspace(self) -> Path:
        """The folder that sessions work in."""
        return self.root / "workspace"

    def agent_command(self, data_dir: Path) -> tuple[str, ...]:
        """The command line of our agent, without the user's own configuration file."""
        where = ("--data-dir", str(data_dir), "--base-url", self.model.openai_url, "--model", MODEL)
        return (sys.executable, "-m", "acp_agent", "--config", str(self.root / "config.toml"), *where, *self.flags)

    def raw_command(self, *arguments: str) -> tuple[str, ...]:
        """The command line of the raw SDK."""
        return (sys.executable, "-m", "bench.raw_sdk", *arguments)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session on disk, closed in order: the agent's data folder, the session's id, and its turns."""

    data_dir: Path
    session_id: str
    turns: int

    @property
    def folder(self) -> Path:
        """The session's own folder."""
        return self.data_dir / "sessions" / self.session_id

    @property
    def trajectory(self) -> Path:
        """The harness's database."""
        return self.folder / "trajectory" / f"{self.session_id}.db"

    def copy(self, data_dir: Path, *, turns: int | None = None) -> StoredSession:
        """The same session in another data folder, which is replaced.

        The copy is synced, so that no sync which is timed later has to write it.
        """
        shutil.rmtree(data_dir, ignore_errors=True)
        shutil.copytree(self.data_dir, data_dir)
        for path in data_dir.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
        return StoredSession(data_dir, self.session_id, self.turns if turns is None else turns)


class AgentSide(LineProcess):
    """A process of our agent."""

    def __init__(self, place: Place, data_dir: Path) -> None:
        super().__init__(place.agent_command(data_dir), place.workspace)
        self._place = place
        self._last_id = 0
        self.updates = 0
        """The notifications received so far."""
        self.shown: list[float] = []
        """When each part of the conversation was received: messages of the user and of the agent."""

    def call(self, method: str, params: Json) -> Json:
        """Send a request and return its result. Raises `StepFailed` for an error."""
        self._last_id += 1
        self.send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        while (message := self.read()).get("id") != self._last_id:
            self.updates += 1
            if _is_message(message):
                self.shown.append(time.perf_counter())
        result = message.get("result")
        if not isinstance(result, dict):
            raise StepFailed(f"{method} was answered with {message.get('error')}")
        return result

    def initialize(self) -> None:
        """The handshake, and all imports, which the first request after it waits for."""
        self.call("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
        self.call("session/list", {})

    def new(self) -> str:
        """A new session's id."""
        return str(self.call("session/new", {"cwd": str(self._place.workspace), "mcpServers": []})["sessionId"])

    def load(self, session: StoredSession) -> float:
        """Load a session; the milliseconds from request to response. Raises `StepFailed` if any of it is lost."""
        params: Json = {"sessionId": session.session_id, "cwd": str(self._place.workspace), "mcpServers": []}
        began, seen = time.perf_counter(), self.updates
        result = self.call("session/load", params)
        elapsed = time.perf_counter() - began
        report = _meta(result, "acp-agent/resume")
        if (report["reason"], report["turnsInContext"]) != ("verified", session.turns):
            raise StepFailed(f"of {session.turns} turns the load reports {report}")
        if self.updates - seen < 2 * session.turns:
            raise StepFailed(f"{session.turns} turns were replayed with {self.updates - seen} updates")
        return elapsed * 1000

    def open(self, session: StoredSession) -> None:
        """Load a session that has had more turns than it had when it was made."""
        params: Json = {"sessionId": session.session_id, "cwd": str(self._place.workspace), "mcpServers": []}
        report = _meta(self.call("session/load", params), "acp-agent/resume")
        # A conversation that has become too long is summarised by the harness in one of its turns.
        if report["reason"] != "verified" or report["turnsLost"] != 0:
            raise StepFailed(f"the load reports {report}")

    def turn(self, session_id: str) -> tuple[float, float]:
        """Run a turn; the milliseconds from prompt to response, and those of them that the checkpoint took."""
        params: Json = {"sessionId": session_id, "prompt": [{"type": "text", "text": PROMPT}]}
        began = time.perf_counter()
        result = self.call("session/prompt", params)
        elapsed = time.perf_counter() - began
        report = _meta(result, "acp-agent/checkpoint")
        taken = report["ms"]
        if report["durable"] is not True or not isinstance(taken, float | int):
            raise StepFailed(f"a turn was not checkpointed: {report}")
        return elapsed * 1000, float(taken)


class RawSide(LineProcess):
    """A process of the raw SDK, which has imported it."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.raw_command("serve"), place.workspace)
        self._place = place
        self.read()

    def load(self, session: StoredSession) -> float:
        """Resume a conversation; the milliseconds from request to answer."""
        request: Json = {
            "do": "open",
            "model": MODEL,
            "base_url": self._place.model.openai_url,
            "conversation_id": session.session_id,
            "save_dir": str(session.trajectory.parent),
            "app_data_dir": str(session.folder / "harness"),
            "workspace": str(self._place.workspace),
        }
        began = time.perf_counter()
        self.send(request)
        answer = self.read()
        elapsed = time.perf_counter() - began
        if answer.get("steps") != 2 * session.turns:
            raise StepFailed(f"of {session.turns} turns the raw SDK opened {answer}")
        return elapsed * 1000

    def turn(self) -> float:
        """Run a turn; the milliseconds from request to answer."""
        began = time.perf_counter()
        self.send({"do": "turn", "text": PROMPT})
        answer = self.read()
        elapsed = time.perf_counter() - began
        if answer.get("text") != ANSWER:
            raise StepFailed(f"the raw SDK's turn was answered with {answer}")
        return elapsed * 1000


def _is_message(notification: Json) -> bool:
    params = notification.get("params")
    update = params.get("update") if isinstance(params, dict) else None
    return isinstance(update, dict) and update.get("sessionUpdate") in (
        "user_message_chunk",
        "agent_message_chunk",
    )


def _meta(result: Json, key: str) -> Json:
    meta = result.get("_meta")
    report = meta.get(key) if isinstance(meta, dict) else None
    if not isinstance(report, dict):
        raise StepFailed(f"there is no {key} in {result}")
    return report
