"""All that the screen shows at one moment, and how far it can be trusted.

An old quote allows no open P&L to be shown.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, GatewayUserPosition, MarketQuote, Status
from riskd.model.money import ZERO
from riskd.model.open_pnl import OpenPnl, position_pnl
from trader.model.formatting import age
from trader.model.same import Same
from trader.model.wording import FeedLine

# These bounds are for the eyes of a trader.  Rules have one of their own, because an old quote is still the best
# that they have: riskd.model.open_pnl.STALE_AFTER.
STALE_SECONDS: Final = 5
"""A quote older than this may be outdated."""

SILENT_SECONDS: Final = 30
"""A connected daemon's market without a quote for longer than this has no quote."""

_CACHED: Final = 64
"""Positions whose P&L is kept."""


class Source(Enum):
    """The source of the numbers on the screen."""

    NOTHING = "nothing yet"
    """No connection so far, and no usable state file."""
    LIVE = "live"
    """The connected daemon."""
    LAST_KNOWN = "last known"
    """The state file, or the last connection if its events are newer."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that the screen shows at one moment.

    :ivar account: the state of the account, as far as it is known.
    :ivar name: the name that the trader has given it; empty for none.
    :ivar source: the source of that state.
    :ivar events_only_since: when the connection was made, if ``account`` consists of its events alone
        because the state file could not be read; ``None`` if ``account`` covers the whole trading day.
    :ivar known_at: the time of the last event or, if that is later, of the state file; ``None`` while
        neither is known.
    :ivar daemon: the daemon's last status; ``None`` if it has sent none.
    :ivar connection_problem: why there is no connection; empty while there is one.
    :ivar has_broker_data: whether this connection has brought an event that the daemon cannot send
        without data of the broker.
    :ivar file_problem: what is wrong with the state file; empty while nothing depends on it.
    :ivar retry_in: seconds until the next attempt to connect; ``None`` if none is scheduled.
    :ivar gateway_name: the kind of gateway; ``None`` while unknown.
    :ivar silent_for: the seconds for which a connected daemon has not answered; ``None`` while it does.
    :ivar url: the daemon's URL.
    :ivar dropped: the number of malformed messages.
    :ivar is_dry_run: whether the daemon enforces nothing; ``None`` while unknown.
    :ivar file_as_of: the date of the state file that was read last.
    :ivar clock_offset: how far the broker's clock is ahead of this machine's; ``None`` while unknown.
    :ivar connected_at: when the last connection was made.
    :ivar connections: the number of connections so far.
    :ivar events: the number of events received, of the account and of the daemon.
    :ivar last_event: the type of the last event.
    :ivar last_event_at: when the last event was received.
    :ivar feed: the lines of the activity feed, oldest first.
    :ivar flash: the line that flashes; ``None`` for none.
    """

    account: AccountState
    name: str = ""
    source: Source = Source.NOTHING
    events_only_since: datetime | None = None
    known_at: datetime | None = None
    daemon: DaemonStatus | None = None
    connection_problem: str = ""
    has_broker_data: bool = False
    file_problem: str = ""
    retry_in: float | None = None
    silent_for: float | None = None
    gateway_name: str | None = None
    url: str = ""
    dropped: int = 0
    is_dry_run: bool | None = None
    file_as_of: datetime | None = None
    clock_offset: timedelta | None = None
    connected_at: datetime | None = None
    connections: int = 0
    events: int = 0
    last_event: str = ""
    last_event_at: datetime | None = None
    feed: tuple[FeedLine, ...] = ()
    flash: FeedLine | None = None

    @property
    def is_live(self) -> bool:
        """Whether the daemon is connected."""
        return self.source is Source.LIVE

    @property
    def has_daemon_error(self) -> bool:
        """Whether the daemon's last status is ERROR."""
        return self.daemon is not None and self.daemon.status is Status.ERROR


def is_current(view: View) -> bool:
    """Return whether the numbers are the broker's now, as far as the daemon knows.

    A daemon that has had an error since its start has no data of the broker yet.  It publishes what an
    earlier run has journaled.
    """
    return view.is_live and (view.has_broker_data or not view.has_daemon_error)


def is_stopping(status: DaemonStatus | None) -> bool:
    """Return whether ``status`` says that the daemon is stopping."""
    return status is not None and status.status is Status.STOPPING


def is_empty(account: AccountState) -> bool:
    """Return whether the account has no position, order or trade, open or past."""
    return not (account.positions or account.orders or account.trades or account.trade_count)


def unknown_reason(view: View) -> str:
    """Return why positions, orders and trades are unknown; empty if they are known.

    A daemon without data of the broker has an empty account, too; so an empty account is known to be flat
    only if the daemon has no error.
    """
    if view.source is Source.NOTHING:
        return "not connected yet"
    if view.events_only_since is not None or not is_empty(view.account):
        return ""
    if view.daemon is None:
        return "no broker data yet"
    return "the daemon has an error" if view.has_daemon_error else ""


def quote_age(quote: MarketQuote, now: datetime) -> float:
    """Return the age of a quote in seconds."""
    return (now - quote.timestamp).total_seconds()


def is_fresh(state: AccountState, contract_id: str, now: datetime) -> bool:
    """Return whether a contract has a quote that is not stale."""
    quote = state.quotes.get(contract_id)
    return quote is not None and quote_age(quote, now) <= STALE_SECONDS


def open_pnl(view: View, position: GatewayUserPosition, now: datetime) -> OpenPnl:
    """Return a position's P&L; unknown if its last quote is too old.

    Without a connection no quotes can arrive, and the last known price stands.
    """
    quote = view.account.quotes.get(position.contract_id)
    if view.is_live and quote is not None and quote_age(quote, now) > SILENT_SECONDS:
        return OpenPnl(None, f"no quote for {age(quote_age(quote, now))}")
    return _pnl_at_mark(Same(view.account), Same(position))


# Most limits of a view ask.
@lru_cache(maxsize=_CACHED)
def _pnl_at_mark(account: Same[AccountState], position: Same[GatewayUserPosition]) -> OpenPnl:
    return position_pnl(account.value, position.value)


def unrealized_pnl(view: View, now: datetime) -> OpenPnl:
    """Return the P&L of all open positions; unknown if that of one position is."""
    total = ZERO
    for position in view.account.open_positions:
        pnl = open_pnl(view, position, now)
        if pnl.amount is None:
            return pnl
        total += pnl.amount
    return OpenPnl(total)
