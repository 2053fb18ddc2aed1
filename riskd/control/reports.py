"""What an operator is told: how the daemon, its accounts and their rules are.

The reports are values without a network; :mod:`riskd.control.server` carries them, ``riskctl`` shows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState, Flattening, position_pnl
from riskd.model.events import (
    DaemonStatus,
    GatewayUserOrder,
    GatewayUserPosition,
    LockoutSet,
    plain_number,
)
from riskd.model.formatting import name_of
from riskd.model.lockouts import locks_in_force
from riskd.model.money import ZERO
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import Gauge

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class PositionReport(msgspec.Struct, frozen=True, kw_only=True):
    """An open position.

    :ivar open_pnl: dollars it would make if it were closed now; ``None`` while that is unknown.
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
    """A flatten that is not known to be done."""

    rule_id: str
    reason: str
    begun: datetime


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """How an account is.

    :ivar open_pnl: that of all positions; ``None`` while one of them is unknown.
    :ivar can_trade: what the broker last said; ``None`` before it said anything.
    :ivar locks: those that hold, the one that ends last at the beginning.
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


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a daemon and its accounts are.

    :ivar daemon: the daemon's last word on itself; ``None`` while it has not said any.
    :ivar dry_run: whether nothing is enforced.
    """

    version: str
    gateway: str
    daemon: DaemonStatus | None
    accounts: tuple[AccountReport, ...]
    dry_run: bool = False


class GaugeReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far an account is from a limit; see :class:`riskd.rules.interface.Gauge`.

    :ivar headroom: what is left; less than nothing beyond the limit, ``None`` where there is no number.
    """

    name: str
    limit: Decimal | None
    current: Decimal | None
    headroom: Decimal | None
    unit: str
    words: str


class RuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in force.

    :ivar trouble: why it has no gauges, when it failed to say.
    """

    rule_id: str
    key: str
    gauges: tuple[GaugeReport, ...]
    trouble: str = ""


class RulesReport(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force for an account, in the order in which they are asked."""

    account: int
    rules: tuple[RuleReport, ...]


def encode_report(report: object) -> bytes:
    """Return a report as JSON, money and prices as numbers."""
    return _ENCODER.encode(report)


def report_account(state: AccountState, now: datetime) -> AccountReport:
    """Return how an account is."""
    positions = tuple(_report_position(state, held) for held in state.open_positions)
    return AccountReport(
        account=state.account_id,
        realized_pnl=state.realized_pnl,
        open_pnl=_total(position.open_pnl for position in positions),
        trades=state.trade_count,
        can_trade=state.risk.can_trade,
        positions=positions,
        orders=tuple(_report_order(state, order) for order in state.working_orders),
        locks=locks_in_force(state, now),
        flattening=_report_flattening(state.risk.flattening),
    )


def _report_position(state: AccountState, held: GatewayUserPosition) -> PositionReport:
    return PositionReport(
        contract=name_of(state, held.contract_id),
        side=held.type.name.lower(),
        size=held.size,
        average_price=held.average_price,
        open_pnl=position_pnl(state, held).amount,
    )


def _report_order(state: AccountState, order: GatewayUserOrder) -> OrderReport:
    return OrderReport(
        id=order.id,
        contract=name_of(state, order.contract_id),
        type=order.type.name.lower().replace("_", " "),
        side=order.side.name.lower(),
        size=order.size,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
    )


def _report_flattening(plan: Flattening | None) -> FlatteningReport | None:
    if plan is None:
        return None
    return FlatteningReport(rule_id=plan.rule_id, reason=plan.reason, begun=plan.begun)


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def report_rule(in_force: RuleInForce, state: AccountState, now: datetime) -> RuleReport:
    """Return how far an account is from a rule's limits; a rule that fails to say hides no other."""
    rule, settings = in_force.rule, in_force.settings
    gauges: tuple[GaugeReport, ...] = ()
    trouble = ""
    try:
        gauges = tuple(_report_gauge(gauge) for gauge in rule.gauges(state, settings, now))
    except Exception as error:  # noqa: BLE001  # a user's rule may raise anything
        trouble = f"{type(error).__name__}: {error}"
    # Of two settings of one rule, a reader is to see which were loosened.
    key = f"{rule.key} (until unlocked)" if in_force.is_held else rule.key
    return RuleReport(rule_id=rule.rule_id, key=key, gauges=gauges, trouble=trouble)


def _report_gauge(gauge: Gauge) -> GaugeReport:
    limit, current = _figure(gauge.limit), _figure(gauge.current)
    return GaugeReport(
        name=str(gauge.name),
        limit=limit,
        current=current,
        headroom=None if limit is None or current is None else limit - current,
        unit=str(gauge.unit),
        words=str(gauge.words),
    )


def _figure(value: Decimal | None) -> Decimal | None:
    # What is no number, such as the result of 0 / 0, could not be written as JSON.
    return None if value is None else plain_number(value)
