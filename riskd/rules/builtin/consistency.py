"""RULE-018: how much of the total profit the best day may be.

A firm pays out only while the best day is no more than a share of the profit of all days.  That is no breach: a day
that made too much delays the payout until the others have caught up.  So the rule is a gauge, and ends a day only
with ``stop_for_today``.  Sources: MyFundedFutures and Take Profit Trader, November 2026; some firms ask for less
than the share (``strict``).

Days count from the one of the last payout on, or from the first that riskd has seen, by their net P&L.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Final

from riskd.model.account import AccountState
from riskd.model.ended_days import best_and_total
from riskd.model.equity import net_pnl
from riskd.model.formatting import dollars
from riskd.model.lockouts import lock_of
from riskd.model.money import CENT, ZERO
from riskd.model.open_pnl import pnl_warnings
from riskd.rules.fills import checked_until_trades_come
from riskd.rules.interface import (
    NOTHING,
    Flatten,
    Gauge,
    Headroom,
    Kind,
    Lock,
    Rule,
    RuleResult,
    Trigger,
)
from riskd.rules.settings import Percent, RuleSettings
from riskd.rules.tightness import Lower, WhenTrue

_HUNDRED: Final = Decimal(100)


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``consistency``.

    :ivar share: per cent of the total profit that the best day may be.
    :ivar strict: whether the best day must be less than that.
    :ivar stop_for_today: whether a day ends once it has made what it may.
    """

    share: Lower[Percent] = 50
    strict: WhenTrue[bool] = False
    stop_for_today: WhenTrue[bool] = False

    @property
    def needs_quotes(self) -> bool:
        """Whether the rule can act at all."""
        return self.stop_for_today


def most_today(state: AccountState, settings: Settings) -> Decimal:
    """Return the net P&L up to which today does not delay a payout, in dollars.

    It is what the share allows beside the earlier days, or what their best one has made: up to that, today is not
    the best day.  0 without an earlier profit to compare with.
    """
    best, total = best_and_total(state)
    # today <= share * (total + today), in cents.
    cents, rest = divmod(max(total, ZERO) * settings.share / CENT, _HUNDRED - settings.share)
    if settings.strict and not rest and cents:
        cents -= 1
    return max(best, cents * CENT)


@checked_until_trades_come
def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """End a day that has made as much as it may, if it is to stop there."""
    if not settings.stop_for_today:
        return NOTHING
    warnings = pnl_warnings(state, trigger.now)
    if warnings or state.risk.is_listing:
        return RuleResult(warnings=warnings, reduce_only=None)
    net, most = net_pnl(state), most_today(state, settings)
    if not most or net < most:
        return RuleResult(headroom=Headroom(up=most - net if most else None))
    if lock_of(state, RULE.rule_id, trigger.now) is not None:
        return NOTHING
    reason = (
        f"Enough for today by consistency: {dollars(net)} (today may make {dollars(most)}, the best day "
        f"{settings.share} % of the total)"
    )
    return RuleResult(commands=(Flatten(reason=reason, lock=Lock(until=trigger.next_reset)),))


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the share of the best day, and what today may make."""
    today, (best, total) = net_pnl(state), best_and_total(state)
    best, total = max(best, today), total + today
    name, share = "best day of the total profit", Decimal(settings.share)
    if best <= 0 or total <= 0:
        of_total = Gauge(name=name, limit=share, unit="%", words="no profit yet")
    else:
        needed = (best * _HUNDRED / share).quantize(CENT, ROUND_CEILING)
        more = "more than " if settings.strict else ""
        of_total = Gauge(
            name=name,
            limit=share,
            current=(best * _HUNDRED / total).quantize(Decimal("0.1"), ROUND_CEILING),
            unit="%",
            words=f"{more}{dollars(needed)} needed in all",
        )
    most = most_today(state, settings)
    if not most:
        return (of_total, Gauge(name="profit of today", words="no earlier day to compare with"))
    return (of_total, Gauge(name="profit of today", limit=most, current=today, unit="$"))


RULE: Final = Rule(
    "RULE-018",
    "consistency",
    Settings,
    # Not on trades; see RULE-013.
    frozenset({Kind.POSITION, Kind.QUOTE, Kind.ACCOUNT}),
    check,
    gauges,
)
