"""The fixed script: a conversation, a SIGKILL in the middle of an answer, a resume, and the proof of what is left.

It goes through the real protocol with real processes, in a temporary folder of its own that also holds the
session's data. The folder is removed if the proof holds, and kept for inspection if it does not.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.text import Text

from acp_agent.chat import proof, render, words
from acp_agent.chat.agent import AgentDied, PermissionQuestion
from acp_agent.chat.client import Client
from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.forms import Form
from acp_agent.chat.process import AgentStartError
from acp_agent.chat.rpc import RpcError
from acp_agent.chat.screen import Screen
from acp_agent.chat.transcript import Message, Role
from sessions.report import ResumeReport

_FILE = "notes.txt"
_BEFORE = "status: draft\nowner: nobody\n"
_AFTER = "status: final\nowner: nobody\n"
_PLAIN_PROMPTS = ("My favourite bird is the heron.", "And my favourite tree is the alder.")
_EDIT_PROMPT = f'!replace_file_content {_FILE} "status: draft" "status: final"'
_CUT_PROMPT = "!stream 200 50"
_LAST_PROMPT = "How many of my messages can you see?"
_PIECES_BEFORE_KILL = 5
_STEP_SECONDS = 120.0


class _Failed(Exception):
    """The script cannot go on; the message says what was seen instead of what was needed."""


async def play(agent_command: tuple[str, ...], screen: Screen) -> int:
    """Play the script on `screen`; returns 0 if the proof holds, else 1.

    `agent_command` must take `--data-dir`, which is added to it.
    """
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="acp-agent-chat-"))
    keep = False
    try:
        line, holds = await _verdict(agent_command, screen, folder)
        keep = not holds
    finally:
        if keep:
            screen.show(Text(f"Kept for inspection: {folder}"), gap=True)
        else:
            shutil.rmtree(folder)
    screen.show(Text(line, style="bold green" if holds else "bold red"), wrap=False)
    return 0 if holds else 1


async def _verdict(agent_command: tuple[str, ...], screen: Screen, folder: Path) -> tuple[str, bool]:
    try:
        made = await _Script(agent_command, screen, folder).run()
        return proof.verdict(made), all(check.holds for check in made)
    except AgentDied as death:
        screen.show(render.told(words.ending_in_words(death.ending, None, killed_here=False)), gap=True)
        reason = str(death)
    except RpcError as refusal:
        screen.show(render.told(words.refusal_in_words("a request", refusal)), gap=True)
        reason = str(refusal)
    except TimeoutError:
        reason = f"a step took more than {_STEP_SECONDS:.0f} seconds"
    except (_Failed, AgentStartError, FieldError) as fault:
        reason = str(fault)
    return f"PROOF FAILS: the script could not be played to its end: {reason}", False


class _Script:
    """The steps, and what is observed on the way."""

    def __init__(self, agent_command: tuple[str, ...], screen: Screen, folder: Path) -> None:
        self._screen = screen
        self._workspace = folder / "workspace"
        self._client = Client(
            (*agent_command, "--data-dir", str(folder / "data")),
            self._workspace,
            screen,
            answers=self,
            on_update=self._count_piece,
        )
        self._asked = 0
        self._questions = 0
        self._pieces = 0
        self._enough_pieces = asyncio.Event()

    async def run(self) -> tuple[proof.Check, ...]:
        """Play all steps; returns the checks of the proof. Raises `_Failed` and what `Client` raises."""
        try:
            return await self._run()
        finally:
            await self._client.stop()

    async def _run(self) -> tuple[proof.Check, ...]:
        self._workspace.mkdir()
        file = self._workspace / _FILE
        file.write_text(_BEFORE, encoding="utf-8")
        self._heading(1, "A new session, and two plain turns")
        async with asyncio.timeout(_STEP_SECONDS):
            session_id = await self._client.new_session()
        self._say(f"Session {session_id} in {self._workspace}, served by process {self._client.agent.pid}.")
        for prompt in _PLAIN_PROMPTS:
            await self._turn(prompt)
        self._heading(2, f"A turn that edits {_FILE}, with permission")
        await self._turn(_EDIT_PROMPT)
        self._heading(3, "SIGKILL to the agent's process group in the middle of an answer")
        await self._cut_turn()
        shown = self._client.view.transcript.conversation
        self._heading(4, "A new agent process loads the session")
        report = await self._load(session_id)
        replayed = self._client.view.transcript.conversation
        self._heading(5, "One more prompt: the model says what it sees")
        await self._turn(_LAST_PROMPT)
        observed = proof.Observed(
            asked=self._asked - 1,
            questions=self._questions,
            report=report,
            shown=shown,
            replayed=replayed,
            answer=self._last_answer(),
            file_expected=_AFTER,
            file_seen=file.read_text(encoding="utf-8"),
        )
        self._heading(6, "The proof")
        made = proof.checks(observed)
        for check in made:
            sign, style = ("holds", "green") if check.holds else ("FAILS", "bold red")
            self._screen.show(
                Text(f"{sign}: {check.name}: expected {check.expected}, seen {check.seen}", style=style)
            )
        return made

    async def _turn(self, prompt: str) -> None:
        self._asked += 1
        async with asyncio.timeout(_STEP_SECONDS):
            await self._client.prompt(prompt)

    async def _cut_turn(self) -> None:
        agent = self._client.agent
        self._asked += 1
        self._pieces = 0
        self._enough_pieces.clear()
        turn = asyncio.create_task(self._client.prompt(_CUT_PROMPT))
        enough = asyncio.create_task(self._enough_pieces.wait())
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                await asyncio.wait({turn, enough}, return_when=asyncio.FIRST_COMPLETED)
                if turn.done():
                    await turn
                    raise _Failed("the turn that was to be cut ended by itself")
                agent.kill()
                with suppress(AgentDied):
                    await turn
                    raise _Failed("the turn that was to be cut was answered all the same")
                ending = await agent.ended()
        finally:
            turn.cancel()
            enough.cancel()
        self._say(f"{self._pieces} pieces of the answer were seen. Process {agent.pid}: {ending.cause}.")

    async def _load(self, session_id: str) -> ResumeReport | None:
        async with asyncio.timeout(_STEP_SECONDS):
            report = await self._client.load(session_id)
        self._say(f"Served by process {self._client.agent.pid}.")
        return report

    async def ask(self, question: PermissionQuestion) -> str | None:
        """Part of `Answers`: once, it may."""
        self._screen.show(render.question(question), gap=True)
        self._questions += 1
        option_id = question.first_of("allow_once")
        self._say("Answered: no “allow once” on offer" if option_id is None else "Answered: allow once")
        return option_id

    async def fill_in(self, form: Form) -> JsonObject:
        """Part of `Answers`: the script's prompts bring no forms."""
        return {"action": "decline"}

    def _count_piece(self, update: JsonObject) -> None:
        if update.get("sessionUpdate") == Role.AGENT:
            self._pieces += 1
            if self._pieces >= _PIECES_BEFORE_KILL:
                self._enough_pieces.set()

    def _last_answer(self) -> str:
        items = self._client.view.transcript.conversation
        answers = [item.text for item in items if isinstance(item, Message) and item.role is Role.AGENT]
        return answers[-1] if answers else ""

    def _heading(self, number: int, title: str) -> None:
        self._screen.show(Text(f"=== {number}. {title} ===", style="bold magenta"), gap=True)

    def _say(self, line: str) -> None:
        self._screen.show(Text(line, style="dim"))
