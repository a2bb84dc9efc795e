"""The agent, with a note of each call of some functions: `python -m tests.docs.watched FILE NAME… -- ARGUMENTS`.

A name is a module and, after a colon, a function in it: `acp_agent.server:AgentServer.prompt`. Each line of FILE
is the name of a function that was begun, in order, whatever thread that was on.
"""

from __future__ import annotations

import os
import sys
import threading
from types import CodeType, FrameType


def watch(file: str, names: set[str]) -> None:
    """From now on note the calls of these functions."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    known: dict[CodeType, bytes] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            code = frame.f_code
            if (line := known.get(code)) is None:
                name = f"{frame.f_globals.get('__name__')}:{code.co_qualname}"
                line = known[code] = f"{name}\n".encode() if name in names else b""
            # A coroutine that goes on is no new call: only a beginning resumes with 0.
            if line and code.co_code[frame.f_lasti + 1] == 0:
                os.write(descriptor, line)

    threading.setprofile(note)
    sys.setprofile(note)


if __name__ == "__main__":
    end = sys.argv.index("--")
    watch(sys.argv[1], set(sys.argv[2:end]))
    sys.argv = ["acp-agent", *sys.argv[end + 1 :]]
    from acp_agent.cli import main

    main()
