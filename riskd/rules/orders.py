"""Which working orders an occasion is about."""

from __future__ import annotations

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserOrder, GatewayUserPosition
from riskd.rules.interface import Trigger


def orders_concerned(state: AccountState, trigger: Trigger) -> tuple[GatewayUserOrder, ...]:
    """Return the working orders that a rule about orders has to look at."""
    if isinstance(trigger.subject, GatewayUserOrder):
        order = state.orders.get(trigger.subject.id)
        return () if order is None else (order,)
    if isinstance(trigger.subject, GatewayUserPosition):
        # An order that was an exit is none any more when the position is gone or has turned.
        contract_id = trigger.subject.contract_id
        return tuple([each for each in state.orders.values() if each.contract_id == contract_id])
    return state.working_orders
