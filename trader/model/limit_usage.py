"""How far the account is from each limit in force, as the rules themselves measure it.

The file says which rules are in force, with which settings.  Some of what a rule goes by is private to the
daemon; where a figure cannot be known without it, there is none, and the reason stands in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

from riskd.model.account import AccountState, Limit
from riskd.model.formatting import contract_name
from riskd.model.trading_day import ResetSchedule
from riskd.rules.builtin import daily_unrealized_loss, max_unrealized_profit
from riskd.rules.interface import Gauge, Rule
from riskd.rules.registry import RULES
from riskd.rules.settings import Scope
from trader.model.staleness import open_pnl

_RULES: Final = {rule.key: rule for rule in RULES}
_RULE_IDS: Final = {rule.rule_id: rule for rule in RULES}
_OPEN_RULES: Final = ("daily_unrealized_loss", "max_unrealized_profit")
_COOLDOWN_AFTER_LOSS: Final = "RULE-007"
_DAY: Final = "daily_reset"
_STRICT: Final = "strict_mode"
"""What the day's end and strict mode are called among the limits in force."""

_HALF: Final = Decimal("0.5")
_NEAR: Final = Decimal("0.7")
_VERY_NEAR: Final = Decimal("0.9")


class Level(Enum):
    """How much of a limit is used, in words."""

    UNKNOWN = "not known"
    STATED = ""
    FINE = "ok"
    HALF = "half used"
    NEAR = "NEAR"
    VERY_NEAR = "VERY NEAR"
    REACHED = "REACHED"


class LimitUsage(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, and how far the account is from it.

    :ivar rule_id: the rule's id on the wire.
    :ivar name: what is measured.
    :ivar limit: the limit, in ``unit``; ``None`` where there is no number.
    :ivar current: what is measured now; ``None`` where there is no number, or it is not known.
    :ivar unit: ``$``, ``contracts``, ``trades``, ``s`` ...
    :ivar words: the state in words, where numbers do not say it.
    :ivar unknown: why the state cannot be known here; empty when it is.
    """

    rule_id: str
    name: str
    limit: Decimal | None = None
    current: Decimal | None = None
    unit: str = ""
    words: str = ""
    unknown: str = ""

    @property
    def share(self) -> Decimal | None:
        """How much of the limit is used: 0 for nothing, 1 for all of it; ``None`` without numbers."""
        if self.limit is None or self.current is None or self.limit <= 0:
            return None
        return max(Decimal(0), self.current / self.limit)

    @property
    def headroom(self) -> Decimal | None:
        """What is left of the limit, in ``unit``; less than nothing beyond it."""
        if self.limit is None or self.current is None:
            return None
        return self.limit - self.current

    @property
    def level(self) -> Level:
        """How much of the limit is used, in words."""
        share = self.share
        if share is None:
            return Level.UNKNOWN if self.unknown else Level.STATED
        for bound, level in (
            (Decimal(1), Level.REACHED),
            (_VERY_NEAR, Level.VERY_NEAR),
            (_NEAR, Level.NEAR),
            (_HALF, Level.HALF),
        ):
            if share >= bound:
                return level
        return Level.FINE


def limit_usages(
    state: AccountState, now: datetime, *, is_live: bool, unknown_reason: str = ""
) -> tuple[LimitUsage, ...]:
    """Return every limit in force, in the order in which the rules are asked.

    :param is_live: whether silence of the market is news; what is last known stands as it was.
    :param unknown_reason: why nothing is known of the account but its limits, if that is so.
    """
    in_order = sorted(state.limits.items())
    return tuple(
        usage
        for rule_id, limit in in_order
        if limit.key not in (_DAY, _STRICT)
        for usage in _measures_of(
            rule_id, limit, state, now, is_live=is_live, unknown_reason=unknown_reason
        )
    )


def nearest_limit(found: tuple[LimitUsage, ...]) -> LimitUsage | None:
    """Return the limit of which most is used; ``None`` where no limit has numbers.

    That on the loss of a single trade is none to come near to: what is measured is over.
    """
    first = next(iter(nearest_first(found)), None)
    return first if first is not None and _can_come_near(first) else None


def nearest_first(found: Iterable[LimitUsage]) -> list[LimitUsage]:
    """Return the limits by how much of them is used, and those after them that nobody comes near to."""
    return sorted(
        found, key=lambda one: (_can_come_near(one), one.share or Decimal(0)), reverse=True
    )


def _can_come_near(usage: LimitUsage) -> bool:
    return usage.share is not None and usage.rule_id != _COOLDOWN_AFTER_LOSS


def loss_limit(state: AccountState) -> Decimal | None:
    """Return the dollars that closed trades may lose in the day; ``None`` where no rule says so."""
    settings = _settings_of_key(state, "daily_realized_loss")
    return None if settings is None else settings.loss_limit


def is_strict(state: AccountState) -> bool:
    """Tell whether every breach locks the account until an operator unlocks it."""
    return any(limit.key == _STRICT for limit in state.limits.values())


def next_reset(state: AccountState, now: datetime) -> datetime | None:
    """Return when the trading day ends; ``None`` while that is not known."""
    for limit in state.limits.values():
        if limit.key == _DAY:
            try:
                return msgspec.json.decode(limit.settings, type=ResetSchedule).next_reset(now)
            except (ValueError, ArithmeticError, LookupError):
                # A time zone that this machine does not know is a KeyError.
                return None
    return None


def rule_name(rule_id: str) -> str:
    """Return what a rule is called, in words; its id where it is none of riskd's own."""
    rule = _RULE_IDS.get(rule_id)
    return rule.key.replace("_", " ") if rule else rule_id


def _settings_of_key(state: AccountState, key: str) -> Any:
    limit = next((limit for limit in state.limits.values() if limit.key == key), None)
    if limit is None:
        return None
    try:
        return _settings(_RULES[key], limit)
    except ValueError:
        return None


def _settings(rule: Rule, limit: Limit) -> Any:
    """Return the settings that a rule is in force with.

    :raises ValueError: they are those of another version of the rule.
    """
    return msgspec.json.decode(limit.settings, type=rule.settings_type)


def _measures_of(
    rule_id: str,
    limit: Limit,
    state: AccountState,
    now: datetime,
    *,
    is_live: bool,
    unknown_reason: str,
) -> Iterator[LimitUsage]:
    rule = _RULES.get(limit.key)
    name = limit.key.replace("_", " ")
    if rule is None:
        yield LimitUsage(rule_id=rule_id, name=name, unknown="riskctl rules shows it")
        return
    try:
        settings = _settings(rule, limit)
    except ValueError:
        yield LimitUsage(rule_id=rule_id, name=name, unknown="set by another version of riskd")
        return
    try:
        gauges = rule.gauges(state, settings, now)
    except Exception as error:  # noqa: BLE001  # one rule's mistake must not take the screen away
        yield LimitUsage(rule_id=rule_id, name=name, unknown=f"cannot be told: {error}")
        return
    for gauge in gauges:
        unknown = _unknown(rule.key, settings, gauge, state, now, is_live=is_live)
        if gauge.current is not None:
            unknown = unknown_reason or unknown
        yield LimitUsage(
            rule_id=rule_id,
            name=gauge.name,
            limit=gauge.limit,
            current=None if unknown else gauge.current,
            unit=gauge.unit,
            words="" if unknown else gauge.words,
            unknown=unknown,
        )


def _unknown(
    key: str, settings: Any, gauge: Gauge, state: AccountState, now: datetime, *, is_live: bool
) -> str:
    """Return why what a gauge says cannot be known without the daemon's private notes; or nothing."""
    if key == "auth_loss_guard":
        return "known to the daemon alone"
    if key == "daily_realized_loss" and settings.include_fees:
        return "the fees are known to the daemon alone"
    if key == "no_stop_loss_grace" and gauge.limit is not None and gauge.current is not None:
        # A stop that was taken away later has a new grace, which only the daemon has noted.
        return "" if gauge.current < gauge.limit else "since when is known to the daemon alone"
    if key == "max_unrealized_profit" and settings.mode is max_unrealized_profit.Mode.BREAKEVEN:
        return "which are armed is known to the daemon alone"
    if key in _OPEN_RULES:
        return _unknown_open_pnl(settings, gauge, state, now, is_live=is_live)
    return ""


def _unknown_open_pnl(
    settings: daily_unrealized_loss.Settings | max_unrealized_profit.Settings,
    gauge: Gauge,
    state: AccountState,
    now: datetime,
    *,
    is_live: bool,
) -> str:
    for position in state.open_positions:
        name = contract_name(state, position.contract_id)
        if settings.scope is not Scope.TOTAL and not gauge.name.endswith(f" {name}"):
            continue
        if unknown := open_pnl(state, position, now, is_live=is_live).unknown:
            return f"{name}: {unknown}"
    return ""
