"""RULE-006: no more than so many trades in a stretch of time.

A trade is what closed contracts: an exit that is filled in three parts is three, an entry is none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserTrade
from riskd.model.formatting import counted
from riskd.rules.interface import NOTHING, Flatten, Gauge, Lock, RuleResult, Trigger
from riskd.rules.settings import Minutes, RuleSettings, Seconds, Trades

_Value = TypeVar("_Value")

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many trades there may be in a minute, an hour and a trading day; unset is any number."""

    per_minute: Trades | UnsetType = UNSET
    per_hour: Trades | UnsetType = UNSET
    per_session: Trades | UnsetType = UNSET

    def __post_init__(self) -> None:
        if {self.per_minute, self.per_hour, self.per_session} == {UNSET}:
            raise ValueError(
                "limits: expected per_minute, per_hour or per_session, got none of them"
            )


class CooldownOnBreach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many seconds the account is locked when one of the :class:`Limits` is breached."""

    per_minute_breach: Seconds = 60
    per_hour_breach: Seconds = 1800
    per_session_breach: Seconds = 3600


class Window(NamedTuple):
    """A stretch of time and what is allowed in it.

    :ivar name: how it reads in a sentence, such as ``in an hour``.
    :ivar length: ``None`` reaches back to the beginning of the trading day.
    :ivar limit: trades; more is a breach.
    """

    name: str
    length: timedelta | None
    limit: int
    cooldown_seconds: int


class Settings(RuleSettings, frozen=True, kw_only=True):
    """How many trades there may be: one limit, or ``limits`` for several stretches of time.

    :ivar max_trades: trades in ``time_window_minutes``; more is a breach.  By default 30 in 60 minutes.
    :ivar cooldown_seconds: how long the account is locked then; 1800 by default.
    :ivar limits: the other form; then ``cooldown_on_breach`` says how long each breach locks.
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
        """The stretches of time that have a limit, shortest first."""
        if isinstance(self.limits, UnsetType):
            return (self._single_window,)
        cooldowns = _given(self.cooldown_on_breach, CooldownOnBreach())
        rows = (
            ("in a minute", _MINUTE, self.limits.per_minute, cooldowns.per_minute_breach),
            ("in an hour", _HOUR, self.limits.per_hour, cooldowns.per_hour_breach),
            ("in the session", None, self.limits.per_session, cooldowns.per_session_breach),
        )
        return tuple(
            Window(name, length, limit, cooldown)
            for name, length, limit, cooldown in rows
            if not isinstance(limit, UnsetType)
        )

    @property
    def _single_window(self) -> Window:
        minutes = _given(self.time_window_minutes, 60)
        return Window(
            name=f"in {counted(minutes, 'minute')}",
            length=timedelta(minutes=minutes),
            limit=_given(self.max_trades, 30),
            cooldown_seconds=_given(self.cooldown_seconds, 1800),
        )


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything and let the account cool down when a trade was one too many."""
    trade = trigger.subject
    if not isinstance(trade, GatewayUserTrade):
        return NOTHING
    breached = [
        window
        for window in settings.windows
        if _count(state, window, trade.execution_time) > window.limit
        and _matters(state, window, trade, trigger.now)
    ]
    if not breached:
        return NOTHING
    window = max(breached, key=lambda each: each.cooldown_seconds)
    count = _count(state, window, trade.execution_time)
    reason = f"Too many trades: {count} {window.name} (limit {window.limit})"
    until = trigger.now + timedelta(seconds=window.cooldown_seconds)
    lock = Lock(until=until, cooldown_seconds=window.cooldown_seconds)
    return RuleResult(commands=(Flatten(reason=reason, lock=lock),))


def gauges(state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Say how many trades each stretch of time that ends now has seen."""
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
    """Count the trades of a stretch of time that ends with ``end``."""
    times = [trade.execution_time for trade in state.trades.values()]
    if window.length is None:
        return sum(time <= end and _is_of_the_day(state, time) for time in times)
    begin = end - window.length
    return sum(begin < time <= end for time in (*state.risk.earlier_trades.values(), *times))


def _matters(state: AccountState, window: Window, trade: GatewayUserTrade, now: datetime) -> bool:
    """Tell whether a breach is of this day, and young enough that its cooldown would still hold.

    What the gateway tells only now, after it was lost, may be long past.
    """
    cooldown = timedelta(seconds=window.cooldown_seconds)
    return _is_of_the_day(state, trade.execution_time) and trade.execution_time + cooldown > now


def _is_of_the_day(state: AccountState, moment: datetime) -> bool:
    return state.day_began is None or moment >= state.day_began


def _given(value: _Value | UnsetType, default: _Value) -> _Value:
    return default if isinstance(value, UnsetType) else value
