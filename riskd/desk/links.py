"""The link to one riskd: live, lagging, lost, or without a daemon.

Ages are measured by a steady clock from the receipt of a heartbeat; what two machines stamped is never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple

from riskd.desk.messages import Heartbeat
from riskd.model.desk_status import DAEMON_GONE, LAGGING, LINK_LOST, WAITING
from riskd.model.event_number import Number

LOST_SECONDS: Final = 10.0
"""A link without a heartbeat for so long is lost; one is sent every 5 seconds."""

UNREACHABLE_SECONDS: Final = 2.0
"""While the desk's server cannot be reached, a first heartbeat is waited for so long."""

LAG_SECONDS: Final = 3.0
"""How long an event that a heartbeat has announced may take."""

_SAME: Final = timedelta(seconds=2)
"""The server's clock, by which a heartbeat was stored, and this machine's differ by less."""

_MOST_LISTED: Final = 4
"""So many accounts are listed in a sentence, which has room for 300 bytes."""


class Now(NamedTuple):
    """A moment by two clocks of this machine.

    :ivar seconds: by a steady clock.
    :ivar at: the time of day, aware.
    """

    seconds: float
    at: datetime

    def before(self, age: timedelta) -> Now:
        """Return the moment so much earlier."""
        return Now(self.seconds - age.total_seconds(), self.at - age)


class LinkState(Enum):
    """What is known of a link."""

    WAITING = "WAITING"
    """No heartbeat is known yet; the relay was started, or the trader has joined, a moment ago."""
    LIVE = "LIVE"
    LAGGING = LAGGING
    """A heartbeat has announced events that have not come."""
    LOST = LINK_LOST
    """No heartbeat comes."""
    GONE = DAEMON_GONE
    """Heartbeats come, and say that there is no daemon."""


class KnownLink(NamedTuple):
    """What was known of a link that had trouble when the relay ended.

    :ivar state: the value of its state.
    :ivar since: since when.
    """

    state: str
    since: datetime


class Link:
    """The link to one riskd.

    :param now: when the relay first knew of it.
    :param known: its trouble before that; ``None`` if it had none.
    :ivar beat: the last heartbeat since then; ``None`` before the first.
    :ivar state: as of the last call of :meth:`look`.
    :ivar since: when that state began, by the time of day here; of a lost link, when the last heartbeat came.
    """

    def __init__(self, now: Now, known: KnownLink | None = None) -> None:
        self._known = known
        self.beat: Heartbeat | None = None
        self.state = LinkState.WAITING
        self.since = now.at
        self._last = now
        # The number that must come, and since when.
        self._announced = Number(0, 0)
        self._announced_at = now

    def receive(
        self,
        beat: Heartbeat,
        delivered: Number | None,
        now: Now,
        age: timedelta = timedelta(0),
    ) -> bool:
        """Take a heartbeat; return whether it is later than the last one.

        :param delivered: the number of the last event that was passed on.
        :param age: how long ago it was sent.  One that was stored may have come before.
        """
        sent = now.before(age)
        is_again = bool(age) and beat == self.beat
        if is_again or (self.beat is not None and sent.seconds < self._last.seconds):
            return False
        self.beat, self._last = beat, sent
        if self._is_delivered(delivered):
            self._announced, self._announced_at = beat.number, now
        return True

    def look(
        self, delivered: Number | None, now: Now, *, is_server_away: bool = False
    ) -> LinkState:
        """Return the state now.

        :param delivered: the number of the last event that was passed on.
        """
        state = self._state(delivered, now, is_server_away=is_server_away)
        if state is not self.state:
            self.state, self.since = state, self._since(state, now)
            self._known = None
        return state

    @property
    def trouble(self) -> KnownLink | None:
        """What is to be known of it after a restart of the relay."""
        if self.state is LinkState.WAITING:
            return self._known
        return None if self.state is LinkState.LIVE else KnownLink(self.state.value, self.since)

    def _since(self, state: LinkState, now: Now) -> datetime:
        """Return since when the link has a state that it has just been found in."""
        begun = self._last.at if state is LinkState.LOST else now.at
        known = self._known
        if known is None or known.state != state.value:
            return begun
        # Of a link that was lost, back and lost again while there was no relay, the heartbeat is later.
        was_back = (
            state is LinkState.LOST and self.beat is not None and begun > known.since + _SAME
        )
        return begun if was_back else known.since

    def _state(self, delivered: Number | None, now: Now, *, is_server_away: bool) -> LinkState:
        silent = now.seconds - self._last.seconds
        if silent >= LOST_SECONDS:
            return LinkState.LOST
        if self.beat is None:
            is_lost = is_server_away and silent >= UNREACHABLE_SECONDS
            return LinkState.LOST if is_lost else LinkState.WAITING
        if self.beat.status is None:
            return LinkState.GONE
        is_late = now.seconds - self._announced_at.seconds >= LAG_SECONDS
        if is_late and not self._is_delivered(delivered):
            return LinkState.LAGGING
        return LinkState.LIVE

    def _is_delivered(self, delivered: Number | None) -> bool:
        return self._announced.seq == 0 or (delivered is not None and delivered >= self._announced)


def link_words(link: Link, name: str, accounts: Sequence[int], server_problem: str = "") -> str:
    """Return what is wrong with a link, in a sentence; empty if nothing is.

    :param name: of the instance.
    :param accounts: its accounts.
    :param server_problem: why there is no connection to the desk's server; empty if there is one.
    """
    whose, since = f"{name} ({account_words(accounts)})", f"{link.since:%b %d %H:%M:%S} UTC"
    match link.state:
        case LinkState.LIVE:
            return ""
        case LinkState.WAITING:
            return f"{WAITING} of {whose}; its figures are the last known ones"
        case LinkState.LAGGING:
            return f"{LAGGING} since {since}: events of {whose} are late; its figures may be old"
        case LinkState.GONE:
            return (
                f"{DAEMON_GONE} since {since}: riskd of {whose} does not run and enforces no limit"
            )
        case LinkState.LOST:
            why = server_problem or "no heartbeat comes"
            return f"{LINK_LOST} since {since}: {whose}; {why}. Its figures are of then"


def account_words(accounts: Sequence[int]) -> str:
    """Return the accounts of an instance, as a sentence has room for."""
    if not accounts:
        return "no account yet"
    shown = ", ".join(map(str, accounts[:_MOST_LISTED]))
    more = len(accounts) - _MOST_LISTED
    word = "account" if len(accounts) == 1 else "accounts"
    return f"{word} {shown}" + (f" and {more} more" if more > 0 else "")
