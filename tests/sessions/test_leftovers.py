"""Real processes that a session left behind: which are waited for, which are ended, and which are not touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sessions import leftovers
from sessions.leftovers import HARNESS_NAME, MARKER_VARIABLE, end_commands, settle
from sessions.report import Orphan
from sessions.resume import OnLeftovers

LATER, EARLIER = 3600.0, -3600.0
"""Moments before and after the start of everything here, as offsets to it."""

SAY_READY = "print('ready', flush=True); import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SAY_READY}"
PARENT = """
import os, subprocess, sys
env = {name: value for name, value in os.environ.items() if name != %r}
child = subprocess.Popen([sys.executable, "-c", %r], env=env, stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
import time; time.sleep(600)
"""
CLEARED = PARENT % (MARKER_VARIABLE, SAY_READY)
CLEARED_STUBBORN = PARENT % (MARKER_VARIABLE, STUBBORN)
RESTARTING = """
import os, signal, subprocess, sys
def again(*_):
    os.write(1, b"%d\\n" % subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
    os._exit(0)
signal.signal(signal.SIGTERM, again)
print("ready", flush=True)
import time; time.sleep(600)
"""


class Started:
    """Processes of a test, which are gone when it ends."""

    def __init__(self) -> None:
        self.session = uuid.uuid4().hex
        self.pids: set[int] = set()
        self.popens: list[subprocess.Popen[str]] = []

    def run(self, *command: str, session: str | None = None) -> tuple[psutil.Process, str]:
        """Start a command that bears a session's mark; returns it and its first line, when it has said that."""
        env = {**os.environ, MARKER_VARIABLE: session or self.session}
        popen = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert popen.stdout is not None
        self.popens.append(popen)
        line = popen.stdout.readline().strip()
        if line.isdigit():
            self.pids.add(int(line))
        return psutil.Process(popen.pid), line

    def python(self, code: str, *, session: str | None = None) -> tuple[psutil.Process, str]:
        return self.run(sys.executable, "-c", code, session=session)

    def end(self) -> None:
        for popen in self.popens:
            popen.kill()
            popen.wait()
            assert popen.stdout is not None
            popen.stdout.close()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def started() -> Iterator[Started]:
    made = Started()
    try:
        yield made
    finally:
        made.end()


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def ends(orphans: tuple[Orphan, ...]) -> dict[int, bool]:
    return {orphan.pid: orphan.ended for orphan in orphans}


def test_a_command_of_the_cut_turn_is_ended(started: Started) -> None:
    process, _ = started.python(SAY_READY)
    began = process.create_time()
    (orphan,) = end_commands(started.session, since=began)
    assert (orphan.pid, orphan.ended) == (process.pid, True)
    assert "time.sleep(600)" in orphan.command
    assert orphan.since is not None
    assert orphan.since.endswith("Z")
    assert not runs(process)
    assert started.popens[0].wait() == -signal.SIGTERM


def test_one_that_ignores_sigterm_is_killed(started: Started) -> None:
    process, _ = started.python(STUBBORN)
    assert ends(end_commands(started.session, since=process.create_time())) == {process.pid: True}
    assert started.popens[0].wait() == -signal.SIGKILL


@pytest.mark.parametrize("code", [CLEARED, CLEARED_STUBBORN], ids=["mild", "stubborn"])
def test_children_that_cleared_their_environment_are_ended_too(started: Started, code: str) -> None:
    process, line = started.python(code)
    child = psutil.Process(int(line))
    assert MARKER_VARIABLE not in child.environ()
    found = end_commands(started.session, since=process.create_time())
    assert ends(found) == {process.pid: True, child.pid: True}
    assert not runs(process)
    assert not runs(child)


def test_what_a_dying_command_starts_is_ended_too(started: Started) -> None:
    process, _ = started.python(RESTARTING)
    found = ends(end_commands(started.session, since=process.create_time()))
    stdout = started.popens[0].stdout
    assert stdout is not None
    second = int(stdout.readline())
    started.pids.add(second)
    assert found == {process.pid: True, second: True}
    assert not psutil.pid_exists(second) or not runs(psutil.Process(second))


@pytest.mark.parametrize(
    ("since", "policy"), [(LATER, OnLeftovers.END), (None, OnLeftovers.END), (EARLIER, OnLeftovers.REPORT)]
)
def test_an_older_one_is_only_reported_and_so_is_all_without_a_cut_turn_or_by_choice(
    started: Started, since: float | None, policy: OnLeftovers
) -> None:
    process, line = started.python(CLEARED)
    moment = None if since is None else process.create_time() + since
    found = end_commands(started.session, since=moment, policy=policy)
    assert ends(found) == {process.pid: False}
    assert runs(process)
    assert runs(psutil.Process(int(line)))


def test_what_an_older_one_started_during_the_turn_is_left_to_it(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SAY_READY!r}], \
stdout=subprocess.DEVNULL).pid, flush=True); import time; time.sleep(600)"
    server, line = started.python(serving)
    worker = psutil.Process(int(line))
    while SAY_READY not in worker.cmdline():  # until then it is still a copy of its parent
        pass
    # Only what they are taken for to be old or new is made up: nothing here can wait for a second to pass.
    monkeypatch.setattr(leftovers, "_started_since", lambda process, moment: process.pid != server.pid)
    assert ends(end_commands(started.session, since=0)) == {server.pid: False, worker.pid: False}
    assert runs(server)
    assert runs(worker)


def test_the_new_harness_and_what_it_starts_are_no_leftovers(started: Started) -> None:
    harness, line = started.python(PARENT % (MARKER_VARIABLE, SAY_READY))
    assert end_commands(started.session, since=0, harness=harness.pid) == ()
    assert runs(harness)
    assert runs(psutil.Process(int(line)))


def test_no_other_session_is_touched(started: Started) -> None:
    other, _ = started.python(SAY_READY, session="another")
    nested = PARENT.replace("env = {", f"env = os.environ | {{{MARKER_VARIABLE!r}: 'another'}} or {{")
    process, line = started.python(nested % (MARKER_VARIABLE, SAY_READY))
    found = end_commands(started.session, since=process.create_time())
    assert ends(found) == {process.pid: True}
    assert runs(other)
    assert runs(psutil.Process(int(line)))


def test_it_does_not_end_itself_or_what_it_descends_from(started: Started) -> None:
    loading = (
        f"import sys; sys.path.insert(0, {str(Path(leftovers.__file__).parents[1])!r});"
        " from sessions.leftovers import end_commands;"
        f" print([o.ended for o in end_commands({started.session!r}, since=0)], flush=True)"
    )
    shell = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {loading!r}])"
    _, line = started.python(shell)
    assert line == "[False, False]"
    assert started.popens[0].wait() == 0


def harness(folder: Path) -> str:
    """A program that is named like the harness."""
    shell = shutil.which("sleep")
    assert shell is not None
    return str(shutil.copy(shell, folder / HARNESS_NAME))


def test_a_harness_that_does_not_die_is_ended_and_a_command_is_not(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "DYING_SECONDS", 0.2)
    command, _ = started.python(SAY_READY)
    env = {**os.environ, MARKER_VARIABLE: started.session}
    with subprocess.Popen([harness(tmp_path), "600"], env=env) as dying:
        assert ends(settle(started.session)) == {command.pid: False}
        assert dying.wait() == -signal.SIGKILL
    assert runs(command)


def test_a_harness_that_is_dying_is_waited_for(started: Started, tmp_path: Path) -> None:
    env = {**os.environ, MARKER_VARIABLE: started.session}
    with subprocess.Popen([harness(tmp_path), "0.3"], env=env) as dying:
        assert settle(started.session) == ()
        assert dying.wait() == 0
