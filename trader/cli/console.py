"""``trader-console``: the terminal screen a trader keeps open all day."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import urwid
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from urwid.display.common import InputClosedError
from zope.interface import implementer

from riskd.host.timing import use_steady_clock
from riskd.journal.reader import published_mark, read_published
from riskd.model.events import Event
from trader.cli.alarm import Alarm
from trader.cli.arguments import Options, Output, choose_account, parse_options
from trader.cli.lines import run_lines
from trader.client import DaemonClient
from trader.model.characters import printable
from trader.model.session import Session
from trader.model.ui_state import UiState
from trader.model.view import View
from trader.ui.pages import PAGES, row_count, selected_text
from trader.ui.palette import MONO, THEMES
from trader.ui.redraw_throttle import RedrawThrottle
from trader.ui.screen import Screen, page_at
from trader.ui.terminal import Terminal

_TICK_SECONDS: Final = 1.0


class Console:
    """The session, the client that feeds it and the screen that draws it, on one reactor.

    :param account_id: the account to show.
    :param url: where the daemon is.
    :param state: the directory in which the daemon publishes what it knows.
    :param ui_state: what is shown first, and how.
    :param hook: the trader's own command on lockouts and enforcement, and its arguments.
    :param bell: whether the bell rings then.
    """

    def __init__(
        self,
        account_id: int,
        url: str,
        state: Path,
        reactor: Any,
        ui_state: UiState | None = None,
        hook: Sequence[str] = (),
        *,
        bell: bool = True,
    ) -> None:
        self._reactor = reactor
        self._url = url
        self._ui_state = ui_state or UiState()
        self._session = Session(
            account_id,
            _now,
            self._view_changed,
            partial(read_published, state),
            partial(published_mark, state),
            self._alarm_about,
        )
        self._alarm = Alarm(reactor, self._ring if bell else None, hook)
        self._client = DaemonClient(
            account_id,
            self._session.take,
            url,
            reactor=reactor,
            lazy_event_callback=self._session.take_event,
        )
        self._screen = Screen(
            self._view, lambda: self._ui_state, _now, [(key.label, key.told) for key in KEYS]
        )
        self._event_loop = urwid.TwistedEventLoop(reactor)
        self._terminal = Terminal()
        self._colors = self._terminal.colors
        self._main_loop = urwid.MainLoop(
            self._screen,
            screen=self._terminal,
            event_loop=self._event_loop,
            unhandled_input=self._key_pressed,
            handle_mouse=False,
        )
        self._paint()
        self._throttle = RedrawThrottle(reactor.seconds)
        self._next_draw: IDelayedCall | None = None
        # Whatever goes wrong in these ends the program, with the terminal as it was: a screen that looks
        # alive and is not would be worse.
        self._draw = self._event_loop.handle_exit(self._draw_now, enable_idle=False)
        self._tick = self._event_loop.handle_exit(self._tick_now, enable_idle=False)

    def run(self) -> None:
        """Show the screen until the trader quits."""
        # What is there by now stays to the end; to look for garbage in it takes longer than a draw.
        gc.freeze()
        self._reactor.callWhenRunning(self._begin)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._client.disconnect)
        try:
            self._main_loop.run()
        except BaseException as error:
            # urwid crashes the reactor then, without its shutdown; the threads in which names are
            # looked up would keep the program from ending.
            self._reactor.getThreadPool().stop()
            if not isinstance(error, InputClosedError):
                raise
            # The terminal was closed: there is nobody left to tell, and nothing went wrong.

    def quit(self) -> None:
        """Leave.

        :raises urwid.ExitMainLoop: always; that is how urwid is left.
        """
        raise urwid.ExitMainLoop

    def log(self, event: LogEvent) -> None:
        """Show a warning or an error of the program itself in the feed."""
        if event["log_level"] >= LogLevel.warn:
            text = formatEvent(event).strip()
            # Something may have printed a blank line, which is logged too.
            if text:
                self._session.note(text.splitlines()[0])

    def _begin(self) -> None:
        # The reactor has its own handlers for the others; a closed terminal must be left in order too.
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reactor.stop))
        self._terminal.set_mouse_tracking(self._ui_state.has_mouse)
        self._client.connect()
        ticking = LoopingCall(self._tick)
        ticking.clock = self._reactor
        ticking.start(_TICK_SECONDS).addErrback(lambda failure: failure.raiseException())

    def _alarm_about(self, event: Event) -> None:
        self._alarm.tell(event, is_muted=self._ui_state.is_muted)

    def _ring(self) -> None:
        if self._terminal.started:
            self._terminal.write("\a")
            self._terminal.flush()

    def _tick_now(self) -> None:
        self._session.poll_file()
        # Ages and countdowns change by themselves.
        self._view_changed(important=False)

    def _view(self) -> View:
        retry_at = self._client.retry_at
        retry_in = None if retry_at is None else retry_at - self._reactor.seconds()
        client = self._client
        return self._session.view(
            retry_in,
            client.gateway_name,
            self._url,
            client.dropped.total(),
            is_dry_run=client.is_dry_run,
        )

    def _view_changed(self, important: bool) -> None:
        if self._next_draw is not None and not important:
            # It comes no later than this one would.
            return
        wait = self._throttle.wait(important=important)
        if wait == 0:
            self._draw()
        elif self._next_draw is None or self._next_draw.getTime() > self._reactor.seconds() + wait:
            self._cancel_draw()
            self._next_draw = self._reactor.callLater(wait, self._draw)

    def _draw_now(self) -> None:
        self._cancel_draw()
        self._throttle.record()
        # One that is malformed is told in the feed, which is drawn; that must not begin while this draws.
        self._session.read_quotes()
        self._screen.redraw()
        if self._terminal.started:
            self._main_loop.draw_screen()

    def _cancel_draw(self) -> None:
        if self._next_draw is not None and self._next_draw.active():
            self._next_draw.cancel()
        self._next_draw = None

    # What the keys do.

    def _key_pressed(self, key: Any) -> None:
        if isinstance(key, tuple):
            self._mouse_used(*key)
            return
        act = _ACTS.get(key)
        if act is not None:
            act(self)
            self._view_changed(important=True)

    def _mouse_used(self, what: str, button: int, column: int, row: int) -> None:
        """Turn to the page whose name was clicked, and go through rows with the wheel."""
        if not what.endswith("press"):
            return
        columns, rows = self._terminal.get_cols_rows()
        page = page_at(self._ui_state, columns, column) if row == rows - 1 else None
        if button in _WHEEL:
            self.move(_WHEEL[button])
        elif page is not None:
            self.show_page(page)
        else:
            return
        self._view_changed(important=True)

    def show_page(self, number: int) -> None:
        """Show a page."""
        self._ui_state = self._ui_state.with_page(number % len(PAGES))

    def turn_page(self, pages: int) -> None:
        """Show the page that is so many further on."""
        self.show_page(self._ui_state.page + pages)

    def move(self, rows: int) -> None:
        """Choose the row that is so many below."""
        self._ui_state = self._ui_state.with_row_moved(
            rows, row_count(self._view(), self._ui_state, _now())
        )

    def filter_feed(self) -> None:
        """Narrow the feed to the next kind, and show it."""
        ui_state = self._ui_state
        self._ui_state = (
            ui_state.with_next_filter()
            if ui_state.page == _ACTIVITY
            else ui_state.with_page(_ACTIVITY)
        )

    def pause_feed(self) -> None:
        """Stop the feed, or let it run again, and show it."""
        ui_state = self._ui_state.with_pause_toggled(self._view().feed)
        self._ui_state = msgspec.structs.replace(ui_state, page=_ACTIVITY, is_help=False)

    def change_theme(self) -> None:
        """Show the next theme."""
        names = list(THEMES)
        name = names[(names.index(self._ui_state.theme) + 1) % len(names)]
        self._ui_state = msgspec.structs.replace(self._ui_state, theme=name)
        self._paint()
        self._terminal.clear()

    def _paint(self) -> None:
        """Give the terminal the colors of the theme."""
        theme = self._ui_state.theme
        self._terminal.set_terminal_properties(colors=1 if theme == MONO else self._colors)
        self._terminal.register_palette(THEMES[theme])

    def toggle(self, choice: str) -> None:
        """Switch a choice of the look on or off."""
        changed = {choice: not getattr(self._ui_state, choice)}
        self._ui_state = msgspec.structs.replace(self._ui_state, **changed)

    def toggle_mouse(self) -> None:
        """Take the mouse from the terminal, or give it back."""
        self.toggle("has_mouse")
        self._terminal.set_mouse_tracking(self._ui_state.has_mouse)

    def copy(self) -> None:
        """Copy the chosen row to the clipboard of the terminal."""
        columns, _rows = self._terminal.get_cols_rows()
        text = selected_text(self._view(), self._ui_state, _now(), columns)
        if text:
            self._terminal.copy_to_clipboard(printable(text))
            self._session.note(f"Copied: {text}", "dim")


class Key(NamedTuple):
    """A key.

    :ivar names: what urwid calls it; several keys may do the same.
    :ivar label: what the help calls it.
    """

    names: tuple[str, ...]
    label: str
    told: str
    act: Callable[[Console], None]


_PAGE_OF_ROWS: Final = 10
_WHEEL: Final = {4: -3, 5: 3}
"""The buttons that a wheel presses, and the rows that each goes on."""

_ACTIVITY: Final = [page.name for page in PAGES].index("Activity")

KEYS: Final = (
    *(
        Key(
            (str(number + 1),),
            str(number + 1),
            page.name,
            partial(Console.show_page, number=number),
        )
        for number, page in enumerate(PAGES)
    ),
    Key(("tab",), "Tab", "next page", partial(Console.turn_page, pages=1)),
    Key(("shift tab",), "Shift-Tab", "previous page", partial(Console.turn_page, pages=-1)),
    Key(("down", "j"), "Down, j", "next row", partial(Console.move, rows=1)),
    Key(("up", "k"), "Up, k", "previous row", partial(Console.move, rows=-1)),
    Key(("page down",), "Page Down", "ten rows on", partial(Console.move, rows=_PAGE_OF_ROWS)),
    Key(("page up",), "Page Up", "ten rows back", partial(Console.move, rows=-_PAGE_OF_ROWS)),
    Key(("f",), "f", "activity, next kind", Console.filter_feed),
    Key(("p",), "p", "pause the activity", Console.pause_feed),
    Key(("c",), "c", "copy the chosen row", Console.copy),
    Key(("t",), "t", "next theme", Console.change_theme),
    Key(
        ("a",),
        "a",
        "ASCII letters only",
        partial(Console.toggle, choice="is_ascii"),
    ),
    Key(("m",), "m", "mouse on or off", Console.toggle_mouse),
    Key(
        ("b",),
        "b",
        "mute all but lockouts",
        partial(Console.toggle, choice="is_muted"),
    ),
    Key(("?", "esc"), "?", "these keys", partial(Console.toggle, choice="is_help")),
    Key(("q",), "q", "quit", Console.quit),
)
"""What each key does; the help is made of it."""

_ACTS: Final = {name: key.act for key in KEYS for name in key.names}


@implementer(ILogObserver)
class _FeedObserver:
    """Keeps log messages off the terminal and shows the bad ones in the feed."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: LogEvent) -> None:
        self._console.log(event)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``trader-console``; return its exit status."""
    options = parse_options(arguments)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if options.output == Output.SCREEN and not is_terminal:
        _say("this is a screen; it needs a terminal, or --plain or --json")
        return 1
    account_id = options.account
    if account_id is None:
        account_id = choose_account(options.state, input if is_terminal else None, _say)
    if account_id is None:
        return 2
    from twisted.internet import reactor  # noqa: PLC0415  # nothing may install one on import

    use_steady_clock(reactor)
    if options.output == Output.SCREEN:
        _run_screen(account_id, options, reactor)
    else:
        run_lines(account_id, options, reactor)
    return 0


def _run_screen(account_id: int, options: Options, reactor: Any) -> None:
    settings = options.settings
    ui_state = UiState(theme=options.theme, is_ascii=options.is_ascii, has_mouse=settings.mouse)
    console = Console(
        account_id,
        options.url,
        options.state,
        reactor,
        ui_state,
        settings.hook,
        bell=settings.bell,
    )
    stdout, stderr = sys.stdout, sys.stderr
    globalLogBeginner.beginLoggingTo([_FeedObserver(console)], discardBuffer=True)
    try:
        console.run()
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        _let_go_of_closed_terminal()


def _let_go_of_closed_terminal() -> None:
    """Forget what a terminal that is gone can be shown no more: Python would take that for a failure."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(sentence: str) -> None:
    print(f"trader-console: {sentence}", file=sys.stderr)  # noqa: T201  # nothing is drawn yet


def _now() -> datetime:
    return datetime.now(UTC)
