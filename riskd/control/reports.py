"""Reports for an operator: the daemon, its accounts and their rules.

The reports are plain values.  :mod:`riskd.control.reporting` makes them, ``riskctl`` shows them, and
``riskctl status --json`` writes them as they are.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from riskd.model.events import DaemonStatus, LockoutSet
from riskd.model.floor import FloorSource


class PositionReport(msgspec.Struct, frozen=True, kw_only=True):
    """An open position.

    :ivar side: ``long`` or ``short``.
    :ivar open_pnl: open P&L in dollars; ``None`` while the position has no mark.
    """

    contract: str
    side: str
    size: int
    average_price: Decimal
    open_pnl: Decimal | None


class OrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """A working order."""

    id: int
    contract: str
    type: str
    side: str
    size: int
    limit_price: Decimal | None
    stop_price: Decimal | None


class FlatteningReport(msgspec.Struct, frozen=True, kw_only=True):
    """A flatten that the broker has not confirmed yet."""

    rule_id: str
    reason: str
    begun: datetime


class FlattenReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a flatten has done that the broker has confirmed as done.

    :ivar closed: the number of positions that it has closed.
    :ivar canceled: the number of orders that it has canceled.
    """

    closed: int
    canceled: int


class ReduceOnlyReport(msgspec.Struct, frozen=True, kw_only=True):
    """A stage in which an account may only close what it holds.

    :ivar reasons: why, by the ids of the rules that ask for it.
    :ivar held: the contracts that may still be held, short ones negative, by name.
    """

    since: datetime
    reasons: dict[str, str]
    held: dict[str, int]


class FloorReport(msgspec.Struct, frozen=True, kw_only=True):
    """The floor at which an account is lost, in dollars.

    :ivar headroom: how far the equity is above it; ``None`` while a position has no mark.
    :ivar after_close: the floor if everything was closed and the trading day ended now; ``None`` if no end of a
        day moves it, or while a position has no mark.
    """

    amount: Decimal
    source: FloorSource
    headroom: Decimal | None
    after_close: Decimal | None


class WaitReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a commitment lets wait.

    :ivar what: a sentence without a full stop, such as ``daily_realized_loss: loss_limit 500 became 1000``.
    :ivar until: when it may hold; ``None`` while the broker's time is not known.
    :ivar is_over: whether the time has passed, and only a restart is missing.
    :ivar operator: the user who asked for it.
    """

    what: str
    until: datetime | None
    is_over: bool
    operator: str


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """An account of the daemon.

    :ivar is_reported: whether the broker has said since riskd started what the account holds and has traded.  Until
        then positions and orders are those of before, and ``realized_pnl`` and ``trades`` mean nothing.
    :ivar realized_pnl: dollars of this trading day, before fees.
    :ivar open_pnl: dollars of all positions; ``None`` while one of them has no mark.
    :ivar net_pnl: dollars of this trading day, after fees and with open P&L at what an exit would bring;
        ``None`` while a position has no mark.
    :ivar balance: dollars; the lower one while the broker has another balance than riskd can explain; ``None``
        before the broker first reported it.
    :ivar equity: the balance with open P&L at what an exit would bring; ``None`` while one of them is unknown.
    :ivar has_floor: whether RULE-014 guards it.
    :ivar floor: where the account would be lost; ``None`` without RULE-014, or while that is unknown.
    :ivar brokers_balance: the broker's other balance; ``None`` while both agree.
    :ivar trades: trades of this trading day.
    :ivar can_trade: the broker's permission; ``None`` before the broker first reported it.
    :ivar locks: the locks in force; the one that ends last comes first.
    :ivar reduce_only: the stage in which it may only close what it holds.
    :ivar commitment: how long what loosens waits: ``daily_reset``, or a time such as ``8h``; the longest counts.
    :ivar waits: what waits because of that.
    :ivar unlocked_beyond: the rules beyond whose limits an operator has unlocked the account in this trading day.
    """

    account: int
    realized_pnl: Decimal
    open_pnl: Decimal | None
    trades: int
    can_trade: bool | None
    positions: tuple[PositionReport, ...]
    orders: tuple[OrderReport, ...]
    locks: tuple[LockoutSet, ...]
    flattening: FlatteningReport | None
    unlocked_beyond: tuple[str, ...] = ()
    reduce_only: ReduceOnlyReport | None = None
    net_pnl: Decimal | None = None
    balance: Decimal | None = None
    equity: Decimal | None = None
    brokers_balance: Decimal | None = None
    floor: FloorReport | None = None
    has_floor: bool = False
    is_reported: bool = True
    commitment: tuple[str, ...] = ()
    waits: tuple[WaitReport, ...] = ()


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon and its accounts.

    :ivar version: riskd's version.
    :ivar gateway: the kind of gateway, such as ``practice``.
    :ivar daemon: the daemon's latest status event; ``None`` before the first.
    :ivar dry_run: whether riskd only reports breaches and enforces nothing.
    :ivar clock_offset: by how many seconds the broker's clock is ahead of the daemon's machine's;
        ``None`` while that is unknown.
    :ivar is_recovered: whether riskd has read its journal; until then locks of before may be unknown.
    """

    version: str
    gateway: str
    daemon: DaemonStatus | None
    accounts: tuple[AccountReport, ...]
    dry_run: bool = False
    clock_offset: float | None = None
    is_recovered: bool = True


class GaugeReport(msgspec.Struct, frozen=True, kw_only=True):
    """A limit and how far the account is from it.

    See :class:`riskd.rules.interface.Gauge`.

    :ivar headroom: limit minus current value, negative beyond the limit; ``None`` where one of the two
        has no number.
    :ivar unit: ``$``, or a unit in the plural.
    :ivar floor: the equity in dollars at which the limit is reached, where it is one on the equity.
    :ivar words: the state of a limit without numbers.
    """

    name: str
    limit: Decimal | None
    current: Decimal | None
    headroom: Decimal | None
    unit: str
    words: str
    floor: Decimal | None = None


class RuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in force.

    :ivar key: the rule's key in ``riskd.toml``.
    :ivar trouble: the error, where the rule failed to return its gauges.
    """

    rule_id: str
    key: str
    gauges: tuple[GaugeReport, ...]
    trouble: str = ""


class RulesReport(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force for an account, in the order of their evaluation.

    :ivar is_reported: see :class:`AccountReport`; until then no gauge has a current value.
    :ivar unwritten: why the figures are not on the disk; empty if they are.
    :ivar trouble: what is wrong with the daemon, in its words; empty if nothing is.
    """

    account: int
    rules: tuple[RuleReport, ...]
    is_reported: bool = True
    unwritten: str = ""
    trouble: str = ""
