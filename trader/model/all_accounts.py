"""The sessions of all accounts of a daemon, and a row of each.

One connection brings the events of all accounts, and one published copy has the state of all.  Each account has a
session of its own, the same that its pages are drawn from.

What costs time is spread, because while it lasts no event reaches the screen.  An event that is no quote changes the
row of its account at the next draw.  Quotes are decoded and change rows a few at a time, those in sight first.  In
each turn a part of the accounts is read again in the copy, and a part of the rows is made again because time has
passed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

from riskd.journal.gateway_identity import DESK
from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, Event, LockoutSet, Status
from riskd.model.formatting import describe
from trader.client import UnreadEvent
from trader.model.account_row import ORDERS, AccountList, AccountRow, account_row
from trader.model.formatting import sentence, until
from trader.model.session import FLASH_SECONDS, LIMITS_SECONDS, Origin, Session
from trader.model.shared_copy import SharedCopy
from trader.model.view import Source, View
from trader.model.wording import FeedLine

_READ_AT_ONCE: Final = 10
"""So many accounts without news are read in the copy in a turn; reading 200 at once would hold up the events."""

_NONE_KNOWN: Final = "no account is known yet"

_MOST: Final = 1000
"""The most accounts; those that the stream names beyond them have no row."""

_AGING_TURNS: Final = 5
"""After so many turns each row waits to be made again: quotes grow old, and times of the day pass."""


class Followed(Protocol):
    """What is needed of :class:`trader.model.followed_daemon.FollowedDaemon`."""

    @property
    def origin(self) -> Origin:
        """The kind of gateway and the instance that the last handshake named."""

    def read(self, only: Collection[int] | None = None) -> Snapshot:
        """Return the published copy."""

    def version(self) -> object:
        """Return a value that differs after each publication."""


class AllAccounts:
    """Feeds a session for each account.

    :param now: returns the time of day by this machine's clock, aware.
    :param on_change: called with an account and whether more than its quotes have changed.
    :param alarm: called with each enforcement action and each new lockout of any account.
    :param account_id: the only account to follow; ``None`` for all.
    :param view_of: returns a session's view with what the client knows.
    :param names: the trader's names of accounts, by account id.
    :ivar sessions: by account id.
    :ivar flash: the last line that flashed above the rows, whatever its age.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        on_change: Callable[[int, bool], object],
        followed: Followed,
        alarm: Callable[[Event], object],
        account_id: int | None = None,
        view_of: Callable[[Session], View] = Session.view,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._now = now
        self._on_change = on_change
        self._followed = followed
        self._alarm = alarm
        self._view_of = view_of
        self._names = names or {}
        self._copy = SharedCopy(followed.read, followed.version)
        self._only = account_id
        self.sessions: dict[int, Session] = {}
        self._rows: dict[int, AccountRow] = {}
        self._sorted: tuple[int, ...] = ()
        self._order: object = None
        self._changed: set[int] = set()
        # The one that has waited longest comes first.
        self._quoted: dict[int, None] = {}
        self._reported: list[tuple[int, bool]] | None = None
        self._turn = 0
        self._is_connected = False
        # What is known of the connection while no account is.
        self._no_account = Session(
            0, now, lambda _: None, partial(self._copy.read, 0), lambda: None
        )
        self._file_problem = ""
        self.flash: FeedLine | None = None
        self._locked: dict[int, datetime] = {}
        if account_id is not None:
            self._add(account_id)

    @property
    def are_all(self) -> bool:
        """Whether all accounts are followed."""
        return self._only is None

    @property
    def daemon(self) -> DaemonStatus | None:
        """The daemon's last status; ``None`` if none is known.

        At a desk it is that of a daemon with an error, if there is one.
        """
        wrong = self._session_with_error()
        known = (each.daemon for each in self.sessions.values() if each.daemon)
        return next(known, None) if wrong is None else wrong.daemon

    def _session_with_error(self) -> Session | None:
        """Return a session whose daemon has an error; ``None`` if there is none."""
        for session in self.sessions.values():
            if session.daemon is not None and session.daemon.status is Status.ERROR:
                return session
        return None

    def follow_all(self) -> None:
        """Follow all accounts from now on; the client passes on the events of all."""
        if self._only is not None:
            self._only = None
            self._find()

    def expect(self, account_id: int) -> None:
        """Have a session for an account of which nothing may be known yet."""
        if account_id not in self.sessions:
            self._add(account_id)

    # Reports of the client.

    def receive_status(self, event_type: str, status: dict[str, Any]) -> None:
        """Handle the client's report on its connection."""
        self._is_connected = status["connected"]
        if not self._is_connected:
            self._no_account.receive_status(event_type, status)
        known = {*self.sessions}
        if self._is_connected:
            self._copy.forget()
            self._find(is_new_connection=True)
        with self._together():
            for account_id, session in self.sessions.items():
                if self._is_connected or account_id in known:
                    session.receive_status(event_type, status)
        self._order = None

    def receive(self, event_type: str, read: UnreadEvent) -> None:
        """Pass on an event that is not decoded yet to the session of its account."""
        if self._only is not None:
            self.sessions[self._only].receive(event_type, read)
        elif read.account_id is not None:
            self._pass_on(read.account_id, event_type, read)
        elif (event := read()) is not None:
            if self._followed.origin[0] == DESK:
                # A trader may have joined, or left.
                self._find(drops=True)
            # An event of the daemon itself concerns every account.
            with self._together():
                for session in self.sessions.values():
                    session.receive(event_type, lambda: event)

    def _pass_on(self, account_id: int, event_type: str, read: UnreadEvent) -> None:
        if account_id not in self.sessions:
            if len(self.sessions) >= _MOST:
                return
            # Nothing is drawn, and no later event read, before this one is.
            with self._together():
                self._add(account_id).begin_midway()
                self.sessions[account_id].receive(event_type, read)
            return
        self.sessions[account_id].receive(event_type, read)

    # Turns.

    def take_turn(self) -> None:
        """Read the copy where it may say more, and renew old rows; call it each second."""
        self._turn += 1
        if not self._is_connected or not self.sessions or self._file_problem:
            self._find()
        due = self._due_to_read() if self._is_connected else list(self.sessions.items())
        with self._copy.for_several([account_id for account_id, _ in due]):
            for _, session in due:
                # Each has its turn, so how long ago the last one was does not matter.
                session.poll_file(every=0 if self.are_all else LIMITS_SECONDS)
        for account_id in list(self.sessions)[self._turn % _AGING_TURNS :: _AGING_TURNS]:
            self._quoted.setdefault(account_id)
        # Rows that change places with each quote could not be read.
        self._order = None

    def _due_to_read(self) -> list[tuple[int, Session]]:
        sessions = list(self.sessions.items())
        turns = max(LIMITS_SECONDS, -(-len(sessions) // _READ_AT_ONCE)) if self.are_all else 1
        part = self._turn % turns
        return [
            pair
            for number, pair in enumerate(sessions)
            if number % turns == part or pair[1].is_settling
        ]

    def _find(self, *, is_new_connection: bool = False, drops: bool = False) -> None:
        """If all accounts are followed, add those new in the copy.

        :param drops: whether to drop those that the copy no longer has.
        """
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
        if is_new_connection or drops:
            for account_id in self.sessions.keys() - known.keys():
                del self.sessions[account_id]
                self._rows.pop(account_id, None)
                self._quoted.pop(account_id, None)
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
        if is_important:
            self._changed.add(account_id)
        else:
            self._quoted.setdefault(account_id)
        if self._reported is None:
            self._on_change(account_id, is_important)
        else:
            self._reported.append((account_id, is_important))

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Report the changes of all accounts when the last of them has changed."""
        reported = self._reported = []
        try:
            yield
        finally:
            self._reported = None
        for account_id, is_important in dict.fromkeys(reported):
            self._on_change(account_id, is_important)

    def _raise_alarm(self, event: Event) -> None:
        if isinstance(event.data, LockoutSet) and event.account_id is not None:
            now = self._now()
            self._locked[event.account_id] = now
            name = self._names.get(event.account_id) or event.account_id
            text = f"Account {name}: {describe(event.data, until)}"
            self.flash = FeedLine(now, text, "alert", flashes=True, kind=event.type)
        self._alarm(event)

    def note(self, text: str, style: str = "alert") -> None:
        """Let a line of the program flash above the rows; by default, a problem."""
        self.flash = FeedLine(self._now(), sentence(text), style)

    # Rows.

    @property
    def has_work(self) -> bool:
        """Whether rows wait to be made again."""
        return bool(self._quoted)

    @property
    def waiting(self) -> int:
        """How many rows wait to be made again."""
        return len(self._quoted)

    def catch_up(self) -> None:
        """Make the rows again of which more than quotes have changed."""
        for account_id in self._changed & self.sessions.keys():
            self._make(account_id)
        self._changed.clear()

    def work(self, first: Collection[int], most: int) -> bool:
        """Make some of the other rows again: those of quotes, and old ones.

        Half of them may be out of sight: however often those in sight are quoted, a row must find its place among all.

        :param first: the accounts in sight.
        :return: whether any of them is another one now.
        """
        in_sight = frozenset(first)
        seen = [account_id for account_id in self._quoted if account_id in in_sight]
        unseen = [account_id for account_id in self._quoted if account_id not in in_sight]
        share = most - min(most // 2, len(unseen))
        made = [self._make(account_id) for account_id in [*seen[:share], *unseen][:most]]
        return any(made)

    def _make(self, account_id: int) -> bool:
        """Make a row again; return whether it is another one now."""
        session, before = self.sessions[account_id], self._rows.get(account_id)
        session.read_quotes()
        self._quoted.pop(account_id, None)
        row = account_row(self._view_of(session), session.now(), self._names.get(account_id, ""))
        if row == before:
            # What is laid out is kept by the very row.
            return False
        self._rows[account_id] = row
        return True

    def listed(self, order: int) -> AccountList:
        """Return all accounts, by the rows that have been made.

        :param order: the index of the order in :data:`~trader.model.account_row.ORDERS`.
        """
        if order != self._order:
            self._sorted = tuple(
                sorted(self._rows, key=lambda each: ORDERS[order].key(self._rows[each]))
            )
            self._order = order
        now = self._now()
        self._locked = {key: at for key, at in self._locked.items() if _is_recent(at, now)}
        flash = self.flash
        shown = self._session_with_error() or next(iter(self.sessions.values()), None)
        return AccountList(
            link=self._empty_view() if shown is None else self._view_of(shown),
            rows=tuple([self._rows[each] for each in self._sorted if each in self._rows]),
            flash=flash if flash and _is_recent(flash.at, now) else None,
            flashing=frozenset(self._locked),
            problem=self._file_problem or ("" if self._rows else _NONE_KNOWN),
        )

    def _empty_view(self) -> View:
        if not self._is_connected:
            return self._view_of(self._no_account)
        return View(
            account=AccountState(account_id=0),
            source=Source.LIVE,
        )


def _is_recent(at: datetime, now: datetime) -> bool:
    # After a clock was set back the age is below zero.
    return 0 <= (now - at).total_seconds() < FLASH_SECONDS
