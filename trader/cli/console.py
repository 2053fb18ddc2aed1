"""The screen at work: terminal, keys, session and client on one reactor."""

from __future__ import annotations

import gc
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

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
from trader.cli.keys import BROWSER_KEYS, KEYS, action_of
from trader.cli.navigation import Navigation, machine_time
from trader.cli.row_work import RowWork, rows_at_once
from trader.client import DaemonClient, UnreadEvent
from trader.model.all_accounts import AllAccounts
from trader.model.followed_daemon import FollowedDaemon
from trader.model.guard_watch import GuardChange, GuardWatch
from trader.model.session import Session
from trader.model.ui_state import UiState
from trader.model.view import View
from trader.ui.accounts_page import (
    in_sight,
)
from trader.ui.screen import (
    RedrawThrottle,
    Screen,
)
from trader.ui.terminal import Terminal
from trader.ui.window_title import title_of_all, window_title

_TICK_SECONDS: Final = 1.0
_DAEMON_STATUS: Final = "daemon_status"

_KEEPALIVE_SECONDS: Final = 5.0
"""A daemon that hangs is lost within twice this time."""

_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that end the program in order; by default, some of them would leave the terminal as it is."""


class Console:
    """The client, the session that it feeds and the screen, on one reactor.

    :param account_id: the account to show; ``None`` for all.
    :param followed: finds the daemon and its state file.
    :param ui_state: what is shown first, and how.
    :param hook: the command that the alarm runs, and its arguments; empty for none.
    :param bell: whether the terminal's bell rings on an alarm.
    :param display: what the screen is drawn on; ``None`` for the terminal.
    :param names: the trader's names of accounts, by account id.
    :ivar navigation: what the trader has chosen to see.
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
        self._names = names or {}
        self._accounts = AllAccounts(
            machine_time,
            self._note_change,
            followed,
            self._alarm_of_account,
            account_id,
            self._view_of,
            self._names,
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
            quotes_wait=self._read_soon,
        )
        self._display = display or terminal_display(reactor)
        self._event_loop = self._display.event_loop
        self._terminal = self._display.screen
        ui_state = ui_state or UiState()
        keys = BROWSER_KEYS if ui_state.is_page else KEYS
        self._actions = {name: key.action for key in keys for name in key.names}
        keys_shown = [(key.label, key.effect) for key in keys]
        self.navigation = Navigation(
            ui_state,
            account_id,
            self._accounts,
            self._terminal,
            self._view_of,
            self._follow_all,
            self._note,
            keys_shown,
        )
        self._screen = Screen(
            self.navigation.view,
            lambda: self.navigation.ui_state,
            machine_time,
            keys_shown,
            self.navigation.listed,
        )
        self._main_loop = urwid.MainLoop(
            self._screen,
            screen=self._terminal,
            event_loop=self._event_loop,
            unhandled_input=self._handle_input,
            handle_mouse=False,
        )
        self.navigation.apply_theme()
        self._throttle = RedrawThrottle(reactor.seconds)
        self._next_draw: IDelayedCall | None = None
        # The accounts whose rows the last draw showed.
        self._in_sight: list[int] = []
        self._draw = self._display.guard(self._draw_now)
        self._tick = self._display.guard(self._tick_now)
        self._work = RowWork(
            reactor,
            self._display.guard(self._work_on_rows),
            lambda: (
                self.navigation.ui_state.is_all
                and (self._accounts.has_work or self._client.has_quotes)
            ),
        )
        self._next_reading: IDelayedCall | None = None
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def start(self) -> None:
        """Show the screen from now on, on a reactor that runs."""
        self._main_loop.start()
        self._begin()

    def stop(self) -> Deferred[None]:
        """End what :meth:`start` began; fires once the daemon's connection is gone."""
        self._cancel_draw()
        self._cancel_reading()
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
        if self.navigation.ui_state.is_all:
            self._accounts.note(text, style)
            self._schedule_draw(important=True)
        else:
            self.navigation.session.note(text, style)

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
        self._terminal.set_mouse_tracking(self.navigation.ui_state.has_mouse)
        self._client.connect()
        self._ticking.start(_TICK_SECONDS)

    def _follow_all(self) -> None:
        self._accounts.follow_all()
        self._client.take_all_accounts()

    def _receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        self._accounts.receive_status(event_type, status)
        if (
            self.navigation.opened is not None
            and self.navigation.opened not in self._accounts.sessions
        ):
            # riskd follows it no more.
            self.navigation.show_all()
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
        if not self.navigation.ui_state.is_all:
            if account_id == self.navigation.opened:
                self._schedule_draw(is_important)
        elif is_important:
            self._schedule_draw(important=True)
        else:
            self._work.begin()

    def _read_soon(self) -> None:
        """Read the quotes that wait when they may be drawn: most are replaced by then."""
        if self.navigation.ui_state.is_all:
            self._work.begin()
        elif self._next_reading is None:
            wait = self._throttle.wait(important=False)
            if wait:
                self._next_reading = self._reactor.callLater(wait, self._read_quotes)
            else:
                self._client.pass_on_quotes()

    def _read_quotes(self) -> None:
        self._next_reading = None
        self._client.pass_on_quotes()

    def _cancel_reading(self) -> None:
        if self._next_reading is not None:
            self._next_reading.cancel()
            self._next_reading = None

    def _work_on_rows(self) -> None:
        self._client.pass_on_quotes()
        if self._accounts.work(self._in_sight, rows_at_once(self._accounts.waiting)):
            self._schedule_draw(important=False)

    def _alarm_of_account(self, event: Event) -> None:
        is_elsewhere = (
            not self.navigation.ui_state.is_all and event.account_id != self.navigation.opened
        )
        if is_elsewhere and isinstance(event.data, LockoutSet) and self._accounts.flash:
            # The feed of the open account is where the trader sees it.
            self.navigation.session.flash(self._accounts.flash)
        if self.navigation.ui_state.is_all:
            # Its row was drawn before it flashed.
            self._schedule_draw(important=True)
        self._raise_alarm(event)

    def _raise_alarm(self, change: GuardChange) -> None:
        self._alarm.handle(change, is_muted=self.navigation.ui_state.is_muted)

    def _ring(self) -> None:
        if self._terminal.started:
            self._terminal.ring()

    # Drawing.

    def _tick_now(self) -> None:
        self._client.pass_on_quotes()
        self._accounts.take_turn()
        if self.navigation.ui_state.is_all:
            self._work.begin()
        # Ages and countdowns change without an event.
        self._schedule_draw(important=False)

    def _view_of(self, session: Session) -> View:
        client, retry_at = self._client, self._client.retry_at
        return session.view(
            None if retry_at is None else retry_at - self._reactor.seconds(),
            client.gateway_name,
            self._followed.url,
            client.dropped.total(),
            is_dry_run=client.is_dry_run,
            silent_for=client.silent_seconds,
            name=self._names.get(session.account_id, ""),
        )

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
        self._throttle.record()
        # A malformed quote adds a line to the feed, which schedules a draw; that must not start within one.
        self._client.pass_on_quotes()
        # This draw shows what they have changed, and none waits.
        self._cancel_draw()
        self._cancel_reading()
        listed = None
        if self.navigation.ui_state.is_all:
            self._accounts.catch_up()
            listed, (_columns, rows) = self.navigation.listed(), self._terminal.get_cols_rows()
            self._in_sight = in_sight(listed, self.navigation.ui_state, machine_time(), rows)
        else:
            self.navigation.session.read_quotes()
        self._screen.redraw()
        if self._terminal.started:
            self._main_loop.draw_screen()
            if self._display.set_title is not None:
                self._display.set_title(
                    window_title(self.navigation.view())
                    if listed is None
                    else title_of_all(listed)
                )

    def _cancel_draw(self) -> None:
        if self._next_draw is not None and self._next_draw.active():
            self._next_draw.cancel()
        self._next_draw = None

    # Input.

    def _handle_input(self, key: Any) -> None:
        is_typing = self.navigation.ui_state.is_typing
        action = action_of(key, self._actions, is_typing=is_typing)
        if action is not None:
            action(self.navigation)
            self._schedule_draw(important=True)
