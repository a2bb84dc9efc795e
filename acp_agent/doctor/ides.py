"""The check of the IDEs: what their settings say of the agent, and whether the command that they start answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from acp_agent.chat.agent import Agent, AgentDied
from acp_agent.chat.fields import FieldError
from acp_agent.chat.process import AgentStartError
from acp_agent.chat.rpc import RpcError
from acp_agent.doctor.findings import Finding, ok, problem, warning
from acp_agent.doctor.situation import Situation
from acp_agent.doctor.turn import Hearing
from acp_agent.ides import inspection, launching
from acp_agent.ides.inspection import Configured, State

SECONDS: Final = 20.0
"""How long a command may take to answer `initialize`; 0.1 s is usual, more if an installer makes it first."""


def configurations(_: Situation) -> Iterator[Finding]:
    """What the settings of each IDE that is here say; every command of this agent that one starts is started."""
    answers: dict[tuple[str, ...], str | None] = {}
    found = [each for each in inspection.look() if each.state is not State.ABSENT]
    for each in found:
        wrong = None
        if each.works and launching.is_ours(each.command):
            if each.command not in answers:
                answers[each.command] = asyncio.run(_trouble(each.command))
            wrong = answers[each.command]
        yield judge(each, wrong)
    if not found:
        yield ok("No IDE that is known was found")


def judge(each: Configured, wrong: str | None) -> Finding:
    """What there is to say of a settings file.

    Args:
        each: what it says.
        wrong: why the command in it does not answer as an agent, None if it does, or was not started.
    """
    private = (*each.command, each.name or "", each.detail)
    anew = f"Run `acp-agent install {each.ide}`, which writes the command anew."
    match each.state:
        case State.UNREADABLE:
            return problem(
                f"{each.title}: {each.file} cannot be read. {each.detail}".rstrip(". ") + ".",
                "Correct the file in the IDE; it shows where.",
                private=private,
            )
        case _ if wrong is not None:
            return problem(f"{each.title} starts a command that {wrong} ({each.file}).", anew, private=private)
        case State.OTHER_COMMAND:
            return warning(f"{each.title}: {each.detail} ({each.file})", anew, private=private)
        case State.CONFIGURED | State.REGISTERED:
            own = each.state is State.REGISTERED
            does = "installs the agent from the ACP registry" if own else "starts this agent, which answers"
            return ok(f"{each.title} {does} ({each.file})")
        case State.BY_HAND:
            return ok(f"{each.title} is set up by a program that is not looked into. {each.detail}".rstrip(". "))
    return ok(f"{each.title} does not have the agent; `acp-agent install {each.ide}` adds it")


async def _trouble(command: tuple[str, ...]) -> str | None:
    """Why a command does not answer `initialize`, as the end of a sentence; None if it does."""
    hearing = Hearing()
    with tempfile.TemporaryDirectory(prefix="acp-agent-doctor-") as folder:
        try:
            async with asyncio.timeout(SECONDS):
                agent = await Agent.start(command, Path(folder), hearing)
                await agent.stop()
        except AgentStartError:
            return "cannot be started"
        except AgentDied as died:
            return f"ends before it answers ({died.ending.cause})"
        except (RpcError, FieldError):
            return "does not answer as an agent"
        except TimeoutError:
            return "does not answer as an agent" if hearing.garbled else f"does not answer in {SECONDS:.0f} s"
    return None
