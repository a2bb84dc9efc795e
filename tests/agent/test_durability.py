"""Durable before acknowledged: the system calls of the real agent around the answer to a prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from acp_agent.chat.process import AgentProcess
from tests.agent.driver import Agent, World, checkpoint_report
from tests.crash import strace

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(strace.missing() is not None, reason=f"system calls cannot be traced: {strace.missing()}"),
]

WRITES = ("write", "writev", "pwrite64", "pwritev", "ftruncate")
SYNCS = ("fsync", "fdatasync")
NAMES = ("rename", "renameat", "renameat2")
ANSWER = '\\"stopReason\\"'

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)$")
_DESCRIPTOR = re.compile(r"^\d+<(/[^>]*)>")


@dataclass(frozen=True, slots=True)
class Event:
    """A system call that was begun, or a sync that has returned; the file that it is about, and its arguments."""

    name: str
    path: str
    arguments: str


def events(log: Path) -> list[Event]:
    """What a trace shows, in order. A call that others interrupt in the log has a line for its end of its own."""
    found: list[Event] = []
    begun: dict[str, Event] = {}
    for line in log.read_text(errors="replace").splitlines():
        parsed = _LINE.match(line)
        if parsed is None:
            continue
        pid, name, how, rest = parsed.groups()
        if how == " resumed>":
            event = begun.pop(pid)
            if name in SYNCS and rest.endswith("= 0"):
                found.append(event)
            continue
        descriptor = _DESCRIPTOR.match(rest)
        event = Event(name, descriptor[1] if descriptor else "", rest)
        if line.endswith("<unfinished ...>"):
            begun[pid] = event
        if name not in SYNCS or rest.endswith("= 0"):
            found.append(event)
    return found


async def test_everything_is_synced_before_the_answer_is_written(world: World) -> None:
    log = world.root / "calls"
    calls = ",".join((*WRITES, *SYNCS, *NAMES))
    # -s: as much of an answer as it takes to recognise it.
    traced = ("strace", "-f", "-y", "-qq", "-s", "300", "-o", str(log), "-e", f"trace={calls}", *world.command())
    agent = Agent(await AgentProcess.start(traced, world.workspace))
    try:
        await agent.initialize()
        session_id = await agent.new(world.workspace)
        for text in ("My name is Ada.", "!run_command echo steam\n!stream 20 5", "And now?"):
            answer = await agent.prompt(session_id, text)
            assert checkpoint_report(answer)["durable"] is True
    finally:
        await agent.stop()
    found = events(log)
    answers = [at for at, event in enumerate(found) if event.name in WRITES and ANSWER in event.arguments]
    assert len(answers) == 3
    folder, database = world.session_folder(session_id), world.trajectory(session_id)
    written = [f"{database}-wal", f"{folder / 'store.db'}-wal"]
    only_synced = [str(database), str(database.parent), str(folder)]
    for begin, end in zip([0, *answers], answers, strict=False):
        turn = found[begin:end]
        for path in [*written, *only_synced]:
            synced = [at for at, event in enumerate(turn) if event.path == path and event.name in SYNCS]
            changed = [at for at, event in enumerate(turn) if event.path == path and event.name in WRITES]
            # What has not changed since it was synced need not be synced again.
            needed = begin == 0 or bool(changed) or path in written
            assert synced or not needed, f"{path} is not synced before the answer"
            assert bool(changed) or path not in written, f"{path} is not written in a turn, so this shows nothing"
            assert not changed or changed[-1] < synced[-1], f"{path} is written after its last sync"
    # Names: whatever is renamed in the session is followed by a sync of its folder, and so durable too.
    for at, event in enumerate(found[: answers[-1]]):
        if event.name in NAMES and str(folder) in event.arguments:
            target = re.findall(r'"([^"]+)"', event.arguments)[-1]
            later = found[at + 1 : answers[-1]]
            parent = str(Path(target).parent)
            assert any(then.path == parent and then.name in SYNCS for then in later), event
