"""What killed agents leave: processes that carry a session's mark, and private files of its MCP servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from acp_agent.doctor.findings import State
from sessions.lease import Holder, Lease
from sessions.leftovers import MARKER_VARIABLE
from sessions.store import new_session_id
from tests.doctor.conftest import Machine, worst
from tests.sessions.test_health import made


@contextmanager
def marked(session_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running process with a session's mark."""
    program = "import sys; print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", program, "the-canary"],
        env={**os.environ, MARKER_VARIABLE: session_id},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_whose_agent_is_gone(machine: Machine) -> None:
    session_id = made(machine.store)
    with marked(session_id) as process:
        done = machine.check("leftovers")
        assert done.state is State.WARNING
        assert f"Process {process.pid} of session {session_id} still runs" in worst(done).found
        assert f"kill {process.pid}." in str(worst(done).remedy)
        assert worst(done).private[0].endswith("the-canary")
        lease = Lease.acquire(machine.store.folder(session_id), Holder(os.getpid(), "zed", ""))
        assert session_id not in str(machine.check("leftovers")), "its agent is there"
        lease.release()


def test_a_process_of_another_data_folder_is_nobodys_leftover(machine: Machine) -> None:
    session_id = new_session_id()
    with marked(session_id):
        done = machine.check("leftovers")
    assert session_id not in str(done)
    assert "belong to sessions of other data folders" in done.findings[-1].found or done.state is State.OK


def test_private_files_of_an_agent_that_is_gone(machine: Machine) -> None:
    session_id = made(machine.store)
    runtime = machine.home / "run" / "acp-agent"
    machine.write(runtime / session_id / "0.json", '{"env": {"KEY": "the-canary"}}')
    machine.write(runtime / new_session_id() / "0.json", "{}")  # perhaps of another data folder
    done = machine.check("private-files")
    assert done.state is State.WARNING
    assert worst(done).found.startswith(f"{runtime / session_id} was left by an agent that was killed")
    assert "the-canary" not in str(done)
    lease = Lease.acquire(machine.store.folder(session_id), Holder(os.getpid(), "zed", ""))
    assert machine.check("private-files").state is State.OK
    lease.release()
