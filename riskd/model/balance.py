"""The balance of an account: the broker's last word, and what has changed since.

The broker reports a balance without a stamp, late, several times, and before or after the trades that
explain it.  So riskd computes the *expected* balance: the last one on which both agreed, and the result of
every trade since, half-turns included, since each of them is charged.  A void takes back the result of its
trade, and an amendment the difference, of whatever day the trade is.

What the broker reports is a *figure*.  Which figures agree, which are late copies and which are a payout or a
deposit is decided by :mod:`riskd.engine.balances`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from riskd.model.broker import BrokerTrade
from riskd.model.events import GatewayUserPosition, OrderSide
from riskd.model.moments import is_placeholder
from riskd.model.money import ZERO


class Leg(StrEnum):
    """What an execution did."""

    BUY_TO_OPEN = "BUY_TO_OPEN"
    SELL_TO_OPEN = "SELL_TO_OPEN"
    BUY_TO_CLOSE = "BUY_TO_CLOSE"
    SELL_TO_CLOSE = "SELL_TO_CLOSE"

    @property
    def is_exit(self) -> bool:
        """Whether it closed contracts."""
        return self in (Leg.BUY_TO_CLOSE, Leg.SELL_TO_CLOSE)

    @property
    def entry_of_same_side(self) -> Leg:
        """What an entry of the same side is."""
        return Leg.BUY_TO_OPEN if self.startswith("BUY") else Leg.SELL_TO_OPEN


def leg_of(trade: BrokerTrade) -> Leg:
    """Return what an execution did; without a side it counts as a buy."""
    side = "SELL" if trade.side is OrderSide.SELL else "BUY"
    return Leg(f"{side}_TO_{'CLOSE' if trade.is_full_turn else 'OPEN'}")


class Execution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The details of an execution, for reports.

    :ivar side: ``None`` if the broker did not report it, as ``price``.
    :ivar pnl: gross dollars; ``None`` for a half-turn, which only opens contracts.
    :ivar fees: dollars, with commissions.
    :ivar opened_at: when the position that it closed was opened; ``None`` if that is unknown.
    """

    contract_id: str
    size: int
    side: OrderSide | None = None
    price: Decimal | None = None
    pnl: Decimal | None = None
    fees: Decimal = ZERO
    opened_at: datetime | None = None


class Result(msgspec.Struct, frozen=True):
    """What one execution has done to the balance, in dollars; 0 once it is voided.

    :ivar at: the broker's time of the execution.
    :ivar order_id: the order that it filled; ``None`` if the broker does not say.
    :ivar leg: ``None`` once it is voided.
    :ivar execution: its details; ``None`` if an earlier riskd journaled it.
    """

    at: datetime
    amount: Decimal
    order_id: int | None = None
    leg: Leg | None = None
    execution: Execution | None = None


def result_of(
    trade: BrokerTrade, position: GatewayUserPosition | None, known: Result | None
) -> Result:
    """Return the result of an execution.

    :param position: of its contract, as it was known before the execution or just after it.
    :param known: the earlier version, of an execution that the broker amends.
    """
    opened_at = None
    if known is not None and known.execution is not None:
        # By now another position may be open.
        opened_at = known.execution.opened_at
    elif trade.is_full_turn and position is not None and not is_placeholder(position.created_at):
        is_before = position.created_at <= trade.execution_time
        opened_at = position.created_at if is_before else None
    execution = Execution(
        contract_id=trade.contract_id,
        size=trade.quantity,
        side=trade.side,
        price=trade.price,
        pnl=trade.profit_and_loss if trade.is_full_turn else None,
        fees=trade.charges,
        opened_at=opened_at,
    )
    return Result(
        at=trade.execution_time,
        amount=trade.net_pnl,
        order_id=trade.order_id if known is None else known.order_id,
        leg=leg_of(trade),
        execution=execution,
    )


class FirmFloor(msgspec.Struct, frozen=True, kw_only=True):
    """The firm's own figure for the floor of an account, and what has happened since.

    :ivar amount: dollars.
    :ivar at: when the operator gave it, in the broker's time.
    :ivar payouts: all payouts until then, positive.
    :ivar close: the highest balance at the end of a trading day since then, without the last one that has ended.
    :ivar peak: the highest equity since then.
    """

    amount: Decimal
    at: datetime
    payouts: Decimal = ZERO
    close: Decimal | None = None
    peak: Decimal | None = None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """The balance of an account and the highs of trailing limits, in dollars.

    :ivar agreed: the last balance on which the broker and riskd agreed; ``None`` before the first.
    :ivar results: of all executions since then.
    :ivar other: the broker's figure that no trade explains and that is no payout yet; ``None`` if there is
        none.
    :ivar is_settled: whether it is known which executions ``agreed`` includes.
    :ivar first: the first balance that riskd knew.
    :ivar open_flow: the broker's figure less the expected one when the trading day began; 0 if they were one.
    :ivar flows: the deposits of the trading day less its payouts.
    :ivar payouts: all payouts so far, positive.
    :ivar charges: the broker's fees and commissions of the trading day.
    :ivar entries_and_exits: those of the trading day.
    :ivar high_realized: the highest net P&L that the trades of the day have reached; 0 at least.
    :ivar high_net: the highest net P&L of the day, open P&L included; 0 at least.
    :ivar peak: the highest equity so far.
    :ivar earlier_close: the highest balance at the end of a trading day before the last one that has ended.
    :ivar firm_floor: the firm's figure for the floor; ``None``: it is riskd's estimate.
    """

    agreed: Decimal | None = None
    results: Decimal = ZERO
    other: Decimal | None = None
    is_settled: bool = False
    first: Decimal | None = None
    open_flow: Decimal = ZERO
    flows: Decimal = ZERO
    payouts: Decimal = ZERO
    charges: Decimal = ZERO
    entries_and_exits: int = 0
    high_realized: Decimal = ZERO
    high_net: Decimal = ZERO
    peak: Decimal | None = None
    earlier_close: Decimal | None = None
    firm_floor: FirmFloor | None = None

    @property
    def expected(self) -> Decimal | None:
        """The balance by riskd's account; ``None`` while none is known."""
        return None if self.agreed is None else self.agreed + self.results

    @property
    def difference(self) -> Decimal:
        """The broker's figure less the expected one; 0 while they are one."""
        expected = self.expected
        return ZERO if self.other is None or expected is None else self.other - expected

    @property
    def counted(self) -> Decimal | None:
        """The balance that limits count: the lower one of two figures."""
        expected = self.expected
        if expected is None or self.other is None:
            return expected
        return min(expected, self.other)


def after_result(balance: Balance, change: Decimal) -> Balance:
    """Return the balance after an execution, a void or an amendment.

    Before it is known which executions the balance includes, only a loss counts: it may include the gain.
    """
    if balance.agreed is None:
        return balance
    if not balance.is_settled:
        change = min(change, ZERO)
    return with_change(balance, change)


def with_change(balance: Balance, change: Decimal) -> Balance:
    """Return the balance after a known change, in dollars."""
    other = None if balance.other is None else balance.other + change
    return msgspec.structs.replace(balance, results=balance.results + change, other=other)


def after_agreement(balance: Balance, figure: Decimal, *, is_settled: bool) -> Balance:
    """Return the balance once the broker's figure and riskd agree."""
    return msgspec.structs.replace(
        balance,
        agreed=figure,
        results=ZERO,
        other=None,
        open_flow=ZERO,
        is_settled=is_settled,
        first=figure if balance.first is None else balance.first,
    )


def after_flow(balance: Balance, figure: Decimal) -> Balance:
    """Return the balance once a difference is a payout or a deposit.

    What the broker had reported when the trading day began was made before that, so the close had it.
    """
    flow = figure - (balance.expected or ZERO)
    of_day = flow - balance.open_flow
    agreed = after_agreement(balance, figure, is_settled=True)
    return msgspec.structs.replace(
        agreed, flows=balance.flows + of_day, payouts=balance.payouts + max(-flow, ZERO)
    )


def after_firm_floor(balance: Balance, amount: Decimal, at: datetime) -> Balance:
    """Return the balance once an operator has given the firm's figure for the floor."""
    firm = FirmFloor(amount=amount, at=at, payouts=balance.payouts)
    return msgspec.structs.replace(balance, firm_floor=firm)


def merge_balances(known: Balance, since: Balance, *, is_same_day: bool) -> Balance:
    """Return a journaled balance and that of this run as one.

    No high is lower than either.

    :param since: gathered without the journaled one.
    :param is_same_day: whether both are of one trading day.
    """
    if since.agreed is None:
        merged = msgspec.structs.replace(known, charges=since.charges)
    else:
        merged = msgspec.structs.replace(
            since,
            first=known.first if known.first is not None else since.first,
            payouts=known.payouts + since.payouts,
            peak=highest(known.peak, since.peak),
            earlier_close=highest(known.earlier_close, since.earlier_close),
        )
    merged = msgspec.structs.replace(merged, firm_floor=_merge_firm_floors(known, since))
    if not is_same_day:
        return merged
    return msgspec.structs.replace(
        merged,
        open_flow=since.open_flow or known.open_flow,
        flows=known.flows + since.flows,
        high_net=max(known.high_net, since.high_net),
    )


def gathered_since(balance: Balance, earlier: Balance, *, is_same_day: bool) -> Balance:
    """Return what a balance has of its own, for :func:`merge_balances`.

    :param earlier: what it went on from: the published copy, while the journal could not be read.
    :param is_same_day: whether both are of one trading day.
    """
    firm = balance.firm_floor
    if firm is not None and not _is_same_figure(firm, earlier.firm_floor):
        firm = msgspec.structs.replace(firm, payouts=firm.payouts - earlier.payouts)
    is_known = (balance.agreed, balance.results) == (earlier.agreed, earlier.results)
    return msgspec.structs.replace(
        balance,
        agreed=None if is_known and not balance.is_settled else balance.agreed,
        payouts=balance.payouts - earlier.payouts,
        flows=balance.flows - (earlier.flows if is_same_day else ZERO),
        peak=None if balance.peak == earlier.peak else balance.peak,
        earlier_close=(
            None if balance.earlier_close == earlier.earlier_close else balance.earlier_close
        ),
        firm_floor=firm,
    )


def _merge_firm_floors(known: Balance, since: Balance) -> FirmFloor | None:
    firm, later = known.firm_floor, since.firm_floor
    if firm is None or (later is not None and later.at > firm.at):
        # What this run knows of payouts came after those that are journaled.
        return later and msgspec.structs.replace(later, payouts=known.payouts + later.payouts)
    # All of this run is later than a figure that it does not know.
    close, peak = since.earlier_close, since.peak
    if later is not None and _is_same_figure(firm, later):
        close, peak = later.close, later.peak
    return msgspec.structs.replace(
        firm, close=highest(firm.close, close), peak=highest(firm.peak, peak)
    )


def _is_same_figure(one: FirmFloor, other: FirmFloor | None) -> bool:
    """Return whether both are one figure of the firm, perhaps with other highs."""
    return other is not None and (one.at, one.amount) == (other.at, other.amount)


def highest(*amounts: Decimal | None) -> Decimal | None:
    """Return the highest of the known amounts; ``None`` if none is known."""
    return max((each for each in amounts if each is not None), default=None)


def balance_at(expected: Decimal, results: Mapping[int, Result], moment: datetime) -> Decimal:
    """Return the balance at a moment: without what was executed since."""
    return expected - sum([each.amount for each in results.values() if each.at >= moment], ZERO)
