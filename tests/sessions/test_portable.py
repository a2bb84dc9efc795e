"""Sessions in files: nothing is lost on the way, and no damaged or foreign file becomes a session."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import JsonValue

from sessions import checkpoint, markdown, portable, timeline
from sessions.events import Kind
from sessions.journal import Journal, Payload
from sessions.portable import MadeByNewer, Unportable
from sessions.store import Session, SessionExists, Store, StoreRefused
from sessions.verify import verify
from tests.sessions.conftest import SESSION_ID, ticking_clock
from tests.sessions.histories import add_turn, assert_resumes
from tests.sessions.stores import SESSIONS, unpack_portable

NEW_ID = "e" * 32

TEXT = st.text(st.sampled_from("`~>#-*<! a\n\r\t\x1b\u2028é"), max_size=40)


@pytest.fixture
def there(tmp_path: Path) -> Store:
    """The sessions of another machine."""
    return Store(tmp_path / "there", clock=ticking_clock())


@pytest.fixture
def file(store: Store, tmp_path: Path) -> Path:
    """An exported session with two lines, on the second of which it is."""
    with store.create(SESSION_ID, cwd="/project/only/here") as session:
        journal = Journal(session)
        session.set_title("Engines")
        session.remember("permissions", {"run_command": "allow"})
        for _ in range(3):
            add_turn(session, journal)
        timeline.restore(session, journal, turn=1)
        add_turn(session, journal)
        carried = portable.export(session, tmp_path / "a file")
        assert (carried.session_id, carried.turns, carried.checkpoints, carried.damaged) == (SESSION_ID, 4, 4, ())
        assert carried.size == (tmp_path / "a file").stat().st_size
    assert (tmp_path / "a file").stat().st_mode & 0o777 == 0o600
    return tmp_path / "a file"


def assert_all_lines(session: Session) -> None:
    journal = Journal(session)
    assert all(finding.ok for finding in verify(session)), verify(session)
    assert_resumes(session, journal, [1, 4])
    timeline.restore(session, journal, turn=3)
    assert_resumes(session, journal, [1, 2, 3])
    timeline.restore(session, journal, turn=4)
    assert_resumes(session, journal, [1, 4])


@pytest.mark.parametrize("new_id", [None, NEW_ID], ids=["same id", "new id"])
def test_everything_arrives(there: Store, file: Path, new_id: str | None) -> None:
    carried = portable.import_(there, file, as_id=new_id)
    assert carried.session_id == (new_id or SESSION_ID)
    with there.open(carried.session_id) as session:
        assert (session.info.title, session.info.cwd) == ("Engines", "/project/only/here")
        assert session.recall("permissions") is None
        assert_all_lines(session)
    with pytest.raises(SessionExists):
        portable.import_(there, file, as_id=new_id)


def test_what_happened_to_it_arrives_and_that_it_was_imported(there: Store, file: Path) -> None:
    portable.import_(there, file, as_id=NEW_ID)
    with there.open(NEW_ID) as session:
        events = session.events()
        assert [event.kind for event in events] == [Kind.MADE, Kind.RESTORED, Kind.IMPORTED]
        assert (events[1].detail["from"], events[1].detail["to"]) == (3, 1)
        assert events[2].detail["from"] == SESSION_ID


def test_a_file_of_an_older_version_is_imported(there: Store, tmp_path: Path) -> None:
    carried = portable.import_(there, unpack_portable(2, tmp_path / "older"))
    assert (carried.session_id, carried.turns, carried.damaged) == (SESSIONS[2], 3, ())
    with there.open(SESSIONS[2]) as session:
        journal = Journal(session)
        assert [turn.prompt_excerpt for turn in journal.turns()] == ["My name is Ada.", "What is my name?"]
        assert all(finding.ok for finding in verify(session)), verify(session)
        (imported,) = session.events()
        assert (imported.kind, imported.detail["from"]) == (Kind.IMPORTED, SESSIONS[2])
    change(tmp_path / "older", "PRAGMA user_version = 1", digest=False)
    with pytest.raises(Unportable, match="its version is 1"):
        portable.import_(there, tmp_path / "older", as_id=NEW_ID)


def test_a_session_is_imported_beside_itself(store: Store, file: Path) -> None:
    with pytest.raises(SessionExists):
        portable.import_(store, file)
    portable.import_(store, file, as_id=NEW_ID)
    for session_id in (SESSION_ID, NEW_ID):
        with store.open(session_id) as session:
            assert_all_lines(session)


def test_no_flipped_byte_goes_unnoticed(there: Store, file: Path) -> None:
    whole = file.read_bytes()
    chosen = random.Random(3)
    with closing(sqlite3.connect(file)) as db:
        used = [page for (page,) in db.execute("SELECT pageno FROM dbstat WHERE name NOT LIKE 'sqlite_%'")]
    for _ in range(150):
        place = (chosen.choice(used) - 1) * 4096 + chosen.randrange(4096)
        file.write_bytes(whole[:place] + bytes([whole[place] ^ chosen.randrange(1, 256)]) + whole[place + 1 :])
        try:
            portable.import_(there, file, as_id=NEW_ID)
        except Unportable:
            assert there.ids() == []
            continue
        # The byte belongs to nothing: what was imported is what was exported.
        with there.open(NEW_ID) as session:
            assert_all_lines(session)
        there.folder(NEW_ID).rename(file.with_name(f"done-{place}"))


def change(file: Path, statement: str, *, digest: bool = True) -> None:
    """Change an exported session as somebody would who knows how."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(statement)
        if digest:
            said = db.execute("SELECT at, damaged FROM seal").fetchone()
            db.execute("UPDATE seal SET digest = ?", (portable._digest(db, said),))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE session SET id = '../../somewhere/else'",
        "UPDATE session SET head = 9",
        "DELETE FROM session",
        "UPDATE turn SET parent = 3 WHERE turn = 2",
        "UPDATE turn SET depth = 7 WHERE turn = 4",
        "UPDATE entry SET turn = 8 WHERE seq = 1",
        "UPDATE entry SET payload = '[]' WHERE seq = 1",
        "UPDATE entry SET text = x'ff' WHERE seq = 1",
        "INSERT INTO delta (entry, text) VALUES (1, x'ff')",
        "UPDATE checkpoint SET user_turns = 9 WHERE seq = 2",
        "DELETE FROM checkpoint_row WHERE seq = 2",
        "UPDATE checkpoint_row SET content = zeroblob(8) WHERE seq = 3 AND content IS NOT NULL",
        "UPDATE checkpoint SET primer = 5 WHERE seq = 2",
        "UPDATE event SET kind = 'imagined'",
        "UPDATE event SET detail = '[]'",
    ],
)
def test_a_file_that_only_seems_whole_is_refused(there: Store, file: Path, statement: str) -> None:
    change(file, statement)
    with pytest.raises(Unportable, match="is damaged"):
        portable.import_(there, file)
    assert there.ids() == []


def test_files_that_are_something_else(there: Store, file: Path, store: Store) -> None:
    with pytest.raises(Unportable, match="is no exported session"):
        portable.import_(there, store.folder(SESSION_ID) / "store.db")
    change(file, "PRAGMA user_version = 99")
    with pytest.raises(MadeByNewer, match="its version is 99"):
        portable.import_(there, file)
    for content in (b"", b"no database at all" * 99):
        file.write_bytes(content)
        with pytest.raises(Unportable, match="is no exported session"):
            portable.import_(there, file)
    with pytest.raises(FileNotFoundError):
        portable.import_(there, file.with_name("nothing"))
    assert there.ids() == []


def test_a_damaged_checkpoint_stays_damaged_and_the_rest_is_usable(store: Store, there: Store, file: Path) -> None:
    file.unlink()
    with store.open(SESSION_ID) as session:
        with session.transaction(durable=True) as db:
            db.execute("UPDATE checkpoint_row SET content = zeroblob(8) WHERE seq = 3 AND table_name = 'steps'")
            db.execute("UPDATE checkpoint SET steps = 1 WHERE seq = 4")
        assert portable.export(session, file).damaged == (3, 4)
    for new_id in (None, NEW_ID):
        carried = portable.import_(there, file, as_id=new_id)
        with there.open(carried.session_id) as session:
            journal = Journal(session)
            for turn, usable in ((1, True), (2, True), (3, False), (4, False)):
                if usable:
                    timeline.restore(session, journal, turn=turn)
                else:
                    with pytest.raises(timeline.NoSuchPoint):
                        timeline.restore(session, journal, turn=turn)


def test_an_export_replaces_nothing_and_leaves_nothing_half(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()
    with store.open(SESSION_ID) as session, pytest.raises(FileExistsError):
        portable.export(session, file)
    assert file.read_bytes() == before

    def refuse(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sessions.durable.sync_file", refuse)
    with store.open(SESSION_ID) as session, pytest.raises(OSError, match="No space left"):
        portable.export(session, file.with_name("other"))
    assert [path.name for path in file.parent.iterdir() if path.is_file()] == ["a file"]


def test_an_import_that_the_disk_refuses_makes_nothing(
    there: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sessions.durable.sync_file", refuse)
    with pytest.raises(StoreRefused, match="No space left"):
        portable.import_(there, file)
    assert there.ids() == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=TEXT, answer=TEXT, title=TEXT, old=TEXT, new=TEXT, output=TEXT)
def test_nothing_that_was_said_breaks_the_markdown(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    prompt: str,
    answer: str,
    title: str,
    old: str,
    new: str,
    output: str,
) -> None:
    store = Store(tmp_path_factory.mktemp("data"), clock=ticking_clock())
    with store.create(SESSION_ID, cwd=f"/project/{title}") as session:
        session.set_title(title)
        journal = Journal(session)
        for number in (1, 2):
            journal.begin_turn(prompt)
            journal.append("user_message", f"p{number}", {"content": [{"type": "text", "text": prompt}]})
            diff: JsonValue = {"type": "diff", "path": title, "oldText": old, "newText": new}
            said: JsonValue = {"type": "content", "content": {"type": "text", "text": output}}
            payload: Payload = {"title": title, "kind": "edit", "status": "completed", "content": [diff, said]}
            journal.put("tool_call", f"t{number}", payload)
            journal.append("agent_message", f"a{number}", {}, answer)
        text = markdown.render(session)
    tokens = MarkdownIt("commonmark").parse(text)
    headings = [
        tokens[place + 1].content.split(":")[0]
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]
    parts = ["Prompt", "Tool", "Answer"]
    assert headings[1:] == ["Turn 1", *parts, "Turn 2", *parts]
    fences = [token for token in tokens if token.type == "fence" and token.level == 0]
    assert [token.info for token in fences] == ["diff", "diff"]
    assert not [token for token in tokens if token.type in ("html_block", "code_block") and token.level == 0]
    assert "\x1b" not in text


def test_markdown_tells_all_that_was_shown(store: Store) -> None:
    with store.create(SESSION_ID, cwd="/work") as session:
        journal = Journal(session)
        add_turn(session, journal)
        taken = checkpoint.newest_first(session)[0]
        text = markdown.render(session)
    for expected in ("> prompt 1", "> answer 1", f"checkpoint 1 at {taken.at}, 2 steps", "(end_turn)", "`/work`"):
        assert expected in text
