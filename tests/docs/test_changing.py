"""`docs/changing.md`: the walks name the functions that are called, in the order in which they are called."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.docs.names import located
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "changing.md").read_text(encoding="utf-8")


def walk(title: str) -> list[str]:
    """The functions that are named in the steps of a walk, in order, as `tests.docs.watched` names them."""
    steps = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0].partition("\n1. ")[2]
    names = re.findall(r"`((?:\w+\.)+\w+)`", steps)
    found = {name: located(name if name.startswith("sessions.") else f"acp_agent.{name}") for name in names}
    assert None not in found.values(), found
    return [str(found[name]) for name in names]


class Watched:
    """An agent process whose calls are noted, and a client that allows everything."""

    def __init__(self, folder: Path, calls: Path, names: set[str]) -> None:
        self._calls = calls
        command = [sys.executable, "-m", "tests.docs.watched", str(calls), *sorted(names), "--", "--offline"]
        self._process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask("initialize", protocolVersion=1)

    def __enter__(self) -> Watched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, **message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, **params: object) -> dict[str, object]:
        """What a request is answered with."""
        assert self._process.stdout is not None
        self._send(id=method, method=method, params=params)
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("method") == "session/request_permission":
                chosen = message["params"]["options"][0]["optionId"]
                self._send(id=message["id"], result={"outcome": {"outcome": "selected", "optionId": chosen}})
            elif message.get("id") == method:
                result = message["result"]
                assert isinstance(result, dict)
                return result
        raise AssertionError(f"{method} was not answered")

    def calls_of(self, method: str, **params: object) -> list[str]:
        """The calls that are made while a request is answered."""
        self._calls.write_bytes(b"")
        self.ask(method, **params)
        return self._calls.read_text(encoding="utf-8").splitlines()


def first_that_is_missing(names: list[str], calls: list[str]) -> str | None:
    """The first name that is not called after those before it."""
    rest = iter(calls)
    return next((name for name in names if name not in rest), None)


def test_the_walks_are_what_happens(tmp_path: Path) -> None:
    prompt, load = walk("A prompt, through the code"), walk("A load, through the code")
    assert len(prompt) > 20
    assert len(load) > 15
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    setup = {"cwd": str(workspace), "mcpServers": []}
    with Watched(tmp_path, tmp_path / "prompt", set(prompt)) as agent:
        session_id = agent.ask("session/new", **setup)["sessionId"]
        text = {"type": "text", "text": "!write_to_file hello.txt Hello"}
        calls = agent.calls_of("session/prompt", sessionId=session_id, prompt=[text])
    assert (workspace / "hello.txt").read_text(encoding="utf-8") == "Hello\n"
    assert first_that_is_missing(prompt, calls) is None, calls
    with Watched(tmp_path, tmp_path / "load", set(load)) as agent:
        calls = agent.calls_of("session/load", sessionId=session_id, **setup)
    assert first_that_is_missing(load, calls) is None, calls
