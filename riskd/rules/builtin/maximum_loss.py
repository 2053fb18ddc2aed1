"""RULE-014: the largest loss of an account, which ends it.

The firm's floor is the equity at or below which the account is lost; the broker does not report it, so riskd computes
it from the balances that it has seen, or goes on from the firm's figure that an operator has given.  Sources of the three ways to trail: the help pages of Topstep (at the end of
each day, until the floor has reached the starting balance) and Tradeify (also at each moment), read in November 2026.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.equity import equity, highest_close, highest_close_since_figure
from riskd.model.floor import FloorSource, if_closed
from riskd.model.formatting import dollars
from riskd.model.lockouts import lock_of
from riskd.model.money import ZERO
from riskd.model.open_pnl import pnl_warnings
from riskd.rules.evaluation import RuleInForce
from riskd.rules.fills import checked_until_trades_come
from riskd.rules.interface import Flatten, Gauge, Headroom, Kind, Lock, Rule, RuleResult, Trigger
from riskd.rules.reduce_only import headroom_to_limits, near_limit
from riskd.rules.settings import AmountFromZero, Percent, RuleSettings, StopsAt
from riskd.rules.tightness import Higher, tighter_by

_EXIT_COSTS: Final = Decimal("2.50")
"""What one side of a contract costs at most in fees and commissions, in dollars."""

_NO_BALANCE: Final = "no balance yet, the floor is unknown"


class Trailing(StrEnum):
    """When the floor follows the account upwards."""

    END_OF_DAY = "end_of_day"
    INTRADAY = "intraday"
    STATIC = "static"


class AfterPayout(StrEnum):
    """Where the floor is after a payout."""

    KEEP = "keep"
    START = "start"
    ZERO = "zero"


def _draws_down_less(new: Any, old: Any, key: str) -> bool:
    return bool(new.drawdown <= old.drawdown and _reduces_as_early(new, old, key))


def _reduces_as_early(new: Any, old: Any, _key: str) -> bool:
    """Return whether the reduce-only stage begins at least as far above the floor."""
    if old.reduce_only_at is None or new.reduce_only_at is None:
        return old.reduce_only_at is None
    now, was = (each.drawdown * (100 - each.reduce_only_at) for each in (new, old))
    return bool(now >= was)


def _trails_as_much(new: Any, old: Any, _key: str) -> bool:
    # Which of the other two is higher depends on what riskd has seen.
    return old.trailing in (new.trailing, Trailing.STATIC)


def _stops_as_high(new: Any, old: Any, _key: str) -> bool:
    if new.stops_at in ("never", old.stops_at):
        return True
    now, was = (
        each.starting_balance if each.stops_at == "start" else each.stops_at for each in (new, old)
    )
    # The first balance that riskd sees may be any.
    return None not in (now, was) and was != "never" and Decimal(now) >= Decimal(was)


def _raises_as_much(new: Any, old: Any, _key: str) -> bool:
    ranks = [AfterPayout.KEEP, AfterPayout.ZERO, AfterPayout.START]
    now, was = ranks.index(new.after_payout), ranks.index(old.after_payout)
    # Only of the first balance that riskd sees it is unknown whether it is above 0.
    is_known = new.starting_balance is not None or old.after_payout is AfterPayout.KEEP
    return now == was or (now > was and is_known)


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``maximum_loss``.

    :ivar drawdown: dollars by which the floor is below the highest balance or equity.
    :ivar trailing: when the floor follows it.
    :ivar starting_balance: dollars; by default the first balance that riskd has seen.
    :ivar stops_at: the highest that the floor rises to: ``start``, which is the starting balance, an amount, or
        ``never``.
    :ivar after_payout: whether a payout leaves the floor, or raises it to the starting balance or to 0.
    :ivar buffer: dollars above the floor at which positions are closed; by default what closing them costs: a
        tick and the fees of each contract.
    :ivar reduce_only_at: the share of ``drawdown``, in per cent, from which on the account may only close what it
        holds: with 80, from a fifth of it above the floor.  ``None``: no such share.
    """

    FROM_ZERO: ClassVar[tuple[str, ...]] = ("starting_balance", "buffer")

    drawdown: Annotated[Decimal, tighter_by(_draws_down_less, "or less")] = Decimal("2000.00")
    trailing: Annotated[Trailing, tighter_by(_trails_as_much)] = Trailing.END_OF_DAY
    starting_balance: Higher[AmountFromZero | None] = None
    stops_at: Annotated[StopsAt, tighter_by(_stops_as_high)] = "start"
    after_payout: Annotated[AfterPayout, tighter_by(_raises_as_much)] = AfterPayout.KEEP
    buffer: Higher[AmountFromZero | None] = None
    reduce_only_at: Annotated[Percent | None, tighter_by(_reduces_as_early, "or less")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        start = self.starting_balance
        if start is None or self.stops_at in ("start", "never"):
            return
        # Such an amount is meant for another account, or as a distance.
        if Decimal(self.stops_at) < start - self.drawdown:
            raise ValueError(
                f"stops_at: expected at least {start - self.drawdown}, which is starting_balance less drawdown, "
                f"got {self.stops_at}"
            )


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """The floor of an account and what it is compared with, in dollars.

    :ivar amount: the equity at which the account is lost.
    :ivar source: whose figure it is; what has raised the firm's figure since is riskd's sum.
    :ivar equity: the equity now; an open P&L that is unknown counts as zero.
    :ivar after_close: the floor if everything was closed and the trading day ended now; ``None`` if no end of a
        day moves it.
    """

    amount: Decimal
    source: FloorSource
    equity: Decimal
    after_close: Decimal | None

    @property
    def headroom(self) -> Decimal:
        """How far the equity is above it; below zero beneath it."""
        return self.equity - self.amount

    @property
    def close_words(self) -> str:
        """What the end of the day would do to it, without a full stop."""
        if self.after_close is None:
            return "today's close does not move the floor"
        if self.after_close == self.amount:
            return f"today's close would leave the floor at {dollars(self.amount)}"
        return f"today's close would raise the floor to {dollars(self.after_close)}"


def floor_of(
    state: AccountState, settings: Settings, close: Decimal | None = None
) -> Decimal | None:
    """Return the equity at which the account is lost; ``None`` while it is unknown.

    :param close: a balance at the end of a further day.
    """
    balance, start = state.balance, settings.starting_balance
    if start is None:
        start = balance.first
    if start is None or balance.expected is None:
        return None
    high = start
    if settings.trailing is Trailing.END_OF_DAY:
        high = max([start, *_known(highest_close(state), close)])
    elif settings.trailing is Trailing.INTRADAY:
        high = max(start, balance.peak if balance.peak is not None else start)
    floor, payouts = _below(high, start, settings), balance.payouts
    if (firm := balance.firm_floor) is not None:
        payouts -= firm.payouts
        since = {
            Trailing.END_OF_DAY: _known(highest_close_since_figure(state), close),
            Trailing.INTRADAY: _known(firm.peak),
            Trailing.STATIC: [],
        }[settings.trailing]
        floor = max([firm.amount, *(_below(each, start, settings) for each in since)])
    if payouts and settings.after_payout is not AfterPayout.KEEP:
        floor = max(floor, start if settings.after_payout is AfterPayout.START else ZERO)
    return floor


def _known(*amounts: Decimal | None) -> list[Decimal]:
    return [each for each in amounts if each is not None]


def _below(high: Decimal, start: Decimal, settings: Settings) -> Decimal:
    """Return the floor that follows from a high, where it has not stopped before."""
    floor = high - settings.drawdown
    if settings.stops_at == "never":
        return floor
    if settings.stops_at == "start":
        return min(floor, start)
    # The first balance that riskd sees may be far above it.
    return min(floor, max(Decimal(settings.stops_at), start - settings.drawdown))


def floor_now(state: AccountState, settings: Settings) -> Floor | None:
    """Return the floor and the equity; ``None`` while they are unknown."""
    now, amount = equity(state), floor_of(state, settings)
    if now is None or amount is None:
        return None
    moves = settings.trailing is Trailing.END_OF_DAY
    return Floor(
        amount=amount,
        source=FloorSource.ESTIMATE if state.balance.firm_floor is None else FloorSource.FIRM,
        equity=now,
        after_close=floor_of(state, settings, now) if moves else None,
    )


def nearest_floor(state: AccountState, rules: Iterable[RuleInForce]) -> Floor | None:
    """Return the highest floor of an account; ``None`` without one that is known."""
    floors = [floor_now(state, each.settings) for each in rules if each.rule is RULE]
    known = [each for each in floors if each is not None]
    return max(known, key=lambda floor: floor.amount, default=None)


def published_floor(state: AccountState) -> Floor | None:
    """Return the floor by the limits of the published copy.

    ``None`` without one, or while it is unknown.
    """
    limit = state.limits.get(RULE.rule_id)
    settings = None if limit is None else _decode(limit.settings)
    return None if settings is None else floor_now(state, settings)


# Screens ask for it each time that they are drawn, and it seldom changes.
@lru_cache(maxsize=64)
def _decode(text: str) -> Settings | None:
    try:
        return msgspec.json.decode(text, type=Settings)
    except (msgspec.MsgspecError, ValueError):
        return None


def buffer_of(state: AccountState, settings: Settings) -> Decimal:
    """Return how far above the floor positions are closed; 0 while it is flat."""
    if settings.buffer is not None:
        return settings.buffer if state.open_positions else ZERO
    total = ZERO
    for position in state.open_positions:
        contract = state.contract(position.contract_id)
        tick = ZERO if contract is None else contract.tick_value
        total += position.size * (tick + _EXIT_COSTS)
    return total


@checked_until_trades_come
def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Decide whether the loss ends trading, or only opening positions."""
    if state.risk.is_listing:
        return RuleResult(reduce_only=None)
    now, floor = equity(state), floor_of(state, settings)
    if now is None or floor is None:
        return RuleResult(warnings=(_NO_BALANCE,), reduce_only=None)
    result = _check_floor(state, settings, trigger, now, floor)
    if settings.reduce_only_at is None:
        return result
    drawdown = settings.drawdown
    loss, threshold = drawdown - (now - floor), drawdown * settings.reduce_only_at / 100
    reduce_only = near_limit(
        state,
        RULE.rule_id,
        lambda: (
            f"the loss has reached {settings.reduce_only_at} % of the drawdown of {dollars(drawdown)}"
        ),
        loss=loss,
        threshold=threshold,
    )
    return RuleResult(
        commands=result.commands,
        warnings=result.warnings,
        reduce_only=reduce_only,
        headroom=headroom_to_limits(state, result.headroom, threshold - loss),
    )


def _check_floor(
    state: AccountState, settings: Settings, trigger: Trigger, now: Decimal, floor: Decimal
) -> RuleResult:
    """Close everything and lock the account before its equity reaches the floor.

    :param now: the equity.
    """
    warnings = pnl_warnings(state, trigger.now)
    buffer = buffer_of(state, settings)
    if now > floor + buffer:
        return RuleResult(warnings=warnings, headroom=Headroom(down=now - floor - buffer))
    if lock_of(state, RULE.rule_id, trigger.now) is not None:
        return RuleResult(warnings=warnings)
    above = f", buffer {dollars(buffer)}" if buffer else ""
    reason = f"Maximum loss hit: equity {dollars(now)} (floor {dollars(floor)}{above})"
    return RuleResult(commands=(Flatten(reason=reason, lock=Lock(until=None)),), warnings=warnings)


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return how much of the drawdown is used; what is left is how far the floor is."""
    floor = floor_now(state, settings)
    if floor is None:
        return (Gauge(name="maximum loss", limit=settings.drawdown, unit="$", words=_NO_BALANCE),)
    return (
        Gauge(
            name="maximum loss",
            limit=settings.drawdown,
            current=settings.drawdown - floor.headroom,
            floor=floor.amount,
            unit="$",
            words=f"floor {dollars(floor.amount)} by {floor.source.words}{if_closed(floor.after_close)}",
        ),
    )


RULE: Final = Rule(
    "RULE-014",
    "maximum_loss",
    Settings,
    # Not on trades; see RULE-013.
    frozenset({Kind.POSITION, Kind.QUOTE, Kind.ACCOUNT}),
    check,
    gauges,
    # What ends the account must be noticed in a cooldown, too.
    runs_while_locked=True,
)
