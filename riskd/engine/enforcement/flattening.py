"""Compute what a flatten has to close and cancel, and merge flattens.

This is pure.

It works on payloads that the broker has just answered, not on the account's state, which may be outdated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.fields import whole
from riskd.gateway.interface import Payload
from riskd.model.account import Flattening, with_locks
from riskd.model.events import (
    Action,
    GatewayUserOrder,
    LockoutSet,
)
from riskd.model.formatting import counted
from riskd.model.lockouts import action_of
from riskd.rules.interface import Flatten, RejectOrder

_SEVERITY: Final = (
    Action.CLOSE_ALL_POSITIONS,
    Action.COOLDOWN,
    Action.CLOSE_ALL_AND_LOCKOUT,
)


class Closing(NamedTuple):
    """A position that is to be closed, in full or in part.

    :ivar size: the number of contracts to close; ``None`` closes all there are.
    """

    contract_id: str
    size: int | None


class Resizing(NamedTuple):
    """A working order that would close more than what is kept of a position.

    :ivar size: the size that it may have; 0 if it is to be canceled.
    """

    order_id: int
    size: int


def flattening_of(
    rule_id: str, command: Flatten, now: datetime, locks: tuple[LockoutSet, ...] = ()
) -> Flattening:
    """Return the flatten that answers a breach; with a lock, it keeps nothing.

    :param locks: the locks that begin with it.
    """
    return Flattening(
        action=action_of(command.lock),
        rule_id=rule_id,
        reason=command.reason,
        begun=now,
        keep=command.keep if command.lock is None else None,
        locks=locks,
    )


def flattening_of_locked(lock: LockoutSet, now: datetime) -> Flattening:
    """Return the flatten that closes the positions of a locked account."""
    reason = f"Position opened while locked out: {lock.reason}"
    return flattening_of(lock.rule_id, Flatten(reason=reason), now)


def rejection_of_locked(lock: LockoutSet, order: GatewayUserOrder) -> RejectOrder:
    """Return the rejection of an order of a locked account."""
    return RejectOrder(reason=f"Order placed while locked out: {lock.reason}", order_id=order.id)


def merged(known: Flattening, new: Flattening) -> Flattening:
    """Return one flatten for both; ``known`` itself if ``new`` does no more."""
    keep = _merged_keep(known.keep, new.keep)
    locks = with_locks({lock.rule_id: lock for lock in known.locks}, new.locks)
    if keep == known.keep and tuple(locks.values()) == known.locks:
        return known
    weighs_more = _SEVERITY.index(new.action) > _SEVERITY.index(known.action)
    # What was announced already is not announced again under the same rule.
    main = new if weighs_more or known.is_announced else known
    return Flattening(
        action=main.action,
        rule_id=main.rule_id,
        reason=main.reason,
        begun=known.begun,
        keep=keep,
        locks=tuple(locks.values()),
    )


def _merged_keep(
    first: Mapping[str, int] | None, second: Mapping[str, int] | None
) -> Mapping[str, int] | None:
    if first is None or second is None:
        return None
    return {
        contract: min(part[contract] for part in (first, second) if contract in part)
        for contract in (*first, *(one for one in second if one not in first))
    }


def to_close(flattening: Flattening, held: Iterable[Payload]) -> list[Closing]:
    """Return what is still to be closed.

    :param held: payloads of the open positions.
    """
    closings: dict[str, Closing] = {}
    for payload in held:
        contract_id, size = payload["contractId"], whole(payload.get("size"))
        kept = _kept(flattening, contract_id)
        if kept is None:
            continue
        if size is None:
            # Nothing can be kept of a position that cannot be counted.
            closings[contract_id] = Closing(contract_id, None)
        elif size > kept:
            closings[contract_id] = Closing(contract_id, size - kept if kept else None)
    return list(closings.values())


def to_cancel(flattening: Flattening, working: Iterable[Payload]) -> list[int]:
    """Return the ids of the orders to cancel: those in contracts closed in full.

    An order that outlives its position would open another one.
    """
    return [payload["id"] for payload in working if _kept(flattening, payload["contractId"]) == 0]


def to_resize(
    flattening: Flattening, working: Iterable[Payload], held: Iterable[Payload]
) -> list[Resizing]:
    """Return the exits that would close more of a position than is kept.

    They would reverse the position.

    All stops together may close what is kept, and so may all limits: of a stop and a limit, only one is
    filled.  The nearest to the market are filled first, so they are the last to lose contracts.
    """
    positions = {payload["contractId"]: payload for payload in held}
    left: dict[tuple[str, bool], int] = {}
    resizings = []
    for order in sorted(working, key=_nearest_first):
        contract_id = order["contractId"]
        kept, position = _kept(flattening, contract_id), positions.get(contract_id)
        if not kept or position is None or order["side"] != _exit_side(position):
            continue
        if whole(order.get("size")) is None:
            resizings.append(Resizing(order["id"], 0))
            continue
        key = (contract_id, _is_stop(order))
        filled = order.get("fillVolume") or 0
        fits = min(order["size"] - filled, left.get(key, kept))
        left[key] = left.get(key, kept) - fits
        if order["size"] - filled > fits:
            resizings.append(Resizing(order["id"], filled + fits if fits else 0))
    return resizings


def still_open(flattening: Flattening, held: Iterable[Payload], working: Iterable[Payload]) -> str:
    """Return as text what is left to close, cancel or resize; "" if nothing is."""
    held, working = tuple(held), tuple(working)
    resizings = to_resize(flattening, working, held)
    orders = len(to_cancel(flattening, working)) + len(resizings)
    counts = ((len(to_close(flattening, held)), "position"), (orders, "order"))
    return " and ".join(counted(number, thing) for number, thing in counts if number)


def _is_stop(order: Payload) -> bool:
    return order.get("type") in (
        GatewayOrderType.STOP,
        GatewayOrderType.STOP_LIMIT,
        GatewayOrderType.TRAILING_STOP,
    )


def _nearest_first(order: Payload) -> Decimal:
    """Return a sort key that puts the orders nearest to the market first.

    Stops that sell come from the highest down, limits that sell from the lowest up.
    """
    is_sale = order["side"] == GatewayOrderSide.ASK
    price = order.get("stopPrice" if _is_stop(order) else "limitPrice") or Decimal(0)
    return -price if is_sale == _is_stop(order) else Decimal(price)


def concerns(flattening: Flattening, contract_id: str) -> bool:
    """Return whether a flatten closes or reduces a position in a contract."""
    return _kept(flattening, contract_id) is not None


def closes_all_of(flattening: Flattening, contract_id: str) -> bool:
    """Return whether a flatten leaves neither a position nor an order in a contract."""
    return _kept(flattening, contract_id) == 0


def covers(flattening: Flattening, keep: Mapping[str, int] | None) -> bool:
    """Return whether a flatten closes all that one which keeps ``keep`` would."""
    if flattening.keep is None:
        return True
    return keep is not None and all(
        contract_id in flattening.keep and flattening.keep[contract_id] <= size
        for contract_id, size in keep.items()
    )


def _kept(flattening: Flattening, contract_id: str) -> int | None:
    """Return how many contracts are kept; ``None`` if it closes other contracts."""
    return 0 if flattening.keep is None else flattening.keep.get(contract_id)


def _exit_side(position: Payload) -> GatewayOrderSide:
    is_long = position.get("type") == GatewayPositionType.LONG
    return GatewayOrderSide.ASK if is_long else GatewayOrderSide.BID


def has_ended(order: Payload) -> bool:
    """Return whether an order has ended."""
    return order.get("status") in (
        GatewayOrderStatus.FILLED,
        GatewayOrderStatus.CANCELLED,
        GatewayOrderStatus.EXPIRED,
        GatewayOrderStatus.REJECTED,
    )
