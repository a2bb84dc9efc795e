"""`acp_agent.system`: here, and as far as it can be run here, its branches for Windows."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import platformdirs
import psutil
import pytest

from acp_agent.system import descriptors, paths, processes, signals
from tests.system import elsewhere
from tests.system.elsewhere import branch

Result = TypeVar("Result")


def test_a_private_copy_is_no_standard_descriptor_and_no_child_gets_it(system: str) -> None:
    reading, writing = os.pipe()
    module = branch(descriptors, system)
    # With standard descriptors that were closed, as a daemon may be started.
    kept = [os.dup(fd) for fd in range(3)]
    for fd in (0, 1, 2):
        os.close(fd)
    try:
        copy = module.private_copy(writing)
        free = [fd for fd in (0, 1, 2) if not Path(f"/proc/self/fd/{fd}").exists()]
    finally:
        for fd, before in enumerate(kept):
            os.dup2(before, fd)
            os.close(before)
    assert copy > 2
    assert free == [0, 1, 2]
    assert not os.get_inheritable(copy)
    os.write(copy, b"x")
    assert os.read(reading, 1) == b"x"
    for fd in (copy, reading, writing):
        os.close(fd)
    with pytest.raises(OSError, match="descriptor"):
        module.private_copy(writing)


def test_a_private_copy_does_not_translate_line_ends_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[tuple[int, int]] = []
    modules = elsewhere.windows_modules()
    modules["msvcrt"].setmode = lambda fd, mode: modes.append((fd, mode))  # type: ignore[attr-defined]
    there = elsewhere.load(descriptors.__name__, "win32", modules)
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)
    copy = there.private_copy(1)
    os.close(copy)
    assert modes == [(copy, 0x8000)]


def test_a_waking_pipe_carries_what_a_signal_writes(system: str) -> None:
    reading, writing = branch(descriptors, system).waking_pipe()
    os.write(writing, b"\x02")
    assert os.read(reading, 64) == b"\x02"
    if system == "here":
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writing, b"\x00" * 4096)
    os.close(reading)
    os.close(writing)


def test_what_does_not_block_is_waited_for(system: str) -> None:
    module = branch(descriptors, system)
    reading, writing = os.pipe()
    for fd in (reading, writing):
        os.set_blocking(fd, False)
    threading.Thread(target=lambda: os.write(writing, b"a")).start()
    assert _until(lambda: os.read(reading, 1), lambda: module.wait_readable(reading)) == b"a"
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"\x00" * 4096)
    threading.Thread(target=lambda: os.read(reading, 1 << 20)).start()
    assert _until(lambda: os.write(writing, b"b"), lambda: module.wait_writable(writing)) == 1
    os.close(reading)
    os.close(writing)


def test_it_can_be_told_whether_a_pipe_takes_more(system: str) -> None:
    module = branch(descriptors, system)
    reading, writing = os.pipe()
    assert module.takes(writing, 0)
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"\x00" * 4096)
    # Nobody can tell on Windows.
    assert module.takes(writing, 0.001) == (system == "windows")
    os.close(reading)
    os.close(writing)


def test_what_comes_is_read_beside_other_work(system: str) -> None:
    module = branch(descriptors, system)
    reading, writing = os.pipe()
    unread, unwritten = os.pipe()

    async def listen() -> bytes:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        pieces: list[bytes] = []

        def take(data: bytes) -> None:
            pieces.append(data)
            if not data:
                ended.set()

        with module.read(loop, unread, pieces.append):
            pass  # what comes after the block is not taken
        os.write(unwritten, b"late")
        with module.read(loop, reading, take):
            os.write(writing, b"one")
            os.close(writing)
            await ended.wait()
        assert pieces[-1] == b""
        return b"".join(pieces)

    assert asyncio.run(listen()) == b"one"
    for fd in (reading, unread, unwritten):
        os.close(fd)


def _until(act: Callable[[], Result], wait: Callable[[], None]) -> Result:
    while True:
        try:
            return act()
        except BlockingIOError:
            wait()


def test_the_signals_that_end_the_agent(system: str) -> None:
    ending = branch(signals, system).ENDING
    assert ending == ((signal.SIGTERM, signal.SIGINT) if system == "here" else (signal.SIGINT, signal.SIGUSR2))


def test_the_signals_of_a_terminal_are_told_on_the_loop_and_left_as_they_were(system: str) -> None:
    ending = (signal.SIGTERM, signal.SIGHUP) if system == "here" else (signal.SIGUSR2,)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ending)}
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        told = {word: partial(heard.put_nowait, word) for word in ("interrupt", "end")}
        with branch(signals, system).in_terminal(loop, interrupt=told["interrupt"], end=told["end"]):
            for number in (signal.SIGINT, *ending, signal.SIGINT):
                signal.raise_signal(number)
                expected = "interrupt" if number == signal.SIGINT else "end"
                assert await asyncio.wait_for(heard.get(), 30) == expected

    with asyncio.Runner() as runner:  # which has a handler of its own for SIGINT meanwhile
        runner.run(listen())
    assert {number: signal.getsignal(number) for number in before} == before


FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ended() -> Iterator[list[psutil.Process]]:
    """Processes that must be gone at the end of a test."""
    expected: list[psutil.Process] = []
    yield expected
    _, alive = psutil.wait_procs(expected, timeout=30)
    for process in alive:
        process.kill()
    assert alive == []


def test_a_program_is_killed_with_all_that_it_started(
    tmp_path: Path, system: str, ended: list[psutil.Process]
) -> None:
    module = branch(processes, system)
    child: subprocess.Popen[bytes] = module.start((sys.executable, "-c", FAMILY), tmp_path)
    assert child.stdout is not None
    ended += [psutil.Process(child.pid), psutil.Process(int(child.stdout.readline()))]
    module.kill_group(child.pid)
    assert child.wait() == -signal.SIGKILL
    psutil.wait_procs(ended, timeout=30)
    module.kill_group(child.pid)  # nobody is left: nothing happens
    _close(child)


POLITE = """
import signal, sys
for number in map(int, sys.argv[1:]):
    signal.signal(number, lambda *_: sys.exit(7))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_program_is_asked_to_end(tmp_path: Path, system: str, ended: list[psutil.Process]) -> None:
    module = branch(processes, system)
    command = (sys.executable, "-c", POLITE, *(str(int(each)) for each in branch(signals, system).ENDING))
    child: subprocess.Popen[bytes] = module.start(command, tmp_path)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    ended += [psutil.Process(child.pid)]
    if system == "here":
        assert os.getpgid(child.pid) == child.pid  # Ctrl-C reaches only who started it
    module.ask_to_end(child)
    assert child.wait() == 7
    module.ask_to_end(child)
    _close(child)


def _close(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        assert pipe is not None
        pipe.close()


def test_a_program_may_be_given_its_environment(tmp_path: Path, system: str) -> None:
    line = "import os; print(sorted(os.environ))"
    child = branch(processes, system).start(
        (sys.executable, "-I", "-c", line), tmp_path, {"ONE": "1", "LC_ALL": "C"}
    )
    assert child.stdout.readline() == b"['LC_ALL', 'ONE']\n"
    assert child.wait() == 0
    _close(child)


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path, system: str) -> None:
    with pytest.raises(FileNotFoundError):
        branch(processes, system).start((str(tmp_path / "none"),), tmp_path)


def test_folders_are_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATA_HOME", "CONFIG_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name))
    assert paths.data() == tmp_path / "DATA_HOME" / "acp-agent"
    assert paths.configuration() == tmp_path / "CONFIG_HOME" / "acp-agent"
    assert paths.runtime() == tmp_path / "RUNTIME_DIR" / "acp-agent"


def test_where_the_settings_of_google_cloud_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert paths.google_cloud({}) == Path("/home/ada/.config/gcloud")
    assert branch(paths, "windows").google_cloud({"APPDATA": "/appdata"}) == Path("/appdata/gcloud")


def test_no_runtime_folder_is_nothing_to_warn_of(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert paths.runtime().name == "acp-agent"
    assert list(recwarn) == []


@pytest.mark.parametrize("platform", ["macos", "windows"])
def test_the_folders_on_other_systems(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As `platformdirs` has them for the arguments that are given here.
    module = __import__(f"platformdirs.{platform}", fromlist=["PlatformDirs"])
    kind = module.MacOS if platform == "macos" else module.Windows
    if platform == "windows":
        monkeypatch.setattr(module, "get_win_folder", lambda name: f"C:\\Users\\ada\\{name}")
    monkeypatch.setenv("HOME", "/Users/ada")
    found = kind(paths._NAME, appauthor=False)
    monkeypatch.setattr(platformdirs, "PlatformDirs", kind)
    said = {"data": paths.data(), "configuration": paths.configuration(), "runtime": paths.runtime()}
    assert said == {
        "data": found.user_data_path,
        "configuration": found.user_config_path,
        "runtime": found.user_runtime_path,
    }
    assert all("acp-agent" in str(path) for path in said.values())
