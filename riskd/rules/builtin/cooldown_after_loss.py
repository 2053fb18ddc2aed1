"""RULE-007: after a trade that lost much there is a pause.

What is remembered are the pauses that were asked for and are not over.  So a pause that an operator has
ended does not come again, and one whose trade is voided can be ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserTrade
from riskd.model.formatting import dollars
from riskd.model.lockouts import is_locked, locks_in_force
from riskd.model.money import ZERO
from riskd.rules.interface import (
    NOTHING,
    Command,
    Flatten,
    Gauge,
    LiftLock,
    Lock,
    RuleResult,
    Trigger,
)
from riskd.rules.settings import RuleSettings, Seconds

_OWN_RULE: Final = "RULE-007"

_DEFAULT_LOSS: Final = Decimal("100.00")
_DEFAULT_SECONDS: Final = 300


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the pause is after a loss.

    :ivar loss_amount: dollars; a loss of as much, or more, counts.
    :ivar cooldown_duration: seconds.
    """

    loss_amount: Decimal
    cooldown_duration: Seconds

    def __post_init__(self) -> None:
        if not (self.loss_amount.is_finite() and self.loss_amount > 0):
            raise ValueError(f"loss_amount: expected an amount above zero, got {self.loss_amount}")


class Settings(RuleSettings, frozen=True, kw_only=True):
    """What ``cooldown_after_loss`` may say: one threshold, or several.

    :ivar loss_threshold: dollars that one trade must lose for a pause.
    :ivar cooldown_seconds: how long the pause is.
    :ivar loss_thresholds: in their place, pauses that depend on the loss; the deepest that the loss
        reaches counts.
    """

    loss_threshold: Decimal | UnsetType = UNSET
    cooldown_seconds: Seconds | UnsetType = UNSET
    loss_thresholds: Annotated[tuple[Tier, ...], msgspec.Meta(min_length=1)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss_thresholds is UNSET:
            self._fill_in("loss_threshold", _DEFAULT_LOSS)
            self._fill_in("cooldown_seconds", _DEFAULT_SECONDS)
            return
        for name in ("loss_threshold", "cooldown_seconds"):
            if getattr(self, name) is not UNSET:
                raise ValueError(
                    f"{name}: expected nothing beside loss_thresholds, got {getattr(self, name)}"
                )
        amounts = [tier.loss_amount for tier in self.tiers]
        for amount in amounts:
            if amounts.count(amount) > 1:
                raise ValueError(
                    f"loss_thresholds: expected each loss_amount once, got {amount} twice"
                )

    def _fill_in(self, name: str, default: object) -> None:
        if getattr(self, name) is UNSET:
            msgspec.structs.force_setattr(self, name, default)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The thresholds in either form, smallest loss first."""
        if self.loss_thresholds is not UNSET:
            return tuple(sorted(self.loss_thresholds, key=lambda tier: tier.loss_amount))
        assert self.loss_threshold is not UNSET  # noqa: S101  # filled in above
        assert self.cooldown_seconds is not UNSET  # noqa: S101
        return (Tier(loss_amount=self.loss_threshold, cooldown_duration=self.cooldown_seconds),)


class Cooldown(msgspec.Struct, frozen=True, kw_only=True):
    """A pause that this rule asked for.

    :ivar trade_id: the trade that lost.
    :ivar executed: when it was executed.
    :ivar until: when the pause ends.
    """

    trade_id: int
    executed: datetime
    until: datetime


_LATE: Final = timedelta(seconds=10)
"""A trade that is told of within so long was executed just now, as clocks go."""

_DECODER: Final = msgspec.json.Decoder(tuple[Cooldown, ...])


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Pause after a loss, and end the pause when the loss turns out to be none.

    A trade that is told as it happens begins a pause now.  A trade that is found later, because nobody
    was there to be told or to be asked, began one when it was executed.  What is lost while the account
    is locked, such as by closing what it held, begins none.
    """
    if isinstance(trigger.subject, GatewayUserTrade):
        return _evaluate_new_trade(state, settings, trigger.subject, trigger.now)
    return _review(state, settings, trigger.now)


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Compare the last trade's loss with the smallest that makes a pause."""
    last = max(state.trades.values(), key=lambda trade: trade.execution_time, default=None)
    lost = max(ZERO, -last.profit_and_loss) if last else ZERO
    limit = settings.tiers[0].loss_amount
    return (Gauge(name="loss of last trade", limit=limit, current=lost, unit="$"),)


def _evaluate_new_trade(
    state: AccountState, settings: Settings, trade: GatewayUserTrade, now: datetime
) -> RuleResult:
    tier = _deepest_tier(settings, trade)
    if tier is None:
        return NOTHING
    # What was told of late began its pause when it was executed.
    begun = now if now - trade.execution_time < _LATE else trade.execution_time
    until = begun + timedelta(seconds=tier.cooldown_duration)
    if until <= now:
        return NOTHING
    known = _still_ahead(_remembered(state), now)
    return RuleResult(
        commands=() if is_locked(state, now) else (_pause(trade, tier, until, now),),
        memory=_encode((*known, _cooldown(trade, until))),
    )


def _review(state: AccountState, settings: Settings, now: datetime) -> RuleResult:
    known = _still_ahead(_remembered(state), now)
    valid = [cooldown for cooldown in known if not _is_voided(state, cooldown)]
    commands: list[Command] = []
    found = None
    if len(valid) < len(known) and _is_locked_by_this_rule(state, now):
        commands.append(LiftLock(reason="The trade that lost was voided"))
        # What other trades have lost meanwhile began no pause, or one that this one outlasted.
        found = _longest_pause_found(state, settings, (), now)
    elif not is_locked(state, now):
        found = _longest_pause_found(state, settings, valid, now)
    if found is not None:
        trade, tier, until = found
        commands.append(_pause(trade, tier, until, now))
        valid.append(_cooldown(trade, until))
    return RuleResult(commands=tuple(commands), memory=_encode(valid))


def _longest_pause_found(
    state: AccountState, settings: Settings, known: Iterable[Cooldown], now: datetime
) -> tuple[GatewayUserTrade, Tier, datetime] | None:
    """Return what ends last and later than any pause that was asked for already."""
    handled = {cooldown.trade_id for cooldown in known}
    best: tuple[GatewayUserTrade, Tier, datetime] | None = None
    latest = max((cooldown.until for cooldown in known), default=now)
    for trade in state.trades.values():
        tier = _deepest_tier(settings, trade)
        if tier is None or trade.id in handled:
            continue
        until = trade.execution_time + timedelta(seconds=tier.cooldown_duration)
        if until > latest:
            best, latest = (trade, tier, until), until
    return best


def _deepest_tier(settings: Settings, trade: GatewayUserTrade) -> Tier | None:
    reached = [tier for tier in settings.tiers if trade.profit_and_loss <= -tier.loss_amount]
    return reached[-1] if reached else None


def _pause(trade: GatewayUserTrade, tier: Tier, until: datetime, now: datetime) -> Flatten:
    seconds = math.ceil((until - now).total_seconds())
    reason = (
        f"Loss of a trade: {dollars(trade.profit_and_loss)} (limit {dollars(tier.loss_amount)}), "
        f"pause of {tier.cooldown_duration} s"
    )
    return Flatten(reason=reason, lock=Lock(until=until, cooldown_seconds=seconds))


def _cooldown(trade: GatewayUserTrade, until: datetime) -> Cooldown:
    return Cooldown(trade_id=trade.id, executed=trade.execution_time, until=until)


def _still_ahead(cooldowns: Iterable[Cooldown], now: datetime) -> list[Cooldown]:
    return [cooldown for cooldown in cooldowns if cooldown.until > now]


def _is_voided(state: AccountState, cooldown: Cooldown) -> bool:
    """Tell whether the trade is gone although it is of the day; older ones go with their day."""
    if state.day_began is None or cooldown.executed < state.day_began:
        return False
    return cooldown.trade_id not in state.trades


def _is_locked_by_this_rule(state: AccountState, now: datetime) -> bool:
    return any(lock.rule_id == _OWN_RULE for lock in locks_in_force(state, now))


def _remembered(state: AccountState) -> tuple[Cooldown, ...]:
    return _DECODER.decode(state.risk.memory.get(_OWN_RULE, "[]"))


def _encode(cooldowns: Iterable[Cooldown]) -> str:
    return msgspec.json.encode(tuple(cooldowns)).decode()
