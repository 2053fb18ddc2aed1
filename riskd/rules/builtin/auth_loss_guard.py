"""RULE-010: close and lock an account that the broker does not permit to trade."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from riskd.model.account import AccountState
from riskd.model.lockouts import lock_of
from riskd.rules.interface import (
    NOTHING,
    Flatten,
    Gauge,
    Kind,
    LiftLock,
    Lock,
    Rule,
    RuleResult,
    Trigger,
)
from riskd.rules.settings import RuleSettings
from riskd.rules.tightness import Fixed, WhenFalse

_PERMISSIONS: Final = {True: "granted", False: "withdrawn", None: "not known yet"}


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``auth_loss_guard``.

    :ivar auto_unlock_on_restore: whether the lock ends when the broker permits trading again; otherwise
        an operator has to unlock the account.
    """

    action: Fixed[Literal["CLOSE_ALL_AND_LOCKOUT"]] = "CLOSE_ALL_AND_LOCKOUT"
    auto_unlock_on_restore: WhenFalse[bool] = True


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Lock the account while the broker does not permit it to trade.

    Brokers repeat themselves, so the rule compares the broker's permission with its own lock and does
    nothing where the two agree, or while the permission is not known.
    """
    may_trade = state.risk.can_trade
    has_lock = lock_of(state, RULE.rule_id, trigger.now) is not None
    if may_trade is False and not has_lock:
        reason = "The broker does not permit the account to trade"
        return RuleResult(commands=(Flatten(reason=reason, lock=Lock(until=None)),))
    if may_trade and has_lock and settings.auto_unlock_on_restore:
        reason = "The broker permits the account to trade again"
        return RuleResult(commands=(LiftLock(reason=reason),))
    return NOTHING


def gauges(state: AccountState, _settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return whether the broker permits trading."""
    return (Gauge(name="broker's permission", words=_PERMISSIONS[state.risk.can_trade]),)


RULE: Final = Rule(
    "RULE-010",
    "auth_loss_guard",
    Settings,
    frozenset({Kind.ACCOUNT}),
    check,
    gauges,
    # Its lock must end when the broker permits trading again.
    runs_while_locked=True,
)
