"""The page of a real session in a headless Chromium: no request, no error, enough contrast, and no mouse needed.

The Chromium is the one that is installed here, driven by Playwright (`make test-browser`). With `SHOTS` in the
environment, what the page looks like is written to that folder, and `session-page.png` of the documentation too.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest
from click.testing import CliRunner

from acp_agent import session_page
from acp_agent.cli import main
from acp_agent.offline.server import OfflineModel
from sessions import life
from sessions.store import Store
from tests.agent.driver import World
from tests.lives import live, make_long
from tests.sessions.conftest import ticking_clock
from tests.unit.test_session_page import lived

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Page

pytestmark = pytest.mark.browser

Scheme = Literal["dark", "light"]
Result = TypeVar("Result")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

TURN_KEYS = 8
"""Turns of the session that the page is of."""

CONTRAST = """
() => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return { rgb: found.slice(0, 3), alpha: found.length > 3 ? found[3] : 1 };
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.alpha === 1) return colour.rgb;
      if (colour.alpha > 0) throw new Error("half transparent: " + each.className);
    }
    throw new Error("nothing behind");
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!walker.currentNode.textContent.trim() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    if (style.visibility === "hidden" || !element.getClientRects().length) continue;
    const [one, two] = [light(parse(style.color).rgb), light(behind(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push({
      what: element.tagName + "." + element.className + ": " + walker.currentNode.textContent.trim().slice(0, 40),
      ratio: (one + 0.05) / (two + 0.05),
      wanted: large ? 3 : 4.5,
    });
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (not installed for other tests)

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a session that was killed, damaged, recovered, rewound and forked, as the command writes it."""
    root = tmp_path_factory.mktemp("world")
    with OfflineModel() as model:
        world = World(root, model)
        world.workspace.mkdir()
        # Not in this thread, where Playwright's own loop runs.
        made = in_thread(lambda: asyncio.run(live(world)))
    target = root / "page.html"
    arguments = [
        "--data-dir",
        str(world.data_dir),
        "sessions",
        "show",
        made.session_id,
        "--html",
        "-o",
        str(target),
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return target


def in_thread(work: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@contextmanager
def opened(
    browser: Browser, file: Path, *, width: int = 1100, scheme: Scheme = "light", script: bool = True
) -> Iterator[Page]:
    """The page; at the end, nothing was asked for but the file and nothing was complained of."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
    )
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert complaints == []
    context.close()


def unfold(page: Page) -> None:
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")


def photograph_for_the_documentation(page: Page) -> None:
    if folder := os.environ.get("SHOTS"):
        page.locator(".legend summary").click()
        page.mouse.move(0, 0)
        beginning: FloatRect = {"x": 0, "y": 0, "width": 1100, "height": 1180}
        page.screenshot(path=Path(folder) / "session-page.png", full_page=True, clip=beginning)
        page.locator(".legend summary").click()


def photograph(page: Page, name: str) -> None:
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_told_from_what_is_behind_it(browser: Browser, file: Path, scheme: Scheme) -> None:
    other: Scheme = "light" if scheme == "dark" else "dark"
    with opened(browser, file, scheme=scheme) as page:
        photograph(page, scheme)
        if scheme == "light":
            photograph_for_the_documentation(page)
        unfold(page)
        assert_contrast(page)
        of_system = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        page.keyboard.press("d")
        assert_contrast(page)
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != of_system
        page.keyboard.press("d")
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == of_system
    with opened(browser, file, scheme=other) as page:
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != of_system


def assert_contrast(page: Page) -> None:
    found = page.evaluate(CONTRAST)
    assert len(found) > 200
    assert [each for each in found if each["ratio"] < each["wanted"]] == []


@pytest.mark.parametrize("width", [320, 768])
def test_nothing_is_wider_than_a_narrow_window(browser: Browser, file: Path, width: int) -> None:
    with opened(browser, file, width=width) as page:
        photograph(page, f"width-{width}")
        unfold(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_turns_are_gone_through_by_keys(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:

        def focused() -> str:
            return str(page.evaluate("() => document.activeElement.id"))

        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert focused() == "main"
        for key, turn in (("n", 1), ("j", 2), ("n", 3), ("p", 2), ("k", 1), ("p", 1)):
            page.keyboard.press(key)
            assert focused() == f"turn-{turn}", key
        for _ in range(TURN_KEYS + 2):
            page.keyboard.press("n")
        assert focused() == f"turn-{TURN_KEYS}"
        assert page.evaluate("() => document.activeElement.matches(':focus-visible')")
        page.keyboard.press("?")
        assert page.evaluate("() => document.getElementById('help').open")
        page.keyboard.press("n")
        page.keyboard.press("Escape")
        assert not page.evaluate("() => document.getElementById('help').open")
        assert focused() == f"turn-{TURN_KEYS}", "a key that was pressed in the dialog goes nowhere else"
        page.keyboard.press("t")
        assert focused() == "main"
        page.keyboard.press("u")
        folds = "() => [...document.querySelectorAll('article details')].map((each) => each.open)"
        assert set(page.evaluate(folds)) == {True}
        page.get_by_role("button", name="Fold all").click()
        assert set(page.evaluate(folds)) == {False}
        page.get_by_role("button", name="Keys (?)").click()
        page.get_by_role("button", name="Close").click()
        page.locator(".timeline a").nth(3).click()
        assert page.url.endswith("#turn-4")


def test_a_screen_reader_gets_landmarks_headings_and_names(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        unfold(page)
        nodes = accessible(page)
        roles = [role for role, _, _ in nodes]
        for landmark in ("banner", "navigation", "main", "contentinfo"):
            assert roles.count(landmark) == 1, landmark
        levels = [level for role, _, level in nodes if role == "heading"]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), levels
        named = {"link", "button", "image", "img", "article", "region", "table", "heading", "navigation", "group"}
        nameless = [node for node in nodes if node[0] in named - {"table", "group"} and not node[1]]
        assert nameless == []
        names = [name for _, name, _ in nodes]
        assert "In the model's context: turns 1-5, 7 in full; turn 6 lost" in names
        assert any(re.match(r"Turn 4 ✕ cut", name) for name in names)
        assert page.locator("html").get_attribute("lang") == "en"
        # Every cut and every line that was left is told in words too.
        assert page.locator(".row.cut .title", has_text="was cut").count() == 2
        assert page.locator(".row.left .fact", has_text="on a line that was left").count() == 3


def accessible(page: Page) -> list[tuple[str, str, int]]:
    """The accessibility tree: each node's role, name, and level."""
    session = page.context.new_cdp_session(page)
    tree: list[dict[str, Any]] = session.send("Accessibility.getFullAXTree")["nodes"]
    found: list[tuple[str, str, int]] = []
    for node in tree:
        if not node.get("ignored"):
            levels = [each["value"]["value"] for each in node.get("properties", []) if each["name"] == "level"]
            name = str(node.get("name", {}).get("value", ""))
            found.append((str(node["role"]["value"]), name, int(levels[0]) if levels else 0))
    return found


def test_the_page_can_be_read_without_its_script(browser: Browser, file: Path) -> None:
    with opened(browser, file, script=False) as page:
        assert page.locator("article").count() == TURN_KEYS
        assert page.get_by_role("button").count() == 0
        page.locator("article summary").first.click()
        assert page.locator("article details[open]").count() == 1
        assert page.get_by_text("My name is Ada.").count() > 1


def test_print_and_less_motion(browser: Browser, file: Path) -> None:
    with opened(browser, file, scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        page.emulate_media(media="screen", reduced_motion="reduce")
        assert page.evaluate("() => getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_what_was_said_does_nothing(browser: Browser, tmp_path: Path) -> None:
    texts = [
        "<img src=x onerror=\"document.title='done'\"><script>document.title='done'</script>",
        "![a](https://example.org/a.png) <iframe src=https://example.org></iframe> [x](javascript:alert(1))",
        "</title></style></script><script>document.title='done'</script>",
        "\u202e<b>\x1b[31m",
        "{{ 7 * 7 }}",
        "```\n</code></pre><script>document.title='done'</script>",
    ]
    store = Store(tmp_path / "data", clock=ticking_clock())
    with lived(store, texts) as session, life.reading(session) as found:
        target = tmp_path / "page.html"
        target.write_text(session_page.render(found), encoding="utf-8")
    with opened(browser, target, width=320) as page:
        unfold(page)
        assert page.title().startswith("</title></style></script><script>")
        assert page.locator("article script, article iframe").count() == 0
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
        assert page.evaluate("() => document.querySelectorAll('img').length") == 3
        assert "{{ 7 * 7 }}" in page.content()


def test_a_long_session_opens(browser: Browser, tmp_path: Path) -> None:
    store = Store(tmp_path / "data", clock=ticking_clock())
    make_long(store, "a" * 32, "**words** " * 20)
    with store.open("a" * 32) as session, life.reading(session) as found:
        target = tmp_path / "page.html"
        target.write_text(session_page.render(found), encoding="utf-8")
    with opened(browser, target) as page:
        page.locator(".timeline a").last.click()
        page.keyboard.press("p")
        assert page.evaluate("() => document.activeElement.id") in ("turn-999", "turn-998")
