"""The link to one riskd: live, lagging, lost, or without a daemon.

Ages are measured by a steady clock from the receipt of a heartbeat; what two machines stamped is never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from riskd.desk.messages import Heartbeat
from riskd.model.event_number import Number
from riskd.model.events import LINK_LOST

LOST_SECONDS: Final = 10.0
"""A link without a heartbeat for so long is lost; one is sent every 5 seconds."""

LAG_SECONDS: Final = 3.0
"""How long an event that a heartbeat has announced may take."""

_MOST_LISTED: Final = 4
"""So many accounts are listed in a sentence, which has room for 300 bytes."""


class Now(NamedTuple):
    """A moment by two clocks of this machine.

    :ivar seconds: by a steady clock.
    :ivar at: the time of day, aware.
    """

    seconds: float
    at: datetime


class LinkState(Enum):
    """What is known of a link."""

    WAITING = "WAITING"
    """No heartbeat yet since the relay was started, which is a moment ago."""
    LIVE = "LIVE"
    LAGGING = "LAGGING"
    """A heartbeat has announced events that have not come."""
    LOST = LINK_LOST
    """No heartbeat comes."""
    GONE = "DAEMON GONE"
    """Heartbeats come, and say that there is no daemon."""


class Link:
    """The link to one riskd.

    :param now: when the relay first knew of it.
    :ivar beat: the last heartbeat since then; ``None`` before the first.
    :ivar state: as of the last call of :meth:`look`.
    :ivar since: when that state began, by the time of day here; of a lost link, when the last heartbeat came.
    """

    def __init__(self, now: Now) -> None:
        self.beat: Heartbeat | None = None
        self.state = LinkState.WAITING
        self.since = now.at
        self._last = now
        # The number that must come, and since when.
        self._announced = Number(0, 0)
        self._announced_at = now

    def is_new(self, beat: Heartbeat, now: Now) -> bool:
        """Return whether a heartbeat is later than the last one; it may have been stored.

        :param now: when it was sent, as far as that is known.
        """
        is_first = self.beat is None
        return is_first or (beat != self.beat and now.seconds >= self._last.seconds)

    def receive(self, beat: Heartbeat, delivered: Number | None, now: Now) -> None:
        """Take a heartbeat.

        :param delivered: the number of the last event that was passed on.
        :param now: when it was sent, as far as that is known.
        """
        self.beat, self._last = beat, now
        if self._is_delivered(delivered):
            self._announced, self._announced_at = beat.number, now

    def look(self, delivered: Number | None, now: Now) -> LinkState:
        """Return the state now.

        :param delivered: the number of the last event that was passed on.
        """
        state = self._state(delivered, now)
        if state is not self.state:
            self.state, self.since = state, now.at
            if state is LinkState.LOST:
                self.since = self._last.at
        return state

    def _state(self, delivered: Number | None, now: Now) -> LinkState:
        if now.seconds - self._last.seconds >= LOST_SECONDS:
            return LinkState.LOST
        if self.beat is None:
            return LinkState.WAITING
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
            return (
                f"Waiting for the first heartbeat of {whose}; its figures are the last known ones"
            )
        case LinkState.LAGGING:
            return f"LAGGING since {since}: events of {whose} are late; its figures may be old"
        case LinkState.GONE:
            return (
                f"DAEMON GONE since {since}: riskd of {whose} does not run and enforces no limit"
            )
        case LinkState.LOST:
            why = server_problem or "no heartbeat comes"
            return f"{link.state.value} since {since}: {whose}; {why}. Its figures are of then"


def account_words(accounts: Sequence[int]) -> str:
    """Return the accounts of an instance, as a sentence has room for."""
    if not accounts:
        return "no account yet"
    shown = ", ".join(map(str, accounts[:_MOST_LISTED]))
    more = len(accounts) - _MOST_LISTED
    word = "account" if len(accounts) == 1 else "accounts"
    return f"{word} {shown}" + (f" and {more} more" if more > 0 else "")
