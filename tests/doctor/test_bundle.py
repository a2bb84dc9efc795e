"""The support file: what is in it, and that nothing of the user's is, wherever it was put."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_agent.doctor import bundle
from acp_agent.doctor.findings import Checked, problem
from acp_agent.doctor.privacy import Privacy
from acp_agent.redaction import HIDDEN
from sessions.journal import Journal
from sessions.lease import Holder, Lease
from sessions.report import Outcome, Reason
from sessions.store import new_session_id
from tests.doctor.conftest import Machine
from tests.doctor.test_processes import marked
from tests.sessions.histories import add_turn

USER, HOST = "adalovelace", "analytical-engine"
CANARIES = {
    "variable": "AIza-in-a-variable-0123456789",
    "file": "AIza-in-the-key-file-0123456789",
    "unfinished": "AIza-of-a-cut-login-0123456789",
    "keyring": "AIza-in-the-keyring-0123456789",
    "password": "hunter2-in-an-address",
    "query": "in-a-query-string-98765",
    "unknown setting": "nonsense-in-the-settings",
    "another variable": "value-of-another-variable",
    "endpoint": "models.difference.example",
    "proxy": "proxy.difference.example",
    "prompt": "Babbage-prompt",
    "answer": "Menabrea-answer",
    "title": "My private title",
    "mcp": "mcp-environment-canary",
    "command": "the-canary",
    "log text": "quoted-in-the-log",
    "log path": "secret-plans",
    "project": "difference-project",
    "user": USER,
    "host": HOST,
}


@pytest.fixture
def full(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which a canary is everywhere; its home folder has the user's name."""
    home = machine.root / USER
    machine.home.rename(home)
    machine.home.symlink_to(home)
    for variable, folder in (("HOME", "."), ("XDG_CONFIG_HOME", "config"), ("XDG_RUNTIME_DIR", "run")):
        monkeypatch.setenv(variable, str(home / folder))
    monkeypatch.setattr(socket, "gethostname", lambda: f"{HOST}.example.org")
    monkeypatch.setenv("LOGNAME", USER)
    monkeypatch.setenv("GEMINI_API_KEY", CANARIES["variable"])
    monkeypatch.setenv("ACP_AGENT_NONSENSE", CANARIES["unknown setting"])
    monkeypatch.setenv("GOOGLE_SOMETHING", CANARIES["another variable"])
    monkeypatch.setenv("http_proxy", f"http://{USER}:{CANARIES['password']}@{CANARIES['proxy']}:3128")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.agent.file_keyring.FileKeyring")
    monkeypatch.setenv("TEST_KEYRING", str(home / "keyring"))
    import keyring.core  # noqa: PLC0415

    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    machine.write(home / "keyring", json.dumps({"acp-agent/gemini-api-key": CANARIES["keyring"]}))
    machine.write(machine.key_file, CANARIES["file"])
    machine.write(machine.key_file.with_name("credentials.new"), CANARIES["unfinished"])
    url = f"http://{USER}:{CANARIES['password']}@{CANARIES['endpoint']}/v1?key={CANARIES['query']}"
    machine.write(machine.config_file, f'gemini_url = "{url}"\n"{CANARIES["unknown setting"]}" = 1\n')
    return machine


def a_session(machine: Machine, *, damaged: bool = False) -> str:
    session_id = new_session_id()
    project = machine.home.resolve() / CANARIES["project"]
    project.mkdir(exist_ok=True)
    with machine.store.create(session_id, cwd=str(project), client=f"{USER}'s editor") as session:
        session.set_title(CANARIES["title"])
        journal = Journal(session)
        add_turn(session, journal)
        journal.begin_turn(CANARIES["prompt"])
        journal.append("agent_message", "m", {"content": CANARIES["answer"]}, CANARIES["answer"])
        session.record_outcome(Outcome.REBUILT, Reason.CORRUPT)
        session.remember("options", {"mcp": CANARIES["mcp"]})
    if damaged:
        path = machine.store.folder(session_id) / "store.db"
        path.write_bytes(path.read_bytes()[:5000] + CANARIES["answer"].encode() * 400)
    return session_id


def unpacked(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_nothing_of_the_user_is_in_it(full: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = a_session(full)
    a_session(full, damaged=True)
    full.write(full.home / "run" / "acp-agent" / session_id / "0.json", f'{{"env": "{CANARIES["mcp"]}"}}')
    log = full.write(
        full.root / "log",
        f"INFO started by {USER} on {HOST} in {full.home.resolve()}/{CANARIES['log path']}/x.py\n"
        f'WARNING why="it said \\"{CANARIES["log text"]}\\" twice" key={CANARIES["variable"]}\n'
        f"ERROR opened {CANARIES['title']} of {full.home.resolve() / CANARIES['project']}: no such file\n"
        f"DEBUG asked http://{CANARIES['endpoint']}/v1?q={CANARIES['query']} of 192.168.7.9, a@mail.example\n",
    )
    monkeypatch.setenv("ACP_AGENT_LOG_FILE", str(log))
    target = full.root / "support.zip"
    lease = Lease.acquire(full.store.folder(session_id), Holder(os.getpid(), f"{USER}'s editor", "now"))
    elsewhere = a_session(full)
    with marked(elsewhere) as process:
        done = full.run("--bundle", str(target), "--offline", "--skip", "offline-turn")
    lease.release()
    assert process.pid
    assert done.exit_code == 1, done.output
    assert "It was not sent anywhere." in done.stdout
    files = unpacked(target.read_bytes())
    assert list(files) == [name for name, _ in bundle.CONTENTS]
    everything = "\n".join(files.values())
    found = {what for what, canary in CANARIES.items() if canary.lower() in everything.lower()}
    assert not found, [line for line in everything.splitlines() if any(CANARIES[what] in line for what in found)]
    for text in ("192.168.7.9", "mail.example", str(full.root), str(Path.home())):
        assert text not in everything, text
    # And what is wanted is there.
    (told, *_) = [each for each in json.loads(files["sessions.json"]) if each["sessionId"] == session_id]
    assert (told["outcome"], told["turns"], told["client"], told["open"]) == ("rebuilt", 2, None, True)
    happened = [(each["kind"], each["turn"], each.get("outcome")) for each in told["events"]]
    assert happened == [("made", 0, None), ("loaded", 2, "rebuilt")]
    assert json.loads(files["settings.json"])["gemini_url"]["from"] == "the configuration file"
    assert json.loads(files["environment.json"])["GEMINI_API_KEY"] == "<set>"
    assert "PROBLEM settings" in files["doctor.txt"]
    assert json.loads(files["doctor.json"])["state"] == "problem"
    assert files["log.txt"].splitlines()[0] == "INFO started by <user> on <host> in <path>"


def test_it_is_private_and_overwrites_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.root)
    target = machine.root / "mine.zip"
    target.write_text("mine", encoding="utf-8")
    done = machine.run("--bundle", "mine.zip", "--check", "python")
    assert done.exit_code == 2
    assert "exists already" in done.stderr
    assert target.read_text(encoding="utf-8") == "mine"
    done = machine.run("--bundle", "--check", "python")
    assert done.exit_code == 0, done.output
    (made,) = machine.root.glob("acp-agent-support-*.zip")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert f"The support file {made.name} was written" in done.stdout


def test_with_json_it_is_told_beside_the_result(machine: Machine) -> None:
    target = machine.root / "support.zip"
    done = machine.run("--json", "--bundle", str(target), "--check", "python")
    assert json.loads(done.stdout)["bundle"] == str(target)
    assert "It was not sent anywhere." in done.stderr


def test_a_disk_that_refuses_leaves_no_half_of_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    target = machine.root / "gone" / "support.zip"
    done = machine.run("--bundle", str(target), "--check", "python")
    assert done.exit_code == 1
    assert "could not be written: No such file or directory." in done.stderr

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        bundle.write(machine.root / "support.zip", [], machine.situation())
    assert not (machine.root / "support.zip").exists()


def test_the_end_of_a_long_log_begins_with_a_whole_line(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    log = machine.root / "log"
    log.write_text("".join(f"INFO line {number}\n" for number in range(1000)), encoding="utf-8")
    machine.flags["log_file"] = str(log)
    monkeypatch.setattr(bundle, "LOG_BYTES", 100)
    text = unpacked(bundle.packed([], machine.situation()))["log.txt"]
    assert text.splitlines()[-1] == "INFO line 999"
    assert all(line.startswith("INFO line ") for line in text.splitlines())
    log.unlink()
    text = unpacked(bundle.packed([], machine.situation()))["log.txt"]
    assert text == "The log file cannot be read: No such file or directory.\n"


def test_private_words_of_a_finding_are_left_out(machine: Machine) -> None:
    found = problem("It said: the canary sang.", "Ask the canary.", private=("the canary", ""))
    files = unpacked(bundle.packed([Checked("a", "b", (found,), 1)], machine.situation()))
    assert "canary" not in files["doctor.txt"] + files["doctor.json"]
    assert "It said: <private> sang." in files["doctor.txt"]


PRIVACY = Privacy(
    secrets=["s3cr3t-value"],
    places={"/home/ada/.local/share/acp-agent": "<data>", "/home/ada": "<path>", "/usr/lib/py": "<python>"},
    private=["My title", "x"],
    names={"ada": "<user>", "engine": "<host>", "": "<nobody>"},
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/ada/.local/share/acp-agent/sessions/1/store.db is bad", "<data>/sessions/1/store.db is bad"),
        ("in /home/ada/secret plans/x.py, line 3", "in <path> plans/x.py, line 3"),
        ("(/srv/data/x) and ~/y and ./z/a and C:\\Users\\ada\\b", "(<path>) and <path> and <path> and <path>"),
        ("/usr/lib/py/acp_agent/cli.py:3", "<python>/acp_agent/cli.py:3"),
        ("1/2 of a/b tokens, and/or", "1/2 of a/b tokens, and/or"),
        ("Ada said: canada, ada-lovelace, ADA_X", "<user> said: canada, <user>-lovelace, <user>_X"),
        ("opened My title", "opened <private>"),
        ("http://ada:pw@10.1.2.3:8080/v1?key=k", "http://<host>:8080/…"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/…"),
        ("https://generativelanguage.googleapis.com/v1beta", "https://generativelanguage.googleapis.com/…"),
        ("https://adasgoogleapis.com/v1", "https://<host>/…"),
        ("http://adas-localhost:1/v1", "http://<host>:1/…"),
        ("http://localhost:1/v1", "http://localhost:1/…"),
        ("from 10.1.2.3 to 127.0.0.1, version 1.2.3", "from <address> to 127.0.0.1, version 1.2.3"),
        ("mail ada@engine.example now", "mail <mail> now"),
        ("the s3cr3t-value is", f"the {HIDDEN} is"),
        ("not 'quoted' here", "not 'quoted' here"),
    ],
)
def test_what_is_taken_out(text: str, clean: str) -> None:
    assert PRIVACY.text(text) == clean


def test_what_is_quoted_is_taken_out_of_logs() -> None:
    text = """why="a \\"b\\" c" and 'd' and “e” and `f` but it's g"""
    assert PRIVACY.text(text, quotes=True) == ("why=<quoted> and <quoted> and <quoted> and <quoted> but it's g")


@given(st.text(), st.sampled_from(["/home/ada/x", "s3cr3t-value", "My title", "http://engine/v1"]), st.text())
def test_whatever_is_around_it(before: str, text: str, after: str) -> None:
    clean = PRIVACY.text(f"{before} {text} {after}")
    assert not [word for word in ("/home/ada", "s3cr3t", "My title", "http://engine") if word in clean]
