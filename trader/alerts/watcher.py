"""Follow the daemon, and pass on what is news of it and of its accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from riskd.host.timing import lasting_loop
from riskd.journal.discovery import gateway_words
from riskd.journal.reader import StateFileError
from riskd.model.account import AccountState
from riskd.model.clock_offset import ERROR as WRONG_CLOCK
from riskd.model.clock_offset import offset_words
from riskd.model.events import (
    DaemonStatus,
    DailyReset,
    EnforcementAction,
    Event,
    EventData,
    LockoutCleared,
    LockoutSet,
    Status,
)
from trader.alerts.account_watch import AccountWatch
from trader.alerts.alert import Alert, Kind, make_alert
from trader.alerts.settings import Settings
from trader.client import CONNECTION_STATUS, DaemonClient, ReadEvent
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import age
from trader.model.guard_watch import ConnectionChange, GuardChange, GuardWatch
from trader.model.session import Session
from trader.model.view import View

KEEPALIVE_SECONDS: Final = 3.0
"""A daemon that hangs is gone after twice this time."""

_TICK_SECONDS: Final = 1.0
_SETTLED_SECONDS: Final = 5.0
"""How long a connection must last before it says that all is well."""

_NEWS: Final = (LockoutSet, LockoutCleared, EnforcementAction, DailyReset)
"""The events that are news themselves; what follows from others is looked at each second."""

_log = Logger()


class Watcher:
    """The client of the stream, and a session and a watch for each account.

    :param accounts: the accounts to watch; empty for all of the daemon.
    :param followed: finds the daemon and its state file.
    :param send: receives each alert of a kind that the settings want.
    """

    def __init__(
        self,
        accounts: Sequence[int],
        followed: FollowedDaemon,
        settings: Settings,
        send: Callable[[Alert], object],
        reactor: Any,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reactor = reactor
        self._followed = followed
        self._settings = settings
        self._send = send
        self._now = now
        self._takes_all = not accounts
        self._is_stopping = False
        self._file_problem = ""
        self._sessions: dict[int, tuple[Session, AccountWatch]] = {}
        for account_id in accounts:
            self._watch(account_id)
        self._guard_watch = GuardWatch(self._report_change, from_start=True)
        self._daemon: DaemonStatus | None = None
        self._lost_at = reactor.seconds()
        self._connected_at = reactor.seconds()
        self.client = DaemonClient(
            None,
            self.receive_status,
            followed.url,
            reactor=reactor,
            take_event=self.receive,
            find_url=followed.locate,
            admit=followed.admit,
            keepalive_seconds=KEEPALIVE_SECONDS,
        )
        self.on_tick: Callable[[], object] = lambda: None
        self._ticking = lasting_loop(reactor, self._tick, _log)

    def start(self) -> None:
        """Connect, and look each second."""
        self.client.connect()
        self._ticking.start(_TICK_SECONDS)

    def stop(self) -> Deferred[None]:
        """Disconnect; fires when that is done."""
        self._is_stopping = True
        if self._ticking.running:
            self._ticking.stop()
        return self.client.disconnect()

    # What the client calls.

    def receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        """Handle the client's report on its connection."""
        if self._is_stopping:
            # This program is gone, and not the daemon.
            return
        is_connected = status["connected"]
        if is_connected:
            self._daemon = None
            self._connected_at = self._reactor.seconds()
            _log.info("connected to {url}", url=self._followed.url)
            self._find_accounts()
        for account_id in self._sessions:
            with self._on_its_own(account_id):
                self._receive_status_of(account_id, event_type, status)
        self._guard_watch.connection(
            self._daemon, is_connected=is_connected, reason=status["reason"]
        )

    def _receive_status_of(self, account_id: int, event_type: str, status: dict[str, Any]) -> None:
        session, _watch = self._sessions[account_id]
        session.receive_status(event_type, status)
        if status["connected"] and session.daemon is not None:
            self._daemon = session.daemon
        self._look(account_id)

    def receive(self, event_type: str, read: ReadEvent) -> None:
        """Handle an event that is not decoded yet."""
        event = read()
        if event is None:
            return
        if event.account_id is None:
            self._receive_of_daemon(event)
            return
        if event.account_id not in self._sessions:
            if not self._takes_all:
                return
            self._begin(event.account_id)
        is_news = isinstance(event.data, _NEWS)
        if is_news:
            # What came before is part of what this event ends, such as a day.
            self._look(event.account_id)
        self._sessions[event.account_id][0].receive(event_type, lambda: event)
        if is_news:
            self._look(event.account_id, event.data)

    def _receive_of_daemon(self, event: Event) -> None:
        for account_id, (session, _watch) in self._sessions.items():
            with self._on_its_own(account_id):
                session.receive(event.type, lambda: event)
                self._look(account_id)
        if isinstance(event.data, DaemonStatus):
            self._daemon = event.data
            self._guard_watch.status(event.data)

    # Accounts.

    def _find_accounts(self) -> None:
        """Watch all accounts of the daemon, unless some were named."""
        if not self._takes_all:
            return
        try:
            known = self._followed.read().accounts
        except StateFileError as error:
            if str(error) != self._file_problem:
                self._file_problem = str(error)
                text = f"the accounts of riskd are not known: {error}"
                self._alert_of_daemon(Kind.ERROR, text, message=text)
            return
        self._file_problem = ""
        for account_id in sorted(known.keys() - self._sessions.keys()):
            self._watch(account_id)

    def _begin(self, account_id: int) -> None:
        """Watch an account of a connected daemon."""
        if account_id not in self._sessions:
            self._watch(account_id)
        connected = {"connected": True, "reason": "connected"}
        self._sessions[account_id][0].receive_status(CONNECTION_STATUS, connected)
        self._look(account_id)

    def _watch(self, account_id: int) -> None:
        session = Session(
            account_id,
            self._now,
            lambda _important: None,
            self._followed.read,
            self._followed.version,
            handshake_origin=lambda: self._followed.origin,
        )
        self._sessions[account_id] = (session, AccountWatch(account_id, self._settings.marks))

    # Looking.

    def _tick(self) -> None:
        if self.client.connected and not self._sessions:
            self._find_accounts()
            for account_id in self._sessions:
                self._begin(account_id)
        for account_id in self._sessions:
            with self._on_its_own(account_id):
                self._tick_of(account_id)
        self.on_tick()

    def _tick_of(self, account_id: int) -> None:
        session, watch = self._sessions[account_id]
        session.poll_file()
        self._look(account_id)
        now = session.now()
        news = watch.look_at_limits(self._view(session), now)
        if watch.has_ended_day:
            news += watch.look_at_day(self._copy_of(account_id), now)
        for alert in news:
            self._pass_on(alert)

    @contextmanager
    def _on_its_own(self, account_id: int) -> Iterator[None]:
        """Let a mistake in what is done for one account keep nothing from the others."""
        try:
            yield
        except Exception:  # noqa: BLE001  # the news of the daemon and of other accounts must get through
            _log.failure("internal error in watching account {account}", account=account_id)

    def _copy_of(self, account_id: int) -> AccountState | None:
        """Return an account in the published copy."""
        try:
            return self._followed.read().accounts.get(account_id)
        except StateFileError:
            return None

    def _look(self, account_id: int, event: EventData | None = None) -> None:
        session, watch = self._sessions[account_id]
        for alert in watch.look(self._view(session), session.now(), event):
            self._pass_on(alert)

    def _view(self, session: Session) -> View:
        client = self.client
        return session.view(gateway_name=client.gateway_name, is_dry_run=client.is_dry_run)

    def _report_change(self, change: GuardChange) -> None:
        seconds = self._reactor.seconds()
        if not isinstance(change, ConnectionChange):
            data = change.data
            if isinstance(data, DaemonStatus):
                self._alert_of_status(data)
        elif change.connected:
            away = age(seconds - self._lost_at)
            self._alert_of_daemon(Kind.BACK, f"riskd is back, after {away}", away=away)
        else:
            self._lost_at = seconds
            text = f"riskd is GONE: {change.reason}. Count on nothing to enforce your limits until it is back"
            self._alert_of_daemon(Kind.GONE, text, reason=change.reason)

    def _alert_of_status(self, status: DaemonStatus) -> None:
        if status.status is Status.ERROR:
            text = f"riskd has an ERROR: {status.message}"
            self._alert_of_daemon(Kind.ERROR, text, message=status.message)
        else:
            text = f"riskd's error has ended: {status.message}"
            self._alert_of_daemon(Kind.RUNNING, text, message=status.message)

    def _alert_of_daemon(self, kind: Kind, text: str, **fields: str) -> None:
        accounts = ", ".join(map(str, self._sessions)) or "all"
        gateway = gateway_words(self.client.gateway_name)
        self._pass_on(
            make_alert(kind, self._now(), account=accounts, gateway=gateway, text=text, **fields)
        )

    def _pass_on(self, alert: Alert) -> None:
        if alert.kind in self._settings.send:
            account, text = alert.fields["account"], alert.fields["text"]
            _log.info(
                "{kind} of {account}: {text}", kind=alert.kind.value, account=account, text=text
            )
            self._send(alert)

    def trouble(self) -> str:
        """Return why no heartbeat may be sent; empty if one may.

        All is well while the daemon runs, is in step and is heard, and this machine's clock is right.
        """
        if not self.client.connected:
            return "riskd is not connected"
        if self._reactor.seconds() - self._connected_at < _SETTLED_SECONDS:
            return "riskd has just been connected"
        if self._daemon is None or self._daemon.status is not Status.RUNNING:
            return "riskd is not RUNNING"
        views = [self._view(session) for session, _watch in self._sessions.values()]
        return next(filter(None, map(_trouble_of, views)), "") if views else "no account is known"


def _trouble_of(view: View) -> str:
    """Return what is wrong with what is known of an account, or with the clock."""
    if view.events_only_since is not None:
        return f"the last known state cannot be read: {view.file_problem}"
    if view.clock_offset is None:
        return "the offset of this machine's clock is not known"
    return offset_words(view.clock_offset) if abs(view.clock_offset) > WRONG_CLOCK else ""
