"""RULE-010: an account that the broker does not permit to trade is flat and locked."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from riskd.model.account import AccountState
from riskd.model.lockouts import locks_in_force
from riskd.rules.interface import NOTHING, Flatten, Gauge, LiftLock, Lock, RuleResult, Trigger
from riskd.rules.settings import RuleSettings

_OWN_RULE: Final = "RULE-010"

_PERMISSIONS: Final = {True: "granted", False: "withdrawn", None: "not known yet"}


class Action(StrEnum):
    """What is done when the broker withdraws its permission."""

    CLOSE_ALL_AND_LOCKOUT = "CLOSE_ALL_AND_LOCKOUT"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """What ``auth_loss_guard`` may say.

    :ivar auto_unlock_on_restore: whether the lock ends when the broker permits trading again; if not,
        an operator ends it.
    """

    action: Action = Action.CLOSE_ALL_AND_LOCKOUT
    auto_unlock_on_restore: bool = True


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Lock the account when the broker forbids it to trade, unlock it when the broker permits it.

    Brokers repeat themselves: what they said before is no news while the lock is as it should be.
    A broker that says nothing changes nothing.
    """
    may_trade = state.risk.can_trade
    is_locked = _is_locked_by_this_rule(state, trigger.now)
    if may_trade is False and not is_locked:
        reason = "The broker does not permit the account to trade"
        return RuleResult(commands=(Flatten(reason=reason, lock=Lock(until=None)),))
    if may_trade and is_locked and settings.auto_unlock_on_restore:
        return RuleResult(
            commands=(LiftLock(reason="The broker permits the account to trade again"),)
        )
    return NOTHING


def gauges(state: AccountState, _settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say whether the broker permits trading."""
    return (Gauge(name="broker's permission", words=_PERMISSIONS[state.risk.can_trade]),)


def _is_locked_by_this_rule(state: AccountState, now: datetime) -> bool:
    return any(lock.rule_id == _OWN_RULE for lock in locks_in_force(state, now))
