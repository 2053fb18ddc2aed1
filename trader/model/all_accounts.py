"""The sessions of all accounts of a daemon, and a row of each.

One connection brings the events of all accounts, and one published copy has the state of all.  Each account has a
session of its own, the same that its pages are drawn from.

What costs time is spread.  An event that is no quote changes the row of its account at once.  Quotes are decoded and
change rows when they are wanted: those in sight several times a second, the others once.  A part of the accounts in
each turn is read again in the copy, and its rows are made again because time has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, Event, LockoutSet
from riskd.model.formatting import describe
from trader.client import ReadEvent, UnreadEvent
from trader.model.account_row import ORDERS, AccountRow, account_row
from trader.model.formatting import sentence, until
from trader.model.session import FLASH_SECONDS, LIMITS_SECONDS, Origin, Session
from trader.model.shared_copy import SharedCopy
from trader.model.view import Source, View
from trader.model.wording import FeedLine

_READ_AT_ONCE: Final = 10
"""So many accounts without news are read in the copy in a turn; reading 200 at once would hold up the events."""

_MOST: Final = 1000
"""The most accounts; those that the stream names beyond them have no row."""

_AGING_TURNS: Final = 5
"""After so many turns each row is made again: quotes grow old, and times of the day pass."""


class Followed(Protocol):
    """What is needed of :class:`trader.model.followed_daemon.FollowedDaemon`."""

    @property
    def origin(self) -> Origin:
        """The kind of gateway and the instance that the last handshake named."""

    def read(self, only: Collection[int] | None = None) -> Snapshot:
        """Return the published copy."""

    def version(self) -> object:
        """Return a value that differs after each publication."""


class AccountList(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts at one moment.

    :ivar link: the view of one of them, for what is the same for all: connection, gateway, daemon.
    :ivar rows: in the order that the trader has chosen.
    :ivar flash: what flashes above the rows; ``None`` for nothing.
    :ivar flashing: the accounts that were locked in the last seconds.
    :ivar problem: why no account is known; empty if one is.
    """

    link: View
    rows: tuple[AccountRow, ...] = ()
    flash: FeedLine | None = None
    flashing: frozenset[int] = frozenset()
    problem: str = ""


class AllAccounts:
    """Feeds a session for each account.

    :param now: returns the time of day by this machine's clock, aware.
    :param on_change: called with an account and whether more than its quotes have changed.
    :param alarm: called with each enforcement action and each new lockout of any account.
    :param account_id: the only account to follow; ``None`` for all.
    :param view_of: returns a session's view with what the client knows.
    :ivar sessions: by account id.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        on_change: Callable[[int, bool], object],
        followed: Followed,
        alarm: Callable[[Event], object],
        account_id: int | None = None,
        view_of: Callable[[Session], View] = Session.view,
    ) -> None:
        self._now = now
        self._on_change = on_change
        self._followed = followed
        self._alarm = alarm
        self._view_of = view_of
        self._copy = SharedCopy(followed.read, followed.version)
        self._only = account_id
        self.sessions: dict[int, Session] = {}
        self._rows: dict[int, AccountRow] = {}
        self._sorted: tuple[int, ...] = ()
        self._order: object = None
        self._changed: set[int] = set()
        self._quoted: set[int] = set()
        self._turn = 0
        self._is_connected = False
        self._connection_problem = ""
        self._file_problem = ""
        self._flash: FeedLine | None = None
        self._locked: dict[int, datetime] = {}
        if account_id is not None:
            self._add(account_id)

    @property
    def are_all(self) -> bool:
        """Whether all accounts are followed."""
        return self._only is None

    @property
    def daemon(self) -> DaemonStatus | None:
        """The daemon's last status; ``None`` if none is known."""
        return next((each.daemon for each in self.sessions.values() if each.daemon), None)

    def follow_all(self) -> None:
        """Follow all accounts from now on; the client passes on the events of all."""
        if self._only is not None:
            self._only = None
            self._find()

    # What the client reports.

    def receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        """Handle the client's report on its connection."""
        self._is_connected = status["connected"]
        self._connection_problem = "" if self._is_connected else sentence(status["reason"])
        known = {*self.sessions}
        if self._is_connected:
            self._copy.forget()
            self._find(is_new_connection=True)
        for account_id, session in self.sessions.items():
            if self._is_connected or account_id in known:
                session.receive_status(event_type, status)

    def receive(self, event_type: str, read: ReadEvent) -> None:
        """Pass on an event that is not decoded yet to the session of its account."""
        if self._only is not None:
            self.sessions[self._only].receive(event_type, read)
            return
        account_id = read.account_id if isinstance(read, UnreadEvent) else None
        if account_id is not None:
            self._pass_on(account_id, event_type, read)
            return
        event = read()
        if event is None:
            return
        if event.account_id is not None:
            self._pass_on(event.account_id, event_type, lambda: event)
            return
        # The daemon's own events are everyone's.
        for session in self.sessions.values():
            session.receive(event_type, lambda: event)

    def _pass_on(self, account_id: int, event_type: str, read: ReadEvent) -> None:
        if account_id not in self.sessions:
            if len(self.sessions) >= _MOST:
                return
            self._add(account_id).begin_midway()
        self.sessions[account_id].receive(event_type, read)

    # Turns.

    def take_turn(self) -> None:
        """Read the copy where it may say more, and renew old rows; call it each second."""
        self._turn += 1
        if not self._is_connected or not self.sessions:
            self._find()
            due = list(self.sessions.items())
        else:
            due = self._due_to_read()
        with self._copy.for_several([account_id for account_id, _ in due]):
            for _, session in due:
                # Each has its turn, so how long ago the last one was does not matter.
                session.poll_file(every=0 if self.are_all else LIMITS_SECONDS)
        part = self._turn % _AGING_TURNS
        self._changed.update(list(self.sessions)[part::_AGING_TURNS])
        self._quoted.difference_update(self._changed)

    def _due_to_read(self) -> list[tuple[int, Session]]:
        sessions = list(self.sessions.items())
        turns = max(LIMITS_SECONDS, -(-len(sessions) // _READ_AT_ONCE)) if self.are_all else 1
        part = self._turn % turns
        return [
            pair
            for number, pair in enumerate(sessions)
            if number % turns == part or pair[1].is_settling
        ]

    def _find(self, *, is_new_connection: bool = False) -> None:
        """Add the accounts of the copy, if all are followed; drop those it has no more."""
        if not self.are_all:
            return
        try:
            known = self._copy.read_all().accounts
        except StateFileError as error:
            self._file_problem = str(error)
            return
        self._file_problem = ""
        for account_id in sorted(known.keys() - self.sessions.keys()):
            session = self._add(account_id)
            if self._is_connected and not is_new_connection:
                session.begin_midway()
        if is_new_connection:
            for account_id in self.sessions.keys() - known.keys():
                del self.sessions[account_id]
                self._rows.pop(account_id, None)
        self._order = None

    def _add(self, account_id: int) -> Session:
        self.sessions[account_id] = session = Session(
            account_id,
            self._now,
            partial(self._note_change, account_id),
            partial(self._copy.read, account_id),
            self._copy.version,
            self._raise_alarm,
            lambda: self._followed.origin,
        )
        self._changed.add(account_id)
        self._order = None
        return session

    def _note_change(self, account_id: int, is_important: bool) -> None:
        (self._changed if is_important else self._quoted).add(account_id)
        self._on_change(account_id, is_important)

    def _raise_alarm(self, event: Event) -> None:
        if isinstance(event.data, LockoutSet) and event.account_id is not None:
            now = self._now()
            self._locked[event.account_id] = now
            row = self._rows.get(event.account_id)
            name = row.label if row else event.account_id
            text = f"Account {name}: {describe(event.data, until)}"
            self._flash = FeedLine(now, text, "alert", flashes=True, kind=event.type)
        self._alarm(event)

    def note(self, text: str, style: str = "alert") -> None:
        """Let a line of the program flash above the rows; by default, a problem."""
        self._flash = FeedLine(self._now(), sentence(text), style)

    # Rows.

    def refresh(self, shown: Collection[int], *, quotes: bool, hidden: bool) -> None:
        """Make the rows again that have changed.

        :param shown: the accounts in sight.
        :param quotes: whether those in sight that have quotes alone are made again, too.
        :param hidden: whether all are, so that their order is right.
        """
        due = {*self._changed}
        if hidden:
            due |= self._quoted
        elif quotes:
            due |= self._quoted.intersection(shown)
        self._changed.clear()
        self._quoted -= due
        for account_id in due & self.sessions.keys():
            session = self.sessions[account_id]
            session.read_quotes()
            self._rows[account_id] = account_row(self._view_of(session), session.now())
        if hidden:
            self._order = None

    def listed(self, order: int) -> AccountList:
        """Return all accounts, as of the last :meth:`refresh`.

        :param order: the index of the order in :data:`~trader.model.account_row.ORDERS`.
        """
        if order != self._order:
            self._sorted = tuple(
                sorted(self._rows, key=lambda each: ORDERS[order].key(self._rows[each]))
            )
            self._order = order
        now = self._now()
        self._locked = {key: at for key, at in self._locked.items() if _is_recent(at, now)}
        flash = self._flash
        first = next(iter(self.sessions.values()), None)
        return AccountList(
            link=self._empty_view() if first is None else self._view_of(first),
            rows=tuple([self._rows[each] for each in self._sorted if each in self._rows]),
            flash=flash if flash and _is_recent(flash.at, now) else None,
            flashing=frozenset(self._locked),
            problem="" if self._rows else self._file_problem or "no account is known yet",
        )

    def _empty_view(self) -> View:
        return View(
            account=AccountState(account_id=0),
            source=Source.LIVE if self._is_connected else Source.NOTHING,
            connection_problem=self._connection_problem,
        )


def _is_recent(at: datetime, now: datetime) -> bool:
    # After a clock was set back the age is below zero.
    return 0 <= (now - at).total_seconds() < FLASH_SECONDS
