"""A machine of a test's own: a home folder, a data folder, no keyring, no settings and no keys but its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from click.testing import CliRunner, Result

from acp_agent import config
from acp_agent.cli import main
from acp_agent.doctor import checks, runner
from acp_agent.doctor.findings import Checked, Finding, State
from acp_agent.doctor.situation import Situation
from sessions.store import Store

KEY = "AIza-of-the-doctors-test-0123456789"

_OURS = re.compile(r"ACP_AGENT_|GEMINI_|GOOGLE_|CLOUDSDK_|ANTIGRAVITY_|.*_proxy$", re.IGNORECASE)


@dataclass
class Machine:
    """Where the agent runs. `flags` are those before the command, by setting name."""

    root: Path
    flags: dict[str, object] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def config_file(self) -> Path:
        return self.home / "config" / "acp-agent" / "config.toml"

    @property
    def key_file(self) -> Path:
        return self.config_file.with_name("credentials")

    @property
    def store(self) -> Store:
        return Store(self.data_dir)

    def write(self, path: Path, content: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o600)
        return path

    def situation(self, *, network: bool = True, deep: bool = False) -> Situation:
        flags = {"data_dir": str(self.data_dir), **self.flags}
        return Situation(config.look(flags, os.environ), os.environ, network=network, deep=deep)

    def check(self, name: str, *, network: bool = True, deep: bool = False) -> Checked:
        """Make one check, without those that it needs."""
        (check,) = checks.chosen([name], [], deep=deep)
        (done,) = runner.run([check], self.situation(network=network, deep=deep))
        return done

    def run(self, *arguments: str) -> Result:
        """The command, in this process, without a terminal."""
        return CliRunner().invoke(main, ["--data-dir", str(self.data_dir), "doctor", *arguments])


def worst(checked: Checked) -> Finding:
    """The finding that a check's state is that of; the only one of that state."""
    (found,) = [finding for finding in checked.findings if finding.state is checked.state]
    return found


def states(checked: Checked) -> list[State]:
    return [finding.state for finding in checked.findings]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in list(os.environ):
        if _OURS.match(name):
            monkeypatch.delenv(name)
    machine = Machine(tmp_path)
    machine.home.mkdir()
    for variable, folder in (
        ("HOME", "."),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "share"),
        ("XDG_RUNTIME_DIR", "run"),
    ):
        monkeypatch.setenv(variable, str(machine.home / folder))
    (machine.home / "run").mkdir(mode=0o700)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("TEST_KEYRING", str(machine.home / "keyring"))
    return machine


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """An endpoint on loopback that answers as it is told; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def status(code: int, body: bytes = b"{}") -> Answer:
    """Answers everything with a status."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.end_headers()
        request.wfile.write(body)

    return answer


def garbage(request: BaseHTTPRequestHandler) -> None:
    """Answers with what is not HTTP."""
    request.wfile.write(b"\x16\x03\x01 hello\r\n\r\n")


def silence(until: Event) -> Answer:
    """Answers nothing until it is told to stop."""

    def answer(_: BaseHTTPRequestHandler) -> None:
        until.wait(60)

    return answer
