"""Commands that several rules give: closing one position, and locks until a configured time."""

from __future__ import annotations

from riskd.model.events import GatewayUserPosition
from riskd.rules.interface import Flatten, Lock, Trigger
from riskd.rules.settings import LockoutUntil


def close_position(
    position: GatewayUserPosition, reason: str, *, asks_broker_first: bool = False
) -> Flatten:
    """Return the command to close one position and leave the others alone."""
    keep = {position.contract_id: 0}
    return Flatten(reason=reason, keep=keep, asks_broker_first=asks_broker_first)


def lock_until(end: LockoutUntil, trigger: Trigger) -> Lock:
    """Return a lock until the next daily reset, or a permanent one."""
    return Lock(until=None if end is LockoutUntil.PERMANENT else trigger.next_reset)
