"""A trader's session: the state file and the stream merged into one view.

The session knows no socket and no screen.  A :class:`trader.client.DaemonClient` feeds it, it reads the file
that the daemon publishes, and the console draws its :class:`~trader.model.view.View`.

The file comes first and events are applied on top of it, on every connection: the daemon publishes the file
before it completes the handshake, so no event is lost between the two and none counts twice.  The file is read
again after each trade, for its fees and the balance, and on each status of the daemon, which may say that the broker
corrected a trade.  A desk has several daemons, and a status is about one of them: there, the file has that of the
account's own daemon.

All times are the broker's: this machine's clock and the offset that the daemon estimates and publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from riskd.journal.gateway_identity import DESK
from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState, is_repeat
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
    MarketQuote,
    Status,
)
from riskd.model.received import after_event, after_quotes, in_order_of_arrival
from riskd.model.wire import PlainQuote
from trader.client import CANNOT_CONNECT, ReadEvent, UnreadEvent
from trader.model.correction import (
    PUBLISHED_WITHIN_SECONDS,
    Correction,
)
from trader.model.feed import Feed
from trader.model.formatting import clock, sentence
from trader.model.highs import with_live_highs, with_published
from trader.model.stop_grace import with_windows
from trader.model.view import Source, View, is_stopping
from trader.model.wording import FeedLine, line_for

FLASH_SECONDS: Final = 5
LIMITS_SECONDS: Final = 10
"""How often a connected session reads the limits in force; no event has them."""

DESK_SECONDS: Final = 6.0
"""By then, the copy of a desk has what a riskd there has published."""

Origin = tuple[str | None, str]
"""The kind of gateway and the instance of the riskd that a state is from."""

_FILLED: Final = "; trades and locks since {} are from its state file"

_MAX_UNREAD_QUOTES: Final = 100
"""The most quotes to decode at once, which delays the event behind them."""


class Session:
    """Turns what a client receives and the daemon publishes into views.

    :param account_id: the account to follow.
    :param now: returns the time of day by this machine's clock, aware.
    :param on_change: called when the view has changed; its argument is whether more than quotes have.
        Quotes are decoded when the view is asked for, and may turn out to change nothing.
    :param read_file: returns the published copy or raises :exc:`riskd.journal.reader.StateFileError`.
    :param file_version: returns a value that differs after each publication.
    :param handshake_origin: returns the kind of gateway and the instance that the last handshake named;
        ``None`` and an empty text for what it did not name.
    :param alarm: called with each enforcement action and each new lockout, whether the stream or the file
        brought it; not with the lockouts of the first file, which the trader can read on the screen.
    :ivar account_id: the account that is followed.
    """

    def __init__(
        self,
        account_id: int,
        now: Callable[[], datetime],
        on_change: Callable[[bool], None],
        read_file: Callable[[], Snapshot],
        file_version: Callable[[], object],
        alarm: Callable[[Event], object] = lambda _event: None,
        handshake_origin: Callable[[], Origin] = lambda: (None, ""),
    ) -> None:
        self.account_id = account_id
        self._machine_now = now
        self._on_change = on_change
        self._read_file = read_file
        self._file_version = file_version
        self._alarm = alarm
        self._handshake_origin = handshake_origin
        self._origin: Origin = (None, "")
        # Until the first read, a value that differs from every version.
        self._version_read: object = object()
        self._read_at: datetime | None = None
        self._loss = ""
        # When the last connection was lost, until there is another.
        self._lost_at: datetime | None = None
        # In the order of receipt; of a contract only the latest, by its id.
        self._unread_quotes: dict[object, tuple[ReadEvent, PlainQuote | None]] = {}
        self._quoted_at = now()
        self._superseded = 0
        self._feed = Feed()
        self._correction = Correction()
        # When an event was received of which the file says more; that may be published a moment later.
        self._settles_from: datetime | None = None
        # When the file was last read because of such an event, if it is read once more for it.
        self._status_of_desk: DaemonStatus | None = None
        self._view = View(account=AccountState(account_id=account_id))

    def now(self) -> datetime:
        """Return the time of day by the broker's clock, as far as it is known."""
        return self._machine_now() + (self._view.clock_offset or timedelta())

    @property
    def gateway_name(self) -> str | None:
        """The kind of gateway that the file has named; ``None`` while unknown."""
        return self._view.gateway_name

    @property
    def daemon(self) -> DaemonStatus | None:
        """The daemon's last status; ``None`` if none is known."""
        return self._view.daemon

    def view(
        self,
        retry_in: float | None = None,
        gateway_name: str | None = None,
        url: str = "",
        dropped: int = 0,
        *,
        is_dry_run: bool = False,
        silent_for: float | None = None,
        name: str = "",
    ) -> View:
        """Return the view now, with what only the client knows.

        :param retry_in: seconds until the client's next attempt.
        :param gateway_name: the gateway named in the handshake; ``None`` leaves that of the file.
        :param url: the daemon's URL.
        :param dropped: the number of malformed messages.
        :param is_dry_run: whether the daemon enforces nothing, by the handshake.
        :param silent_for: the seconds for which it has not answered.
        :param name: the trader's name of the account.
        """
        self.read_quotes()
        view, flash = self._view, self._feed.flash
        return msgspec.structs.replace(
            view,
            name=name,
            retry_in=retry_in,
            silent_for=silent_for,
            connection_problem=_with_address(view.connection_problem, url),
            gateway_name=view.gateway_name if gateway_name is None else gateway_name,
            is_dry_run=is_dry_run or view.is_dry_run,
            url=url,
            dropped=dropped,
            feed=self._feed.lines,
            flash=flash if flash and self._is_recent(flash.at, FLASH_SECONDS) else None,
        )

    def _is_recent(self, moment: datetime | None, seconds: float) -> bool:
        """Return whether ``moment`` is less than so many seconds ago."""
        # After a clock was set back the age is below zero; waiting for it to catch up could take hours.
        return moment is not None and 0 <= (self.now() - moment).total_seconds() < seconds

    @property
    def is_settling(self) -> bool:
        """Whether the file may soon have more about an event than the stream had."""
        return self._settles_from is not None

    def begin_midway(self) -> None:
        """Begin while the client is connected already, with the events from now on.

        The file may lack those of the last moment, so it is read again as it is after a trade.
        """
        self._connected()
        self._settles_from = self.now()
        self._on_change(True)

    def poll_file(self, every: float = LIMITS_SECONDS) -> None:
        """Read the file if it has changed; if connected, for what no event has.

        :param every: seconds between two readings of a connected session without news.
        """
        self.read_quotes()
        is_live = self._view.is_live
        if is_live and self._settles_from is not None:
            # Meanwhile no other reading is needed: it would take less from the file.
            self._settle()
            return
        if is_live and self._is_recent(self._read_at, every):
            return
        if self._file_version() == self._version_read:
            return
        if not is_live:
            self._read_last_known()
        elif self._is_of_desk:
            # A status of one of its daemons may be published later than it was waited for.
            before = self._view.daemon
            self._correct()
            self._on_change(self._view.daemon != before)
        else:
            self._read_limits()

    def _read_limits(self) -> None:
        """Take from the file what no event has, while the stream has the rest."""
        try:
            snapshot, account = self._read_account()
        except StateFileError:
            # The limits stay; a problem with the file is shown once there is no connection.
            return
        self._update(
            account=with_published(self._view.account, account),
            file_as_of=_time_of(snapshot),
            clock_offset=snapshot.clock_offset,
        )
        self._on_change(False)

    def _read_last_known(self) -> None:
        """Take all from the file, as there is no connection."""
        try:
            snapshot, account = self._read_account()
        except StateFileError as error:
            self._update(file_problem=sentence(str(error)))
        else:
            if _is_at_least_as_new(self._view.known_at, self.now(), _time_of(snapshot)):
                self._show(snapshot, account)
                self._update(source=Source.LAST_KNOWN)
            elif self._view.events_only_since is None:
                self._update(file_problem="")
        self._on_change(True)

    def receive_status(self, _event_type: str, status: dict[str, Any]) -> None:
        """Handle a client's report on its connection."""
        self.read_quotes()
        if status["connected"]:
            self._connected()
        else:
            self._not_connected(status["reason"])
        self._on_change(True)

    def receive(self, event_type: str, read: ReadEvent) -> None:
        """Handle an event that is not decoded yet.

        Most events are quotes, and many arrive between two draws; they are decoded when they are needed.
        """
        if event_type == "MarketQuote":
            self._keep_quote(read)
            self._on_change(False)
            return
        self.read_quotes()
        event = read()
        if event is None:
            return
        if isinstance(event.data, DaemonStatus) and self._origin[0] == DESK:
            self._report_status_of_desk(event)
        else:
            self._apply_and_report(event)

    def read_quotes(self) -> None:
        """Apply the quotes received since the last call, the latest of each contract.

        All methods that use the account do this first, so that events are applied in the order of receipt.
        """
        if not self._unread_quotes:
            return
        unread, self._unread_quotes = self._unread_quotes, {}
        superseded, self._superseded = self._superseded, 0
        quotes = [
            event.data
            for read, _quote in unread.values()
            if (event := read()) is not None and isinstance(event.data, MarketQuote)
        ]
        if quotes:
            self._take_quotes(quotes)
        if superseded:
            self._update(events=self._view.events + superseded)

    def _take_quotes(self, quotes: Sequence[MarketQuote]) -> None:
        """Apply quotes, as :meth:`_apply` does for one event."""
        account = after_quotes(self._view.account, quotes)
        self._update(
            account=with_live_highs(account) if self._settles_from is None else account,
            known_at=self._quoted_at,
            events=self._view.events + len(quotes),
            last_event="MarketQuote",
            last_event_at=self._quoted_at,
        )

    def _keep_quote(self, read: ReadEvent) -> None:
        """Keep a quote for :meth:`read_quotes`, in place of its contract's earlier one.

        What is replaced is never decoded: a later quote says all that it did.
        """
        quote = read.plain_quote() if isinstance(read, UnreadEvent) else None
        key = read if quote is None else quote.contract_id
        known = self._unread_quotes[key][1] if key in self._unread_quotes else None
        # A market may change and change back within a millisecond; both count.
        is_tie = quote and known and quote.timestamp == known.timestamp
        # One of an unusual form may be malformed, so it replaces none.
        if quote is None or is_tie or len(self._unread_quotes) >= _MAX_UNREAD_QUOTES:
            self.read_quotes()
            known = None
        self._quoted_at = self.now()
        if quote is not None and known is not None:
            self._superseded += 1
            if quote.timestamp < known.timestamp:
                return
            del self._unread_quotes[key]
        self._unread_quotes[key] = read, quote

    def note(self, text: str, style: str = "alert") -> None:
        """Add a line of the program itself to the feed; in the default style, a problem."""
        self._feed.add(FeedLine(self.now(), sentence(text), style))
        self._on_change(True)

    def flash(self, line: FeedLine) -> None:
        """Add a line about another account to the feed; it flashes."""
        self._feed.add(line)
        self._on_change(True)

    def _update(self, **changes: Any) -> None:
        self._view = msgspec.structs.replace(self._view, **changes)

    def _apply(self, event: Event, received_at: datetime) -> None:
        account = self._view.account
        self._update(
            account=after_event(account, in_order_of_arrival(account, event)),
            has_broker_data=self._view.has_broker_data or _comes_from_broker(event),
            known_at=received_at,
            events=self._view.events + 1,
            last_event=event.type,
            last_event_at=received_at,
        )

    def _apply_and_report(self, event: Event) -> None:
        """Apply an event that is no quote; add it to the feed and alarm if it is news."""
        before, now = self._view.account, self.now()
        self._apply(event, now)
        self._note_stops(before)
        self._correction.keep(event, self._machine_now())
        after = self._view.account
        self._feed.note(event)
        if isinstance(event.data, DaemonStatus):
            self._update(daemon=after.daemon)
            self._note_dry_run(event.data)
        is_news = _is_news(
            event, before, after, is_file_known=self._view.events_only_since is None
        )
        if isinstance(event.data, DaemonStatus) and self._feed.is_known(event.data):
            is_news = False
        line = line_for(event, before, now) if is_news else None
        if line is not None:
            self._feed.add(line)
        if isinstance(event.data, GatewayUserTrade) and is_news:
            # The file will have its fees, and the balance.
            self._settles_from = now
        elif isinstance(event.data, (DaemonStatus, LockoutCleared)):
            # The file may say more: what the broker corrected, or beyond which limit an operator unlocked.
            self._settles_from = now
            if self._file_version() != self._version_read:
                self._correct()
        if is_news or self._view.account is not before:
            self._on_change(True)
        if is_news and isinstance(event.data, (LockoutSet, EnforcementAction)):
            self._alarm(event)

    def _note_stops(self, before: AccountState) -> None:
        """Note which positions have their stops; the windows of ``before`` go on."""
        self._update(account=with_windows(self._view.account, before, self.now()))

    @property
    def _is_of_desk(self) -> bool:
        return self._origin[0] == DESK

    def _report_status_of_desk(self, event: Event) -> None:
        """Add a status of one of several daemons to the feed; the file says whose it is."""
        now = self.now()
        self._update(
            known_at=now, events=self._view.events + 1, last_event=event.type, last_event_at=now
        )
        status = event.data
        if isinstance(status, DaemonStatus) and status != self._status_of_desk:
            self._status_of_desk = status
            line = line_for(event, self._view.account, now)
            if line is not None and not self._feed.is_known(status):
                self._feed.add(line)
        self._settles_from = now
        if self._file_version() != self._version_read:
            self._correct()
        self._on_change(True)

    def _settle(self) -> None:
        """Read the file again while, after such an event, it may be published."""
        seconds = DESK_SECONDS if self._is_of_desk else PUBLISHED_WITHIN_SECONDS
        is_last = not self._is_recent(self._settles_from, seconds)
        if is_last:
            self._settles_from = None
        if is_last or self._file_version() != self._version_read:
            lines, daemon, now = self._feed.lines, self._view.daemon, self.now()
            if not self._correct() and is_last:
                # It may be readable in a second.
                self._settles_from = now
            # Fees and a balance can wait for the draw of the next quotes; news cannot.
            self._on_change(self._feed.lines is not lines or self._view.daemon != daemon)

    def _correct(self) -> bool:
        """Take over what the file says of the account; keep the events that it lacks.

        Return whether the file could be read.
        """
        view = self._view
        try:
            snapshot, copy = self._read_account()
        except StateFileError:
            # A problem with the file is shown once there is no connection.
            return False
        self._update(clock_offset=snapshot.clock_offset, file_as_of=_time_of(snapshot))
        before, since = view.account, view.events_only_since
        written_at = _time_of(snapshot)
        # Without the first file, the events before the connection are missing.
        is_too_old = since is not None and (written_at is None or written_at <= since)
        if snapshot.as_of is None or is_too_old:
            return True
        after = self._correction.correct(
            before,
            copy,
            snapshot.as_of,
            self._machine_now(),
            snapshot.clock_offset or timedelta(),
        )
        if after is None:
            return True
        if self._is_of_desk:
            # What the relay has of a broker's data is as old as the error of its link.
            is_wrong = after.daemon is not None and after.daemon.status is Status.ERROR
            self._update(has_broker_data=view.has_broker_data and not is_wrong)
        elif view.daemon is not None:
            after = msgspec.structs.replace(after, daemon=view.daemon)
        self._update(account=after, daemon=after.daemon, events_only_since=None, file_problem="")
        self._note_stops(before)
        self._report_file(before)
        return True

    def _report_file(self, before: AccountState) -> None:
        """Add to the feed what the file has and no event has brought yet."""
        account = self._view.account
        self._feed.insert_known(account)
        for lock in account.lockouts.values():
            if lock not in before.lockouts.values():
                self._alarm(Event(self.account_id, lock))

    def _connected(self) -> None:
        now = self.now()
        self._correction.begin()
        self._settles_from = None
        self._turn_to(self._handshake_origin())
        # The file holds all events before the handshake, and all later ones arrive after this call; so no
        # event needs to be queued while the file is read.
        try:
            snapshot, account = self._read_account()
        except StateFileError as error:
            # Events between two connections are lost then, so the state of the last one is not carried over.
            self._update(
                account=AccountState(account_id=self.account_id),
                daemon=None,
                events_only_since=now,
                known_at=now,
                file_problem=sentence(str(error)),
            )
        else:
            self._show(snapshot, account)
            if is_stopping(account.daemon):
                # A daemon that has just accepted a connection is not stopping; its predecessor was.
                self._update(daemon=None)
        self._update(
            source=Source.LIVE,
            has_broker_data=False,
            connection_problem="",
            connected_at=now,
            connections=self._view.connections + 1,
        )
        since, self._lost_at = self._lost_at, None
        filled = (
            "" if since is None or self._view.events_only_since else _FILLED.format(clock(since))
        )
        self._feed.add(FeedLine(now, f"Connected to daemon{filled}", "good"))

    def _not_connected(self, reason: str) -> None:
        problem = sentence(reason)
        if self._view.is_live:
            self._loss, self._lost_at = problem, self.now()
            self._update(source=Source.LAST_KNOWN, connection_problem=problem)
            self._feed.add(FeedLine(self.now(), problem, "alert"))
        elif not self._view.connections or reason.startswith(f"{CANNOT_CONNECT}: "):
            self._update(connection_problem=problem)
        else:
            # That the next attempt fails, too, adds nothing to the reason of the loss.
            self._update(connection_problem=self._loss)

    def _read_account(self) -> tuple[Snapshot, AccountState]:
        """Read the file; return all of it, and its state of the account.

        :raises StateFileError: the file cannot be read, or does not know the account.
        """
        # The version is taken first, so that a file that is replaced during the read is read again.
        self._version_read, self._read_at = self._file_version(), self.now()
        snapshot = self._read_file()
        return snapshot, _account_in(snapshot, self.account_id)

    def _show(self, snapshot: Snapshot, account: AccountState) -> None:
        """Replace the view's state by the file's."""
        self._turn_to((snapshot.gateway_name, snapshot.instance))
        is_first = self._view.known_at is None
        locks_before = set(self._view.account.lockouts.values())
        self._update(
            account=account,
            daemon=account.daemon,
            events_only_since=None,
            known_at=_time_of(snapshot),
            file_problem="",
            gateway_name=snapshot.gateway_name,
            file_as_of=_time_of(snapshot),
            clock_offset=snapshot.clock_offset,
        )
        # What was canceled without a connection is not known, so no window goes on.
        self._note_stops(account)
        if account.daemon is not None:
            self._note_dry_run(account.daemon)
        self._feed.insert_known(account)
        for lock in account.lockouts.values():
            if not is_first and lock not in locks_before:
                self._alarm(Event(self.account_id, lock))

    def _turn_to(self, origin: Origin) -> None:
        """Forget what is shown if it is of another riskd.

        There, the account of this number may be another account.
        """
        is_other = _is_other(origin, self._origin)
        (kind, instance), (old_kind, old_instance) = origin, self._origin
        self._origin = origin if is_other else (kind or old_kind, instance or old_instance)
        if is_other:
            old = self._view
            self._feed, self._lost_at = Feed(), None
            self._view = View(
                account=AccountState(account_id=self.account_id),
                connection_problem=old.connection_problem,
                connections=old.connections,
                events=old.events,
            )

    def _note_dry_run(self, status: DaemonStatus) -> None:
        # The daemon adds the note to RUNNING alone; the other states leave the question open.
        if status.status is Status.RUNNING:
            self._update(is_dry_run=status.message.endswith(DRY_RUN_NOTE))


def _time_of(snapshot: Snapshot) -> datetime | None:
    """Return when a file was written, in the broker's time."""
    if snapshot.as_of is None:
        return None
    return snapshot.as_of + (snapshot.clock_offset or timedelta())


def _comes_from_broker(event: Event) -> bool:
    """Return whether ``event`` proves that the daemon has data of the broker."""
    data = event.data
    if isinstance(data, DaemonStatus):
        return data.status is Status.RUNNING
    return isinstance(data, (GatewayUserTrade, GatewayUserPosition, GatewayUserOrder))


def _is_at_least_as_new(known_at: datetime | None, now: datetime, as_of: datetime | None) -> bool:
    """Return whether a file of ``as_of`` may replace what ``known_at`` has."""
    if known_at is None or as_of is None:
        return known_at is None
    # A time ahead of the clock dates from before the clock was set back, and proves nothing.
    return as_of >= known_at or known_at > now


def _account_in(snapshot: Snapshot, account_id: int) -> AccountState:
    """Return a file's state of an account.

    :raises StateFileError: the file does not know the account.
    """
    account = snapshot.accounts.get(account_id)
    if account is None:
        known = ", ".join(str(each) for each in sorted(snapshot.accounts))
        raise StateFileError(
            f"account {account_id} is not in the last known state; it knows {known or 'none'}"
        )
    return account


def _is_other(origin: Origin, known: Origin) -> bool:
    """Return whether two origins say that they are not the same riskd."""
    return any(new and old and new != old for new, old in zip(origin, known, strict=True))


def _is_news(
    event: Event, before: AccountState, after: AccountState, *, is_file_known: bool
) -> bool:
    """Return whether ``event`` changes more than a timestamp."""
    if isinstance(event.data, LockoutCleared) and not is_file_known:
        # Without the file, a lockout may end whose beginning this session never saw.
        return True
    return after is not before and not is_repeat(before, event)


def _with_address(problem: str, url: str) -> str:
    """Return why there is no connection, with the address where none could be made."""
    is_missing = problem.startswith(sentence(CANNOT_CONNECT)) and url not in problem
    return f"{problem} {url}" if is_missing else problem
