"""Operations on stored sessions, each in a process of its own, so that system calls of just that can be disturbed.

`python -m tests.crash.act` reads requests from its standard input, one JSON array of words a line, and forks for
each a process that stops itself at once. It answers with a line that holds the process's id; whoever asked
attaches what it likes and continues the process; a second line then tells its exit status. The process has
everything imported already, so that all that is left to see are the calls of the operation itself. The words are:

    checkpoint DATA_DIR SESSION USER_TURNS
    load DATA_DIR SESSION BASE_URL WORKSPACE
    unsaved DATA_DIR SESSION BASE_URL WORKSPACE PROMPT
    command WORD…                                       a command line of the agent's own

It is our own code, with the real harness where one is needed. What comes of it is one line of JSON in the file
that the environment variable `CRASH_RESULT` names: `ok`, or the error that a client would be answered with. Any
other failure ends in a traceback, which no campaign accepts. Everything runs in the main thread, since strace
counts calls by thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from acp_agent import cli, refusals
from acp_agent.antigravity import ResumableAgent, ResumeRefused
from acp_agent.antigravity.sdk_config import for_server
from acp_agent.steps import HarnessError, OpenAIEndpoint, Question, QuestionAnswer, ToolUse
from acp_agent.wire.errors import AgentError
from sessions import checkpoint
from sessions.checkpoint import CheckpointError, Streamed
from sessions.journal import Journal
from sessions.lease import Holder, Lease
from sessions.leftovers import HarnessStillRunning
from sessions.session import StoreDamaged
from sessions.store import Store, now

RESULT = "CRASH_RESULT"
"""The environment variable that names the file which an operation's result is written to."""

P = ParamSpec("P")
T = TypeVar("T")


class _Inline(ThreadPoolExecutor):
    """An executor without threads."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        # What goes wrong belongs to whoever waits for the result.
        except BaseException as error:
            future.set_exception(error)
        return future


def serve() -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        words = json.loads(line)
        process = os.fork()
        if process == 0:
            _run(words)
        os.waitpid(process, os.WUNTRACED)
        _answer(process)
        _, status = os.waitpid(process, 0)
        _answer(os.waitstatus_to_exitcode(status))


def _run(words: list[str]) -> None:
    """The forked process: stop, then do what the words say, and end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the answers go there
    os.kill(os.getpid(), signal.SIGSTOP)
    status = 1
    try:
        result = _do(*words)
        Path(os.environ[RESULT]).write_text(json.dumps(result) + "\n", encoding="utf-8")
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _do(what: str, *words: str) -> dict[str, object]:
    if what == "command":
        return _command(words)
    data_dir, session_id, *more = words
    if what == "checkpoint":
        return _checkpoint(Path(data_dir), session_id, int(more[0]))
    return asyncio.run(_with_harness(what, Path(data_dir), session_id, *more))


def _checkpoint(data_dir: Path, session_id: str, user_turns: int) -> dict[str, object]:
    """Checkpoint the turn that the harness has finished and nobody has checkpointed."""
    try:
        with Store(data_dir).open(session_id) as session:
            lease = Lease.acquire(session.folder, Holder(os.getpid(), "tests.crash", now()))
            journal = Journal(session)
            turn = journal.turns()[-1].turn
            streamed = Streamed(visible=0, user_turns=user_turns)
            stored = checkpoint.take(session, journal, turn=turn, stop_reason="end_turn", streamed=streamed)
            lease.release()
    except (CheckpointError, StoreDamaged, OSError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return {"ok": True, "turn": stored.turn}


class _Everything:
    """A guard that lets everything run."""

    async def forbids(self, tool: ToolUse) -> bool:
        return False

    async def allows(self, tool: ToolUse) -> bool:
        return True

    async def answers(self, questions: Sequence[Question]) -> Sequence[QuestionAnswer]:
        return [QuestionAnswer() for _ in questions]


async def _with_harness(what: str, data_dir: Path, session_id: str, *more: str) -> dict[str, object]:
    """Bring the session back; if the turn is to stay unsaved, run one and die before its checkpoint."""
    base_url, workspace, *prompts = more
    asyncio.get_running_loop().set_default_executor(_Inline())
    endpoint = OpenAIEndpoint(base_url=base_url, model="offline")
    config = for_server(endpoint, workspaces=[Path(workspace)], mcp_servers=[], guard=_Everything())
    try:
        with refusals.store_errors(session_id):
            async with ResumableAgent.open(config, data_dir=data_dir, session_id=session_id) as agent:
                if what == "unsaved":
                    await agent.chat(prompts[0])
                    os.kill(os.getpid(), signal.SIGKILL)
                report = agent.report
    except (ResumeRefused, HarnessError, HarnessStillRunning, AgentError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    assert report is not None
    return {"ok": True, "report": report.wire()}


def _command(words: tuple[str, ...]) -> dict[str, object]:
    """A command of the agent's own, which ends with status 0, or with a status and words on standard error."""
    try:
        cli.main(list(words))
    except SystemExit as ended:
        if ended.code not in (0, None):
            return {"ok": False, "error": f"exit status {ended.code}"}
    return {"ok": True}


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
