"""A rule of your own: several losing trades in a row start a cooldown."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import takewhile

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserTrade
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, Lock, Rule, RuleResult, Trigger
from riskd.rules.settings import RuleSettings, Seconds, Trades


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The keys of ``[rules.losing_streak]``, their types and defaults."""

    losses: Trades = 3
    cooldown_seconds: Seconds = 900


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Start a cooldown at every third loss in a row, or as many as ``losses`` says."""
    trade = trigger.subject
    if not isinstance(trade, GatewayUserTrade) or trade.profit_and_loss >= 0:
        return NOTHING
    # The gateway may report a trade late; its cooldown begins when the trade was executed.
    until = trade.execution_time + timedelta(seconds=settings.cooldown_seconds)
    streak = _losses_in_a_row(state)
    if streak % settings.losses or until <= trigger.now:
        return NOTHING
    lock = Lock(until=until, cooldown_seconds=settings.cooldown_seconds)
    return RuleResult(commands=(Flatten(reason=f"{streak} losing trades in a row", lock=lock),))


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how many losing trades in a row there are, against the number that starts a cooldown."""
    streak = Decimal(_losses_in_a_row(state))
    limit = Decimal(settings.losses)
    return (Gauge(name="losses in a row", limit=limit, current=streak, unit="trades"),)


def _losses_in_a_row(state: AccountState) -> int:
    latest_first = sorted(state.trades.values(), key=lambda t: t.execution_time, reverse=True)
    return len(list(takewhile(lambda t: t.profit_and_loss < 0, latest_first)))


losing_streak = Rule("RULE-101", "losing_streak", Settings, frozenset({Kind.TRADE}), check, gauges)
alsoProvides(losing_streak, IPlugin)
