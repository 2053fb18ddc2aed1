"""An account as a row among all: its figures, its nearest limit and its state.

The row is made of the account's view when that has changed; what only the clock changes, an age or a countdown, is
worked out where the row is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

from riskd.model.desk_status import LINK_LOST
from riskd.model.equity import net_pnl
from riskd.model.events import LockoutSet
from riskd.model.reduce_only import reduce_only_stage
from riskd.rules.builtin import cooldown_after_loss, maximum_loss, trade_frequency_limit
from trader.model.gauge_words import usage_words
from trader.model.limit_usage import (
    NEAR_LEVELS,
    LimitUsage,
    limit_usages,
    nearest_limit,
    nearness,
    unknown_open_pnl,
)
from trader.model.reduce_only_end import StageEnd, stage_end
from trader.model.stop_grace import Unprotected, soonest, unprotected
from trader.model.view import (
    Source,
    View,
    is_current,
    is_stopping,
    unknown_reason,
    unrealized_pnl,
)
from trader.model.wording import FeedLine

_COOLING: Final = (cooldown_after_loss.RULE.rule_id, trade_frequency_limit.RULE.rule_id)
"""The rules whose locks are cooldowns."""

_DRY_RUN: Final = "dry run, riskd enforces nothing"
_NO_RULE: Final = "no rule is in force"
_NO_FILE: Final = "the state file cannot be read"
_STOPPING: Final = "the daemon is stopping"


class Standing(Enum):
    """What an account may do, in a word or two."""

    UNKNOWN = "-"
    FREE = "free"
    NEAR = "NEAR"
    REDUCE_ONLY = "REDUCE ONLY"
    NO_STOP = "NO STOP"
    LINK_LOST = "LINK LOST"
    NOT_GUARDED = "NOT GUARDED"
    COOLDOWN = "COOLDOWN"
    LOCKED = "LOCKED"


MAY_HAVE_CHANGED: Final = (
    Standing.FREE,
    Standing.NEAR,
    Standing.REDUCE_ONLY,
    Standing.NO_STOP,
)
"""What an account may be no more once the daemon is gone.  A lock outlasts the connection."""


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account among all.

    :ivar name: the name that the trader has given it; empty for none.
    :ivar is_current: whether the figures are the broker's now.
    :ivar known_at: the time of the last event or, if that is later, of the state file.
    :ivar net_pnl: the net P&L of the trading day in dollars; ``None`` while it is unknown.
    :ivar open_pnl: that of the open positions; ``None`` while it is unknown.
    :ivar contracts: the contracts held; ``None`` while they are unknown.
    :ivar nearest: the limit that is nearest; ``None`` if none has a number.
    :ivar has_floor: whether a rule sets a floor.
    :ivar floor: its usage; ``None`` while it is unknown.
    :ivar standing: what the account may do.
    :ivar is_guarded: whether riskd enforces its limits; what is not known counts as guarded.
    :ivar lockout: the lock that ends last.
    :ivar stage_end: what ends the reduce-only stage, if that is how it stands.
    :ivar closes_at: when riskd closes a position that has no stop, if that is how it stands and known.
    :ivar why: the reason for ``standing``, or why the figures are unknown; empty where nothing needs a reason.
    """

    account_id: int
    name: str = ""
    source: Source = Source.NOTHING
    is_current: bool = False
    known_at: datetime | None = None
    net_pnl: Decimal | None = None
    open_pnl: Decimal | None = None
    contracts: int | None = None
    nearest: LimitUsage | None = None
    has_floor: bool = False
    floor: LimitUsage | None = None
    standing: Standing = Standing.UNKNOWN
    is_guarded: bool = True
    lockout: LockoutSet | None = None
    stage_end: StageEnd | None = None
    closes_at: datetime | None = None
    why: str = ""

    @property
    def label(self) -> str:
        """The name, or else the number."""
        return self.name or str(self.account_id)

    @property
    def share(self) -> Decimal | None:
        """How much of the nearest limit is used, 1 at the limit."""
        return None if self.nearest is None else self.nearest.share


def account_row(view: View, now: datetime, name: str = "") -> AccountRow:
    """Return the row of an account.

    :param name: the trader's name for it.
    """
    account = view.account
    usages = limit_usages(view, now)
    nearest = nearest_limit(usages)
    # The events of a connection are not the whole day, and positions may be older.
    unknown = unknown_reason(view)
    if view.events_only_since is not None:
        unknown = view.file_problem or _NO_FILE
    unguarded = _why_unguarded(view, usages)
    row = AccountRow(
        account_id=account.account_id,
        name=name,
        source=view.source,
        is_current=is_current(view),
        known_at=view.known_at,
        nearest=nearest,
        has_floor=maximum_loss.RULE.rule_id in account.limits,
        floor=next((usage for usage in usages if usage.floor is not None), None),
        is_guarded=not unguarded,
        lockout=account.lockout,
        why=unknown,
    )
    if not unknown:
        row = msgspec.structs.replace(
            row,
            # Fees are published with the balance.
            net_pnl=net_pnl(account)
            if account.balance.agreed is not None and not unknown_open_pnl(view, now)
            else None,
            open_pnl=unrealized_pnl(view, now).amount,
            contracts=sum(position.size for position in account.open_positions),
        )
    bare = soonest(unprotected(view, now))
    standing, why = _standing(view, usages, nearest, unguarded, bare)
    if unknown and standing is Standing.FREE:
        standing, why = Standing.UNKNOWN, ""
    if bare is not None and standing is Standing.NO_STOP:
        return msgspec.structs.replace(row, standing=standing, closes_at=bare.closes_at, why=why)
    end = stage_end(account, now) if standing is Standing.REDUCE_ONLY else None
    if end is not None and (words := end.words(now)):
        why = f"{why}; {words}"
    return msgspec.structs.replace(row, standing=standing, stage_end=end, why=why or unknown)


def _why_unguarded(view: View, usages: Iterable[LimitUsage]) -> str:
    """Return why riskd enforces no limits; empty if it does or if that is unknown."""
    if view.is_live and view.has_daemon_error and view.daemon is not None:
        # What riskd does at the other end of a lost link is not known.
        return "" if _lost_link(view) else view.daemon.message
    if view.is_live and is_stopping(view.daemon):
        return _STOPPING
    if view.is_dry_run:
        return _DRY_RUN
    is_known = view.source is not Source.NOTHING and view.events_only_since is None
    return "" if usages or not is_known else _NO_RULE


def _lost_link(view: View) -> str:
    """Return that a desk's link to the account's riskd is lost; else empty."""
    status = view.daemon
    is_lost = view.has_daemon_error and status is not None and status.message.startswith(LINK_LOST)
    return status.message if is_lost and status is not None else ""


def _standing(
    view: View,
    usages: Iterable[LimitUsage],
    nearest: LimitUsage | None,
    unguarded: str,
    bare: Unprotected | None,
) -> tuple[Standing, str]:
    """Return what the account may do, and why."""
    lockout, stage = view.account.lockout, reduce_only_stage(view.account)
    if lockout is not None:
        is_cooldown = lockout.rule_id in _COOLING and lockout.locked_until is not None
        return (Standing.COOLDOWN if is_cooldown else Standing.LOCKED), lockout.reason
    if wrong := unguarded or _lost_link(view):
        return (Standing.NOT_GUARDED if unguarded else Standing.LINK_LOST), wrong
    if view.source is Source.NOTHING or view.events_only_since is not None:
        return Standing.UNKNOWN, ""
    if bare is not None or stage is not None:
        return _bare_or_staged(bare, "" if stage is None else stage.reason)
    if nearest is not None and nearest.level in NEAR_LEVELS:
        return Standing.NEAR, f"{nearest.name} {usage_words(nearest)}"
    return Standing.FREE, _unknown_limit(usages)


def _bare_or_staged(bare: Unprotected | None, reason: str) -> tuple[Standing, str]:
    """Return what the trader must act on first: a missing stop, or the stage."""
    if bare is None:
        return Standing.REDUCE_ONLY, reason
    also = f"; REDUCE ONLY: {reason}" if reason else ""
    return Standing.NO_STOP, f"{bare.why}{also}"


def _unknown_limit(usages: Iterable[LimitUsage]) -> str:
    """Return which limit on money is unknown, and why; empty if none is."""
    unknown = (usage for usage in usages if usage.unknown and usage.acts and usage.unit == "$")
    return next((f"{usage.name} is unknown: {usage.unknown}" for usage in unknown), "")


class Order(msgspec.Struct, frozen=True):
    """An order of the rows.

    :ivar words: its name on the screen.
    """

    words: str
    key: Callable[[AccountRow], Any]


def _by_name(row: AccountRow) -> tuple[bool, str, int]:
    # Names first, then numbers by their size.
    return (not row.name, row.name.casefold(), row.account_id)


def _by_limit(row: AccountRow) -> tuple[Any, ...]:
    # What is unknown comes last, and is a dash there.
    if row.nearest is None or row.share is None:
        return (True, *_by_name(row))
    is_near, share, is_floor = nearness(row.nearest)
    return (False, not is_near, -share, not is_floor, *_by_name(row))


def _by_pnl(row: AccountRow) -> tuple[Any, ...]:
    amount = row.net_pnl
    return (amount is None, amount or 0, *_by_name(row))


ORDERS: Final = (
    Order("nearest limit first", _by_limit),
    Order("by name", _by_name),
    Order("lowest P&L first", _by_pnl),
)
"""The orders, each after the one before it at the press of a key."""


class AccountList(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts at one moment.

    :ivar link: the view of one of them, for what is the same for all: connection, gateway, daemon.
    :ivar rows: in the order that the trader has chosen.
    :ivar flash: what flashes above the rows; ``None`` for nothing.
    :ivar flashing: the accounts that were locked in the last seconds.
    :ivar problem: why accounts may be missing; empty if none is.
    """

    link: View
    rows: tuple[AccountRow, ...] = ()
    flash: FeedLine | None = None
    flashing: frozenset[int] = frozenset()
    problem: str = ""
