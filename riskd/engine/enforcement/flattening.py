"""Compute what a flatten has to close and cancel, and merge flattens.

This is pure.

It works on what the broker has just answered, not on the account's state, which may be outdated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from riskd.gateway.interface import Found
from riskd.model.account import AccountState, Flattening, with_locks
from riskd.model.broker import BrokerOrder, BrokerPosition, Unreadable
from riskd.model.events import (
    Action,
    GatewayUserOrder,
    LockoutSet,
    OrderSide,
    OrderType,
    PositionType,
)
from riskd.model.formatting import counted
from riskd.model.lockouts import action_of
from riskd.rules.interface import Flatten, RejectOrder

_SEVERITY: Final = (
    Action.CLOSE_ALL_POSITIONS,
    Action.COOLDOWN,
    Action.CLOSE_ALL_AND_LOCKOUT,
)


class Listing(NamedTuple):
    """What the broker lists as open.

    :ivar sent_at: when the first of the requests was sent, in steady seconds.
    :ivar is_complete: whether the account and its trades were asked for, too.
    :ivar is_account_answered: whether the broker answered the request for the account.
    """

    sent_at: float
    positions: Found[BrokerPosition]
    orders: Found[BrokerOrder]
    is_complete: bool = True
    is_account_answered: bool = True


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
    # What was announced already is not announced again under the same rule, nor is a lock that was taken back the
    # reason for what another rule closes.
    main = new if weighs_more or known.is_announced or known.keep == {} else known
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


def to_close(flattening: Flattening, held: Found[BrokerPosition]) -> list[Closing]:
    """Return what is still to be closed of the open positions."""
    closings: dict[str, Closing] = {}
    for position in held.items:
        kept = _kept(flattening, position.contract_id)
        if kept is not None and position.size > kept:
            size = position.size - kept if kept else None
            closings[position.contract_id] = Closing(position.contract_id, size)
    for unreadable in held.unreadable:
        # Nothing can be kept of a position that cannot be counted.
        if unreadable.contract_id is not None and concerns(flattening, unreadable.contract_id):
            closings[unreadable.contract_id] = Closing(unreadable.contract_id, None)
    return list(closings.values())


def to_cancel(flattening: Flattening, working: Found[BrokerOrder]) -> list[int]:
    """Return the ids of the orders to cancel: those in contracts closed in full.

    An order that outlives its position would open another one.
    """
    orders: list[BrokerOrder | Unreadable] = [*working.items, *working.unreadable]
    return [order.id for order in orders if order.id is not None and cancels(flattening, order)]


def cancels(flattening: Flattening, order: BrokerOrder | Unreadable) -> bool:
    """Return whether an order is to be canceled."""
    if order.contract_id is None:
        return flattening.keep is None
    ended = flattening.overtaken_at
    is_later = ended is not None and isinstance(order, BrokerOrder) and order.created_at > ended
    return closes_all_of(flattening, order.contract_id) and not is_later


def to_resize(
    flattening: Flattening, working: Found[BrokerOrder], held: Found[BrokerPosition]
) -> list[Resizing]:
    """Return the exits that would close more of a position than is kept.

    They would reverse the position.

    All stops together may close what is kept, and so may all limits: of a stop and a limit, only one is
    filled.  The nearest to the market are filled first, so they are the last to lose contracts.
    """
    positions = {position.contract_id: position for position in held.items}
    left: dict[tuple[str, bool], int] = {}
    resizings = [
        Resizing(order.id, 0)
        for order in working.unreadable
        # It may be an exit, and how large it is cannot be read.
        if order.id is not None
        and order.contract_id in positions
        and _kept(flattening, order.contract_id)
    ]
    for order in sorted(working.items, key=_nearest_first):
        contract_id = order.contract_id
        kept, position = _kept(flattening, contract_id), positions.get(contract_id)
        if not kept or position is None or order.side is not _exit_side(position):
            continue
        key = (contract_id, _is_stop(order))
        fits = min(order.remaining, left.get(key, kept))
        left[key] = left.get(key, kept) - fits
        if order.remaining > fits:
            resizings.append(Resizing(order.id, order.filled + fits if fits else 0))
    return resizings


def still_open(
    flattening: Flattening, held: Found[BrokerPosition], working: Found[BrokerOrder]
) -> str:
    """Return as text what is left to close, cancel or resize; "" if nothing is."""
    # A position of which not even the contract can be read cannot be closed, and is not gone.
    unknown = sum(each.contract_id is None for each in held.unreadable)
    positions = len(to_close(flattening, held)) + (unknown if flattening.keep is None else 0)
    orders = len(to_cancel(flattening, working)) + len(to_resize(flattening, working, held))
    return things(positions, orders)


def closed_since_begun(flattening: Flattening, state: AccountState) -> int:
    """Return how many positions were closed or reduced since a flatten was decided.

    What an earlier daemon has closed for it is known in no other way.
    """
    keep = flattening.keep or {}
    return sum(
        concerns(flattening, held.contract_id)
        and held.size <= keep.get(held.contract_id, 0)
        and held.updated_at >= flattening.begun
        for held in state.positions.values()
    )


def things(positions: int, orders: int) -> str:
    """Return as text how many positions and orders there are; "" if there is none."""
    counts = ((positions, "position"), (orders, "order"))
    return " and ".join(counted(number, thing) for number, thing in counts if number)


def _is_stop(order: BrokerOrder) -> bool:
    return order.type in (OrderType.STOP, OrderType.STOP_LIMIT)


def _nearest_first(order: BrokerOrder) -> Decimal:
    """Return a sort key that puts the orders nearest to the market first.

    Stops that sell come from the highest down, limits that sell from the lowest up.
    """
    price = (order.stop_price if _is_stop(order) else order.limit_price) or Decimal(0)
    return -price if (order.side is OrderSide.SELL) == _is_stop(order) else price


def concerns(flattening: Flattening, contract_id: str) -> bool:
    """Return whether a flatten closes or reduces a position in a contract."""
    return _kept(flattening, contract_id) is not None


def closes_all_of(flattening: Flattening | Flatten, contract_id: str) -> bool:
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


def _kept(flattening: Flattening | Flatten, contract_id: str) -> int | None:
    """Return how many contracts are kept; ``None`` if it closes other contracts."""
    return 0 if flattening.keep is None else flattening.keep.get(contract_id)


def _exit_side(position: BrokerPosition) -> OrderSide:
    return OrderSide.SELL if position.type is PositionType.LONG else OrderSide.BUY
