"""The log file: private, shared by processes, rotated without losing a line, and never the end of anything."""

from __future__ import annotations

import logging
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from acp_agent import appending
from acp_agent.appending import CannotAppend
from acp_agent.logs import line
from acp_agent.logs.file import KEPT, LogFile
from acp_agent.logs.saying import ForTheFile
from acp_agent.redaction import Redactor

WRITER = """
import logging, sys
from pathlib import Path
from acp_agent.logs import Event, say
from acp_agent.logs.file import LogFile
from acp_agent.logs.saying import ForTheFile
from acp_agent.redaction import Redactor
file = LogFile(Path(sys.argv[1]), rotate_bytes=int(sys.argv[2]))
file.setFormatter(ForTheFile(Redactor(), detailed=False))
logger = logging.getLogger("writer")
logging.basicConfig(level=logging.INFO, handlers=[file])
sys.stdin.readline()
for number in range(int(sys.argv[4])):
    say(logger, Event.COMMAND, command=sys.argv[3], number=number)
"""


def lines(path: Path) -> list[dict[str, str]]:
    """The events of a log, oldest first; every line must be whole."""
    files = [*(path.with_name(f"{path.name}.{n}") for n in range(KEPT, 0, -1)), path]
    return [line.read(each) for file in files if file.exists() for each in file.read_text().splitlines()]


def test_rotation_with_several_writers_loses_and_tears_no_line(tmp_path: Path) -> None:
    path, count = tmp_path / "agent.log", 400
    # Three full files are kept beside the present one, and that is enough for all that is written here.
    limit = 3 * count * 100 // KEPT
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(limit), name, str(count)], stdin=subprocess.PIPE
        )
        for name in "abc"
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    found = lines(path)
    assert path.with_name("agent.log.1").exists()
    for name in "abc":
        written = sorted(int(event["number"]) for event in found if event["command"] == name)
        assert written == list(range(count))
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.fixture
def handler(tmp_path: Path) -> LogFile:
    """A log file of little size."""
    appending.prepare(tmp_path / "log" / "agent.log")
    file = LogFile(tmp_path / "log" / "agent.log", rotate_bytes=1000)
    file.setFormatter(ForTheFile(Redactor(), detailed=True))
    return file


def record(words: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, __file__, 1, words, (), None)


def test_no_more_files_are_kept_than_are_said(handler: LogFile, tmp_path: Path) -> None:
    for number in range(40):
        handler.emit(record(f"line {number}"))
    names = {path.name for path in (tmp_path / "log").iterdir()}
    kept = {f"agent.log.{n}" for n in range(1, KEPT + 1)}
    assert kept <= names <= {*kept, "agent.log", "agent.log.lock"}
    found = [event["words"] for event in lines(tmp_path / "log" / "agent.log")]
    assert found == [f"line {number}" for number in range(40 - len(found), 40)]


def test_a_new_file_and_its_folder_are_private_and_an_old_one_becomes_so(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "agent.log"
    appending.prepare(path)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent)] == [
        0o600,
        0o700,
        0o700,
    ]
    path.chmod(0o644)
    appending.prepare(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_cannot_be_a_log_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path, "Is a directory"),
        (tmp_path / "file" / "agent.log", "Not a directory"),
        (tmp_path / "pipe", "No such device"),
        (Path(os.devnull), "is not a file"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(CannotAppend, match=why):
            appending.prepare(path)


def test_a_disk_that_refuses_is_told_once_and_what_is_missing_is_counted(
    handler: LogFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log" / "agent.log"
    handler.emit(record("before"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system takes ten more bytes and then refuses, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        handler.emit(record("torn"))
        handler.emit(record("lost"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    ours = logging.getLogger("acp_agent.logs.file")
    ours.addHandler(handler)
    try:
        handler.emit(record("after"))
    finally:
        ours.removeHandler(handler)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{path} cannot be written: File too large." in said
    before, torn, after, resumed = path.read_text().splitlines()
    assert [line.read(each)["words"] for each in (before, after)] == ["before", "after"]
    assert len(torn) == 10
    assert (line.read(resumed)["event"], line.read(resumed)["lost"]) == ("log.resumed", "2")


def test_a_file_that_becomes_a_folder_ends_nothing(
    handler: LogFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log" / "agent.log"
    path.unlink()
    path.mkdir()
    handler.emit(record("a"))
    handler.emit(record("b"))
    assert capsys.readouterr().err.count("Is a directory") == 1
