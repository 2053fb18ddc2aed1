"""A console in one tab."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.loopback import ListenError
from riskd.model.wire import decode, encode
from riskd.testing import make_event
from trader.cli.console import Console
from trader.cli.display import Display
from trader.cli.keys import BROWSER_KEYS, KEYS
from trader.cli.navigation import Place
from trader.cli.web import Tab, run_in_browsers
from trader.client import DEFAULT_URL
from trader.model.followed_daemon import FollowedDaemon
from trader.model.ui_state import UiState
from trader.web.places import Places


class Connection:
    """Keeps what is sent to the page."""

    def __init__(self, page: str = "one") -> None:
        self.sent: list[str] = []
        self.is_closed = False
        self.page = page

    def send(self, text: str) -> None:
        """Keep a message."""
        self.sent.append(text)

    def close(self) -> None:
        """Note the end."""
        self.is_closed = True

    @property
    def shown(self) -> str:
        """All frames so far."""
        return "".join(text for text in self.sent if not text.startswith("{"))

    @property
    def messages(self) -> list[dict[str, object]]:
        """What was sent beside the frames."""
        return [json.loads(text) for text in self.sent if text.startswith("{")]


class TabTests(SynchronousTestCase):
    """A tab on a clock, without a daemon."""

    def setUp(self) -> None:
        self.clock: Any = MemoryReactorClock()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = Path(directory.name)
        self.consoles: list[Console] = []
        self.places: Places[Place] = Places()
        self.connection = Connection()
        self.tab = Tab(self.clock, self.make_console, self.places, self.connection)  # type: ignore[arg-type]
        self.tab.feed('{"type":"resize","cols":100,"rows":30}')
        # A daemon would be connected to; none of it is needed here.
        self.clock.advance(0.1)

    account: int | None = 123

    def make_console(self, display: Display) -> Console:
        """Make a console as the program does."""
        followed = FollowedDaemon(self.account, DEFAULT_URL, self.state, self.state)
        state = UiState(is_page=True)
        console = Console(self.account, followed, self.clock, state, display=display)
        self.patch(console._client, "connect", lambda: None)
        self.consoles.append(console)
        return console

    def press(self, key: str) -> None:
        """Send a key as the page does."""
        self.tab.feed(json.dumps({"type": "key", "key": key}))
        self.clock.advance(0.3)

    def test_the_first_frame_has_the_size_of_the_window(self) -> None:
        self.assertIn("account 123", self.connection.shown)
        frames = [text for text in self.connection.sent if not text.startswith("{")]
        self.assertEqual(frames[-1].count("\n\n") + frames[-1].startswith("\n"), 30)

    def test_a_page_has_the_keys_of_a_terminal_but_those_that_are_the_browsers(self) -> None:
        missing = {key.label for key in KEYS} - {key.label for key in BROWSER_KEYS}
        self.assertEqual(missing, {"c", "m", "q", "Ctrl-D", "Ctrl-U"})
        before = self.consoles[0].navigation.ui_state
        for key in ("c", "m", "q", "ctrl d", "ctrl u"):
            self.press(key)
        self.assertEqual(self.consoles[0].navigation.ui_state, before)
        self.assertFalse(self.connection.is_closed)
        self.press("3")
        self.assertIn("[3 Limits]", self.connection.shown)
        self.press("?")
        self.assertIn("show the keys", self.connection.shown)
        self.assertNotIn("quit", self.connection.shown)

    def reconnect(self, page: str = "one") -> str:
        """Return what a page shows that connects while the first one is, or was, connected."""
        connection = Connection(page)
        tab = Tab(self.clock, self.make_console, self.places, connection)  # type: ignore[arg-type]
        tab.feed('{"type":"resize","cols":100,"rows":30}')
        self.clock.advance(1)
        self.successResultOf(tab.stop())
        return connection.shown

    def test_a_page_that_connects_again_is_where_it_was(self) -> None:
        self.press("4")
        self.press("t")
        # The console may not have noticed yet that the connection is lost.
        self.assertIn("[4 Lockouts]", self.reconnect())
        self.successResultOf(self.tab.stop())
        self.assertIn("[4 Lockouts]", self.reconnect())
        self.assertEqual(self.consoles[-1].navigation.ui_state.theme, "light")
        # Another page begins at the beginning, and so does one that has no name.
        self.assertIn("[1 Overview]", self.reconnect("two"))
        self.assertIn("[1 Overview]", self.reconnect(""))
        self.assertIn("[1 Overview]", self.reconnect(""))

    def test_what_was_typed_or_paused_is_not_kept(self) -> None:
        self.press("p")
        self.press("/")
        self.press("x")
        self.successResultOf(self.tab.stop())
        self.reconnect()
        ui_state = self.consoles[-1].navigation.ui_state
        self.assertEqual((ui_state.is_typing, ui_state.paused_feed), (False, None))

    def test_a_page_comes_back_to_the_account_that_it_had_opened(self) -> None:
        for account, opened in ((None, 456), (123, 456), (123, None), (None, None)):
            self.account = account
            state = UiState(is_page=True, is_all=opened is None, page=2, row=3, account=opened)
            self.places.keep("one", lambda: Place(state, opened))  # noqa: B023
            shown = self.reconnect()
            self.assertIn("all accounts" if opened is None else "account 456", shown)
            navigation = self.consoles[-1].navigation
            self.assertEqual(navigation.place, Place(state, opened))

    def test_an_alarm_rings_and_runs_no_hook(self) -> None:
        self.clock.spawnProcess = self.fail
        event = decode(encode(make_event("enforcement_action", {"reason": "6 > 5"})))
        console = self.consoles[0]
        console._receive_status("connection_status", {"connected": True, "reason": "connected"})
        console._receive(event.type, lambda: event)
        self.assertIn({"ring": True}, self.connection.messages)

    def test_the_title_follows_the_account(self) -> None:
        console = self.consoles[0]
        console._receive_status("connection_status", {"connected": True, "reason": "connected"})
        event = decode(encode(make_event("lockout_set", {"reason": "Daily loss"})))
        console._receive(event.type, lambda: event)
        self.clock.advance(1)
        self.assertIn({"title": "LOCKED - 123 - riskd"}, self.connection.messages)

    def test_an_error_closes_this_page(self) -> None:
        self.patch(self.consoles[0]._screen, "render", lambda *_, **__: 1 / 0)
        self.press("2")
        self.assertTrue(self.connection.is_closed)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    def test_without_an_account_a_page_shows_all_of_them(self) -> None:
        self.account = None
        connection = Connection("other")
        tab = Tab(self.clock, self.make_console, self.places, connection)  # type: ignore[arg-type]
        self.clock.advance(1)
        self.assertIn("all accounts", connection.shown)
        (title,) = [message["title"] for message in connection.messages if "title" in message]
        self.assertIn("all accounts - riskd", str(title))
        self.successResultOf(tab.stop())

    def test_a_congested_page_is_drawn_when_it_reads_again(self) -> None:
        self.tab.set_congested(True)
        self.connection.sent.clear()
        self.press("4")
        self.assertEqual(self.connection.sent, [])
        self.tab.set_congested(False)
        self.clock.advance(0.3)
        self.assertIn("[4 Lockouts]", self.connection.shown)

    def test_nothing_is_left_of_a_closed_tab(self) -> None:
        self.press("2")
        self.successResultOf(self.tab.stop())
        self.clock.advance(1)
        self.connection.sent.clear()
        self.clock.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.connection.sent, [])


class PortTests(SynchronousTestCase):
    """The port of the pages."""

    def test_a_port_in_use_is_a_sentence_with_the_option(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            error = self.assertRaises(
                ListenError, run_in_browsers, None, port, MemoryReactorClock()
            )
        self.assertIn(f"port {port} on 127.0.0.1 is already in use", str(error))
        self.assertIn("--web-port", str(error))
