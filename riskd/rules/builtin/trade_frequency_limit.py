"""RULE-006: the largest number of trades in a time window.

A trade is an execution that closed contracts: an exit that is filled in three parts counts three times,
an entry does not count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from riskd.model.account import AccountState
from riskd.model.formatting import counted
from riskd.model.lockouts import lock_of
from riskd.model.moments import NEVER, first_known
from riskd.model.unlocks import Unlock, last_unlock, time_after
from riskd.rules.cooldowns import settings_at, start_cooldown, was_just_executed, was_locked
from riskd.rules.interface import (
    Command,
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
from riskd.rules.settings import Minutes, RuleSettings, Seconds, Table, Trades
from riskd.rules.tightness import Higher, Lower, tighter_by

_Value = TypeVar("_Value")


def _are_fewer(new: Any, old: Any, key: str) -> bool:
    """Return whether no more trades are allowed than before; unset is any number."""
    now, was = getattr(new, key), getattr(old, key)
    return was is UNSET or (now is not UNSET and now <= was)


_Fewer = Annotated[_Value, tighter_by(_are_fewer, "or less")]


class Limits(Table, frozen=True, kw_only=True):
    """How many trades a minute, an hour and a trading day may have.

    Without a value there may be any number.
    """

    per_minute: _Fewer[Trades | UnsetType] = UNSET
    per_hour: _Fewer[Trades | UnsetType] = UNSET
    per_session: _Fewer[Trades | UnsetType] = UNSET

    def __post_init__(self) -> None:
        if {self.per_minute, self.per_hour, self.per_session} == {UNSET}:
            raise ValueError(
                "limits: expected per_minute, per_hour or per_session, got none of them"
            )


class CooldownOnBreach(Table, frozen=True, kw_only=True):
    """The seconds of the cooldown after a breach of each of the :class:`Limits`."""

    per_minute_breach: Higher[Seconds] = 60
    per_hour_breach: Higher[Seconds] = 1800
    per_session_breach: Higher[Seconds] = 3600


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

    @property
    def cooldown(self) -> timedelta:
        """The cooldown's length, to calculate with."""
        return timedelta(seconds=self.cooldown_seconds)

    def first(self, state: AccountState, times: Sequence[datetime], end: datetime) -> int:
        """Return the index of the first of the sorted ``times`` that is in the window.

        :param end: when the window ends.
        """
        if self.length is not None:
            return bisect_right(times, end - self.length)
        return 0 if state.day_began is None else bisect_left(times, state.day_began)


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``trade_frequency_limit``: one limit, or ``limits`` for several.

    :ivar max_trades: trades in ``time_window_minutes``; more is a breach.  By default 30 in 60 minutes.
    :ivar cooldown_seconds: how long the cooldown lasts; by default 1800.
    :ivar limits: the other form; ``cooldown_on_breach`` then has the cooldown of each limit.
    """

    max_trades: Lower[Trades | UnsetType] = UNSET
    time_window_minutes: Higher[Minutes | UnsetType] = UNSET
    cooldown_seconds: Higher[Seconds | UnsetType] = UNSET
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


class Cooldown(msgspec.Struct, frozen=True, kw_only=True):
    """A cooldown that this rule has asked for.

    :ivar window: the name of the window that had too many trades.
    :ivar limit: how many it may have had.
    :ivar begun: when the last of its trades was executed.
    :ivar until: when the cooldown ends; it does not begin if that is ``begun``.
    :ivar trades: the ids of its trades.
    :ivar asked_at: when the rule asked for it.
    """

    window: str
    limit: int
    begun: datetime
    until: datetime
    trades: tuple[int, ...]
    asked_at: datetime

    def covers(self, window: Window, end: datetime) -> bool:
        """Return whether a breach of ``window`` at ``end`` belongs to this cooldown.

        What riskd closes when the cooldown begins must not begin another one, nor must an earlier trade that is
        known later.
        """
        is_within = self.begun <= end < self.until or end == self.begun
        is_earlier = end < self.begun and end + window.cooldown <= self.until
        return window.name == self.window and (is_within or is_earlier)

    def is_void(self, state: AccountState) -> bool:
        """Return whether the broker has voided so many trades that there was no breach."""
        voided = sum(number in state.risk.voided for number in self.trades)
        return voided > 0 and len(self.trades) - voided <= self.limit


class _Breach(NamedTuple):
    """A window that has too many trades, with the cooldown for that."""

    window: Window
    cooldown: Cooldown

    @property
    def begins(self) -> bool:
        """Whether the cooldown begins: not for a trade of a locked account."""
        return self.cooldown.until > self.cooldown.begun

    def flatten(self, now: datetime) -> Flatten:
        count = len(self.cooldown.trades)
        reason = f"Too many trades: {count} {self.window.name} (limit {self.window.limit})"
        return start_cooldown(reason, self.cooldown.until, now)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything and start a cooldown when any time window has too many trades.

    The broker may report trades late and in any order, so each check looks at all windows whose cooldowns
    would not be over, whichever trade is new.  A cooldown counts from the trade that was too many, or from now
    if that was just executed.
    """
    now = trigger.now
    remembered = recall(state, RULE.rule_id, tuple[Cooldown, ...])
    unlock = last_unlock(state)
    known = [each for each in remembered if _is_of_concern(each, settings, unlock, now)]
    valid = [each for each in known if not each.is_void(state)]
    breaches = [
        breach
        for breach in _breaches(state, settings, unlock, now)
        if not any(each.covers(breach.window, breach.cooldown.begun) for each in valid)
    ]
    found = _longest(breaches, max((each.until for each in valid), default=now))
    commands: list[Command] = []
    if found is not None:
        commands.append(found.flatten(now))
        valid.append(found.cooldown)
    elif (
        len(valid) < len(known)
        and not any(each.until > now for each in valid)
        and lock_of(state, RULE.rule_id, now) is not None
    ):
        commands.append(LiftLock(reason="Some of the trades that were too many were voided"))
    valid += [breach.cooldown for breach in breaches if not breach.begins]
    memory = remember(tuple(valid), remembered)
    return RuleResult(commands=tuple(commands), memory=memory)


def _is_of_concern(
    cooldown: Cooldown, settings: Settings, unlock: Unlock | None, now: datetime
) -> bool:
    """Return whether a breach that ``cooldown`` covers could still begin another one."""
    if unlock is not None and cooldown.asked_at <= unlock.at:
        window = next((each for each in settings.windows if each.name == cooldown.window), None)
        # A tighter limit begins a cooldown of its own, once.
        if window is None or not _is_tighter(window, unlock) or cooldown.limit > window.limit:
            return False
    longest = max(window.cooldown_seconds for window in settings.windows)
    return cooldown.until + timedelta(seconds=longest) > now


def _longest(breaches: Iterable[_Breach], latest: datetime) -> _Breach | None:
    """Return the breach whose cooldown ends last, if it ends after ``latest``."""
    later = [each for each in breaches if each.begins and each.cooldown.until > latest]
    return max(
        later,
        key=lambda each: (each.cooldown.until, each.cooldown.begun, each.window.cooldown),
        default=None,
    )


def _breaches(
    state: AccountState, settings: Settings, unlock: Unlock | None, now: datetime
) -> Iterator[_Breach]:
    """Yield the windows with too many trades whose cooldowns would not be over."""
    known = len(state.trades) + len(state.risk.earlier_trades)
    windows = [window for window in settings.windows if window.limit < known]
    if not windows:
        return
    since = min(_counts_since(window, now) for window in windows)
    executed = sorted([(at, number) for number, at in _executed(state).items() if at > since])
    times = [at for at, _number in executed]
    for window in windows:
        baseline = None if unlock is None or _is_tighter(window, unlock) else unlock
        for end in dict.fromkeys(times[bisect_right(times, now - window.cooldown) :]):
            if not state.is_of_trading_day(end):
                continue
            trades = executed[window.first(state, times, end) : bisect_right(times, end)]
            if len(trades) <= window.limit or _were_known_at(baseline, state, trades):
                continue
            begun = now if was_just_executed(end, now) else end
            # What riskd closes in a cooldown of this rule, the cooldown covers.
            is_of_lock = was_locked(state, end, now, but=RULE.rule_id)
            cooldown = Cooldown(
                window=window.name,
                limit=window.limit,
                begun=end,
                until=end if is_of_lock else begun + window.cooldown,
                trades=tuple([number for _at, number in trades]),
                asked_at=time_after(unlock, now),
            )
            yield _Breach(window, cooldown)


def _counts_since(window: Window, now: datetime) -> datetime:
    """Return until when no trade counts, in a window whose cooldown goes on."""
    return NEVER if window.length is None else now - window.cooldown - window.length


def _executed(state: AccountState) -> dict[int, datetime]:
    """Return when each trade of this day and of the one before was executed, by id."""
    times = dict(state.risk.earlier_trades)
    for trade in state.trades.values():
        at = first_known(trade.execution_time, trade.timestamp)
        if at is not None:
            times[trade.id] = at
    return times


def _were_known_at(
    unlock: Unlock | None, state: AccountState, trades: Iterable[tuple[datetime, int]]
) -> bool:
    """Return whether all trades were known when an operator unlocked the account."""
    if unlock is None:
        return False
    known = (state.trades.get(number) for _at, number in trades)
    return all(trade is None or trade.timestamp <= unlock.at for trade in known)


def _is_tighter(window: Window, unlock: Unlock) -> bool:
    """Return whether a window's limit is lower than when an operator unlocked."""
    earlier = settings_at(unlock, RULE.rule_id, Settings)
    windows = earlier.windows if earlier else ()
    return all(window.limit < each.limit for each in windows if each.name == window.name)


def gauges(state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Return how many trades each time window that ends now has."""
    times = sorted(_executed(state).values())
    return tuple(
        Gauge(
            name=f"trades {window.name}",
            limit=Decimal(window.limit),
            current=Decimal(max(0, bisect_right(times, now) - window.first(state, times, now))),
            unit="trades",
        )
        for window in settings.windows
    )


def _given(value: _Value | UnsetType, default: _Value) -> _Value:
    return default if isinstance(value, UnsetType) else value


RULE: Final = Rule(
    "RULE-006",
    "trade_frequency_limit",
    Settings,
    frozenset({Kind.TRADE}),
    check,
    gauges,
    # A trade from before the lock may come late, and a cooldown whose trades are voided must end.
    runs_while_locked=True,
)
