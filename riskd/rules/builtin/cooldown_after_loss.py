"""RULE-007: a trade that loses much starts a cooldown.

The rule remembers the cooldowns that it has asked for and that are not over.  So a cooldown that an
operator has ended does not start again, and one whose trade is voided can be ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserTrade
from riskd.model.formatting import dollars
from riskd.model.lockouts import is_locked, lock_of
from riskd.model.money import ZERO
from riskd.rules.interface import (
    NOTHING,
    Command,
    Flatten,
    Gauge,
    Kind,
    LiftLock,
    Lock,
    Rule,
    RuleResult,
    Trigger,
    recall,
    remember,
)
from riskd.rules.settings import RuleSettings, Seconds, Table, expect_no_repeats

_DEFAULTS: Final = {"loss_threshold": Decimal("100.00"), "cooldown_seconds": 300}

_LATE: Final = timedelta(seconds=10)
"""A trade that arrives within this time was executed just now, as far as clocks agree."""


class Tier(Table, frozen=True, kw_only=True):
    """A loss and the cooldown that it starts.

    :ivar loss_amount: dollars; a loss of as much counts.
    :ivar cooldown_duration: seconds.
    """

    loss_amount: Decimal
    cooldown_duration: Seconds


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``cooldown_after_loss``: one threshold, or several.

    :ivar loss_threshold: dollars; a trade that loses as much starts a cooldown.
    :ivar cooldown_seconds: how long the cooldown lasts.
    :ivar loss_thresholds: the other form, cooldowns that depend on the loss; the highest threshold that
        the loss reaches counts.
    """

    loss_threshold: Decimal | UnsetType = UNSET
    cooldown_seconds: Seconds | UnsetType = UNSET
    loss_thresholds: Annotated[tuple[Tier, ...], msgspec.Meta(min_length=1)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if self.loss_thresholds is not UNSET and value is not UNSET:
                raise ValueError(f"{name}: expected nothing beside loss_thresholds, got {value}")
            if self.loss_thresholds is UNSET and value is UNSET:
                msgspec.structs.force_setattr(self, name, default)
        if self.loss_thresholds is not UNSET:
            amounts = [tier.loss_amount for tier in self.tiers]
            expect_no_repeats("loss_thresholds", "loss_amount", amounts)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The thresholds in either form, smallest loss first."""
        if self.loss_thresholds is not UNSET:
            return tuple(sorted(self.loss_thresholds, key=lambda tier: tier.loss_amount))
        assert self.loss_threshold is not UNSET  # noqa: S101  # __post_init__ has set it
        assert self.cooldown_seconds is not UNSET  # noqa: S101
        return (Tier(loss_amount=self.loss_threshold, cooldown_duration=self.cooldown_seconds),)


class Cooldown(msgspec.Struct, frozen=True, kw_only=True):
    """A cooldown that this rule has asked for.

    :ivar trade_id: the losing trade.
    :ivar executed: when that trade was executed.
    :ivar until: when the cooldown ends.
    """

    trade_id: int
    executed: datetime
    until: datetime


class _Loss(NamedTuple):
    """A loss that reaches a threshold, with its cooldown and its reason."""

    cooldown: Cooldown
    reason: str

    def flatten(self, now: datetime) -> Flatten:
        until = self.cooldown.until
        # The wire has whole seconds, and a cooldown must not look shorter than it is.
        seconds = math.ceil((until - now).total_seconds())
        return Flatten(reason=self.reason, lock=Lock(until=until, cooldown_seconds=seconds))


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Start a cooldown after a loss, and end it when the losing trade is voided.

    A trade that arrives as it happens starts the cooldown now.  A trade that is found later, because
    riskd or the gateway was away, started it when it was executed.  A loss while the account is locked
    starts none: closing the account's positions may realize losses itself.
    """
    now = trigger.now
    remembered = recall(state, RULE.rule_id, tuple[Cooldown, ...])
    known = [cooldown for cooldown in remembered if cooldown.until > now]
    if not isinstance(trigger.subject, GatewayUserTrade):
        return _review(state, settings, known, now)
    executed = trigger.subject.execution_time
    loss = _loss(settings, trigger.subject, now if now - executed < _LATE else executed)
    if loss is None or loss.cooldown.until <= now:
        return NOTHING
    return RuleResult(
        commands=() if is_locked(state, now) else (loss.flatten(now),),
        memory=remember([*known, loss.cooldown]),
    )


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the last trade's loss against the smallest one that starts a cooldown."""
    last = max(state.trades.values(), key=lambda trade: trade.execution_time, default=None)
    lost = max(ZERO, -last.profit_and_loss) if last else ZERO
    limit = settings.tiers[0].loss_amount
    return (Gauge(name="loss of last trade", limit=limit, current=lost, unit="$"),)


def _review(
    state: AccountState, settings: Settings, known: list[Cooldown], now: datetime
) -> RuleResult:
    valid = [cooldown for cooldown in known if not _is_voided(state, cooldown)]
    commands: list[Command] = []
    found = None
    if len(valid) < len(known) and lock_of(state, RULE.rule_id, now) is not None:
        commands.append(LiftLock(reason="The trade that lost was voided"))
        # Losses since then started no cooldown, or one that this one outlasted; now they count.
        found = _longest_cooldown(state, settings, (), now)
    elif not is_locked(state, now):
        found = _longest_cooldown(state, settings, valid, now)
    if found is not None:
        commands.append(found.flatten(now))
        valid.append(found.cooldown)
    return RuleResult(commands=tuple(commands), memory=remember(valid))


def _longest_cooldown(
    state: AccountState, settings: Settings, known: Iterable[Cooldown], now: datetime
) -> _Loss | None:
    """Return the loss whose cooldown ends last, if it ends after all known ones."""
    handled = {cooldown.trade_id for cooldown in known}
    latest = max((cooldown.until for cooldown in known), default=now)
    losses = (
        _loss(settings, trade, trade.execution_time)
        for trade in state.trades.values()
        if trade.id not in handled
    )
    later = [loss for loss in losses if loss is not None and loss.cooldown.until > latest]
    return max(later, key=lambda loss: loss.cooldown.until, default=None)


def _loss(settings: Settings, trade: GatewayUserTrade, begun: datetime) -> _Loss | None:
    """Return the loss of ``trade`` if it reaches a threshold, cooling from ``begun``."""
    reached = [tier for tier in settings.tiers if trade.profit_and_loss <= -tier.loss_amount]
    if not reached:
        return None
    tier = reached[-1]
    until = begun + timedelta(seconds=tier.cooldown_duration)
    reason = (
        f"Loss of a trade: {dollars(trade.profit_and_loss)} "
        f"(limit {dollars(tier.loss_amount)}), pause of {tier.cooldown_duration} s"
    )
    return _Loss(Cooldown(trade_id=trade.id, executed=trade.execution_time, until=until), reason)


def _is_voided(state: AccountState, cooldown: Cooldown) -> bool:
    """Return whether a trade of the trading day is gone.

    Older trades leave the state with their day.
    """
    if state.day_began is None or cooldown.executed < state.day_began:
        return False
    return cooldown.trade_id not in state.trades


RULE: Final = Rule(
    "RULE-007",
    "cooldown_after_loss",
    Settings,
    frozenset({Kind.TRADE}),
    check,
    gauges,
    # A cooldown whose trade is voided must end.
    runs_while_locked=True,
)
