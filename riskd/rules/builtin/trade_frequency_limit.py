"""RULE-006: the largest number of trades in a time window.

A trade is an execution that closed contracts: an exit that is filled in three parts counts three times,
an entry does not count.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple, TypeVar

from msgspec import UNSET, UnsetType

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserTrade
from riskd.model.formatting import counted
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, Lock, Rule, RuleResult, Trigger
from riskd.rules.settings import Minutes, RuleSettings, Seconds, Table, Trades

_Value = TypeVar("_Value")


class Limits(Table, frozen=True, kw_only=True):
    """How many trades a minute, an hour and a trading day may have.

    Without a value there may be any number.
    """

    per_minute: Trades | UnsetType = UNSET
    per_hour: Trades | UnsetType = UNSET
    per_session: Trades | UnsetType = UNSET

    def __post_init__(self) -> None:
        if {self.per_minute, self.per_hour, self.per_session} == {UNSET}:
            raise ValueError(
                "limits: expected per_minute, per_hour or per_session, got none of them"
            )


class CooldownOnBreach(Table, frozen=True, kw_only=True):
    """The seconds of the cooldown after a breach of each of the :class:`Limits`."""

    per_minute_breach: Seconds = 60
    per_hour_breach: Seconds = 1800
    per_session_breach: Seconds = 3600


class Window(NamedTuple):
    """A time window and its limit.

    :ivar name: its name in a sentence, such as ``in an hour``.
    :ivar length: ``None`` for a window that begins with the trading day.
    :ivar limit: trades; more is a breach.
    """

    name: str
    length: timedelta | None
    limit: int
    cooldown_seconds: int


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``trade_frequency_limit``: one limit, or ``limits`` for several.

    :ivar max_trades: trades in ``time_window_minutes``; more is a breach.  By default 30 in 60 minutes.
    :ivar cooldown_seconds: how long the cooldown lasts; by default 1800.
    :ivar limits: the other form; ``cooldown_on_breach`` then has the cooldown of each limit.
    """

    max_trades: Trades | UnsetType = UNSET
    time_window_minutes: Minutes | UnsetType = UNSET
    cooldown_seconds: Seconds | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    cooldown_on_breach: CooldownOnBreach | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.limits, UnsetType):
            unfit, wanted = ["cooldown_on_breach"], "with limits"
        else:
            unfit = ["max_trades", "time_window_minutes", "cooldown_seconds"]
            wanted = "without limits"
        for name in unfit:
            if (value := getattr(self, name)) is not UNSET:
                raise ValueError(f"{name}: expected only {wanted}, got {value}")

    @property
    def windows(self) -> tuple[Window, ...]:
        """The time windows that have a limit, shortest first."""
        if isinstance(self.limits, UnsetType):
            minutes = _given(self.time_window_minutes, 60)
            window = Window(
                name=f"in {counted(minutes, 'minute')}",
                length=timedelta(minutes=minutes),
                limit=_given(self.max_trades, 30),
                cooldown_seconds=_given(self.cooldown_seconds, 1800),
            )
            return (window,)
        minute = timedelta(minutes=1)
        cooldowns = _given(self.cooldown_on_breach, CooldownOnBreach())
        rows = (
            ("in a minute", minute, self.limits.per_minute, cooldowns.per_minute_breach),
            ("in an hour", 60 * minute, self.limits.per_hour, cooldowns.per_hour_breach),
            ("in the session", None, self.limits.per_session, cooldowns.per_session_breach),
        )
        return tuple(
            Window(name, length, limit, cooldown)
            for name, length, limit, cooldown in rows
            if not isinstance(limit, UnsetType)
        )


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything and start a cooldown when a trade exceeds a limit."""
    trade = trigger.subject
    if not isinstance(trade, GatewayUserTrade):
        return NOTHING
    # The gateway may report a trade long after its execution, once it is back.  Then the breach counts
    # only if it is of this trading day, and its cooldown would not be over yet.
    executed = trade.execution_time
    breached = [
        window
        for window in settings.windows
        if _count(state, window, executed) > window.limit
        and state.is_of_trading_day(executed)
        and executed + timedelta(seconds=window.cooldown_seconds) > trigger.now
    ]
    if not breached:
        return NOTHING
    window = max(breached, key=lambda each: each.cooldown_seconds)
    count = _count(state, window, executed)
    reason = f"Too many trades: {count} {window.name} (limit {window.limit})"
    until = trigger.now + timedelta(seconds=window.cooldown_seconds)
    lock = Lock(until=until, cooldown_seconds=window.cooldown_seconds)
    return RuleResult(commands=(Flatten(reason=reason, lock=lock),))


def gauges(state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Return how many trades each time window that ends now has."""
    return tuple(
        Gauge(
            name=f"trades {window.name}",
            limit=Decimal(window.limit),
            current=Decimal(_count(state, window, now)),
            unit="trades",
        )
        for window in settings.windows
    )


def _count(state: AccountState, window: Window, end: datetime) -> int:
    """Return the number of trades in the time window that ends with ``end``."""
    times = [trade.execution_time for trade in state.trades.values()]
    if window.length is None:
        return sum(time <= end and state.is_of_trading_day(time) for time in times)
    begin = end - window.length
    return sum(begin < time <= end for time in (*state.risk.earlier_trades.values(), *times))


def _given(value: _Value | UnsetType, default: _Value) -> _Value:
    return default if isinstance(value, UnsetType) else value


RULE: Final = Rule(
    "RULE-006", "trade_frequency_limit", Settings, frozenset({Kind.TRADE}), check, gauges
)
