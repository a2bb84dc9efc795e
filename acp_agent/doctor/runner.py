"""Makes checks one after the other. Whatever a check does, and however long it takes, the others are made."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from acp_agent.doctor.findings import Checked, Finding, State, problem, skipped
from acp_agent.doctor.situation import Check, Situation

STOP_SECONDS: Final = 5.0
"""How long a check that is given up may take to end what it has begun."""

_ROOT = Path(__file__).parents[2]
_PACKAGES = (_ROOT / "acp_agent", _ROOT / "sessions")


def run(
    checks: Sequence[Check], situation: Situation, *, begun: Callable[[Check], None] = lambda _: None
) -> Iterator[Checked]:
    """Make the checks, in their order.

    One that takes longer than it may is left behind on its thread, and what it has found until then is told.

    Args:
        checks: those to be made.
        situation: what they look at.
        begun: is told of each that is begun.
    """
    bad: set[str] = set()
    for check in checks:
        begun(check)
        start = time.monotonic()
        if missing := [name for name in check.needs if name in bad]:
            findings = [skipped(f"Not looked at, because of the problem with {missing[0]}.")]
        else:
            findings = _findings(check, situation, start + check.seconds)
        done = Checked(check.name, check.group, tuple(findings), round((time.monotonic() - start) * 1000))
        if done.state is State.PROBLEM:
            bad.add(check.name)
        yield done


def _findings(check: Check, situation: Situation, deadline: float) -> list[Finding]:
    arriving: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for finding in check.run(situation):
                arriving.put(finding)
        except Exception as error:  # whatever it is, the other checks are to be made
            arriving.put(_unexpected(error))
        arriving.put(None)

    thread = threading.Thread(target=work, name=f"check {check.name}", daemon=True)
    found: list[Finding] = []
    try:
        thread.start()
        while finding := arriving.get(timeout=max(deadline - time.monotonic(), 0.001)):
            found.append(finding)
        return found
    except queue.Empty:
        _stop(situation, thread)
    except BaseException:  # such as a person who has waited enough
        _stop(situation, thread)
        raise
    found.append(
        problem(
            f"This was not finished after {check.seconds:.0f} s.",
            "Look at what the check is about: a disk or a server that hangs holds up the agent in the same way.",
        )
    )
    return found


def _stop(situation: Situation, thread: threading.Thread) -> None:
    """Have a check that is given up end what it has begun, if it has said how."""
    if situation.stopping is not None:
        situation.stopping()
        thread.join(STOP_SECONDS)


def _unexpected(error: Exception) -> Finding:
    said = str(error)
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path != Path(__file__) and any(path.is_relative_to(package) for package in _PACKAGES):
            where = f" ({path.relative_to(_ROOT).as_posix()}, line {frame.lineno})"
    return problem(
        f"The check itself failed{where}: {type(error).__name__}{f': {said}' if said else ''}.",
        "This is a fault of acp-agent. Please report it, with the file that `acp-agent doctor --bundle` writes.",
        private=(said,),
    )
