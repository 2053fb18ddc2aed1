"""How much of each limit in force is used, by the rules' own gauges.

The state file says which rules are in force, with which settings.  Rules also go by data that is private to
the daemon.  A figure that depends on it is unknown here and has a reason in its place: the console does not
guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from riskd.model.account import AccountState, Limit
from riskd.model.commitment import COMMITMENT_KEY
from riskd.model.equity import open_pnl as exit_pnl_of_all
from riskd.model.formatting import contract_name
from riskd.model.reduce_only import REDUCE_ONLY_KEY
from riskd.model.settings_changes import CHANGES_KEY
from riskd.model.trading_day import ResetSchedule
from riskd.model.unlocks import UNLOCKED_KEY, last_unlock
from riskd.rules.builtin import (
    consistency,
    daily_net_loss,
    daily_profit_target,
    daily_realized_loss,
    daily_unrealized_loss,
    max_unrealized_profit,
    maximum_loss,
    weekly_limits,
)
from riskd.rules.interface import Gauge, Rule
from riskd.rules.registry import RULES
from riskd.rules.settings import Scope
from trader.model.day_trades import COOLDOWN_AFTER_LOSS
from trader.model.same import Same
from trader.model.view import View, open_pnl, unknown_reason

_Settings = TypeVar("_Settings")

_RULES: Final = {rule.key: rule for rule in RULES}
_KEYS: Final = {rule.rule_id: rule.key for rule in RULES}

_NET_RULES: Final = (
    *(daily_net_loss.RULE, maximum_loss.RULE, daily_profit_target.RULE),
    *(weekly_limits.RULE, consistency.RULE),
)
"""The rules that go by balance, fees and open P&L."""

_NET_KEYS: Final = {rule.key for rule in _NET_RULES}

_LOSS_RULES: Final = (daily_realized_loss.RULE, *_NET_RULES[:-1])
"""The rules whose limits can be drawn on the curve of the day's P&L."""

_GAINS: Final = frozenset({"net daily profit", "net weekly profit"})
"""Their gauges that are reached from below."""

_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)
"""For gauges that do not depend on the time."""

_NO_BALANCE: Final = "no balance yet"

_CACHED: Final = 256
"""Settings that are kept decoded; accounts have most of theirs in common."""

_DAILY_RESET: Final = "daily_reset"
_STRICT_MODE: Final = "strict_mode"
_NO_RULES: Final = (
    *(_DAILY_RESET, _STRICT_MODE, UNLOCKED_KEY, REDUCE_ONLY_KEY),
    *(CHANGES_KEY, COMMITMENT_KEY),
)
"""Keys among the limits in force that belong to no rule."""


class Level(Enum):
    """How much of a limit is used, in words."""

    UNKNOWN = "not known"
    STATED = ""
    """The limit is no number, has no current value to compare, or is one at which riskd does not act."""
    FINE = "ok"
    HALF = "half used"
    NEAR = "NEAR"
    VERY_NEAR = "VERY NEAR"
    REACHED = "REACHED"


_LEVELS: Final = (
    (Decimal(1), Level.REACHED),
    (Decimal("0.9"), Level.VERY_NEAR),
    (Decimal("0.7"), Level.NEAR),
    (Decimal("0.5"), Level.HALF),
    (Decimal(0), Level.FINE),
)
"""The least share of each level."""


NEAR_LEVELS: Final = (Level.NEAR, Level.VERY_NEAR, Level.REACHED)
"""The levels of a limit that is near."""


class LimitUsage(Gauge, frozen=True, kw_only=True):
    """A limit and how much of it is used: a gauge, as far as it is known here.

    :ivar rule_id: the rule's id on the wire.
    :ivar unknown: why the state is unknown here, so that there is no current value; empty if it is known.
    :ivar acts: whether riskd acts at the limit; another one never is the nearest, and nothing to warn of.
    """

    rule_id: str
    unknown: str = ""
    acts: bool = True

    @property
    def is_of_last_trade(self) -> bool:
        """Whether it measures the last trade alone, so that the next one starts at zero."""
        return self.rule_id == COOLDOWN_AFTER_LOSS

    @property
    def share(self) -> Decimal | None:
        """The used share of the limit, 1 at the limit; ``None`` without numbers."""
        if self.limit is None or self.current is None or self.limit <= 0:
            return None
        return max(Decimal(0), self.current / self.limit)

    @property
    def headroom(self) -> Decimal | None:
        """What is left of the limit, in ``unit``; below zero beyond the limit."""
        if self.limit is None or self.current is None:
            return None
        return self.limit - self.current

    @property
    def level(self) -> Level:
        """How much of the limit is used, in words."""
        share = self.share
        if share is None or not self.acts or self.is_of_last_trade:
            return Level.UNKNOWN if self.unknown else Level.STATED
        return next(level for least, level in _LEVELS if share >= least)


def limit_usages(view: View, now: datetime) -> tuple[LimitUsage, ...]:
    """Return the usage of every limit in force, in the order of the rules' ids."""
    missing, usages = unknown_reason(view), list[LimitUsage]()
    for rule_id, limit in sorted(view.account.limits.items()):
        if limit.key not in _NO_RULES:
            usages += _usages_of(rule_id, limit, view, now, missing)
    return tuple(usages)


def nearest_limit(usages: Iterable[LimitUsage]) -> LimitUsage | None:
    """Return the first limit by :func:`nearness`; ``None`` without numbers."""
    return max(filter(can_be_neared, usages), key=nearness, default=None)


def nearest_first(usages: Iterable[LimitUsage]) -> list[LimitUsage]:
    """Return the limits by :func:`nearness`; last those that cannot be neared."""
    return sorted(usages, key=lambda usage: (can_be_neared(usage), nearness(usage)), reverse=True)


def can_be_neared(usage: LimitUsage) -> bool:
    """Return whether a limit has a share, and riskd acts when that is used up."""
    return usage.share is not None and usage.acts and not usage.is_of_last_trade


def nearness(usage: LimitUsage) -> tuple[bool, Decimal, bool]:
    """Return by what the nearest limit is chosen: the greatest comes first.

    That is the used share, but a limit on money that is near comes before all that count: how many contracts or trades
    there are is up to the trader, and their limits are often used up without harm.
    """
    is_near = usage.unit == "$" and usage.level in NEAR_LEVELS
    # Where none is used, a floor is shown first: beyond it the account is lost.
    return (is_near, usage.share or Decimal(0), usage.floor is not None)


class LossLevel(msgspec.Struct, frozen=True):
    """Where on the curve of the day's realized P&L a limit is reached.

    :ivar word: ``limit`` or ``floor``.
    :ivar name: what the limit measures.
    :ivar pnl: dollars.
    """

    word: str
    name: str
    pnl: Decimal


def nearest_loss_level(state: AccountState) -> LossLevel | None:
    """Return the limit on losses or the floor that is nearest; ``None`` without one.

    Where a limit counts fees, those of the day so far are allowed for, since the curve has none.
    """
    levels = [level for rule in _LOSS_RULES for level in _loss_levels(state, rule)]
    return max(levels, key=lambda level: level.pnl, default=None)


def _loss_levels(state: AccountState, rule: Rule) -> Iterator[LossLevel]:
    settings = settings_in_force(state, rule.key, rule.settings_type)
    if settings is None:
        return
    counted = state.realized_pnl
    if rule in _NET_RULES:
        counted += exit_pnl_of_all(state)
    for gauge in rule.gauges(state, settings, _NO_TIME):
        is_loss = gauge.unit == "$" and gauge.name not in _GAINS
        if not is_loss or gauge.limit is None or gauge.current is None:
            continue
        if not _unknown_arming(rule.key, settings, gauge):
            word = "limit" if gauge.floor is None else "floor"
            yield LossLevel(word, gauge.name, counted - (gauge.limit - gauge.current))


def is_strict(state: AccountState) -> bool:
    """Return whether every breach locks the account until an operator unlocks it."""
    return any(limit.key == _STRICT_MODE for limit in state.limits.values())


def unlocked_beyond(state: AccountState) -> tuple[str, ...]:
    """Return the rules whose exceeded limits an operator has unlocked today."""
    unlock = last_unlock(state)
    return () if unlock is None else unlock.beyond


def reset_schedule(state: AccountState) -> ResetSchedule | None:
    """Return when trading days end; ``None`` while it is unknown."""
    return settings_in_force(state, _DAILY_RESET, ResetSchedule)


def next_reset(state: AccountState, now: datetime) -> datetime | None:
    """Return the end of the trading day; ``None`` while it is unknown."""
    schedule = reset_schedule(state)
    try:
        return None if schedule is None else schedule.next_reset(now)
    except (ValueError, ArithmeticError, LookupError):
        # A time zone that this machine does not know is a KeyError.
        return None


def settings_in_force(
    state: AccountState, key: str, settings_type: type[_Settings]
) -> _Settings | None:
    """Return the setting of ``key``, or ``None``.

    ``None`` also stands for a setting that another version of riskd wrote.
    """
    limit = next((limit for limit in state.limits.values() if limit.key == key), None)
    try:
        return None if limit is None else _decoded(limit.settings, settings_type)
    except ValueError:
        return None


# Each draw asks for those of all rules, and they seldom change.
@lru_cache(maxsize=_CACHED)
def _decode(text: str, settings_type: type) -> Any:
    return msgspec.json.decode(text, type=settings_type)


def _decoded(text: str, settings_type: type[_Settings]) -> _Settings:
    """Return settings that riskd has published.

    :raises ValueError: another version of riskd wrote them.
    """
    settings: _Settings = _decode(text, settings_type)  # type: ignore[arg-type]  # classes are hashable
    return settings


def rule_name(rule_id: str) -> str:
    """Return a rule's name in words; for a rule that is not built in, its id."""
    key = _KEYS.get(rule_id)
    return key.replace("_", " ") if key else rule_id


def _usages_of(
    rule_id: str, limit: Limit, view: View, now: datetime, missing: str
) -> list[LimitUsage]:
    """Return the usages of the limits of a rule.

    :param missing: why nothing is known of the account; empty if it is known.
    """
    rule = _RULES.get(limit.key)
    name = limit.key.replace("_", " ")
    if rule is None:
        return [LimitUsage(rule_id=rule_id, name=name, unknown="riskctl rules shows it")]
    try:
        settings = _decoded(limit.settings, rule.settings_type)
    except ValueError:
        unknown = "set by another version of riskd"
        return [LimitUsage(rule_id=rule_id, name=name, unknown=unknown)]
    try:
        gauges = rule.gauges(view.account, settings, now)
    except Exception as error:  # noqa: BLE001  # one rule's mistake must not end the screen
        return [LimitUsage(rule_id=rule_id, name=name, unknown=f"cannot be measured: {error}")]
    usages = []
    for gauge in gauges:
        unknown = _unknown_arming(rule.key, settings, gauge)
        unknown = unknown or _unknown(rule.key, settings, gauge, view, now)
        # A gauge without a current value states a setting, which is known without any data.
        if gauge.current is not None:
            unknown = missing or unknown
        usages.append(_usage(gauge, rule_id, unknown, acts=_acts(rule.key, settings, gauge)))
    return usages


def _usage(gauge: Gauge, rule_id: str, unknown: str, *, acts: bool) -> LimitUsage:
    return LimitUsage(
        name=gauge.name,
        limit=gauge.limit,
        current=None if unknown else gauge.current,
        unit=gauge.unit,
        words="" if unknown else gauge.words,
        floor=gauge.floor,
        rule_id=rule_id,
        unknown=unknown,
        acts=acts,
    )


def _acts(key: str, settings: Any, gauge: Gauge) -> bool:
    # A day that made too much only delays a payout, unless it is to stop at what it may make.
    return key != consistency.RULE.key or (settings.stop_for_today and gauge.unit == "$")


def _unknown(key: str, settings: Any, gauge: Gauge, view: View, now: datetime) -> str:
    """Return why a gauge needs the daemon's private data; empty if it does not."""
    if key == "auth_loss_guard":
        return "known to the daemon alone"
    is_net = key in _NET_KEYS and gauge.unit in ("$", "%")
    if is_net or (key == "daily_realized_loss" and settings.include_fees):
        # Fees are published with the balance.
        is_known = view.account.balance.agreed is not None
        return (unknown_open_pnl(view, now) if is_net else "") if is_known else _NO_BALANCE
    if key == "no_stop_loss_grace" and gauge.limit is not None and gauge.current is not None:
        # The grace starts again when a stop is canceled, and only the daemon notes when.
        return "" if gauge.current < gauge.limit else "no stop, the daemon knows since when"
    if key == "max_unrealized_profit" and settings.mode is max_unrealized_profit.Mode.BREAKEVEN:
        return "which are armed is known to the daemon alone"
    if key in ("daily_unrealized_loss", "max_unrealized_profit"):
        return _unknown_open_pnl(settings, gauge, view, now)
    return ""


def _unknown_arming(key: str, settings: Any, gauge: Gauge) -> str:
    is_given_back = key == "daily_profit_target" and gauge.name == "profit given back"
    may_go_on = is_given_back and settings.action is daily_profit_target.Action.CLOSE_ALL_POSITIONS
    return "whether it is armed again is known to the daemon alone" if may_go_on else ""


def _unknown_open_pnl(
    settings: daily_unrealized_loss.Settings | max_unrealized_profit.Settings,
    gauge: Gauge,
    view: View,
    now: datetime,
) -> str:
    if settings.scope is Scope.TOTAL:
        return unknown_open_pnl(view, now)
    # The gauge of a limit on each position ends with the name of its contract.
    return unknown_open_pnl(view, now, lambda name: gauge.name.endswith(f" {name}"))


def unknown_open_pnl(
    view: View, now: datetime, counts: Callable[[str], bool] | None = None
) -> str:
    """Return why the open P&L is unknown; empty if it is known.

    :param counts: whether a position counts, by the name of its contract.
    """
    return _unknown_of_all(Same(view), now) if counts is None else _unknown_of(view, now, counts)


# Most limits of a view ask.
@lru_cache(maxsize=1)
def _unknown_of_all(view: Same[View], now: datetime) -> str:
    return _unknown_of(view.value, now, lambda _name: True)


def _unknown_of(view: View, now: datetime, counts: Callable[[str], bool]) -> str:
    for position in view.account.open_positions:
        name = contract_name(view.account, position.contract_id)
        if counts(name) and (unknown := open_pnl(view, position, now).unknown):
            return f"{name}: {unknown}"
    return ""
