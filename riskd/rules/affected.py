"""Which positions and orders a rule has to check for a trigger."""

from __future__ import annotations

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserOrder, GatewayUserPosition, MarketQuote
from riskd.rules.interface import Trigger


def affected_positions(state: AccountState, trigger: Trigger) -> tuple[GatewayUserPosition, ...]:
    """Return the open positions whose P&L the trigger may have changed."""
    if not isinstance(trigger.subject, MarketQuote):
        return state.open_positions
    contract_id = trigger.subject.contract_id
    return tuple([each for each in state.open_positions if each.contract_id == contract_id])


def affected_orders(state: AccountState, trigger: Trigger) -> tuple[GatewayUserOrder, ...]:
    """Return the working orders that the trigger may have changed or made entries."""
    if isinstance(trigger.subject, GatewayUserOrder):
        order = state.orders.get(trigger.subject.id)
        return () if order is None else (order,)
    if isinstance(trigger.subject, GatewayUserPosition):
        # An exit becomes an entry when its position is closed or reversed.
        contract_id = trigger.subject.contract_id
        return tuple([each for each in state.orders.values() if each.contract_id == contract_id])
    return state.working_orders
