"""RULE-003: the largest loss of a trading day.

The gateway's P&L is gross.  The rule uses it as it is, unless ``include_fees`` tells it to subtract the
broker's charges.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.equity import net_realized
from riskd.model.formatting import dollars
from riskd.model.lockouts import lock_of
from riskd.model.money import ZERO
from riskd.rules.interface import (
    NOTHING,
    Flatten,
    Gauge,
    Kind,
    LiftLock,
    Rule,
    RuleResult,
    Trigger,
    recall,
    remember,
)
from riskd.rules.settings import LockoutUntil, LockUntil, Percent, RuleSettings
from riskd.rules.tightness import Lower, WhenTrue, tightest_last


class Action(StrEnum):
    """What the rule does about a breach."""

    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"
    CLOSE_ALL_POSITIONS = "CLOSE_ALL_POSITIONS"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``daily_realized_loss``.

    :ivar loss_limit: dollars; a loss of as much is a breach.
    :ivar lockout_until: when the lock ends; without effect if ``action`` sets no lock.
    :ivar include_fees: whether the broker's fees and commissions count as losses.
    :ivar reduce_only_at: the share of ``loss_limit``, in per cent, from which on the account may only close what
        it holds, for as long as the day's loss is as large; ``None``: no such share.
    """

    loss_limit: Lower[Decimal] = Decimal("500.00")
    action: Annotated[
        Action, tightest_last(Action.CLOSE_ALL_POSITIONS, Action.CLOSE_ALL_AND_LOCKOUT)
    ] = Action.CLOSE_ALL_AND_LOCKOUT
    lockout_until: LockUntil = LockoutUntil.DAILY_RESET
    include_fees: WhenTrue[bool] = False
    reduce_only_at: Lower[Percent | None] = None


class _Breach(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of the last breach.

    The rule does not act on the same figures again: an operator who lifts the lock has seen them, and a
    restart does not make them new.

    :ivar day_began: the beginning of their trading day, since another day may reach the same figures.
    :ivar limit: the limit that they breached; ``None`` in memories of earlier versions.
    :ivar counted: the ids of the trades and charges that were counted, those of the breach first.
    :ivar first: how many of them the breach that began the present lock had.
    """

    day_began: datetime | None
    result: Decimal
    trades: int
    limit: Decimal | None = None
    counted: tuple[int, ...] = ()
    first: int = 0


class _Memory(msgspec.Struct, frozen=True):
    fired: _Breach | None = None


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Decide whether the day's loss ends trading, or only opening positions."""
    result = _check_limit(state, settings, trigger)
    if settings.reduce_only_at is None:
        return result
    threshold = settings.loss_limit * settings.reduce_only_at / 100
    if _result(state, settings) > -threshold:
        return result
    # It ends with the day, even if nothing happens.
    return msgspec.structs.replace(
        result,
        wake_at=trigger.next_reset,
        reduce_only=(
            f"the day's loss has reached {settings.reduce_only_at} % of its limit of "
            f"{dollars(settings.loss_limit)}"
        ),
    )


def _check_limit(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything, and lock the account, when the day's loss reaches the limit.

    A day beyond its limit is a new breach after each trade, when its result becomes worse, and when the limit
    becomes tighter.  The lock ends before its time when the broker takes back what had led to it; gains do not
    end it.
    """
    remembered = recall(state, RULE.rule_id, _Memory)
    fired = remembered.fired
    if fired is not None and fired.day_began != state.day_began:
        fired = None
    result = _result(state, settings)
    if result > -settings.loss_limit and remembered.fired is None:
        return NOTHING
    amounts = _amounts(state, settings)
    is_locked = lock_of(state, RULE.rule_id, trigger.now) is not None
    if is_locked and fired is not None:
        # Whatever is counted while the lock is in force may be the reason for it later.
        counted = tuple(dict.fromkeys((*fired.counted, *amounts)))
        fired = msgspec.structs.replace(fired, counted=counted)
    if result > -settings.loss_limit:
        if is_locked and fired is not None and not _is_taken_back(state, fired, amounts):
            return RuleResult(memory=remember(_Memory(fired), remembered))
        lift = LiftLock(reason="Trades that led to the daily loss were voided or changed")
        # Gains may make up for the loss; if the day then loses as much again, that is a new breach.
        return RuleResult(
            commands=(lift,) if is_locked and fired is not None else (),
            memory=remember(_Memory(), remembered),
        )
    breach = _Breach(
        day_began=state.day_began,
        result=result,
        trades=state.trade_count,
        limit=settings.loss_limit,
        counted=fired.counted if is_locked and fired is not None else tuple(amounts),
        first=fired.first if is_locked and fired is not None else len(amounts),
    )
    if remembered.fired is not None and not _is_new(
        breach,
        result if is_locked else _result_of(remembered.fired, amounts),
        remembered.fired,
        state,
    ):
        return RuleResult(memory=remember(_Memory(fired), remembered))
    reason = f"Daily loss limit hit: {dollars(result)} (limit {dollars(settings.loss_limit)})"
    locks = settings.action is Action.CLOSE_ALL_AND_LOCKOUT
    lock = settings.lockout_until.lock(trigger) if locks else None
    return RuleResult(
        commands=(Flatten(reason=reason, lock=lock),),
        memory=remember(_Memory(breach), remembered),
    )


def _result_of(known: _Breach, amounts: Mapping[int, Decimal]) -> Decimal:
    """Return what the trades and charges of an earlier breach result in now.

    After an unlock, the fees of an entry are no reason to lock again: an entry is no trade.
    """
    if known.limit is None:
        # A memory of an earlier version does not say which they were.
        return sum(amounts.values(), ZERO)
    return sum((amounts.get(number, ZERO) for number in known.counted), ZERO)


def _is_new(breach: _Breach, result: Decimal, known: _Breach, state: AccountState) -> bool:
    """Return whether a breach is another one than the last that the rule acted on.

    :param result: what is compared with the result of that one.
    """
    if breach.day_began != known.day_began or result < known.result:
        return True
    if known.limit is None:
        return breach.trades != known.trades
    is_tighter = breach.limit is not None and breach.limit < known.limit
    counted = set(known.counted)
    return is_tighter or any(
        number not in counted
        for number, trade in state.trades.items()
        if state.is_of_trading_day(trade.execution_time)
    )


def _is_taken_back(state: AccountState, fired: _Breach, amounts: Mapping[int, Decimal]) -> bool:
    """Return whether, by the broker's last word, the limit was never reached.

    What was counted later, while the lock was in force, may have reached it, too.
    """
    if fired.limit is None:
        return False
    known = [amounts.get(number) for number in fired.counted]
    voided = set(state.risk.voided)
    if any(
        amount is None and number not in voided
        for number, amount in zip(fired.counted, known, strict=True)
    ):
        # A trade that is only missing says nothing.
        return False
    sums = accumulate((amount or ZERO for amount in known), initial=ZERO)
    return all(each > -fired.limit for each in list(sums)[fired.first :])


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how much the day has lost; a day in profit has a negative loss."""
    # Not by each charge: the published copy has only their sum.
    result = net_realized(state) if settings.include_fees else state.realized_pnl
    return (
        Gauge(
            name="realized loss after fees" if settings.include_fees else "realized loss",
            limit=settings.loss_limit,
            current=-result,
            unit="$",
        ),
    )


def _result(state: AccountState, settings: Settings) -> Decimal:
    """Return the day's profit or loss in dollars."""
    if not settings.include_fees:
        return state.realized_pnl
    charges = state.risk.charges.values()
    counted = (charge.amount for charge in charges if state.is_of_trading_day(charge.at))
    return state.realized_pnl - sum(counted, ZERO)


def _amounts(state: AccountState, settings: Settings) -> dict[int, Decimal]:
    """Return what each trade of the day contributes to its result, by id."""
    amounts = {
        number: trade.profit_and_loss
        for number, trade in state.trades.items()
        if state.is_of_trading_day(trade.execution_time)
    }
    if settings.include_fees:
        for number, charge in state.risk.charges.items():
            if state.is_of_trading_day(charge.at):
                amounts[number] = amounts.get(number, ZERO) - charge.amount
    return amounts


RULE: Final = Rule(
    "RULE-003",
    "daily_realized_loss",
    Settings,
    frozenset({Kind.TRADE}),
    check,
    gauges,
    # A loss that is realized during a cooldown must still end the day.
    runs_while_locked=True,
)
