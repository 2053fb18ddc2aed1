"""``trader-console --web`` as a server: what it answers, and to whom."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websocket

from tests.support.waiting import DEADLINE_SECONDS, wait_until
from tests.support.web_console import WebConsole

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""What makes a request the handshake of a WebSocket."""

NOWHERE = "ws://127.0.0.1:1"
"""A daemon that does not run."""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebConsole]:
    """Start a console without a daemon, once for the tests of a module."""
    state = str(tmp_path_factory.mktemp("state"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ("123", "--url", NOWHERE, "--state", state, "--web-port", port)
    with closing(WebConsole(*options)) as started:
        assert started.url.startswith(f"http://localhost:{port}/")
        yield started
        status, errors = started.end()
        assert status == 0
        # It has logged why it cut tabs, and no mistake of its own.
        assert "Traceback" not in errors


@pytest.fixture(scope="module")
def cookie(console: WebConsole) -> str:
    """Return the cookie of an admitted browser."""
    return console.admit()


def test_the_url_is_the_first_line_and_its_token_no_argument(console: WebConsole) -> None:
    assert re.fullmatch(r"http://localhost:\d+/[\w-]{12}/\?token=[\w-]{24}", console.url)
    command = Path(f"/proc/{console.process.pid}/cmdline").read_bytes()
    assert urlsplit(console.url).query.encode() not in command


def test_a_token_admits_one_browser_and_the_next_one_is_printed(
    console: WebConsole, cookie: str
) -> None:
    parts = urlsplit(console.url)
    assert console.get(f"{parts.path}?{parts.query}")[0].status == 403
    # A browser that was admitted may load the address again.
    assert console.get(f"{parts.path}?{parts.query}", {"Cookie": cookie})[0].status == 200
    assert "works once" in console.line()
    following = urlsplit(console.new_url())
    response, page = console.get(f"{following.path}?{following.query}")
    assert (response.status, "console.js" in page) == (200, True)


def test_the_cookie_is_for_this_port_and_path_and_out_of_reach_of_scripts(
    console: WebConsole, cookie: str
) -> None:
    assert cookie.startswith(f"trader-console-{urlsplit(console.url).port}=")
    assert {each.lower() for each in console.cookie_attributes} == {
        f"path={console.place}".lower(),
        "httponly",
        "samesite=strict",
    }


def test_without_token_and_cookie_the_page_asks_for_the_url(console: WebConsole) -> None:
    for path in (
        "/",
        console.place,
        f"{console.place}?token=",
        "/elsewhere/",
        "/elsewhere/stream",
    ):
        response, page = console.get(path)
        assert response.status == 403
        assert "needs the URL that trader-console printed" in page
        assert console.place not in page
    other = {"Cookie": "trader-console-1=x"}
    assert console.get(console.place, other)[0].status == 403
    assert console.get(f"{console.place}session")[0].status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},
        {"Host": "localhost"},
        {"Host": "localhost:1"},
        {"Host": ""},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "websocket"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_requests_of_other_pages_are_refused(
    console: WebConsole, cookie: str, headers: dict[str, str]
) -> None:
    own = {"Cookie": cookie, "Origin": f"http://{console.host}"}
    for path, more in (("", {}), ("console.js", {}), ("session", {}), ("stream", UPGRADE)):
        response, text = console.get(f"{console.place}{path}", {**own, **more, **headers})
        assert response.status == 403
        assert "console.js" not in text


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:{port}", "https://localhost:{port}"])
def test_a_stream_needs_the_very_origin_of_its_page(
    console: WebConsole, cookie: str, origin: str | None
) -> None:
    headers = {"Cookie": cookie, **UPGRADE}
    if origin is not None:
        headers["Origin"] = origin.format(port=urlsplit(console.url).port)
    assert console.get(f"{console.place}stream", headers)[0].status == 403


def test_a_stream_needs_the_cookie(console: WebConsole) -> None:
    for cookie in ("", "trader-console-1=x"):
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            console.join(cookie)


def test_every_answer_forbids_frames_guesses_and_copies(console: WebConsole, cookie: str) -> None:
    types = {
        "": "text/html; charset=utf-8",
        "console.js": "text/javascript; charset=utf-8",
        "web_common.js": "text/javascript; charset=utf-8",
        "console.css": "text/css; charset=utf-8",
        "icon.svg": "image/svg+xml",
        "session": None,
    }
    for name, content_type in types.items():
        response, text = console.get(f"{console.place}{name}", {"Cookie": cookie})
        assert response.status == (204 if name == "session" else 200)
        assert response.getheader("Content-Type") == content_type
        assert response.getheader("Cache-Control") == "no-store"
        assert response.getheader("X-Content-Type-Options") == "nosniff"
        assert response.getheader("Referrer-Policy") == "no-referrer"
        policy = response.getheader("Content-Security-Policy") or ""
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        if name == "":
            assert not re.search(r"<script>|<style|style=|\son\w+=", text)


def test_there_is_nothing_else(console: WebConsole, cookie: str) -> None:
    for name in (
        "console.html",
        "refused.html",
        "../site.py",
        "%2e%2e/site.py",
        "page/console.js",
    ):
        assert console.get(f"{console.place}{name}", {"Cookie": cookie})[0].status in (403, 404)
    for method in ("POST", "HEAD", "PUT", "OPTIONS"):
        assert console.get(console.place, {"Cookie": cookie}, method)[0].status == 405


def test_a_tab_is_cut_for_what_no_page_sends(console: WebConsole, cookie: str) -> None:
    for message in ("q" * 300, "q" * 2000, '{"type":"key","key":"nonsense"}'):
        with closing(console.join(cookie)) as tab:
            tab.recv()
            tab.send(message)
            wait_until(lambda tab=tab: tab.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE)


def test_tabs_are_counted_and_each_is_forgotten(console: WebConsole, cookie: str) -> None:
    tabs = [console.join(cookie) for _ in range(16)]
    for tab in tabs:
        wait_until(lambda tab=tab: "account 123" in tab.recv())
    assert console.get(f"{console.place}session", {"Cookie": cookie})[0].status == 503
    with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
        console.join(cookie)
    for tab in tabs:
        tab.close()
    wait_until(lambda: console.get(f"{console.place}session", {"Cookie": cookie})[0].status == 204)


def test_a_reader_may_leave_after_the_url(tmp_path: Path) -> None:
    with closing(WebConsole("--url", NOWHERE, "--state", str(tmp_path), "123")) as console:
        assert console.process.stdout is not None
        console.process.stdout.close()
        cookie = console.admit()
        assert console.get(console.place, {"Cookie": cookie})[0].status == 200
        console.process.terminate()
        assert console.process.wait(DEADLINE_SECONDS) == 0
        assert console.process.stderr is not None
        assert console.process.stderr.read() == ""
