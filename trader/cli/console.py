"""The screen at work: terminal, keys, session and client on one reactor."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import urwid
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import LogEvent, LogLevel, formatEvent
from urwid.display.common import InputClosedError

from riskd.model.events import Event, LockoutSet
from trader.cli.alarm import Alarm
from trader.cli.congestion import Congestion
from trader.cli.display import Display, terminal_display
from trader.cli.row_work import ROWS_AT_ONCE, RowWork
from trader.client import DaemonClient, UnreadEvent
from trader.model.account_row import ORDERS, AccountList
from trader.model.all_accounts import AllAccounts
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import terminal_text
from trader.model.guard_watch import GuardChange, GuardWatch
from trader.model.session import Session
from trader.model.ui_state import FILTERS, UiState
from trader.model.view import View
from trader.ui.accounts_page import (
    found_rows,
    in_sight,
    selected_account_text,
    selected_row,
)
from trader.ui.pages import PAGES, Body
from trader.ui.palette import MONO, THEMES
from trader.ui.screen import (
    RedrawThrottle,
    Screen,
    all_body,
    page_at,
    page_body,
    text_to_copy,
)
from trader.ui.terminal import Terminal
from trader.ui.window_title import title_of_all, window_title

_TICK_SECONDS: Final = 1.0
_DAEMON_STATUS: Final = "daemon_status"

_KEEPALIVE_SECONDS: Final = 5.0
"""A daemon that hangs is lost within twice this time."""

_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that end the program in order; by default, some of them would leave the terminal as it is."""

_LONGEST_SEARCH: Final = 30

_NO_SCREENS: Final = Fraction(0)
_HALF: Final = Fraction(1, 2)

_NOTHING_OPEN: Final = dict.fromkeys(("is_help", "is_open", "is_glance", "is_typing"), False)

_WHILE_TYPING: Final = ("enter", "esc", "up", "down", "page up", "page down")
"""The keys that mean the same while a text is typed."""


class Console:
    """The client, the session that it feeds and the screen, on one reactor.

    :param account_id: the account to show; ``None`` for all.
    :param followed: finds the daemon and its state file.
    :param ui_state: what is shown first, and how.
    :param hook: the command that the alarm runs, and its arguments; empty for none.
    :param bell: whether the terminal's bell rings on an alarm.
    :param display: what the screen is drawn on; ``None`` for the terminal.
    :param names: the trader's names of accounts, by account id.
    """

    def __init__(
        self,
        account_id: int | None,
        followed: FollowedDaemon,
        reactor: Any,
        ui_state: UiState | None = None,
        hook: Sequence[str] = (),
        *,
        bell: bool = True,
        display: Display | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._reactor = reactor
        self._followed = followed
        self._ui_state = ui_state or UiState()
        self._choose(is_all=account_id is None)
        self._opened = account_id
        self._accounts = AllAccounts(
            _now,
            self._note_change,
            followed,
            self._alarm_of_account,
            account_id,
            self._view_of,
            names,
        )
        self._alarm = Alarm(reactor, self._ring if bell else None, hook)
        self._guard_watch = GuardWatch(self._raise_alarm)
        self._client = DaemonClient(
            account_id,
            self._receive_status,
            followed.url,
            reactor=reactor,
            take_event=self._receive,
            find_url=followed.locate,
            admit=followed.admit,
            keepalive_seconds=_KEEPALIVE_SECONDS,
        )
        self._display = display or terminal_display(reactor)
        self._event_loop = self._display.event_loop
        self._terminal = self._display.screen
        self._colors = self._terminal.colors
        keys = KEYS if isinstance(self._terminal, Terminal) else BROWSER_KEYS
        self._actions = {name: key.action for key in keys for name in key.names}
        self._help = [(key.label, key.effect) for key in keys]
        self._screen = Screen(
            self._view,
            lambda: self._ui_state,
            _now,
            self._help,
            self._listed,
        )
        self._main_loop = urwid.MainLoop(
            self._screen,
            screen=self._terminal,
            event_loop=self._event_loop,
            unhandled_input=self._handle_input,
            handle_mouse=False,
        )
        self._apply_theme()
        self._throttle = RedrawThrottle(reactor.seconds)
        self._next_draw: IDelayedCall | None = None
        self._draw = self._display.guard(self._draw_now)
        self._tick = self._display.guard(self._tick_now)
        self._work = RowWork(
            reactor, self._display.guard(self._work_on_rows), lambda: self._accounts.has_work
        )
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def start(self) -> None:
        """Show the screen from now on, on a reactor that runs."""
        self._main_loop.start()
        self._begin()

    def stop(self) -> Deferred[None]:
        """End what :meth:`start` began; fires once the daemon's connection is gone."""
        self._cancel_draw()
        self._work.stop()
        if self._ticking.running:
            self._ticking.stop()
        # The event loop may still call.
        self._draw = self._tick = lambda: None
        self._main_loop.stop()
        return self._client.disconnect()

    def redraw(self) -> None:
        """Draw soon: what is drawn on takes output again."""
        self._schedule_draw(important=True)

    def run(self) -> None:
        """Show the screen on the terminal until the trader quits.

        :raises TypeError: the display is a page.
        """
        terminal = self._terminal
        if not isinstance(terminal, Terminal) or terminal.output is None:
            raise TypeError("a page is started; only a terminal is run")
        output = terminal.output
        # The objects of the imports live to the end; searching them for garbage takes longer than a draw.
        gc.freeze()
        self._handle_signals(terminal)
        Congestion(self._reactor, output, self.redraw)
        output.on_lost = self._end
        self._reactor.callWhenRunning(self._begin)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._client.disconnect)
        try:
            self._main_loop.run()
        except BaseException as error:
            # urwid crashes the reactor then, without its shutdown, and the threads that resolve names
            # would keep the program from ending.
            self._reactor.getThreadPool().stop()
            # A closed terminal is a normal end.
            if not isinstance(error, InputClosedError):
                raise
        finally:
            output.close()

    def log_to_feed(self, event: LogEvent) -> None:
        """Observe the log: add each warning and error of the program itself to the feed."""
        if event["log_level"] >= LogLevel.warn:
            # print() is logged, too, and may have printed a blank line.
            text = formatEvent(event).strip()
            if text:
                self._note(text.splitlines()[0])

    def _note(self, text: str, style: str = "alert") -> None:
        """Show a line of the program itself."""
        if self._ui_state.is_all:
            self._accounts.note(text, style)
            self._schedule_draw(important=True)
        else:
            self._session.note(text, style)

    def _handle_signals(self, terminal: Terminal) -> None:
        """Handle signals from here on: one may arrive before the reactor runs."""
        for number in _ENDING_SIGNALS:
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._end))
        # SIGSTOP cannot be handled, but what follows it can.
        signal.signal(signal.SIGCONT, lambda *_: self._reactor.callFromThread(terminal.resume))
        # In the background, setting up the terminal stops the program; it is tried again when that goes on.
        signal.siginterrupt(signal.SIGCONT, False)

    def _end(self) -> None:
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _begin(self) -> None:
        self._terminal.set_mouse_tracking(self._ui_state.has_mouse)
        self._client.connect()
        self._ticking.start(_TICK_SECONDS)

    @property
    def _session(self) -> Session:
        """The session of the account that is opened."""
        assert self._opened is not None  # noqa: S101  # where none is, all are shown
        return self._accounts.sessions[self._opened]

    def _receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        self._accounts.receive_status(event_type, status)
        if self._opened is not None and self._opened not in self._accounts.sessions:
            # riskd follows it no more.
            self.show_all()
        self._guard_watch.connection(
            self._accounts.daemon, is_connected=status["connected"], reason=status["reason"]
        )
        if not self._accounts.sessions:
            # No session reports the change.
            self._schedule_draw(important=True)

    def _receive(self, event_type: str, read: UnreadEvent) -> None:
        self._accounts.receive(event_type, read)
        if event_type == _DAEMON_STATUS:
            self._guard_watch.status(self._accounts.daemon)

    def _note_change(self, account_id: int, is_important: bool) -> None:
        if not self._ui_state.is_all:
            if account_id == self._opened:
                self._schedule_draw(is_important)
        elif is_important:
            self._schedule_draw(important=True)
        else:
            self._work.begin()

    def _work_on_rows(self) -> None:
        _columns, rows = self._terminal.get_cols_rows()
        self._accounts.work(in_sight(self._listed(), self._ui_state, _now(), rows), ROWS_AT_ONCE)
        self._schedule_draw(important=False)

    def _alarm_of_account(self, event: Event) -> None:
        is_elsewhere = not self._ui_state.is_all and event.account_id != self._opened
        if is_elsewhere and isinstance(event.data, LockoutSet) and self._accounts.flash:
            # The feed of the open account is where the trader sees it.
            self._session.flash(self._accounts.flash)
        if self._ui_state.is_all:
            # Its row was drawn before it flashed.
            self._schedule_draw(important=True)
        self._raise_alarm(event)

    def _raise_alarm(self, change: GuardChange) -> None:
        self._alarm.handle(change, is_muted=self._ui_state.is_muted)

    def _ring(self) -> None:
        if self._terminal.started:
            self._terminal.ring()

    # Drawing.

    def _tick_now(self) -> None:
        self._accounts.take_turn()
        if self._ui_state.is_all:
            self._work.begin()
        # Ages and countdowns change without an event.
        self._schedule_draw(important=False)

    def _view(self) -> View:
        return self._view_of(self._session)

    def _view_of(self, session: Session) -> View:
        client, retry_at = self._client, self._client.retry_at
        return session.view(
            None if retry_at is None else retry_at - self._reactor.seconds(),
            client.gateway_name,
            self._followed.url,
            client.dropped.total(),
            is_dry_run=client.is_dry_run,
            silent_for=client.silent_seconds,
        )

    def _listed(self) -> AccountList:
        return self._accounts.listed(self._ui_state.order)

    def _schedule_draw(self, important: bool) -> None:
        """Draw as soon as the throttle allows; an important change may be drawn at once."""
        if self._next_draw is not None and not important:
            # The scheduled draw is no later than this one would be.
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
        # A malformed quote adds a line to the feed, which schedules a draw; that must not start within one.
        if self._ui_state.is_all:
            self._accounts.catch_up()
        else:
            self._session.read_quotes()
        self._screen.redraw()
        if self._terminal.started:
            self._main_loop.draw_screen()
            if self._display.set_title is not None:
                is_all = self._ui_state.is_all
                self._display.set_title(
                    title_of_all(self._listed()) if is_all else window_title(self._view())
                )

    def _cancel_draw(self) -> None:
        if self._next_draw is not None and self._next_draw.active():
            self._next_draw.cancel()
        self._next_draw = None

    # Input.

    def _handle_input(self, key: Any) -> None:
        if isinstance(key, tuple):
            action = _mouse_action(key)
        elif self._ui_state.is_typing and key not in _WHILE_TYPING:
            action = partial(Console.type_search, key=key)
        else:
            action = self._actions.get(key)
        if action is not None:
            action(self)
            self._schedule_draw(important=True)

    def _choose(self, **choices: Any) -> None:
        """Change fields of the UI state."""
        self._ui_state = msgspec.structs.replace(self._ui_state, **choices)

    def click(self, column: int, row: int) -> None:
        """Show the page whose name was clicked in the last row of the screen."""
        columns, rows = self._terminal.get_cols_rows()
        is_footer = row == rows - 1 and not self._ui_state.is_all
        page = page_at(self._ui_state, columns, column) if is_footer else None
        if page is not None:
            self.show_page(page)

    def quit(self) -> None:
        """End the program.

        :raises urwid.ExitMainLoop: always; it ends urwid's loop.
        """
        raise urwid.ExitMainLoop

    def show_page(self, number: int) -> None:
        """Show the page ``number``; past the last page, begin with the first again.

        Where all accounts are shown, it is that of the selected one.
        """
        if self._ui_state.is_all and not self._open_account():
            return
        self._choose(page=number % len(PAGES), row=0, scroll=0, search="", **_NOTHING_OPEN)

    def turn_page(self, pages: int) -> None:
        """Show the page so many further."""
        if not self._ui_state.is_all:
            self.show_page(self._ui_state.page + pages)

    def move(self, rows: int = 0, screens: Fraction = _NO_SCREENS) -> None:
        """Select the row so many further down, or scroll what has no rows."""
        ui_state, body = self._ui_state, self._body()
        rows += int(screens * body.height) or (screens > 0) - (screens < 0)
        if ui_state.is_all and not ui_state.is_help:
            self._select_account(rows)
            return
        place = "scroll" if ui_state.is_help or PAGES[ui_state.page].rows is None else "row"
        begin = min(getattr(ui_state, place), body.places - 1)
        self._choose(**{place: max(0, min(begin + rows, body.places - 1))})

    def _select_account(self, rows: int, *, turns: bool = False) -> None:
        """Select the account so many rows further down.

        :param turns: whether the first row comes after the last one.
        """
        found = found_rows(self._listed(), self._ui_state, _now())
        if found:
            place = selected_row(found, self._ui_state) + rows
            place = place % len(found) if turns else max(0, min(place, len(found) - 1))
            self._choose(account=found[place].account_id)

    def next_found(self, rows: int) -> None:
        """Select the found row ``rows`` further down; after the last, the first."""
        if self._ui_state.is_all:
            self._select_account(rows, turns=bool(self._ui_state.search))
            return
        body = self._body()
        if self._ui_state.search and PAGES[self._ui_state.page].rows is not None and body.places:
            self._choose(row=(self._ui_state.row + rows) % body.places)
        else:
            self.move(rows)

    def _body(self) -> Body:
        columns, rows = self._terminal.get_cols_rows()
        if self._ui_state.is_all:
            return all_body(self._listed(), self._ui_state, _now(), columns, rows, self._help)
        now = self._session.now()
        return page_body(self._view(), self._ui_state, now, columns, rows, self._help)

    def open_row(self) -> None:
        """Keep the search that is being typed, or show the selected row in full."""
        if self._ui_state.is_typing:
            self._choose(is_typing=False)
        elif self._ui_state.is_all:
            self._open_account()
        elif PAGES[self._ui_state.page].rows is not None and self._body().places:
            self._choose(is_open=True, is_help=False)

    def _open_account(self) -> bool:
        """Show the selected account; return whether there is one."""
        found = found_rows(self._listed(), self._ui_state, _now())
        if not found:
            return False
        self._opened = found[selected_row(found, self._ui_state)].account_id
        self._work.stop()
        # The place among all stays for the way back.
        self._choose(is_all=False, account=self._opened)
        self.show_page(0)
        return True

    def show_all(self) -> None:
        """Show all accounts."""
        if self._ui_state.is_all:
            return
        self._accounts.follow_all()
        self._client.take_all_accounts()
        self._choose(is_all=True, account=self._opened, scroll=0, search="", **_NOTHING_OPEN)
        self._opened = None

    def change_order(self) -> None:
        """Put all accounts in the next order."""
        if self._ui_state.is_all:
            self._choose(order=(self._ui_state.order + 1) % len(ORDERS))

    def close(self) -> None:
        """Close what is open: the help or a row, else the search, else the account."""
        ui_state = self._ui_state
        if ui_state.is_help or ui_state.is_open or ui_state.is_glance:
            self._choose(is_help=False, is_open=False, is_glance=False, scroll=0)
        elif ui_state.search or ui_state.is_typing or not self._accounts.are_all:
            self._choose(search="", is_typing=False, scroll=0)
        else:
            self.show_all()

    def show_help(self) -> None:
        """Show the keys, or close them."""
        self._choose(is_help=not self._ui_state.is_help, scroll=0)

    def begin_search(self) -> None:
        """Search for the text that is typed from now on."""
        self._choose(search="", row=0, scroll=0, **{**_NOTHING_OPEN, "is_typing": True})

    def type_search(self, key: str) -> None:
        """Add a letter to the text of the search, or take the last one away."""
        text = self._ui_state.search
        if key == "backspace":
            text = text[:-1]
        elif len(key) == 1 and key.isprintable():
            text += key
        self._choose(search=text[:_LONGEST_SEARCH], row=0, scroll=0)

    def filter_feed(self) -> None:
        """Show the activity; if it is shown already, filter it by the next kind."""
        if self._ui_state.page == _ACTIVITY:
            following = (self._ui_state.filter + 1) % len(FILTERS)
            self._choose(filter=following, row=0, **_NOTHING_OPEN)
        else:
            self.show_page(_ACTIVITY)

    def pause_feed(self) -> None:
        """Show the activity, and pause it or let it run again."""
        self.show_page(_ACTIVITY)
        self._choose(paused_feed=self._view().feed if self._ui_state.paused_feed is None else None)

    def change_theme(self) -> None:
        """Show the next theme."""
        names = list(THEMES)
        self._choose(theme=names[(names.index(self._ui_state.theme) + 1) % len(names)])
        self._apply_theme()
        self._terminal.clear()

    def _apply_theme(self) -> None:
        theme = self._ui_state.theme
        self._terminal.set_terminal_properties(colors=1 if theme == MONO else self._colors)
        self._terminal.register_palette(THEMES[theme])

    def toggle(self, choice: str) -> None:
        """Negate a boolean field of the UI state."""
        self._choose(**{choice: not getattr(self._ui_state, choice)})

    def toggle_glance(self) -> None:
        """Show or leave the large figures of one account; the list of all has none."""
        if not self._ui_state.is_all:
            self.toggle("is_glance")

    def toggle_mouse(self) -> None:
        """Take the mouse from the terminal, or give it back."""
        self.toggle("has_mouse")
        self._terminal.set_mouse_tracking(self._ui_state.has_mouse)

    def copy(self) -> None:
        """Copy the selected row to the terminal's clipboard."""
        text = self._selected_text()
        if text and not self._terminal.is_congested:
            self._terminal.copy_to_clipboard(terminal_text(text))
            self._note(f"Copied: {text}", "dim")

    def _selected_text(self) -> str:
        if self._ui_state.is_all:
            return selected_account_text(self._listed(), self._ui_state, _now())
        columns, rows = self._terminal.get_cols_rows()
        return text_to_copy(self._view(), self._ui_state, self._session.now(), columns, rows)


Action = Callable[[Console], None]


class Key(NamedTuple):
    """A key.

    :ivar names: urwid's names of the keys that have this effect.
    :ivar label: the name in the help.
    :ivar effect: the effect, in the help.
    """

    names: tuple[str, ...]
    label: str
    effect: str
    action: Action


_ALL_ROWS: Final = 1_000_000
"""More than any list has."""

_WHEEL_ROWS: Final = {4: -3, 5: 3}
"""The rows to move, by the button that urwid reports for the wheel."""

_ACTIVITY: Final = [page.name for page in PAGES].index("Activity")

KEYS: Final = (
    *(
        Key((str(number),), str(number), page.name, partial(Console.show_page, number=number - 1))
        for number, page in enumerate(PAGES, 1)
    ),
    Key(("0",), "0", "all accounts", Console.show_all),
    Key(("o",), "o", "sort accounts", Console.change_order),
    Key(("tab",), "Tab", "next page", partial(Console.turn_page, pages=1)),
    Key(("shift tab",), "Shift-Tab", "previous page", partial(Console.turn_page, pages=-1)),
    Key(("down", "j"), "Down, j", "next row", partial(Console.move, rows=1)),
    Key(("up", "k"), "Up, k", "previous row", partial(Console.move, rows=-1)),
    Key(("page down",), "Page Down", "a screen down", partial(Console.move, screens=Fraction(1))),
    Key(("page up",), "Page Up", "a screen up", partial(Console.move, screens=Fraction(-1))),
    Key(("ctrl d",), "Ctrl-D", "half page down", partial(Console.move, screens=_HALF)),
    Key(("ctrl u",), "Ctrl-U", "half page up", partial(Console.move, screens=-_HALF)),
    Key(("home", "g"), "Home, g", "first row", partial(Console.move, rows=-_ALL_ROWS)),
    Key(("end", "G"), "End, G", "last row", partial(Console.move, rows=_ALL_ROWS)),
    Key(("enter",), "Enter", "open the row", Console.open_row),
    Key(("/",), "/", "find rows by text", Console.begin_search),
    Key(("n",), "n", "next found row", partial(Console.next_found, rows=1)),
    Key(("N",), "N", "previous found row", partial(Console.next_found, rows=-1)),
    Key(("esc",), "Esc", "close what is open", Console.close),
    Key(("f",), "f", "next activity filter", Console.filter_feed),
    Key(("p",), "p", "pause the activity", Console.pause_feed),
    Key(("c",), "c", "copy the selected row", Console.copy),
    Key(("z",), "z", "large figures", Console.toggle_glance),
    Key(("t",), "t", "next theme", Console.change_theme),
    Key(("a",), "a", "ASCII characters only", partial(Console.toggle, choice="is_ascii")),
    Key(("m",), "m", "mouse on or off", Console.toggle_mouse),
    Key(("b",), "b", "mute all but lockouts", partial(Console.toggle, choice="is_muted")),
    Key(("?",), "?", "show the keys", Console.show_help),
    Key(("q",), "q", "quit", Console.quit),
)
"""All keys on a terminal; the help is made of them."""

_BROWSERS_OWN: Final = ("Ctrl-D", "Ctrl-U", "c", "m", "q")

BROWSER_KEYS: Final = tuple(key for key in KEYS if key.label not in _BROWSERS_OWN)
"""The keys on a page; the browser itself copies, uses the mouse and closes, and keeps its keys with Ctrl."""


def _mouse_action(event: tuple[str, int, int, int]) -> Action | None:
    """Return the effect of a wheel turn or a click; ``None`` for other mouse events."""
    kind, button, column, row = event
    if not kind.endswith("press"):
        return None
    if button in _WHEEL_ROWS:
        return partial(Console.move, rows=_WHEEL_ROWS[button])
    return partial(Console.click, column=column, row=row)


def _now() -> datetime:
    return datetime.now(UTC)
