"""RULE-007: a trade that loses much starts a cooldown.

The rule remembers the cooldowns that it has asked for and that are not over.  So a cooldown that an
operator has ended does not start again, and one whose trade is voided can be ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from riskd.model.account import AccountState
from riskd.model.broker import BrokerTrade
from riskd.model.events import GatewayUserTrade, LockoutSet
from riskd.model.formatting import dollars
from riskd.model.lockouts import lock_of
from riskd.model.moments import first_known, is_placeholder
from riskd.model.money import ZERO
from riskd.model.unlocks import Unlock, last_unlock, time_after
from riskd.rules.cooldowns import settings_at, start_cooldown, was_just_executed, was_locked
from riskd.rules.interface import (
    NOTHING,
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
from riskd.rules.settings import RuleSettings, Seconds, Table, expect_no_repeats
from riskd.rules.tightness import Higher, Lower, tighter_by

_DEFAULTS: Final = {"loss_threshold": Decimal("100.00"), "cooldown_seconds": 300}


class Tier(Table, frozen=True, kw_only=True):
    """A loss and the cooldown that it starts.

    :ivar loss_amount: dollars; a loss of as much counts.
    :ivar cooldown_duration: seconds.
    """

    loss_amount: Lower[Decimal]
    cooldown_duration: Higher[Seconds]


def _cool_as_long(new: Any, old: Any, _key: str) -> bool:
    """Return whether each loss starts a cooldown at least as long as before."""
    losses = [tier.loss_amount for each in (new, old) for tier in each.tiers]
    return all(_cooldown_of(new, loss) >= _cooldown_of(old, loss) for loss in losses)


def _cooldown_of(settings: Any, loss: Decimal) -> int:
    reached = [each.cooldown_duration for each in settings.tiers if each.loss_amount <= loss]
    return reached[-1] if reached else 0


_COOLS_AS_LONG: Final = tighter_by(_cool_as_long)


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``cooldown_after_loss``: one threshold, or several.

    :ivar loss_threshold: dollars; a trade that loses as much starts a cooldown.
    :ivar cooldown_seconds: how long the cooldown lasts.
    :ivar loss_thresholds: the other form, cooldowns that depend on the loss; the highest threshold that
        the loss reaches counts.
    """

    loss_threshold: Annotated[Decimal | UnsetType, _COOLS_AS_LONG] = UNSET
    cooldown_seconds: Annotated[Seconds | UnsetType, _COOLS_AS_LONG] = UNSET
    loss_thresholds: Annotated[
        Annotated[tuple[Tier, ...], msgspec.Meta(min_length=1)] | UnsetType, _COOLS_AS_LONG
    ] = UNSET

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
    """A cooldown that this rule asked for, or would have without a lock.

    :ivar trade_id: the last of the trades that lost.
    :ivar executed: when that trade was executed.
    :ivar until: when the cooldown ends.
    :ivar trades: the ids of all trades that lost, parts of one exit.
    :ivar threshold: the loss that they reached, in dollars.
    :ivar asked_at: when the rule asked for the cooldown; ``None`` if the loss started none.
    """

    trade_id: int
    executed: datetime
    until: datetime
    trades: tuple[int, ...] = ()
    threshold: Decimal = ZERO
    asked_at: datetime | None = None

    def is_since(self, unlock: Unlock | None) -> bool:
        """Return whether the rule asked for this cooldown, and no operator has ended it."""
        return self.asked_at is not None and (unlock is None or self.asked_at > unlock.at)

    def holds(self, lock: LockoutSet, unlock: Unlock | None) -> bool:
        """Return whether this cooldown alone justifies the rule's ``lock``."""
        return self.is_since(unlock) and (
            lock.locked_until is None or self.until >= lock.locked_until
        )

    @property
    def parts(self) -> tuple[int, ...]:
        """The ids of the trades that lost."""
        return self.trades or (self.trade_id,)

    def is_void(self, state: AccountState) -> bool:
        """Return whether the broker has taken the loss back, or enough of it."""
        known = [state.trades[number] for number in self.parts if number in state.trades]
        voided = sum(number in state.risk.voided for number in self.parts)
        if len(known) + voided < len(self.parts):
            # Trades leave the state with their day; then nothing new is known of the loss.
            return False
        if not known:
            return True
        return bool(self.threshold) and _sum(known) > -self.threshold


class _Exit(NamedTuple):
    """A loss: all trades that filled one exit order, in the order of their execution."""

    trades: tuple[BrokerTrade, ...]

    @property
    def began(self) -> datetime:
        """When its first part was executed."""
        return _executed(self.trades[0])

    @property
    def executed(self) -> datetime:
        """When its last part was executed."""
        return _executed(self.trades[-1])

    def is_known_at(self, unlock: Unlock | None) -> bool:
        """Return whether all of it was known when an operator unlocked the account."""
        return unlock is not None and all(part.timestamp <= unlock.at for part in self.trades)


class _Loss(NamedTuple):
    """A loss that reaches a threshold, with its cooldown and its reason."""

    cooldown: Cooldown
    reason: str

    def flatten(self, now: datetime) -> Flatten:
        return start_cooldown(self.reason, self.cooldown.until, now)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Start a cooldown after a loss, and end it when the broker takes the loss back.

    All trades that fill one exit order are one loss, in whatever order they become known.  A trade that
    arrives as it happens starts the cooldown now.  A trade that is found later, because riskd or the gateway
    was away, started it when it was executed; so did one from before the lock that the rule has set.  A loss
    that was made while the account was locked starts none: closing the account's positions may realize losses
    itself.
    """
    now = trigger.now
    remembered = recall(state, RULE.rule_id, tuple[Cooldown, ...])
    known = [cooldown for cooldown in remembered if cooldown.until > now]
    if not isinstance(trigger.subject, GatewayUserTrade):
        return _review(state, settings, known, trigger)
    trade = state.trades.get(trigger.subject.id)
    if trade is None:
        return NOTHING
    exit_ = _exit_of(trade, state)
    lock = lock_of(state, RULE.rule_id, now)
    is_new = was_just_executed(_executed(trade), now) and (
        lock is None or lock.locked_at <= _executed(trade)
    )
    loss = _loss(settings, exit_, now if is_new else exit_.executed)
    if loss is None or loss.cooldown.until <= now or _is_known(loss, known):
        return NOTHING
    if _was_locked(state, exit_, loss, known, now):
        return RuleResult(memory=remember([*known, loss.cooldown]))
    asked_at = time_after(last_unlock(state), now)
    cooldown = msgspec.structs.replace(loss.cooldown, asked_at=asked_at)
    return RuleResult(commands=(loss.flatten(now),), memory=remember([*known, cooldown]))


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the last exit's loss against the smallest one that starts a cooldown."""
    trades = state.trades.values()
    last = max(trades, key=_executed, default=None)
    lost = max(ZERO, -_sum(each for each in trades if _key(each) == _key(last))) if last else ZERO
    limit = settings.tiers[0].loss_amount
    return (Gauge(name="loss of last trade", limit=limit, current=lost, unit="$"),)


def _review(
    state: AccountState, settings: Settings, known: list[Cooldown], trigger: Trigger
) -> RuleResult:
    now = trigger.now
    valid = [cooldown for cooldown in known if not cooldown.is_void(state)]
    lock, unlock = lock_of(state, RULE.rule_id, now), last_unlock(state)
    fallen = [each for each in known if each not in valid and each.asked_at is not None]
    commands: list[Command] = []
    if fallen and lock is not None and not any(each.holds(lock, unlock) for each in valid):
        commands.append(LiftLock(reason="The trade that lost was voided"))
        # Losses since then started no cooldown, or one that this one outlasted; now they count.
        found = _longest_cooldown(state, settings, (), now, is_lifted=True)
    else:
        found = _longest_cooldown(state, settings, valid, now)
    if found is not None:
        commands.append(found.flatten(now))
        asked_at = time_after(unlock, now)
        valid.append(msgspec.structs.replace(found.cooldown, asked_at=asked_at))
    return RuleResult(commands=tuple(commands), memory=remember(valid))


def _was_locked(
    state: AccountState, exit_: _Exit, loss: _Loss, known: Iterable[Cooldown], now: datetime
) -> bool:
    """Return whether a loss was made in a lock, and not in that which it began."""
    return was_locked(state, exit_.began, now) and not _is_deeper(state, loss, known, now)


def _is_deeper(state: AccountState, loss: _Loss, known: Iterable[Cooldown], now: datetime) -> bool:
    """Return whether the loss of an exit has grown since it began the rule's lock."""
    return lock_of(state, RULE.rule_id, now) is not None and any(
        each.asked_at is not None and not set(each.parts).isdisjoint(loss.cooldown.parts)
        for each in known
    )


def _longest_cooldown(
    state: AccountState,
    settings: Settings,
    known: Iterable[Cooldown],
    now: datetime,
    *,
    is_lifted: bool = False,
) -> _Loss | None:
    """Return the loss whose cooldown ends last, if it ends after all known ones.

    :param is_lifted: whether the rule's lock ends now: then what was lost in it counts, too.
    """
    known = tuple(known)
    unlock = last_unlock(state)
    latest = max((each.until for each in known if each.is_since(unlock)), default=now)
    later = []
    for exit_ in _losing_exits(state, settings):
        loss = _loss(settings, exit_, exit_.executed)
        if (
            loss is not None
            and loss.cooldown.until > latest
            and not (exit_.is_known_at(unlock) and not _is_tighter(settings, exit_, unlock))
            and not _is_known(loss, known)
            and (is_lifted or not _was_locked(state, exit_, loss, known, now))
        ):
            later.append(loss)
    return max(later, key=lambda loss: loss.cooldown.until, default=None)


def _is_known(loss: _Loss, known: Iterable[Cooldown]) -> bool:
    """Return whether a loss as deep as this one has been handled."""
    return any(
        not set(each.parts).isdisjoint(loss.cooldown.parts)
        and (not each.threshold or each.threshold >= loss.cooldown.threshold)
        for each in known
    )


def _losing_exits(state: AccountState, settings: Settings) -> list[_Exit]:
    """Return the exits that reach a threshold."""
    least = settings.tiers[0].loss_amount
    exits: dict[tuple[str, int], list[BrokerTrade]] = {}
    for trade in state.trades.values():
        exits.setdefault(_key(trade), []).append(trade)
    return [_exit(parts) for parts in exits.values() if _sum(parts) <= -least]


def _exit_of(trade: BrokerTrade, state: AccountState) -> _Exit:
    """Return the exit that a trade is a part of, as far as it is known."""
    if trade.order_id is None:
        return _Exit((trade,))
    key = _key(trade)
    return _exit([each for each in state.trades.values() if _key(each) == key])


def _exit(parts: list[BrokerTrade]) -> _Exit:
    return _Exit(tuple(sorted(parts, key=lambda part: (_executed(part), part.id))))


def _key(trade: BrokerTrade) -> tuple[str, int]:
    """Return what the trades of one exit have in common: its order."""
    return ("", trade.id) if trade.order_id is None else (trade.contract_id, trade.order_id)


def _executed(trade: BrokerTrade) -> datetime:
    return first_known(trade.execution_time, trade.timestamp) or trade.timestamp


def _sum(trades: Iterable[BrokerTrade]) -> Decimal:
    return sum([trade.profit_and_loss for trade in trades], ZERO)


def _tier(settings: Settings, exit_: _Exit) -> Tier | None:
    """Return the highest threshold that a loss reaches."""
    lost = _sum(exit_.trades)
    reached = [tier for tier in settings.tiers if lost <= -tier.loss_amount]
    return reached[-1] if reached else None


def _loss(settings: Settings, exit_: _Exit, begun: datetime) -> _Loss | None:
    """Return the loss if it reaches a threshold, cooling from ``begun``."""
    tier = _tier(settings, exit_)
    if tier is None or is_placeholder(begun):
        return None
    until = begun + timedelta(seconds=tier.cooldown_duration)
    reason = (
        f"Loss of a trade: {dollars(_sum(exit_.trades))} "
        f"(limit {dollars(tier.loss_amount)}), pause of {tier.cooldown_duration} s"
    )
    last = exit_.trades[-1]
    cooldown = Cooldown(
        trade_id=last.id,
        executed=exit_.executed,
        until=until,
        trades=tuple([trade.id for trade in exit_.trades]),
        threshold=tier.loss_amount,
    )
    return _Loss(cooldown, reason)


def _is_tighter(settings: Settings, exit_: _Exit, unlock: Unlock | None) -> bool:
    """Return whether a loss reaches a threshold that it did not at the unlock."""
    tier = _tier(settings, exit_)
    earlier = settings_at(unlock, RULE.rule_id, Settings) if unlock else None
    known = None if earlier is None else _tier(earlier, exit_)
    return tier is not None and (known is None or tier.cooldown_duration > known.cooldown_duration)


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
