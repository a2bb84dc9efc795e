"""Agent processes that begin with everything imported: forked from one that has done the imports.

Importing the two SDKs takes a second of CPU, and the suite starts an agent hundreds of times. So each test process
keeps one helper that has imported the agent and nothing more; for each agent that a test asks for, it forks. What
is forked is a process of its own, leader of its own session, with the pipes, folder and environment that it was
given, and it goes on in `acp_agent.cli.main` as a started one does. Tests of the start itself start it for real.

    python -m tests.prestarted SOCKET
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

_REQUEST_BYTES = 1 << 20
_STATUS = struct.Struct("i")


class Forked:
    """What `subprocess.Popen` is for a started process, for a forked one."""

    def __init__(self, pid: int, pipes: tuple[IO[bytes], IO[bytes], IO[bytes]], status: socket.socket) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = pipes
        self._status = status
        self._exit: int | None = None

    def wait(self) -> int:
        """Wait for its end; the exit status, or minus the signal that ended it."""
        if self._exit is None:
            (self._exit,) = _STATUS.unpack(_exactly(self._status, _STATUS.size))
            self._status.close()  # from now on its id may be another's
        return self._exit

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self._exit is None:
            os.kill(self.pid, signal.SIGTERM)


class Prestarted:
    """The helper process that forks agents."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.prestarted", str(theirs.fileno())]
            # It ends when its socket closes, that is, with this process.
            self._helper = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        self._socket = ours

    def fork(self, arguments: tuple[str, ...], cwd: Path, environment: Mapping[str, str]) -> Forked:
        """An agent process with these arguments, in this folder, with this environment."""
        stdin_read, stdin = os.pipe()
        stdout, stdout_write = os.pipe()
        stderr, stderr_write = os.pipe()
        ours, theirs = socket.socketpair()
        given = [stdin_read, stdout_write, stderr_write, theirs.detach()]
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)})
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))
            self._socket.sendmsg([request.encode()], [rights])
        finally:
            for fd in given:
                os.close(fd)
        (pid,) = _STATUS.unpack(_exactly(ours, _STATUS.size))
        pipes = os.fdopen(stdin, "wb", 0), os.fdopen(stdout, "rb", 0), os.fdopen(stderr, "rb", 0)
        return Forked(pid, pipes, ours)


def fork_agent(command: tuple[str, ...], cwd: Path, *, environment: Mapping[str, str] | None = None) -> Forked:
    """Part of `acp_agent.chat.process.Spawn`: what starting `python -m acp_agent …` does, without the imports.

    Its environment is this process's unless it is given one.
    """
    global _prestarted  # noqa: PLW0603
    assert command[:3] == (sys.executable, "-m", "acp_agent"), command
    _prestarted = _prestarted or Prestarted()
    return _prestarted.fork(command[3:], cwd, os.environ if environment is None else environment)


_prestarted: Prestarted | None = None


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            raise EOFError("the helper that forks agents is gone")
        data += more
    return data


def _serve(requests: socket.socket) -> Callable[[], None] | None:
    """Fork for each request; returns in a forked process, with what it has to do, or at the end."""
    # The status of a child is told when it has ended; it is reaped when whoever asked for it has taken that in, so
    # that its id stays its own until then, as with a child of one's own.
    running: dict[int, tuple[int, socket.socket]] = {}
    ended: dict[int, int] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == requests.fileno():
                data, fds, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 4)
                if not data:
                    return None
                status = socket.socket(fileno=fds.pop())
                pid = os.fork()
                if pid == 0:
                    for other in [requests, status, *(each for _, each in running.values())]:
                        other.close()
                    for pidfd in running:
                        os.close(pidfd)
                    return lambda: _become(json.loads(data), fds)
                for each in fds:
                    os.close(each)
                status.sendall(_STATUS.pack(pid))
                pidfd = os.pidfd_open(pid)
                running[pidfd] = (pid, status)
                poll.register(pidfd, select.POLLIN)
            elif fd in running:
                pid, status = running.pop(fd)
                poll.unregister(fd)
                os.close(fd)
                how = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                assert how is not None
                code = how.si_status if how.si_code == os.CLD_EXITED else -how.si_status
                with contextlib.suppress(OSError):
                    status.sendall(_STATUS.pack(code))
                place = status.detach()
                ended[place] = pid
                poll.register(place, select.POLLIN | select.POLLHUP)
            else:
                poll.unregister(fd)
                os.close(fd)
                os.waitpid(ended.pop(fd), 0)


def _become(request: dict[str, object], fds: list[int]) -> None:
    """Be the agent that was asked for."""
    os.setsid()
    for place, fd in enumerate(fds):
        os.dup2(fd, place)
        os.close(fd)
    os.chdir(str(request["cwd"]))
    environment, arguments = request["environment"], request["arguments"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["acp-agent", *arguments]
    from acp_agent.cli import main  # noqa: PLC0415

    main()


if __name__ == "__main__":
    import acp_agent.server
    import acp_agent.wire.lifetime  # noqa: F401

    # What was imported stays shared with the forked processes.
    gc.collect()
    gc.freeze()
    if become := _serve(socket.socket(fileno=int(sys.argv[1]))):
        become()
