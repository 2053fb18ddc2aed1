"""A trader's session: file and stream as one :class:`~trader.model.view.View`.

The session knows no socket and no screen.  A :class:`trader.client.DaemonClient` feeds it, it reads the
file that the daemon publishes, and the console draws its view.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState, apply, is_repeat
from riskd.model.events import (
    DRY_RUN_NOTE,
    DaemonStatus,
    EnforcementAction,
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    LockoutSet,
    Status,
    UnknownEventTypeError,
)
from riskd.model.wire import from_fields
from trader.client import CONNECTION_STATUS, ReadEvent
from trader.model.activity import FeedLine, line_for
from trader.model.formatting import sentence
from trader.model.view import Source, View, is_stopping

FLASH_SECONDS: Final = 5
LIMITS_SECONDS: Final = 10
"""How often the file is looked at for the limits in force, which no event tells of."""

_REMEMBERED_LINES: Final = 500
_NEVER_READ: Final = object()

_QUOTE: Final = "MarketQuote"
_MAX_UNREAD: Final = 100
"""Quotes that may wait to be read, so that what comes after them need not wait for long."""


class Session:
    """Turns what a client reports, and what the daemon's file says, into views.

    :param account_id: the account to follow.
    :param now: gives the time of day, aware.
    :param changed: called when the view has changed; its argument tells whether more than quotes did.
        Quotes are read when the view is asked for, and may turn out to say nothing new.
    :param read: returns what the file says, or raises :exc:`riskd.journal.reader.StateFileError`.
    :param mark: returns what changes whenever the file does, and can be compared.
    :param alarm: called with what was enforced and with each new lock, as the stream or the file told it;
        not with what the file knew before anything else was known.
    """

    def __init__(
        self,
        account_id: int,
        now: Callable[[], datetime],
        changed: Callable[[bool], None],
        read: Callable[[], Snapshot],
        mark: Callable[[], object],
        alarm: Callable[[Event], object] = lambda _event: None,
    ) -> None:
        self._account_id = account_id
        self._now = now
        self._changed = changed
        self._read = read
        self._mark = mark
        self._alarm = alarm
        self._mark_read: object = _NEVER_READ
        self._read_at: datetime | None = None
        self._outdated_status: DaemonStatus | None = None
        self._unread: list[tuple[ReadEvent, datetime]] = []
        self._told: set[EnforcementAction] = set()
        self._view = View(account=AccountState(account_id=account_id))

    def view(
        self,
        retry_in: float | None = None,
        gateway_name: str | None = None,
        url: str = "",
        dropped: int = 0,
        *,
        is_dry_run: bool = False,
    ) -> View:
        """Return the view of this moment.

        :param retry_in: the client's seconds to its next try.
        :param gateway_name: what the client heard of the gateway; what the file says if it is ``None``.
        :param url: where the client looks for the daemon.
        :param dropped: how many messages the client could not read.
        :param is_dry_run: what the client heard of that.
        """
        self.read_quotes()
        view = self._view
        flash = view.flash
        # A clock that was set back since must not make it flash until it has caught up.
        if flash is not None and not (
            0 <= (self._now() - flash.at).total_seconds() < FLASH_SECONDS
        ):
            flash = None
        status = view.account.daemon
        return msgspec.structs.replace(
            view,
            daemon=None if status is self._outdated_status else status,
            retry_in=retry_in,
            gateway_name=view.gateway_name if gateway_name is None else gateway_name,
            is_dry_run=is_dry_run or view.is_dry_run,
            url=url,
            dropped=dropped,
            flash=flash,
        )

    def poll_file(self) -> None:
        """Look at the file: without a connection, read it if it has changed.

        As long as there is a connection its events are newer than any file; only which limits are in
        force no event tells.
        """
        self.read_quotes()
        is_live = self._view.source is Source.LIVE
        if (is_live and not self._is_time_for_limits()) or self._mark() == self._mark_read:
            return
        if is_live:
            self._take_limits()
            return
        try:
            snapshot, account = self._load()
        except StateFileError as error:
            self._view = msgspec.structs.replace(self._view, file_problem=sentence(str(error)))
        else:
            self._take_last_known(snapshot, account)
        self._changed(True)

    def _is_time_for_limits(self) -> bool:
        read_at, now = self._read_at, self._now()
        # A clock that was set back must not put it off until it has caught up.
        return read_at is None or not 0 <= (now - read_at).total_seconds() < LIMITS_SECONDS

    def _take_limits(self) -> None:
        try:
            snapshot, account = self._load()
        except StateFileError:
            # What is known stays; without a connection its trouble would be told.
            return
        held_to = msgspec.structs.replace(self._view.account, limits=account.limits)
        self._view = msgspec.structs.replace(
            self._view, account=held_to, file_as_of=snapshot.as_of
        )
        self._changed(False)

    def take(self, event_type: str, data: dict[str, Any]) -> None:
        """Take what a client calls back with."""
        if event_type == CONNECTION_STATUS:
            self.read_quotes()
            if data["connected"]:
                self._connected()
            else:
                self._not_connected(data["reason"])
            self._changed(True)
            return
        account_id = None if event_type == "daemon_status" else self._account_id
        try:
            event = from_fields(event_type, account_id, data)
        except UnknownEventTypeError:
            return
        self.take_event(event_type, lambda: event)

    def take_event(self, event_type: str, read: ReadEvent) -> None:
        """Take an event that is not read yet.

        Quotes are most of all events, and come many between two looks; they are read when they are needed.
        """
        if event_type == _QUOTE:
            self._unread.append((read, self._now()))
            if len(self._unread) >= _MAX_UNREAD:
                self.read_quotes()
            self._changed(False)
            return
        self.read_quotes()
        event = read()
        if event is not None:
            self._tell(event, self._now())

    def read_quotes(self) -> None:
        """Apply the quotes that came since this was done last, each as of when it came.

        Whatever else is done with a session does this first.
        """
        unread, self._unread = self._unread, []
        for read, at in unread:
            event = read()
            if event is not None:
                self._apply(event, at)

    def _apply(self, event: Event, at: datetime) -> None:
        self._view = msgspec.structs.replace(
            self._view,
            account=apply(self._view.account, event),
            has_broker_data=self._view.has_broker_data or _is_of_the_broker(event),
            known_at=at,
            events=self._view.events + 1,
            last_event=event.type,
            last_event_at=at,
        )

    def _tell(self, event: Event, now: datetime) -> None:
        """Apply an event that is no quote, and tell of it if it changed what was known."""
        before = self._view.account
        self._apply(event, now)
        after = self._view.account
        if isinstance(event.data, EnforcementAction):
            self._told.add(event.data)
        elif isinstance(event.data, DaemonStatus):
            self._outdated_status = None
            self._note_dry_run(event.data)
        is_news = self._is_news(event, before, after)
        line = line_for(event, before, now) if is_news else None
        if line is not None:
            self._add(line)
        if is_news or after is not before:
            self._changed(True)
        if is_news and isinstance(event.data, (LockoutSet, EnforcementAction)):
            self._alarm(event)

    def note(self, text: str, style: str = "alert") -> None:
        """Put a line of the program's own into the feed; by default, something went wrong in it."""
        self._add(FeedLine(self._now(), sentence(text), style))
        self._changed(True)

    def _connected(self) -> None:
        now = self._now()
        # All that was told before the handshake was complete is in the file by then, and all that is
        # told after it comes after this call.  So nothing has to be held back while the file is read.
        try:
            snapshot, account = self._load()
        except StateFileError as error:
            # What happened between two connections is unknown then; nothing of before is carried over.
            self._view = msgspec.structs.replace(
                self._view,
                account=AccountState(account_id=self._account_id),
                events_only_since=now,
                known_at=now,
                file_problem=sentence(str(error)),
            )
        else:
            self._show(snapshot, account)
            # A daemon that has just let us in is not stopping: its predecessor was.
            self._outdated_status = account.daemon if is_stopping(account.daemon) else None
        self._view = msgspec.structs.replace(
            self._view,
            source=Source.LIVE,
            has_broker_data=False,
            connection_problem="",
            connected_at=now,
            connections=self._view.connections + 1,
        )
        self._add(FeedLine(now, "Connected to daemon", "good"))

    def _not_connected(self, reason: str) -> None:
        was_live = self._view.source is Source.LIVE
        if was_live:
            self._view = msgspec.structs.replace(self._view, source=Source.LAST_KNOWN)
        elif self._view.connections:
            # Why the connection was lost says more than that it is not back yet.
            return
        self._view = msgspec.structs.replace(self._view, connection_problem=sentence(reason))
        if was_live:
            self._add(FeedLine(self._now(), self._view.connection_problem, "alert"))

    def _load(self) -> tuple[Snapshot, AccountState]:
        """Return what the file says, and what it says of the account.

        :raises StateFileError: it cannot be read, or does not know the account.
        """
        # The mark goes first, so that a file which is replaced meanwhile is read again.
        self._mark_read, self._read_at = self._mark(), self._now()
        snapshot = self._read()
        account = snapshot.accounts.get(self._account_id)
        if account is None:
            known = ", ".join(str(account_id) for account_id in sorted(snapshot.accounts))
            raise StateFileError(
                f"account {self._account_id} is not in the last known state; "
                f"it knows {known or 'none'}"
            )
        return snapshot, account

    def _take_last_known(self, snapshot: Snapshot, account: AccountState) -> None:
        if self._is_at_least_as_new(snapshot.as_of):
            self._show(snapshot, account)
            self._view = msgspec.structs.replace(self._view, source=Source.LAST_KNOWN)
        elif self._view.events_only_since is None:
            self._view = msgspec.structs.replace(self._view, file_problem="")

    def _is_at_least_as_new(self, as_of: datetime | None) -> bool:
        """Tell whether a file of that moment may replace what is shown."""
        known_at = self._view.known_at
        if known_at is None or as_of is None:
            return known_at is None
        # A moment ahead of the clock is from before the clock was set back, and says nothing now.
        return as_of >= known_at or known_at > self._now()

    def _show(self, snapshot: Snapshot, account: AccountState) -> None:
        """Begin from the file."""
        self._outdated_status = None
        was_known = self._view.known_at is not None
        before = set(self._view.account.lockouts.values())
        self._view = msgspec.structs.replace(
            self._view,
            account=account,
            events_only_since=None,
            known_at=snapshot.as_of,
            file_problem="",
            gateway_name=snapshot.gateway_name,
            file_as_of=snapshot.as_of,
        )
        if account.daemon is not None:
            self._note_dry_run(account.daemon)
        for action in account.enforcement:
            self._tell_enforced(action)
        for lock in account.lockouts.values():
            if was_known and lock not in before:
                self._alarm(Event(self._account_id, lock))

    def _note_dry_run(self, status: DaemonStatus) -> None:
        """Take note whether the daemon enforces; it says so when all is well, and only then."""
        if status.status is Status.RUNNING:
            is_dry_run = status.message.endswith(DRY_RUN_NOTE)
            self._view = msgspec.structs.replace(self._view, is_dry_run=is_dry_run)

    def _tell_enforced(self, action: EnforcementAction) -> None:
        """Put into the feed, at its own time and once, what the file says was enforced."""
        event = Event(self._account_id, action)
        line = line_for(event, self._view.account, action.timestamp)
        if action in self._told or line is None:
            return
        self._told.add(action)
        place = len(self._view.feed)
        while place and self._view.feed[place - 1].at > line.at:
            place -= 1
        self._set_lines((*self._view.feed[:place], line, *self._view.feed[place:]))

    def _is_news(self, event: Event, before: AccountState, after: AccountState) -> bool:
        """Tell whether ``event`` says what was not known, and not only at what time it was so."""
        if isinstance(event.data, LockoutCleared) and self._view.events_only_since is not None:
            # Without the file the end of a lockout can be the first that is heard of it.
            return True
        return after is not before and not is_repeat(before, event)

    def _add(self, line: FeedLine) -> None:
        self._set_lines((*self._view.feed, line))
        if line.flashes:
            self._view = msgspec.structs.replace(self._view, flash=line)

    def _set_lines(self, lines: tuple[FeedLine, ...]) -> None:
        self._view = msgspec.structs.replace(self._view, feed=lines[-_REMEMBERED_LINES:])


def _is_of_the_broker(event: Event) -> bool:
    """Tell whether ``event`` shows that the daemon has heard the broker about the account."""
    data = event.data
    if isinstance(data, DaemonStatus):
        return data.status is Status.RUNNING
    return isinstance(data, (GatewayUserTrade, GatewayUserPosition, GatewayUserOrder))
