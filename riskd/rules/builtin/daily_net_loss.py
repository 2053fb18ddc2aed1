"""RULE-013: the largest net loss of a trading day, open losses and fees included.

Net P&L and its highs: :mod:`riskd.model.equity`.  Source of the trailing daily loss, whose limit follows the day's
highest balance: TopstepX's help page on daily loss limits, read in November 2026.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from riskd.model.account import AccountState
from riskd.model.equity import net_pnl
from riskd.model.formatting import dollars
from riskd.model.lockouts import lock_of
from riskd.model.money import ZERO
from riskd.model.open_pnl import pnl_warnings
from riskd.rules.fills import checked_until_trades_come
from riskd.rules.interface import Flatten, Gauge, Headroom, Kind, Rule, RuleResult, Trigger
from riskd.rules.reduce_only import headroom_to_limits, near_limit
from riskd.rules.settings import LockoutUntil, LockUntil, Percent, RuleSettings
from riskd.rules.tightness import Lower, WhenTrue, tightest_last


class Action(StrEnum):
    """What the rule does about a breach."""

    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"
    CLOSE_ALL_POSITIONS = "CLOSE_ALL_POSITIONS"


class Trailing(StrEnum):
    """What the limit follows upwards within the day."""

    NONE = "none"
    REALIZED = "realized"
    EQUITY = "equity"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``daily_net_loss``.

    :ivar loss_limit: dollars; a net loss of as much is a breach.
    :ivar include_fees: whether the broker's fees and commissions count as losses.
    :ivar trailing: from where the loss counts: the beginning of the day, or the day's highest net P&L,
        realized or with open P&L.
    :ivar lockout_until: when the lock ends; without effect if ``action`` sets no lock.
    :ivar reduce_only_at: the share of ``loss_limit``, in per cent, from which on the account may only close what
        it holds; ``None``: no such share.
    """

    loss_limit: Lower[Decimal] = Decimal("1000.00")
    include_fees: WhenTrue[bool] = True
    trailing: Annotated[
        Trailing, tightest_last(Trailing.NONE, Trailing.REALIZED, Trailing.EQUITY)
    ] = Trailing.NONE
    action: Annotated[
        Action, tightest_last(Action.CLOSE_ALL_POSITIONS, Action.CLOSE_ALL_AND_LOCKOUT)
    ] = Action.CLOSE_ALL_AND_LOCKOUT
    lockout_until: LockUntil = LockoutUntil.DAILY_RESET
    reduce_only_at: Lower[Percent | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trailing is not Trailing.NONE and not self.include_fees:
            raise ValueError(
                f"include_fees: expected true with trailing {self.trailing}, got false"
            )


@checked_until_trades_come
def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Decide whether the net loss ends trading, or only opening positions."""
    if state.risk.is_listing:
        return RuleResult(reduce_only=None)
    result = _check_limit(state, settings, trigger)
    if settings.reduce_only_at is None:
        return result
    limit, loss = settings.loss_limit, _loss(state, settings)
    threshold = limit * settings.reduce_only_at / 100
    reduce_only = near_limit(
        state,
        RULE.rule_id,
        lambda: (
            f"the day's net loss has reached {settings.reduce_only_at} % of its limit of {dollars(limit)}"
        ),
        loss=loss,
        threshold=threshold,
    )
    return RuleResult(
        commands=result.commands,
        warnings=result.warnings,
        # The loss ends with the day, even if nothing happens.
        wake_at=trigger.next_reset,
        reduce_only=reduce_only,
        headroom=headroom_to_limits(state, result.headroom, threshold - loss),
    )


def _check_limit(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close everything and lock the account when the net loss reaches the limit."""
    warnings = pnl_warnings(state, trigger.now)
    loss = _loss(state, settings)
    is_idle = not (state.open_positions or state.orders)
    locks = settings.action is Action.CLOSE_ALL_AND_LOCKOUT
    if loss < settings.loss_limit:
        return RuleResult(warnings=warnings, headroom=Headroom(down=settings.loss_limit - loss))
    if lock_of(state, RULE.rule_id, trigger.now) is not None or (is_idle and not locks):
        return RuleResult(warnings=warnings)
    amount = {
        Trailing.NONE: dollars(-loss),
        Trailing.REALIZED: f"{dollars(loss)} below the day's highest balance",
        Trailing.EQUITY: f"{dollars(loss)} below the day's highest equity",
    }[settings.trailing]
    reason = f"Daily net loss limit hit: {amount} (limit {dollars(settings.loss_limit)})"
    lock = settings.lockout_until.lock(trigger) if locks else None
    return RuleResult(commands=(Flatten(reason=reason, lock=lock),), warnings=warnings)


def _loss(state: AccountState, settings: Settings) -> Decimal:
    """Return the net loss in dollars, from where the settings count it."""
    net = net_pnl(state)
    if not settings.include_fees:
        net += state.balance.charges
    balance = state.balance
    if settings.trailing is Trailing.NONE:
        high = ZERO
    elif settings.trailing is Trailing.REALIZED:
        high = balance.high_realized
    else:
        high = max(balance.high_realized, balance.high_net)
    return high - net


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the net loss; a day in profit has a negative one."""
    name = "net daily loss" if settings.include_fees else "net daily loss before fees"
    if settings.trailing is not Trailing.NONE:
        name = "net loss from the day's high"
    return (Gauge(name=name, limit=settings.loss_limit, current=_loss(state, settings), unit="$"),)


RULE: Final = Rule(
    "RULE-013",
    "daily_net_loss",
    Settings,
    # Not on trades: it looks at what the account holds, and an exit at its mark changes no net P&L.
    frozenset({Kind.POSITION, Kind.QUOTE, Kind.ACCOUNT}),
    check,
    gauges,
    # A loss that is realized during a cooldown must still end the day.
    runs_while_locked=True,
)
