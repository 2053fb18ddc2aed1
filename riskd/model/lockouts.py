"""Lockouts and cooldowns: which are in force, when they end, what they forbid.

Locks of different rules stand side by side, one a rule, and the account is locked while any of them is
in force.  No lock shortens another.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from riskd.model.account import AccountState, end_of_lock, with_locks
from riskd.model.events import Action, GatewayUserOrder, LockoutSet, OrderSide, PositionType


class Lock(msgspec.Struct, frozen=True):
    """How long an account is to be locked.

    :ivar until: ``None`` means until an operator unlocks the account.
    :ivar cooldown_seconds: the length of the lock, if it is a cooldown.
    """

    until: datetime | None
    cooldown_seconds: int | None = None


def is_in_force(lock: LockoutSet, now: datetime) -> bool:
    """Return whether ``lock`` has not ended yet."""
    return lock.locked_until is None or lock.locked_until > now


def locks_in_force(state: AccountState, now: datetime) -> tuple[LockoutSet, ...]:
    """Return the locks in force, the last to end first.

    Those of a flatten in progress are included.
    """
    pending = state.risk.flattening.locks if state.risk.flattening else ()
    if not state.lockouts and not pending:
        return ()
    locks = with_locks(state.lockouts, pending).values()
    return tuple(
        sorted((lock for lock in locks if is_in_force(lock, now)), key=end_of_lock, reverse=True)
    )


def is_locked(state: AccountState, now: datetime) -> bool:
    """Return whether the account may not trade."""
    # This is asked before every evaluation, and needs nothing merged or sorted.
    plan = state.risk.flattening
    if plan is None and not state.lockouts:
        return False
    return any(is_in_force(lock, now) for lock in state.lockouts.values()) or (
        plan is not None and any(is_in_force(lock, now) for lock in plan.locks)
    )


def lock_of(state: AccountState, rule_id: str, now: datetime) -> LockoutSet | None:
    """Return the lock in force that a rule has set; ``None`` if there is none."""
    return next((lock for lock in locks_in_force(state, now) if lock.rule_id == rule_id), None)


def locked_until(state: AccountState, now: datetime) -> datetime | None:
    """Return when the last lock ends; ``None`` if there is none or a permanent one."""
    locks = locks_in_force(state, now)
    return locks[0].locked_until if locks else None


def new_lock(
    rule_id: str, reason: str, lock: Lock, state: AccountState, now: datetime
) -> LockoutSet:
    """Return the lock that a rule asks for, or its present one if that lasts as long."""
    asked = LockoutSet(reason=reason, locked_until=lock.until, rule_id=rule_id, locked_at=now)
    known = lock_of(state, rule_id, now)
    return asked if known is None or end_of_lock(known) < end_of_lock(asked) else known


def ended_lock(lock: LockoutSet, reason: str, now: datetime) -> LockoutSet:
    """Return ``lock`` with its end at ``now``.

    It announces that one lock has ended while others are in force: ``lockout_cleared`` would end all.
    """
    return msgspec.structs.replace(lock, reason=reason, locked_until=now)


def lock_announcements(
    locks: Iterable[LockoutSet], state: AccountState, now: datetime
) -> list[LockoutSet]:
    """Return the events that announce new ``locks``; the lock that ends last is last.

    A client that keeps only the latest lock that it received then shows the one that matters.
    """
    events = sorted(locks, key=end_of_lock)
    strongest = max((*locks_in_force(state, now), *events), key=end_of_lock, default=None)
    if strongest is not None and events and events[-1] != strongest:
        events.append(strongest)
    return events


def action_of(lock: Lock | None) -> Action:
    """Return the name on the wire of a flatten with ``lock``."""
    if lock is None:
        return Action.CLOSE_ALL_POSITIONS
    return Action.CLOSE_ALL_AND_LOCKOUT if lock.cooldown_seconds is None else Action.COOLDOWN


def forbidden_orders(state: AccountState) -> tuple[GatewayUserOrder, ...]:
    """Return the working orders that a locked account may not have: all but exits.

    Canceling exits would cancel the trader's and the platform's own closing of the position.
    """
    return tuple(order for order in state.orders.values() if not is_exit(state, order))


def is_exit(state: AccountState, order: GatewayUserOrder) -> bool:
    """Return whether ``order`` would close the position in its contract."""
    held = state.positions.get(order.contract_id)
    if held is None or not held.size:
        return False
    return order.side is (OrderSide.SELL if held.type is PositionType.LONG else OrderSide.BUY)
