"""The page of a session: what it shows, whatever was said, and that it stays bounded and harmless."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from syrupy.assertion import SnapshotAssertion

from acp_agent import session_page
from acp_agent.cli import main
from acp_agent.session_page import content, conversation, words
from sessions import events, life, timeline
from sessions.events import Kind
from sessions.journal import Journal, Payload
from sessions.lease import Holder, Lease
from sessions.report import Check, Interrupted, Outcome, Reason, ResumeReport, Unfinished
from sessions.session import Session, storable
from sessions.store import Store
from tests.lives import make_long
from tests.sessions.conftest import SESSION_ID, ticking_clock
from tests.sessions.histories import add_turn
from tests.sessions.stores import SESSIONS, unpack

VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

TEXT = st.text(
    st.characters() | st.sampled_from("<>&\"'`*_[]()!#|\n\x1b\u202e\u2066\ud800{}%"), max_size=60
) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "</style></script><img src=x onerror=alert(1)>",
        "[x](javascript:alert(1)) ![y](https://example.org/y.png) <https://example.org>",
        "\x1b]8;;https://example.org\x07link\x1b]8;;\x07 \x1b[31mred\x1b[0m",
        "{{ page.title }} {% raw %}",
        "```html\n</pre><script>x</script>\n```",
        "\ud83d\ude00 \u05d0\u05d1\u05d2 \u202eabc",
        "[a]: javascript:alert(1)\n\n[a]",
        "> " * 300 + "deep",
    ]
)


class Reader(HTMLParser):
    """Reads a page strictly, and notes what it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, (tag, self.stack, self.getpos())

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        if not self.stack or self.stack[-1] not in ("script", "style"):
            self.text.append(data)

    def identifiers(self) -> list[str]:
        return [found for _, attributes in self.elements if (found := attributes.get("id"))]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.stack == []
    return reader


def assert_harmless(page: str) -> Reader:
    """One script and one style, ours; nothing that loads or runs; a page that is whole."""
    page.encode()
    reader = read(page)
    tags = [tag for tag, _ in reader.elements]
    assert (tags.count("script"), tags.count("style")) == (1, 1)
    assert not {"iframe", "object", "embed", "base", "svg", "video", "audio", "source"} & set(tags)
    for tag, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        source = attributes.get("src") or ""
        assert tag == "img" and source.startswith("data:image/") if source else tag != "img"
        href = attributes.get("href") or ""
        if tag == "a":
            assert re.match(r"#|https?:|mailto:", href, re.IGNORECASE), href
        else:
            assert href in ("", "data:,")
    identifiers = reader.identifiers()
    assert len(identifiers) == len(set(identifiers))
    assert reader.headings[0] == 1
    for before, after in zip(reader.headings, reader.headings[1:], strict=False):
        assert after <= before + 1, reader.headings
    shown = "".join(reader.text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    return reader


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data", clock=ticking_clock())


def render(session: Session) -> str:
    with life.reading(session) as found:
        return session_page.render(found)


def say(journal: Journal, turn: int, texts: list[str]) -> None:
    """Everything that can be shown in a turn, with these texts in it."""
    prompt, answer, title, old, new, output = texts
    blocks: JsonValue = [
        {"type": "text", "text": prompt},
        {"type": "resource_link", "name": title, "uri": output},
        {"type": "resource", "resource": {"uri": title, "text": old}},
        {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="},
        {"type": "image", "mimeType": "image/svg+xml", "data": "PHN2Zy8+"},
        {"type": title, "mimeType": prompt},
    ]
    journal.append("user_message", f"prompt-{turn}", {"content": blocks})
    journal.append("agent_thought", f"thought-{turn}", {}, output)
    journal.put("plan", f"plan-{turn}", {"entries": [{"content": title, "status": "in_progress"}]})
    payload: Payload = {
        "title": title,
        "kind": "edit",
        "status": "completed",
        "rawInput": {title: [new]},
        "content": [
            {"type": "diff", "path": title, "oldText": old, "newText": new},
            {"type": "content", "content": {"type": "text", "text": output}},
        ],
    }
    journal.put("tool_call", f"call-{turn}", {**payload, "status": "pending"})
    journal.put("tool_call", f"call-{turn}", payload)
    journal.put("compaction", f"compaction-{turn}", {"status": "in_progress"})
    journal.append("agent_message", f"answer-{turn}", {}, answer)


def report(text: str) -> ResumeReport:
    return ResumeReport(
        outcome=Outcome.RECOVERED,
        reason=Reason.CORRUPT,
        summary=text,
        turns=2,
        turns_in_context=1,
        turns_lost=1,
        interrupted=Interrupted(turn=2, unfinished=(Unfinished(kind="edit", title=text),)),
        checks=(Check(name=text, ok=False, detail=text),),
        moved_aside=text,
    )


def lived(store: Store, texts: list[str]) -> Session:
    """A session of three turns on two lines that says these texts wherever it can."""
    session = store.create(SESSION_ID, cwd=storable("/work/" + texts[2]), client=texts[0])
    journal = Journal(session)
    session.set_title(texts[2])
    for _ in range(2):
        add_turn(session, journal)
        say(journal, journal.head, texts)
    told = events.loaded(report(texts[5]), client=texts[1], again=False, note=texts[0])
    session.record_outcome(Outcome.RECOVERED, Reason.CORRUPT, told)
    timeline.restore(session, journal, turn=1)
    add_turn(session, journal)
    say(journal, journal.head, texts)
    session.record(Kind.FORKED, {"session": texts[3], "turn": 1})
    journal.begin_turn(texts[0])
    session.remember(timeline.NOTE, texts[1])
    return session


PLAIN = [
    "Write *engine.txt*",
    "# Done\n\nIt is **written**.",
    "Write engine.txt",
    "old\nsame",
    "new\nsame",
    "`ok`",
]


def test_the_page_of_a_session(store: Store, snapshot: SnapshotAssertion) -> None:
    with lived(store, PLAIN) as session:
        page = render(session)
    body = re.sub(r"<(script|style)>.*?</\1>", r"<\1>…</\1>", page, flags=re.DOTALL)
    body = re.sub(r"sha256-[\w+/=]+", "sha256-…", body)
    body = re.sub(r"\d+(\.\d+)? ([kMG]?B)\b", "SIZE", body)
    body = re.sub(r"width:[\d.]+%", "width:…%", body)
    assert_harmless(page)
    assert body == snapshot


@given(st.lists(TEXT, min_size=6, max_size=6))
@settings(max_examples=8, deadline=None)
def test_nothing_that_was_said_does_anything(texts: list[str]) -> None:
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), clock=ticking_clock())
        with lived(store, [text.replace("\x00", "") for text in texts]) as session:
            page = render(session)
    reader = assert_harmless(page)
    ours = {"title-1", "turn-1", "turn-4", "main", "help", "row-4"}
    assert ours <= set(reader.identifiers())


@given(TEXT)
@settings(max_examples=150, deadline=None)
def test_no_text_becomes_more_than_text(text: str) -> None:
    for shown in (content.markdown(text), content.plain(text)):
        assert_harmless(f"<h1></h1><h2></h2><h3></h3><h4></h4><script></script><style></style>{shown}")
    assert "\n" not in content.line(text)


@pytest.mark.parametrize("size", [2_000, 500_000])
def test_what_is_long_is_cut_and_said(store: Store, size: int) -> None:
    long = "long line of text\n" * (size // 18)
    with lived(store, [long, long, ("title " * 900)[: size // 2], long, long.upper(), long]) as session:
        page = render(session)
    assert len(page) < 2_500_000
    assert ("more characters are left out of this page" in page) == (size > content.TEXT)
    assert_harmless(page)


def test_a_long_session_stays_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path, clock=ticking_clock())
    make_long(store, SESSION_ID, "words " * 400)
    with store.open(SESSION_ID) as session:
        assert Journal(session).turn_count == 1000
        page = render(session)
    assert len(page) < 2 * conversation.CHARACTERS
    assert page.count("<article") == 1000
    assert page.count("Left out of this page: ") == 1000
    assert_harmless(page)


def test_older_stores_say_what_is_not_known(tmp_path: Path) -> None:
    for number in (1, 2):
        unpack(number, tmp_path)
        with Store(tmp_path).open(SESSIONS[number]) as session:
            page = render(session)
        assert "older than the record of what happens to sessions" in page
        assert_harmless(page)


def test_parts_that_cannot_be_read_are_named_and_the_rest_is_there(store: Store) -> None:
    with lived(store, PLAIN) as session:
        with session.transaction(durable=True) as db:
            db.execute("UPDATE event SET detail = '{' WHERE id = 1")
            db.execute("UPDATE entry SET payload = '{' WHERE turn = 2 AND kind = 'plan'")
        page = render(session)
    assert "What happened to the session could not be read" in page
    assert "What was shown in this turn cannot be read" in page
    assert "answer 1" in page
    assert_harmless(page)


def test_a_record_with_a_gap_is_said_not_to_be_all(store: Store) -> None:
    with lived(store, PLAIN) as session:
        assert "or its record was damaged" not in render(session)
        with session.transaction(durable=True) as db:
            db.execute("DELETE FROM event WHERE id = 2")
        assert "or its record was damaged" in render(session)


def test_a_turn_of_which_nothing_is_known_says_so(store: Store) -> None:
    with lived(store, PLAIN) as session:
        assert "<td>not known</td>" not in render(session)
        with session.transaction(durable=True) as db:
            db.execute("DELETE FROM checkpoint_row WHERE seq < 3")
            db.execute("DELETE FROM checkpoint WHERE seq < 3")
        assert "<td>not known</td>" in render(session)


def test_a_harness_that_was_only_opened_anew_is_no_load(store: Store) -> None:
    with lived(store, PLAIN) as session:
        for _ in range(2):
            session.record(Kind.LOADED, {"outcome": "resumed", "reason": "verified", "again": True})
        page = render(session)
    assert '<dt>loads</dt><dd>1 <span class="hint">and 2 times only reopened</span></dd>' in page


@pytest.mark.parametrize("number", ["\ud800", "\u202e\x1b[31m" * 900, {"a": ["<b>"]}, None])
def test_numbers_of_an_imported_record_that_are_none_are_text(store: Store, number: JsonValue) -> None:
    with lived(store, PLAIN) as session:
        session.record(Kind.RESTORED, {"from": number, "to": number})
        session.record(Kind.FORKED, {"session": number, "turn": number})
        told: dict[str, JsonValue] = {
            "checkpoint": {"turn": number},
            "interrupted": {"unfinished": [{"leftOut": number}]},
        }
        session.record(Kind.LOADED, {"outcome": number, "report": told})
        page = render(session)
    page.encode()
    assert "\u202e" not in page
    assert_harmless(page)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0 ms"),
        (0.0824, "82 ms"),
        (5.04, "5.0 s"),
        (59.97, "1 min 0 s"),
        (125, "2 min 5 s"),
        (7384, "2 h 3 min"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert words.duration(seconds) == expected


def test_a_diff_has_signs_and_says_what_is_missing() -> None:
    shown = content.diff({"path": "a", "oldText": "one\ntwo\n", "newText": "one\n2\n\u202e"})
    signs = [(each.sign, each.text) for each in shown.lines]
    assert signs == [("@", "@@ -1,2 +1,3 @@"), (" ", "one"), ("-", "two"), ("+", "2"), ("+", "⟦U+202E⟧")]
    assert (shown.added, shown.removed, shown.left_out, shown.whole) == (2, 1, 0, True)
    long = content.diff({"path": "a", "newText": "line\n" * 9_000})
    assert (len(long.lines), long.left_out, long.whole) == (content.DIFF_LINES, 9_000 - content.DIFF_LINES, False)


# --- The command --------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run the command in; the session is there."""
    lived(store, PLAIN).close()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("ACP_AGENT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "here"


def show(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sessions", "show", SESSION_ID[:8], *arguments])


def test_the_page_goes_to_a_private_file_that_is_not_replaced(command: Path) -> None:
    done = show("--html")
    target = command / f"session-{SESSION_ID}.html"
    assert (done.exit_code, done.output) == (0, f"The life of session {SESSION_ID} is in {target.name}.\n")
    assert target.stat().st_mode & 0o777 == 0o600
    assert_harmless(target.read_text())
    target.write_text("mine")
    refused = show("--html")
    assert (refused.exit_code, target.read_text()) == (1, "mine")
    assert refused.stderr == f"Error: {target.name} exists already; --force replaces it.\n"
    assert show("--html", "--force").exit_code == 0
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert [path.name for path in command.iterdir()] == [target.name]


def test_the_page_goes_where_it_is_wanted(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = show("--html", "-o", "-")
    assert written.stdout.startswith("<!DOCTYPE html>")
    assert list(command.iterdir()) == []
    opened: list[str] = []

    def launch(url: str) -> int:
        opened.append(url)
        return len(opened) - 1

    monkeypatch.setattr("click.launch", launch)
    assert show("--html", "-o", "a b.html", "--open").exit_code == 0
    assert opened == [f"file://{command}/a%20b.html"]
    failed = show("--html", "-o", "a b.html", "--open", "--force")
    assert (failed.exit_code, "No browser could be started" in failed.stderr) == (1, True)
    missing = show("--html", "-o", "nowhere/page.html")
    assert (missing.exit_code, "No such file" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments", [("--html", "--json"), ("-o", "x"), ("--force",), ("--open",), ("--html", "-o", "-", "--open")]
)
def test_options_that_do_not_go_together(command: Path, arguments: tuple[str, ...]) -> None:
    done = show(*arguments)
    assert done.exit_code == 2
    assert list(command.iterdir()) == []


def test_a_restore_that_was_cut_is_told(command: Path, store: Store) -> None:
    assert "A restore was cut" not in show("--html", "-o", "-").stdout
    (store.folder(SESSION_ID) / timeline.INTENT).write_text("{}")
    assert "A restore was cut" in show("--html", "-o", "-").stdout
    assert "cut; the next load finishes it" in show().stdout


def test_a_session_that_is_open_elsewhere_is_shown(command: Path, store: Store) -> None:
    lease = Lease.acquire(store.folder(SESSION_ID), Holder(pid=1, client="zed", since="now"))
    done = show("--html", "-o", "-")
    assert "process 1 (zed)" in done.stdout
    assert "running, or its end is not stored yet" in done.stdout
    lease.release()
    assert "running, or" not in show("--html", "-o", "-").stdout


def test_a_damaged_store_is_shown_as_far_as_it_can_be_read(command: Path, store: Store) -> None:
    path = store.folder(SESSION_ID) / "store.db"
    with store.open(SESSION_ID) as session, session.transaction(durable=True) as db:
        db.execute("DELETE FROM session")
    whole = path.read_bytes()
    done = show("--html", "-o", "-")
    assert done.exit_code == 0, done.stderr
    assert "The store is damaged" in done.stdout
    assert "answer 1" in done.stdout
    assert path.read_bytes() == whole
    assert [each.name for each in path.parent.parent.iterdir()] == [SESSION_ID]
    lease = Lease.acquire(path.parent, Holder(pid=1, client="zed", since="now"))
    busy = show("--html", "-o", "-")
    lease.release()
    assert (busy.exit_code, "The session is open in" in busy.stderr) == (1, True)
