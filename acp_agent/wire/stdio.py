"""Takes the process's standard input and output for the protocol alone.

Nothing but ACP may be on stdout (acp-facts 1.5), but a stray `print`, a C library or a child process writes to
descriptor 1 all the same, and a child that inherits descriptor 0 can read the client's next request. So the
protocol moves to private descriptors, which no child inherits, and 0 and 1 are left pointing where they can do
no harm. This must come first in the life of the process, before the event loop: whatever is opened while one of
the three standard descriptors is closed takes its place.
"""

from __future__ import annotations

import os
import sys

from acp_agent.system import descriptors


def claim_stdin() -> int:
    """Return a private descriptor of the standard input; descriptor 0 reads as empty from then on.

    Raises `OSError` if the process was started without a standard input.
    """
    private = descriptors.private_copy(0)
    _point_at_nothing(0, os.O_RDONLY)
    return private


def claim_stdout() -> int:
    """Return a private descriptor of the standard output; descriptor 1 and `sys.stdout` are stderr from then on.

    Raises `OSError` if the process was started without a standard output.
    """
    private = descriptors.private_copy(1)
    try:
        os.fstat(2)
    except OSError:
        # Without this the next file that is opened, a database perhaps, would be descriptor 2 and receive the log.
        _point_at_nothing(2, os.O_WRONLY)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return private


def _point_at_nothing(fd: int, mode: int) -> None:
    nothing = os.open(os.devnull, mode)
    if nothing == fd:
        os.set_inheritable(fd, True)
    else:
        os.dup2(nothing, fd)
        os.close(nothing)
