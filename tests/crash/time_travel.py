"""Going back and forking from the command line, in the middle of the random campaign."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

from tests.crash.operations import Operation
from tests.crash.play import Play
from tests.crash.truth import State, Truth, expect

WEIGHT = 3


def command(data_dir: str, *words: str) -> tuple[str, ...]:
    """The command line of `acp-agent sessions …`."""
    return (sys.executable, "-m", "acp_agent", "--data-dir", data_dir, "sessions", *words)


async def restore(play: Play, truth: Truth) -> None:
    """Take the session to a random turn that it was at, perhaps killing that, and load it."""
    if not truth.after_turn:
        return
    turn, state = play.random.choice(sorted(truth.after_turn.items()))
    await play.close(truth)
    # If it is killed, or all of this is: either nothing has happened, or all of it.
    truth.alternatives, truth.shown, truth.comparable = [state], [], False
    ended = await _run(play, "restore", truth.session_id, "--turn", str(turn), "--yes", "--json")
    if ended is not None:
        truth.state, truth.alternatives = state, []
    await play.bring_back(truth)


async def fork(play: Play, truth: Truth) -> None:
    """Make another session of a random turn of this one, perhaps killing that, and load both."""
    if not truth.after_turn:
        return
    turn, state = play.random.choice(sorted(truth.after_turn.items()))
    await play.close(truth)
    ended = await _run(play, "fork", truth.session_id, "--turn", str(turn), "--json")
    await play.list_sessions()
    await play.bring_back(truth)
    if ended is not None:
        forked = Truth(_session_id(ended), State(state.entries, state.turns), comparable=False)
        play.truths.insert(0, forked)
        await play.bring_back(forked)


async def _run(play: Play, *words: str) -> bytes | None:
    """Run a command, sometimes killing it; its output, None if it was killed before its end."""
    play.history.append(f"sessions {' '.join(words)}")
    play.doing = f"sessions {words[0]}"
    process = await asyncio.create_subprocess_exec(
        *command(str(play.world.data_dir), *words),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    reading = asyncio.ensure_future(process.communicate())
    try:
        if play.random.random() < 0.5:
            await asyncio.wait({reading}, timeout=play.random.uniform(0.2, 1.0))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        output, _ = await asyncio.shield(reading)
    except asyncio.CancelledError:
        # The agent was killed meanwhile; this is another process, and must be over before the next life begins.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await reading
        raise
    if process.returncode == -signal.SIGKILL:
        play.history.append("  the command was killed")
        return None
    expect(process.returncode == 0, "the command succeeds", words, process.returncode, output)
    return output


def _session_id(output: bytes) -> str:
    found = json.loads(output)["sessionId"]
    assert isinstance(found, str)
    return found


OPERATIONS = (Operation("sessions restore", WEIGHT, restore), Operation("sessions fork", WEIGHT, fork))
"""What is done with stored sessions in the campaign."""
