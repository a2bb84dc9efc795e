"""The log on standard error: whoever does not read it holds nothing up."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys

from acp_agent.logs.standard_error import StandardError


def test_lines_that_nobody_reads_are_counted_and_told_when_somebody_does() -> None:
    reading, writing = os.pipe()
    logger = logging.Logger("words")
    with open(writing, "w") as stream, open(reading, "rb", buffering=0) as reader:  # noqa: PTH123
        logger.addHandler(StandardError(stream))
        logger.warning("first é\ud800")
        assert reader.read(100).decode() == "first é\\ud800\n"
        for number in range(1000):
            logger.warning("%d %s", number, "x" * 1000)
        full = reader.read(1 << 20)
        logger.warning("last")
        rest = reader.read(1 << 20).decode()
    whole, torn = full.decode().rsplit("\n", 1)
    written = whole.split("\n")
    assert written == [f"{number} {'x' * 1000}" for number in range(len(written))]
    assert len(written) > 3
    left_out = 1000 - len(written)
    before = "\n" if torn else ""
    assert rest == f"{before}lines that are missing here, since nobody read them: {left_out}\nlast\n"


def test_a_stream_that_is_no_file_or_has_no_reader_ends_nothing() -> None:
    written = io.StringIO()
    logger = logging.Logger("words")
    logger.addHandler(StandardError(written))
    logger.warning("here")
    assert written.getvalue() == "here\n"
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:  # noqa: PTH123
        logger.addHandler(StandardError(stream))
        logger.warning("there")
    assert written.getvalue() == "here\nthere\n"


def test_an_agent_whose_log_nobody_reads_goes_on_answering() -> None:
    reading, writing = os.pipe()
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}}
    # Each is worth a line in the log, and all of them are more than a pipe takes.
    bad = [{"jsonrpc": "2.0", "id": n, "method": "x" * 100, "params": {}} for n in range(2, 2000)]
    lines = "".join(json.dumps(each) + "\n" for each in bad)
    command = (sys.executable, "-m", "acp_agent", "--offline", "--log-level", "info")
    try:
        done = subprocess.run(
            command,
            input=f"{lines}{json.dumps(initialize)}\n",
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
            check=False,
            timeout=60,
        )
        os.set_blocking(reading, False)
        said = os.read(reading, 1 << 20).decode()
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(answer["id"] for answer in answers) == list(range(1, 2000))
    assert len(re.findall("a message was refused", said)) < len(bad)
