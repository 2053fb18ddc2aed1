"""What the screen shows at one moment, and how far it can be trusted."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, Status
from trader.model.activity import FeedLine


class Source(Enum):
    """Where the numbers on the screen come from."""

    NOTHING = "nothing yet"
    """There has been no connection and the file told nothing; nothing is known."""
    LIVE = "live"
    """The daemon is connected and tells what happens."""
    LAST_KNOWN = "last known"
    """There is no connection; this is what the file says, or what was known when it was lost."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that the screen shows, at one moment.

    :ivar account: what is known of the account.
    :ivar source: where that comes from.
    :ivar events_only_since: when the connection was made of whose events alone ``account`` is made; ``None``
        where it is made of the file too, and so is the whole day's.
    :ivar known_at: up to when ``account`` is known: when the file was written, or the last event came
        if that was later; ``None`` while that cannot be told.
    :ivar daemon: the daemon's last word on itself; ``None`` when it has given none.
    :ivar connection_problem: why there is no connection; empty while there is one.
    :ivar has_broker_data: whether anything has come over the connection that stands which the daemon cannot say
        without having heard the broker.
    :ivar file_problem: what is wrong with the file; empty when ``account`` lacks nothing for it.
    :ivar retry_in: seconds to the next try; ``None`` when none is due.
    :ivar gateway_name: the kind of gateway; ``None`` while unknown.
    :ivar url: where the daemon is looked for.
    :ivar dropped: how many messages could not be read.
    :ivar is_dry_run: whether the daemon enforces nothing; ``None`` while it has not said.
    :ivar file_as_of: when the file was written that was read last.
    :ivar connected_at: when the connection was made that stands, or stood last.
    :ivar connections: how many connections there have been.
    :ivar events: how many events of the account and the daemon were received.
    :ivar last_event: the type of the last of them.
    :ivar last_event_at: when it came.
    :ivar feed: the activity feed, oldest first.
    :ivar flash: the line that flashes; ``None`` when none does.
    """

    account: AccountState
    source: Source = Source.NOTHING
    events_only_since: datetime | None = None
    known_at: datetime | None = None
    daemon: DaemonStatus | None = None
    connection_problem: str = ""
    has_broker_data: bool = False
    file_problem: str = ""
    retry_in: float | None = None
    gateway_name: str | None = None
    url: str = ""
    dropped: int = 0
    is_dry_run: bool | None = None
    file_as_of: datetime | None = None
    connected_at: datetime | None = None
    connections: int = 0
    events: int = 0
    last_event: str = ""
    last_event_at: datetime | None = None
    feed: tuple[FeedLine, ...] = ()
    flash: FeedLine | None = None


def is_current(view: View) -> bool:
    """Tell whether the numbers are what the broker says now, as far as a daemon that is connected knows.

    One that is in trouble from its start on has heard nothing of the broker yet: what it lets be known is
    what an earlier one wrote down.
    """
    is_in_trouble = view.daemon is not None and view.daemon.status is Status.ERROR
    return view.source is Source.LIVE and (view.has_broker_data or not is_in_trouble)


def is_stopping(status: DaemonStatus | None) -> bool:
    """Tell whether the daemon's last word was that it stops."""
    return status is not None and status.status == "STOPPING"


def is_empty(account: AccountState) -> bool:
    """Tell whether nothing was ever told of what the account holds and trades."""
    return not (account.positions or account.orders or account.trades or account.trade_count)


def unknown_reason(view: View) -> str:
    """Return why nothing at all can be known of what the broker says of the account; or nothing.

    A daemon that has not begun to follow the broker, or cannot, knows of no position and of no trade
    either.  So an account of which it knows nothing is flat only where all is well.
    """
    if view.source is Source.NOTHING:
        return "not connected yet"
    if view.events_only_since is not None or not is_empty(view.account):
        return ""
    if view.daemon is None:
        return "the broker has not said"
    return "the daemon has an error" if view.daemon.status is Status.ERROR else ""
