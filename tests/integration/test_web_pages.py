"""``trader-console --web`` in a real browser, with a real daemon."""

from __future__ import annotations

import http.server
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from riskd.testing import DaemonHarness
from tests.busy_pages import measure
from tests.support.chromium import CTRL, SHIFT, Chromium, Tab
from tests.support.web_console import WebConsole

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """Start a browser, once for the tests of a module."""
    with closing(Chromium()) as started:
        yield started


@pytest.fixture(scope="module")
def console(shared_harness: DaemonHarness) -> Iterator[WebConsole]:
    """Start a console, once for the tests of a module; it must log no mistake."""
    options = (
        "--url",
        f"ws://localhost:{shared_harness.port}",
        "--state",
        str(shared_harness.state),
    )
    with closing(WebConsole("123", *options)) as started:
        yield started
        assert started.end() == (0, "")


@pytest.fixture(scope="module")
def admitted(browser: Chromium, console: WebConsole) -> Tab:
    """Open the printed URL."""
    tab = browser.open(console.url)
    tab.wait_for("account 123", "LIVE")
    return tab


@pytest.fixture
def tab(browser: Chromium, console: WebConsole, admitted: Tab) -> Iterator[Tab]:
    """Open a further tab, which has the cookie of the first."""
    page = browser.open(f"http://{console.host}{console.place}")
    page.wait_for("account 123", "LIVE", "[1 Overview]")
    yield page
    assert page.evaluate("window.violations || []") == []
    page.close()


def test_the_printed_url_shows_the_screen_and_loses_its_token(
    admitted: Tab, console: WebConsole
) -> None:
    assert admitted.evaluate("location.href") == f"http://{console.host}{console.place}"
    assert admitted.evaluate("document.cookie") == ""
    admitted.wait_until(lambda: admitted.title == "123 - riskd", "the title")
    rows = admitted.rows
    assert "account 123" in rows[0]
    assert "PRACTICE" in rows[0]
    assert rows[-1].endswith("? help")
    # The blue bar at the top, and the ground below the screen.
    assert admitted.color_at(400, 12) == (0, 0, 238)
    assert admitted.color_at(899, 599) == BLACK
    assert admitted.evaluate("window.violations") == []


def test_a_used_token_admits_no_other_browser(browser: Chromium, console: WebConsole) -> None:
    other = browser.command("Target.createBrowserContext")["browserContextId"]
    target = browser.command("Target.createTarget", url="about:blank", browserContextId=other)
    session = browser.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)[
        "sessionId"
    ]
    page = Tab(browser, target["targetId"], session)
    page.load(console.url)
    page.wait_for("This page needs the URL that trader-console printed")
    page.close()


def test_keys(tab: Tab) -> None:
    tab.press("3")
    tab.wait_for("[3 Limits]")
    tab.press("Tab")
    tab.wait_for("[4 Lockouts]")
    tab.press("Tab", SHIFT)
    tab.wait_for("[3 Limits]")
    tab.press("?", SHIFT)
    tab.wait_for("show the keys", "Page Down", "Enter")
    # The browser copies, has the mouse and closes.
    for effect in ("copy the selected row", "mouse on or off", "quit"):
        assert effect not in tab.shown
    tab.press("Escape")
    tab.wait_for("[3 Limits]")
    tab.press("q")
    tab.press("5")
    tab.wait_for("[5 Activity]")
    for key in ("ArrowDown", "ArrowUp", "PageDown", "PageUp", "End", "Home"):
        tab.press(key)
        assert tab.evaluate("window.prevented") is True
    tab.press("/")
    for key in "Connectx":
        tab.press(key)
    tab.press("Backspace")
    tab.wait_for("Connect")
    tab.press("Enter")
    tab.press("1")
    tab.wait_for("[1 Overview]", "LIVE")


def test_the_browser_keeps_its_own_keys_and_a_paste_does_nothing(
    tab: Tab, browser: Chromium
) -> None:
    for key in ("c", "t", "d", "u", "r", "2"):
        tab.press(key, CTRL)
        assert tab.evaluate("window.prevented") is False
    tab.press("F5")
    assert tab.evaluate("window.prevented") is False
    origin = tab.evaluate("location.origin")
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.command("Browser.grantPermissions", origin=origin, permissions=permissions)
    tab.command("Page.bringToFront")
    tab.evaluate("navigator.clipboard.writeText('2')")
    tab.evaluate("window.pasted = 0; document.addEventListener('paste', () => { pasted += 1; })")
    tab.press("v", CTRL, commands=("Paste",))
    tab.wait_until(lambda: tab.evaluate("window.pasted") == 1, "a paste")
    # Nothing else arrives later: the answer to a key comes after what was sent before it.
    tab.press("?", SHIFT)
    tab.wait_for("show the keys")
    assert "[1 Overview]" in tab.shown


def test_selected_text_can_be_copied_while_figures_change(
    tab: Tab, browser: Chromium, shared_harness: DaemonHarness
) -> None:
    origin = tab.evaluate("location.origin")
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.command("Browser.grantPermissions", origin=origin, permissions=permissions)
    tab.command("Page.bringToFront")
    tab.evaluate("getSelection().selectAllChildren(text.firstChild)")
    shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -61.50})
    tab.wait_until(
        lambda: (
            tab.evaluate("notice.textContent")
            == "These figures stand still while text is selected"
        ),
        "a sentence",
    )
    assert "61.50" not in tab.shown
    tab.press("c", CTRL, commands=("Copy",))
    assert "account 123" in tab.evaluate("navigator.clipboard.readText()")
    tab.evaluate("getSelection().removeAllRanges()")
    tab.wait_for("61.50", "LIVE")
    tab.wait_until(lambda: tab.evaluate("notice.hidden") is True, "a live page")


def test_themes(tab: Tab) -> None:
    assert tab.color_at(898, 598) == BLACK
    for ground in (WHITE, BLACK, BLACK, BLACK):
        tab.press("t")
        tab.wait_until(lambda ground=ground: tab.color_at(898, 598) == ground, str(ground))


def test_the_screen_has_the_size_of_the_window(tab: Tab) -> None:
    for width, height in ((1300, 800), (640, 480), (300, 200), (900, 600)):
        tab.resize(width, height)
        cell = tab.evaluate("cell.getBoundingClientRect().width / 100")
        line = tab.evaluate("cell.getBoundingClientRect().height")
        rows, columns = int((height - 8) / line), int((width - 8) / cell)
        tab.wait_until(
            lambda rows=rows, columns=columns: (
                len(tab.rows) == rows
                and tab.evaluate("text.firstChild.textContent.length") == columns
            ),
            f"{columns}x{rows}",
        )
        if width == 300:
            tab.wait_for("too small")


def test_wide_characters_stay_in_their_columns(tab: Tab, shared_harness: DaemonHarness) -> None:
    reason = "漢字とカナ한글 \uff21\uff22 ±≈─█ 👍🏽🇩🇪 end"
    shared_harness.trigger_test_event("enforcement_action", {"reason": reason})
    tab.wait_for("漢字とカナ한글")
    script = """
        [...text.children].map((row) => [row.lastElementChild.getBoundingClientRect().right - row.getBoundingClientRect().left,
            [...row.textContent].reduce((sum, letter) => sum + (WIDE.test(letter) ? 2 : 1), 0)])
    """
    cell = tab.evaluate("cell.getBoundingClientRect().width / 100")
    widths = tab.evaluate(script)
    columns = widths[0][1]
    for right, letters in widths:
        assert letters == columns
        assert abs(right - columns * cell) < 0.5


def test_two_tabs_are_two_screens_of_one_account(
    tab: Tab, admitted: Tab, shared_harness: DaemonHarness
) -> None:
    tab.press("5")
    tab.wait_for("[5 Activity]")
    assert "[1 Overview]" in admitted.shown
    shared_harness.trigger_test_event("lockout_set", {"reason": "Daily loss of $550"})
    for each in (tab, admitted):
        each.wait_for("LOCKED OUT until an operator unlocks it: Daily loss of $550")
        each.wait_until(
            lambda each=each: "LOCKED - 123 - riskd" in each.title, "LOCKED in the title"
        )
    shared_harness.trigger_test_event("lockout_cleared", {})
    for each in (tab, admitted):
        each.wait_for("Trading resumed")
        each.wait_until(lambda each=each: "LOCKED" not in each.title, "no LOCKED in the title")


def test_the_bell_is_a_sign_in_the_title(tab: Tab, shared_harness: DaemonHarness) -> None:
    tab.evaluate(
        "window.titles = []; new MutationObserver(() => titles.push(document.title))"
        ".observe(document.querySelector('title'), {childList: true}), 0"
    )
    shared_harness.trigger_test_event("enforcement_action", {"reason": "6 > 5"})
    tab.wait_until(lambda: "(!) 123 - riskd" in tab.evaluate("titles"), "a sign")


def test_a_page_that_loses_the_console_says_so_and_comes_back(
    tab: Tab, console: WebConsole
) -> None:
    console.process.send_signal(signal.SIGSTOP)
    # Most of four seconds of silence.
    tab.evaluate("lastMessage -= 3500")
    tab.wait_for("trader-console has been silent for", "these figures are not live")
    assert tab.title.startswith("NOT LIVE - 123")
    assert tab.evaluate("getComputedStyle(text).opacity") == "0.4"
    console.process.send_signal(signal.SIGCONT)
    tab.wait_until(lambda: tab.title == "123 - riskd", "a live page")
    assert tab.evaluate("notice.hidden") is True
    tab.press("3")
    tab.wait_for("[3 Limits]")
    tab.evaluate("window.lost = socket; socket.close()")
    # It has received something.
    is_new = "socket !== null && socket !== lost && failures === 0"
    tab.wait_until(lambda: tab.evaluate(is_new) is True, "a new connection")
    tab.wait_for("LIVE", "[3 Limits]")
    tab.load(tab.evaluate("location.href"))
    tab.wait_for("LIVE", "[3 Limits]")


def test_a_daemon_that_dies_and_returns(tab: Tab, shared_harness: DaemonHarness) -> None:
    shared_harness.kill()
    tab.wait_for("RECONNECTING in", "Lost connection to daemon")
    tab.wait_until(lambda: tab.title == "LAST KNOWN - 123 - riskd", "the title")
    shared_harness.start()
    tab.wait_until(lambda: tab.title == "123 - riskd", "a live page")


def test_a_thousand_events_a_second_in_two_tabs(
    tab: Tab, browser: Chromium, admitted: Tab, console: WebConsole, shared_harness: DaemonHarness
) -> None:
    """A short form of what ``python -m tests.busy_pages 60`` plays."""

    def emit() -> None:
        for number in range(2000):
            shared_harness.trigger_test_event("MarketQuote", {"last": 20000 + number})
        shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -77.25})

    measure(browser, console, (tab, admitted), emit, "77.25", 0)


class Foreign(http.server.BaseHTTPRequestHandler):
    """A page of another user of this machine, who keeps the cookies that browsers send."""

    cookies: list[str | None] = []  # noqa: RUF012  # the same list for each request

    def do_GET(self) -> None:
        """Answer with an empty page."""
        self.cookies.append(self.headers["Cookie"])
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>foreign</title><body></body>")

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


def test_pages_of_others_get_nothing(
    browser: Chromium, console: WebConsole, admitted: Tab
) -> None:
    # Browsers open connections ahead, which a server of one thread would wait for.
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://{console.host}{console.place}"
    port = urlsplit(console.url).port
    try:
        # The same name with another port: the same site, for cookies.
        page = browser.open(f"http://localhost:{server.server_port}/")
        page.wait_until(lambda: page.title == "foreign", "the foreign page")
        opened = f"""new Promise((done) => {{
            const socket = new WebSocket("ws://{console.host}{console.place}stream");
            socket.onopen = () => done("open"); socket.onerror = () => done("refused");
        }})"""
        assert page.evaluate(opened) == "refused"
        fetched = f"fetch('{address}').then(() => 'read', () => 'refused')"
        assert page.evaluate(fetched) == "refused"
        for kind in ("script", "iframe"):
            loaded = f"""new Promise((done) => {{
                const element = document.createElement("{kind}");
                element.onload = () => done("loaded " + (window.WIDE || "nothing"));
                element.onerror = () => done("refused");
                element.src = "{address}" + ("{kind}" === "script" ? "console.js" : "");
                document.body.append(element);
            }})"""
            assert page.evaluate(loaded) in ("refused", "loaded nothing")
        assert page.evaluate("frames[0].length") == 0
        assert Foreign.cookies
        assert set(Foreign.cookies) == {None}
        # A name of elsewhere that leads here.
        page.load(f"http://rebound.example:{port}{console.place}")
        page.wait_for("Foreign Host.")
        page.close()
    finally:
        server.shutdown()
        server.server_close()
    assert "LIVE" in admitted.shown


def test_after_a_restart_the_page_asks_for_the_new_url(admitted: Tab, console: WebConsole) -> None:
    """The last test: the console is another one afterwards."""
    old = console.url
    console.restart("--web-port", str(urlsplit(old).port))
    admitted.wait_for("started again: open the URL that it printed")
    assert admitted.title.startswith("NOT LIVE - ")
    admitted.load(old)
    admitted.wait_for("This page needs the URL that trader-console printed")
    admitted.load(console.url)
    admitted.wait_for("LIVE")
    assert admitted.evaluate("notice.hidden") is True
