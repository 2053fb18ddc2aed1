"""RULE-011: products that the account may not trade at all.

The rule sets no lock: the trader may go on with other products.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from riskd.model.account import AccountState
from riskd.model.broker import BrokerPosition
from riskd.model.events import GatewayUserOrder, GatewayUserPosition
from riskd.model.lockouts import is_exit
from riskd.rules.interface import (
    NOTHING,
    Command,
    Gauge,
    Kind,
    RejectOrder,
    Rule,
    RuleResult,
    Trigger,
)
from riskd.rules.positions import affected_orders, close_position
from riskd.rules.settings import RuleSettings, Ticker
from riskd.rules.tightness import Fixed, WhenTrue, tighter_by


def _blocks_all(new: Any, old: Any, _key: str) -> bool:
    return bool(new.blocked >= old.blocked)


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``symbol_blocks``.

    :ivar blocked_symbols: roots such as ``RTY``; all their expiries are blocked.
    :ivar close_existing: whether the rule also closes positions in them.
    """

    blocked_symbols: Annotated[tuple[Ticker, ...], tighter_by(_blocks_all)] = ()
    action: Fixed[Literal["CANCEL_ORDER"]] = "CANCEL_ORDER"
    close_existing: WhenTrue[bool] = True

    @property
    def blocked(self) -> frozenset[str]:
        """The blocked roots in upper case."""
        return _upper(self.blocked_symbols)


@lru_cache(maxsize=64)
def _upper(symbols: tuple[str, ...]) -> frozenset[str]:
    return frozenset(symbol.upper() for symbol in symbols)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Cancel orders and close positions in blocked products.

    An order that closes a position may work until the position is closed.
    """
    blocked = settings.blocked
    if not blocked:
        return NOTHING
    roots = {each: state.root(each) for each in state.active_contracts}
    found = {key: root for key, root in roots.items() if root and root.upper() in blocked}
    return RuleResult(
        commands=_commands(state, settings, trigger, found) if found else (),
        warnings=tuple(
            [
                f"Symbol of {contract_id} unknown: cannot tell whether it is blocked"
                for contract_id, root in roots.items()
                if root is None
            ]
        ),
    )


def _commands(
    state: AccountState, settings: Settings, trigger: Trigger, blocked: Mapping[str, str]
) -> tuple[Command, ...]:
    """Return what to do about the blocked contracts of the account.

    :param blocked: their roots, by contract id.
    """
    commands: dict[str | int, Command] = {}
    for position in _positions_to_check(state, trigger) if settings.close_existing else ():
        root = blocked.get(position.contract_id)
        if root is not None:
            reason = f"{root} is blocked: {position.size} held"
            commands[position.contract_id] = close_position(position, reason)
    for order in affected_orders(state, trigger):
        root = blocked.get(order.contract_id)
        # Closing a position cancels the orders of its contract.
        is_handled = order.contract_id in commands or is_exit(state, order)
        if root is not None and not is_handled:
            reason = f"{root} is blocked: order to {order.side.name.lower()} {order.size}"
            commands[order.id] = RejectOrder(reason=reason, order_id=order.id)
    return tuple(commands.values())


def gauges(_state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the blocked products."""
    return (Gauge(name="blocked symbols", words=", ".join(sorted(settings.blocked)) or "none"),)


def _positions_to_check(state: AccountState, trigger: Trigger) -> tuple[BrokerPosition, ...]:
    if isinstance(trigger.subject, GatewayUserOrder):
        return ()
    if isinstance(trigger.subject, GatewayUserPosition):
        contract_id = trigger.subject.contract_id
        return tuple([each for each in state.open_positions if each.contract_id == contract_id])
    return state.open_positions


RULE: Final = Rule(
    "RULE-011", "symbol_blocks", Settings, frozenset({Kind.POSITION, Kind.ORDER}), check, gauges
)
