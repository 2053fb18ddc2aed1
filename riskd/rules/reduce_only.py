"""Decide what the reduce-only stage of an account forbids.

An order is forbidden that, filled alone, would increase or reverse a position: of the two exits of a position, of
which only one is filled, neither is.  What is filled before it can be canceled is closed, back to what was held
when the stage began, or to what is left of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.equity import is_pnl_known
from riskd.model.formatting import contract_name
from riskd.model.reduce_only import ReduceOnly, reduce_only_stage
from riskd.rules.evaluation import Decision
from riskd.rules.interface import Flatten, Headroom, RejectOrder
from riskd.rules.positions import held_in, opened_by

LASTS: Final = Decimal("0.9")
"""Down to which part of its threshold a loss with open P&L keeps the account in the stage."""


def near_limit(
    state: AccountState,
    rule_id: str,
    describe: Callable[[], str],
    *,
    loss: Decimal,
    threshold: Decimal,
) -> str | None:
    """Return the ``reduce_only`` of a rule's result, for a loss with open P&L.

    Each quote may carry such a loss over its threshold and back.  So the stage lasts until the loss is clearly
    smaller, and while the P&L of a position is unknown.

    :param describe: returns why the account may only close what it holds, once the loss has reached the threshold.
    """
    if loss >= threshold:
        return describe()
    stage = reduce_only_stage(state)
    if stage is None:
        return ""
    reason = describe()
    # Another reason is that of earlier settings.
    if stage.reasons.get(rule_id) != reason:
        return ""
    if not is_pnl_known(state):
        return None
    return reason if loss >= threshold * LASTS else ""


def headroom_to_limits(
    state: AccountState,
    to_limit: Headroom | Mapping[str, Headroom] | None,
    to_threshold: Decimal,
) -> Headroom | None:
    """Return how far the open P&L may move before a loss matters.

    Then it reaches its limit, or :func:`near_limit` returns anything else.  ``None`` in the reduce-only stage, which
    a smaller loss ends, and beyond the limit.

    :param to_limit: how far it may move before the loss reaches its limit.
    :param to_threshold: how much larger the loss may become until the threshold, in dollars.
    """
    if not isinstance(to_limit, Headroom) or to_limit.down is None or to_threshold <= 0:
        return None
    if reduce_only_stage(state) is not None:
        return None
    return Headroom(down=min(to_limit.down, to_threshold))


def next_stage(
    stage: ReduceOnly | None,
    reasons: Mapping[str, str],
    held: Mapping[str, int],
    now: datetime,
    *,
    is_dry_run: bool = False,
) -> ReduceOnly | None:
    """Return the stage as it is now; ``None`` if no rule asks for one.

    :param reasons: why rules ask for it, by their ids.
    :param held: the contracts that are held, short ones negative, by contract id.
    """
    if not reasons:
        return None
    if stage is None:
        begun = {contract_id: size for contract_id, size in held.items() if size}
        return ReduceOnly(since=now, reasons=reasons, held=begun, is_dry_run=is_dry_run)
    left = {
        contract_id: kept
        for contract_id, size in stage.held.items()
        if (kept := _nearer_to_zero(size, held.get(contract_id, 0)))
    }
    if left == stage.held and reasons == stage.reasons:
        return stage
    return msgspec.structs.replace(stage, reasons=reasons, held=left)


def _nearer_to_zero(allowed: int, held: int) -> int:
    """Return what may still be held: closing some of it cannot be undone."""
    if allowed * held <= 0:
        return 0
    return min(allowed, held, key=abs)


def stage_decisions(
    state: AccountState,
    stage: ReduceOnly,
    held: Callable[[str], int] | None = None,
    excused: Collection[int] = (),
) -> Iterator[Decision]:
    """Yield what is to be done about forbidden orders and what they have filled.

    :param held: returns the signed number of contracts held, by all that was reported; by default, the
        positions.
    :param excused: the ids of orders to leave alone.
    """
    reported = partial(held_in, state) if held is None else held
    closed: set[str] = set()
    for position in state.open_positions:
        contract_id, sign = position.contract_id, position.type.sign
        kept = max(0, stage.held.get(contract_id, 0) * sign)
        # A fill that its order has reported, and the position not yet, may have closed some of it.
        size = min(position.size, reported(contract_id) * sign)
        if size > kept:
            name = contract_name(state, contract_id)
            what = f"{size} {name} held, {kept} may stay"
            reason = f"Only exits are allowed: {what}; {stage.reason}"
            closed |= set() if kept else {contract_id}
            yield Decision(stage.rule_id, Flatten(reason=reason, keep={contract_id: kept}))
    for order in state.working_orders:
        size = reported(order.contract_id)
        # Closing a position cancels the orders of its contract.
        is_handled = order.contract_id in closed or order.id in excused
        if opened_by(order, order.remaining, size) and not is_handled:
            name = contract_name(state, order.contract_id)
            what = f"order to {order.side.name.lower()} {order.size} {name}"
            reason = f"Only exits are allowed: {what}; {stage.reason}"
            yield Decision(stage.rule_id, RejectOrder(reason=reason, order_id=order.id))
