"""`acp-agent sessions` on sessions that the real harness made, proved at the model endpoint."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from pydantic import JsonValue

from acp_agent.chat.rpc import PeerGone
from acp_agent.cli import main
from acp_agent.offline.model_request import Message, ModelRequest
from acp_agent.sessions_command import output
from sessions.store import Store, new_session_id
from sessions.timeline import CUT_NOTE, INTENT
from tests.agent.driver import Json, World
from tests.agent.proof import QUESTION, ask_model, promise_holds, prompts

pytestmark = pytest.mark.anyio

PROMPTS = ("one", "two", "three", "four", "five")


def run(world: World, *arguments: str) -> Result:
    """The command, in this process, without a terminal."""
    return CliRunner().invoke(main, ["--data-dir", str(world.data_dir), "sessions", *arguments])


def result(world: World, *arguments: str) -> Json:
    """The result of a command that succeeds."""
    done = run(world, *arguments, "--json")
    assert done.exit_code == 0, done.output
    value: Json = json.loads(done.stdout)
    return value


def refusal(world: World, *arguments: str) -> str:
    """The one sentence of a command that is refused."""
    done = run(world, *arguments)
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")


async def test_a_restore_that_was_cut_is_shown(world: World) -> None:
    session_id = new_session_id()
    with Store(world.data_dir).create(session_id, cwd=str(world.workspace)) as session:
        assert result(world, "show", session_id)["restoring"] is False
        (session.folder / INTENT).touch()
    assert result(world, "show", session_id)["restoring"] is True
    assert re.search(
        r"^restore +cut; the next load finishes it$", run(world, "show", session_id).stdout, re.MULTILINE
    )


async def five_turns(world: World) -> str:
    """A session of five turns that is closed."""
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        for prompt in PROMPTS:
            await agent.prompt(session_id, prompt)
    return session_id


def asked(world: World, prompt: str) -> ModelRequest:
    """The first request of the turn with this prompt."""
    return next(each for each in world.model.requests if each.user_turns[-1] == prompt)


def earlier(request: ModelRequest) -> tuple[Message, ...]:
    """Everything that the model was told before the request's last user message."""
    return request.messages[:-1]


async def test_restore_gives_the_model_exactly_the_turns_up_to_that_one(world: World) -> None:
    session_id = await five_turns(world)
    before_four = earlier(asked(world, "four"))
    done = result(world, "restore", session_id, "--turn", "3")
    assert (done["turn"], done["turns"], done["left"]) == (3, 3, 5)
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "verified", 3)
        request = await ask_model(world, agent, session_id)
        assert request.user_turns[:-1] == PROMPTS[:3]
        assert earlier(request) == before_four
    assert [row["onLine"] for row in rows(world, session_id)] == [True, True, True, False, False, True]

    assert result(world, "restore", session_id, "--turn", "5")["turns"] == 5
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["turns"], report["turnsInContext"]) == ("resumed", 5, 5)
        request = await promise_holds(world, agent, session_id, report, finished=PROMPTS)
        before_six = earlier(request)
    assert before_six[: len(before_four)] == before_four
    assert [row["current"] for row in rows(world, session_id)] == [False] * 6 + [True]


async def test_restore_before_the_first_turn(world: World) -> None:
    session_id = await five_turns(world)
    assert result(world, "restore", session_id, "--turn", "0")["turns"] == 0
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        request = await promise_holds(world, agent, session_id, report, finished=[])
        assert len(request.user_turns) == 1
    assert result(world, "restore", session_id, "--turn", "5")["left"] == 6
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        await promise_holds(world, agent, session_id, report, finished=PROMPTS)


async def test_what_was_not_checkpointed_is_kept_by_a_restore(world: World) -> None:
    session_id = await five_turns(world)
    with closing(sqlite3.connect(world.session_folder(session_id) / "store.db")) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM checkpoint_row WHERE seq = 5")
        db.execute("DELETE FROM checkpoint WHERE seq = 5")
        db.execute("UPDATE turn SET ended_at = NULL, stop_reason = NULL WHERE turn = 5")
    assert result(world, "restore", session_id, "--turn", "2")["preserved"] is not None
    assert result(world, "restore", session_id, "--turn", "5")["preserved"] is None
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["outcome"], report["reason"]) == ("resumed", "verified")
        await promise_holds(world, agent, session_id, report, finished=PROMPTS)


async def test_a_cut_turn_can_be_left_and_returned_to(world: World) -> None:
    prompt = "!stream 400 20"
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        shown = len(agent.text())
        turn = asyncio.create_task(agent.prompt(session_id, prompt))
        await agent.until(lambda: len(agent.text()) > shown + 40)
        await agent.kill()
        with suppress(PeerGone):
            await turn
    assert result(world, "restore", session_id, "--turn", "1")["preserved"] is not None
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert (report["reason"], report["interrupted"]) == ("verified", None)
        request = await promise_holds(world, agent, session_id, report, finished=["one"])
        assert len(request.user_turns) == 2
    assert rows(world, session_id)[1]["stopReason"] == "interrupted"
    result(world, "restore", session_id, "--turn", "2")
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        request = await promise_holds(world, agent, session_id, report, finished=["one", prompt])
        note = request.turns[-1].note
        assert note is not None
        assert CUT_NOTE in note


async def test_fork_leaves_its_source_alone(world: World) -> None:
    session_id = await five_turns(world)
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        made = result(world, "fork", session_id, "--turn", "3")  # while its source is open
        forked = str(made["sessionId"])
        assert (made["turn"], made["turns"]) == (3, 3)
        await promise_holds(world, agent, session_id, report, finished=PROMPTS)
    async with world.agent() as agent:
        report = await agent.load(forked, world.workspace)
        assert (report["outcome"], report["reason"], report["turns"]) == ("resumed", "verified", 3)
        replayed = prompts(agent.shown())
        assert replayed == list(PROMPTS[:3])
        request = await promise_holds(world, agent, forked, report, finished=PROMPTS[:3])
        assert earlier(request) == earlier(asked(world, "four"))
        await agent.prompt(forked, "another five")
        assert world.model.requests[-1].user_turns == (*PROMPTS[:3], QUESTION, "another five")
    async with world.agent() as agent:
        report = await agent.load(session_id, world.workspace)
        assert report["turns"] == 6


async def test_export_and_import_on_another_machine(world: World) -> None:
    session_id = await five_turns(world)
    result(world, "restore", session_id, "--turn", "3")
    file = world.root / "session.portable"
    result(world, "export", session_id, str(file))
    other = replace(world, root=world.root / "other")
    other.workspace.mkdir(parents=True)
    assert result(other, "import", str(file))["sessionId"] == session_id
    for turn, finished in ((3, PROMPTS[:3]), (5, PROMPTS)):
        result(other, "restore", session_id, "--turn", str(turn))
        async with other.agent() as agent:
            report = await agent.load(session_id, other.workspace)
            await promise_holds(other, agent, session_id, report, finished=finished)


def rows(world: World, session_id: str) -> list[Json]:
    """The turns as the command lists them."""
    done = run(world, "turns", session_id, "--json")
    found: list[Json] = json.loads(done.stdout)
    return found


async def test_verify_finds_a_flipped_byte(world: World) -> None:
    session_id = await five_turns(world)
    assert result(world, "verify", session_id)["ok"] is True
    folder = world.session_folder(session_id)
    with closing(sqlite3.connect(folder / "store.db")) as db:
        (content,) = db.execute(
            "SELECT content FROM checkpoint_row WHERE table_name = 'steps' AND seq = 2"
        ).fetchone()
    whole = (folder / "store.db").read_bytes()
    place = whole.index(content[:40]) + 30
    (folder / "store.db").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    done = run(world, "verify", session_id)
    assert done.exit_code == 1
    assert "checkpoint 2 (turn 2)" in done.stdout
    assert "DAMAGED" in done.stdout
    said = json.loads(run(world, "verify", session_id, "--json").stdout)
    assert [each["name"] for each in said["findings"] if not each["ok"]] == ["checkpoint 2 (turn 2)"]
    assert "turn 2 cannot be used" in refusal(world, "restore", session_id, "--turn", "2")

    (folder / "store.db").write_bytes(whole)
    trajectory = world.trajectory(session_id)
    changed = trajectory.read_bytes().replace(b"three", b"thief")
    trajectory.write_bytes(changed)
    said = json.loads(run(world, "verify", session_id, "--json").stdout)
    assert [each["name"] for each in said["findings"] if not each["ok"]] == ["trajectory"]

    (folder / "store.db").write_bytes(b"garbage" * 999)
    said = json.loads(run(world, "verify", session_id, "--json").stdout)
    assert (said["ok"], said["findings"][0]["name"]) == (False, "store")


async def test_an_open_session_is_left_alone(world: World) -> None:
    async with world.agent() as agent:
        session_id = await agent.new(world.workspace)
        await agent.prompt(session_id, "one")
        for command in (("restore", "--turn", "0"), ("delete", "--yes")):
            assert "The session is open in process" in refusal(world, command[0], session_id, *command[1:])
        pruned = result(world, "prune", "--keep", "0", "--yes")
        assert [each["fate"] for each in objects(pruned["sessions"])] == ["open"]
        assert pruned["freedBytes"] == 0
        held = result(world, "show", session_id)["open"]
        assert isinstance(held, dict)
        assert held["pid"] == agent.process.pid
        assert result(world, "verify", session_id)["ok"] is True
        await agent.prompt(session_id, "two")
    pruned = result(world, "prune", "--keep", "0", "--yes")
    assert [each["fate"] for each in objects(pruned["sessions"])] == ["deleted"]
    assert not world.session_folder(session_id).exists()
    async with world.agent() as agent:
        parameters: Json = {"sessionId": session_id, "cwd": str(world.workspace), "mcpServers": []}
        assert (await agent.refused("session/load", parameters)).code == -32002


async def test_what_is_listed_and_shown(world: World) -> None:
    session_id = await five_turns(world)
    (listed,) = json.loads(run(world, "list", "--json").stdout)
    assert (listed["sessionId"], listed["turns"], listed["title"]) == (session_id, 5, "one")
    assert json.loads(run(world, "list", "--cwd", "/elsewhere", "--json").stdout) == []
    shown = result(world, "show", session_id[:10])
    assert (shown["sessionId"], shown["checkpoints"], shown["open"]) == (session_id, 5, None)
    turns = rows(world, session_id)
    assert [row["prompt"] for row in turns] == list(PROMPTS)
    assert [row["steps"] for row in turns] == [2] * 5
    for command in ("list", "show", "turns", "verify"):
        text = run(world, command, *([] if command == "list" else [session_id])).stdout
        assert "\x1b" not in text
        assert session_id in text or command in ("turns", "verify")


async def test_nothing_is_deleted_without_being_asked(world: World) -> None:
    session_id = await five_turns(world)
    for command in (("delete", session_id), ("prune", "--keep", "0")):
        done = run(world, *command)
        assert done.exit_code == 2
        assert "--yes is needed" in done.stderr
    assert result(world, "prune", "--older-than", "1h", "--dry-run")["sessions"] == []
    dry = result(world, "prune", "--keep", "0", "--dry-run")
    assert [each["sessionId"] for each in objects(dry["sessions"])] == [session_id]
    assert dry["freedBytes"] != 0
    assert run(world, "prune").exit_code == 2
    assert run(world, "prune", "--older-than", "soon").exit_code == 2
    assert world.session_folder(session_id).exists()


async def test_refusals_are_one_sentence(world: World) -> None:
    session_id = await five_turns(world)
    file = world.root / "file"
    assert refusal(world, "show", "nothing") == "There is no session 'nothing'."
    assert "no turn 9; it has 1-5" in refusal(world, "fork", session_id, "--turn", "9")
    assert "No such file" in refusal(world, "import", str(file))
    file.write_bytes(b"garbage")
    assert refusal(world, "import", str(file)) == "file is no exported session: file is not a database."
    assert "exists already" in refusal(world, "export", session_id, str(file))
    assert "File exists" in refusal(world, "export", session_id, str(file), "--format", "markdown")
    assert file.read_bytes() == b"garbage"
    result(world, "fork", session_id)
    assert refusal(world, "show", "") == "2 sessions begin with ''; give more of the id."


def test_a_table_fits_a_narrow_terminal_and_does_not_steer_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = (output.Column("turn", "right"), output.Column("prompt", shrinks=True))
    rows = [("1", "a long prompt \x1b[31m with\nlines " * 9)]
    output.write_table(columns, rows)
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    output.write_table(columns, rows)
    lines = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert lines[1].rstrip().endswith("…")
    assert "[31m" in lines[1]


def objects(value: JsonValue) -> list[Json]:
    """A list of JSON objects."""
    assert isinstance(value, list)
    return [each for each in value if isinstance(each, dict)]
