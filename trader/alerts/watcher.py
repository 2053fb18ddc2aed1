"""Follow the daemon, and pass on what is news of it and of its accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from riskd.host.timing import lasting_loop
from riskd.journal.discovery import gateway_words
from riskd.journal.gateway_identity import DESK
from riskd.journal.reader import StateFileError
from riskd.model.account import AccountState
from riskd.model.desk_status import OF_RELAY
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
from trader.alerts.desk_watch import OF_RELAY_ITSELF, DeskWatch, is_of_relay
from trader.alerts.settings import Settings
from trader.alerts.well_being import trouble_of
from trader.client import CONNECTION_STATUS, DaemonClient, ReadEvent
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import age
from trader.model.guard_watch import ConnectionChange, GuardChange, GuardWatch
from trader.model.session import Session
from trader.model.shared_copy import SharedCopy
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
        self._copy = SharedCopy(followed.read, followed.version)
        self._desk = DeskWatch()
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
            # Another riskd may have published it since.
            self._copy.forget()
            self._find_accounts()
        with self._copy.for_several(self._sessions):
            for account_id in self._sessions:
                with self._on_its_own(account_id):
                    self._receive_status_of(account_id, event_type, status)
        self._guard_watch.connection(
            None if self._is_of_desk else self._daemon,
            is_connected=is_connected,
            reason=status["reason"],
        )
        self._look_at_desk()

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
        if self._is_of_desk:
            # A trader may have joined, or left.
            self._begin_new()
        with self._copy.for_several(self._sessions):
            for account_id, (session, _watch) in self._sessions.items():
                with self._on_its_own(account_id):
                    session.receive(event.type, lambda: event)
                    self._look(account_id)
        if isinstance(event.data, DaemonStatus):
            self._daemon = event.data
            if not self._is_of_desk or is_of_relay(event.data):
                self._guard_watch.status(event.data)
        self._look_at_desk()

    @property
    def _is_of_desk(self) -> bool:
        """Whether the accounts are a desk's, each with a riskd of its own."""
        kind, _instance = self._followed.origin
        # Before the first connection, the copies say it.
        return DESK in (kind, *(each.gateway_name for each, _ in self._sessions.values()))

    def _look_at_desk(self) -> None:
        """Pass on what is news of the riskd's of a connected desk."""
        if self._is_of_desk and self.client.connected:
            statuses = {key: session.daemon for key, (session, _) in self._sessions.items()}
            for alert in self._desk.look(statuses, self._reactor.seconds(), self._now()):
                self._pass_on(alert)

    # Accounts.

    def _find_accounts(self) -> list[int]:
        """Watch all accounts, unless some were named; return those that are new."""
        found = list[int]()
        if not self._takes_all:
            return found
        if self._file_problem:
            self._copy.forget()
        try:
            known = self._copy.read_all().accounts
        except StateFileError as error:
            if str(error) != self._file_problem:
                self._file_problem = str(error)
                text = f"the accounts of riskd are not known: {error}"
                self._alert_of_daemon(Kind.ERROR, text, message=text)
            return found
        self._file_problem = ""
        for account_id in sorted(self._sessions.keys() - known.keys()) if self._is_of_desk else ():
            del self._sessions[account_id]
            _log.info("account {account} has left the desk", account=account_id)
        for account_id in sorted(known.keys() - self._sessions.keys()):
            self._watch(account_id)
            found.append(account_id)
        return found

    def _begin_new(self) -> None:
        """Watch the accounts that a connected daemon has and that are not watched yet."""
        for account_id in self._find_accounts():
            self._begin(account_id)

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
            partial(self._copy.read, account_id),
            self._copy.version,
            handshake_origin=lambda: self._followed.origin,
        )
        self._sessions[account_id] = (session, AccountWatch(account_id, self._settings.marks))

    # Looking.

    def _tick(self) -> None:
        if self.client.connected and not self._sessions:
            self._begin_new()
        with self._copy.for_several(self._sessions):
            for account_id in self._sessions:
                with self._on_its_own(account_id):
                    self._tick_of(account_id)
        self._look_at_desk()
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
            return self._copy.read(account_id).accounts.get(account_id)
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
            self._alert_of_daemon(Kind.BACK, f"{self._whom} is back, after {away}", away=away)
        else:
            self._lost_at = seconds
            # The riskd's of a desk enforce without its relay.
            rest = (
                "Each riskd enforces on its own, and nobody sees that here until the relay is back"
                if self._is_of_desk
                else "Count on nothing to enforce your limits until it is back"
            )
            text = f"{self._whom} is GONE: {change.reason}. {rest}"
            self._alert_of_daemon(Kind.GONE, text, reason=change.reason)

    def _alert_of_status(self, status: DaemonStatus) -> None:
        if status.status is Status.ERROR:
            message = status.message.removeprefix(f"{OF_RELAY}: ")
            text = f"{self._whom} has an ERROR: {message}"
            self._alert_of_daemon(Kind.ERROR, text, message=message)
        else:
            text = f"{self._whom}'s error has ended: {status.message}"
            self._alert_of_daemon(Kind.RUNNING, text, message=status.message)

    @property
    def _whom(self) -> str:
        return OF_RELAY if self._is_of_desk else "riskd"

    def _alert_of_daemon(self, kind: Kind, text: str, **fields: str) -> None:
        accounts = ", ".join(map(str, self._sessions)) or "all"
        gateway = gateway_words(self.client.gateway_name)
        alert = make_alert(
            kind, self._now(), account=accounts, gateway=gateway, text=text, **fields
        )
        variant = OF_RELAY_ITSELF[kind] if self._is_of_desk else None
        self._pass_on(msgspec.structs.replace(alert, variant=variant))

    def _pass_on(self, alert: Alert) -> None:
        account_id = alert.fields["account"]
        if self._is_of_desk and account_id.isdecimal() and int(account_id) in self._sessions:
            session, _watch = self._sessions[int(account_id)]
            alert = self._desk.named(alert, int(account_id), session.daemon)
        if alert.kind in self._settings.send:
            account, text = alert.fields["account"], alert.fields["text"]
            _log.info(
                "{kind} of {account}: {text}", kind=alert.kind.value, account=account, text=text
            )
            self._send(alert)

    def trouble(self) -> str:
        """Return why no heartbeat may be sent; empty if one may."""
        if not self.client.connected:
            return "riskd is not connected"
        if self._reactor.seconds() - self._connected_at < _SETTLED_SECONDS:
            return "riskd has just been connected"
        views = [self._view(session) for session, _watch in self._sessions.values()]
        return trouble_of(views, self._daemon, is_of_desk=self._is_of_desk)
