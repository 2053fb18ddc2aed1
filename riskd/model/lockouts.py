"""Lockouts and cooldowns: which locks hold, when they end, and what a locked account may not have.

Several locks of one account stand side by side, one a rule.  The account is locked while any of them
holds.  A lock is never shortened by another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from riskd.model.account import AccountState, end_of_lock, with_locks
from riskd.model.events import Action, GatewayUserOrder, LockoutSet, OrderSide, PositionType


class Lock(msgspec.Struct, frozen=True):
    """How long an account is to be locked.

    :ivar until: ``None`` means until an operator says so.
    :ivar cooldown_seconds: how long that is, when the lock is a cooldown.
    """

    until: datetime | None
    cooldown_seconds: int | None = None


OPERATOR: Final = "OPERATOR"
"""The rule id of what an operator did by hand."""


def holds(lock: LockoutSet, now: datetime) -> bool:
    """Tell whether ``lock`` has not ended yet."""
    return lock.locked_until is None or lock.locked_until > now


def locks_in_force(state: AccountState, now: datetime) -> tuple[LockoutSet, ...]:
    """Return the locks that hold, those of a flatten that is under way among them; strongest first."""
    pending = state.risk.flattening.locks if state.risk.flattening else ()
    locks = with_locks(state.lockouts, pending).values()
    return tuple(
        sorted((lock for lock in locks if holds(lock, now)), key=end_of_lock, reverse=True)
    )


def is_locked(state: AccountState, now: datetime) -> bool:
    """Tell whether the account may not trade."""
    if not state.lockouts and state.risk.flattening is None:
        return False
    return bool(locks_in_force(state, now))


def next_end(state: AccountState, now: datetime) -> datetime | None:
    """Return when the account's last lock ends; ``None`` if it is not locked, or for good."""
    locks = locks_in_force(state, now)
    return locks[0].locked_until if locks else None


def new_lock(
    rule_id: str, reason: str, lock: Lock, state: AccountState, now: datetime
) -> LockoutSet:
    """Return the lock that a rule asks for, or the one that it has set already if that ends no earlier."""
    asked = LockoutSet(reason=reason, locked_until=lock.until, rule_id=rule_id, locked_at=now)
    known = next((one for one in locks_in_force(state, now) if one.rule_id == rule_id), None)
    return asked if known is None or end_of_lock(known) < end_of_lock(asked) else known


def lifted(lock: LockoutSet, reason: str, now: datetime) -> LockoutSet:
    """Return ``lock``, ended now: how it is told that it holds no longer while another does."""
    return msgspec.structs.replace(lock, reason=reason, locked_until=now)


def telling(locks: Iterable[LockoutSet], state: AccountState, now: datetime) -> list[LockoutSet]:
    """Return what is told of new ``locks``: themselves, then the one that ends last of all.

    Whoever keeps only the last lock it heard of has the right one.
    """
    told = sorted(locks, key=end_of_lock)
    strongest = max((*locks_in_force(state, now), *told), key=end_of_lock, default=None)
    if strongest is not None and told and told[-1] != strongest:
        told.append(strongest)
    return told


def action_of(lock: Lock | None) -> Action:
    """Return what a flatten with ``lock`` is called on the wire."""
    if lock is None:
        return Action.CLOSE_ALL_POSITIONS
    return Action.CLOSE_ALL_AND_LOCKOUT if lock.cooldown_seconds is None else Action.COOLDOWN


def forbidden_orders(state: AccountState) -> tuple[GatewayUserOrder, ...]:
    """Return the working orders that a locked account may not have.

    Those that close what is still held may stay, or the platform's own closing would be canceled.
    """
    return tuple(order for order in state.orders.values() if not is_exit(state, order))


def is_exit(state: AccountState, order: GatewayUserOrder) -> bool:
    """Tell whether ``order`` would close what is held in its contract."""
    held = state.positions.get(order.contract_id)
    if held is None or not held.size:
        return False
    return order.side is (OrderSide.SELL if held.type is PositionType.LONG else OrderSide.BUY)
