"""``--web``: the screen as a page in the browsers of this machine.

Each tab has a console of its own, which only watches, as on a terminal.  A page runs no hook: the command would
run once for every tab that is open.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from riskd.host.loopback import listen
from trader.cli.console import Console
from trader.cli.display import Display, browser_display
from trader.cli.headless import discard_output, log_warnings
from trader.cli.navigation import Place
from trader.ui.browser import SCRIPT_NAME, BrowserScreen, script
from trader.web.places import Places
from trader.web.site import ConsoleServer
from trader.web.tabs import Connection, TabFactory

MakeConsole = Callable[[Display], Console]

_log = Logger()


def run_in_browsers(make_console: MakeConsole, port: int, reactor: Any) -> None:
    """Serve the screen until a signal ends the program; print the URL first.

    :param make_console: returns a new console on a display.
    :param port: the TCP port; 0 takes a free one.
    :raises ListenError: the port is in use, or an address cannot be bound.
    """
    sockets = listen(port, option="--web-port")
    log_warnings()
    tabs = TabFactory(reactor, partial(Tab, reactor, make_console, Places()))
    server = ConsoleServer(reactor, sockets, tabs, _print_next, {SCRIPT_NAME: script()})
    _print(server.url)
    _print("Open it in a browser on this machine; it works once. Ctrl-C ends.")
    reactor.callWhenRunning(server.startService)
    reactor.addSystemEventTrigger("before", "shutdown", server.stopService)
    reactor.run()


def _print_next(url: str) -> None:
    _print(f"A browser was admitted. The URL for another one: {url}")


def _print(line: str) -> None:
    """Print a line; a reader may have gone after the first one."""
    try:
        print(line, flush=True)  # noqa: T201  # it is what the program is run for
    except OSError:
        discard_output()


class Tab:
    """A console in one tab, where its page was before.

    :param places: where the pages were.
    """

    def __init__(
        self,
        reactor: Any,
        make_console: MakeConsole,
        places: Places[Place],
        connection: Connection,
    ) -> None:
        self._screen = BrowserScreen(connection)
        self._console = make_console(browser_display(reactor, self._screen, self._fail))
        self._places, self._page = places, connection.page
        place = places.last(self._page)
        if place is not None:
            self._console.navigation.return_to(place)
        places.keep(self._page, self._where)
        self._console.start()

    @cached_property
    def _where(self) -> Callable[[], Place]:
        navigation = self._console.navigation
        return lambda: navigation.place

    def feed(self, message: str) -> None:
        """Take a key, or the size of the window.

        :raises ValueError: no page of ours sends such a message.
        """
        self._screen.feed(message)

    def set_congested(self, is_congested: bool, /) -> None:
        """Draw nothing while the page does not read; then draw all of it."""
        self._screen.is_congested = is_congested
        if not is_congested:
            self._console.redraw()

    def stop(self) -> Deferred[None]:
        """End the console; its place is kept."""
        self._places.end(self._page, self._where)
        self._screen.close()
        return self._console.stop()

    def _fail(self, _error: Exception) -> None:
        _log.failure("a page is closed")
        self._screen.close()
