"""Events as the hubs send them: unwrapped, named as documented, one at a time.

This module is pure.  Events of accounts arrive in a wrapper, ``{"action": 1, "data": {...}}``, sometimes bare,
and sometimes several in a list; events of markets have the contract id beside the payload.  Names of events
are matched without case, as SignalR's own clients do.

Source: what clients see of the live gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from riskd.gateway.fields import Payload
from riskd.gateway.signalr import Invocation
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, QUOTE, TRADE

_USER_TARGETS: Final = {target.lower(): target for target in (ACCOUNT, POSITION, ORDER, TRADE)}
_QUOTE_TARGET: Final = QUOTE.lower()

_DELETED: Final = 2
"""The wrapper's action for something that is gone; 0 creates, 1 updates."""

_MAX_NESTING: Final = 4


def is_logout(invocation: Invocation) -> bool:
    """Return whether the broker ends the login.

    The event is undocumented.  It comes on both hubs when another program logs in, when the token expires,
    and before maintenance; from then on, fills may go unreported.
    """
    return invocation.target.lower() == "gatewaylogout"


def user_events(invocation: Invocation) -> Iterator[tuple[str, Payload]]:
    """Yield target and payload of each event of an account."""
    target = _USER_TARGETS.get(invocation.target.lower())
    if target is not None:
        for argument in invocation.arguments:
            for action, payload in _unwrapped(argument, None, _MAX_NESTING):
                # The wrapper says that the position is gone; the payload has its last size.
                is_closed = target == POSITION and action == _DELETED
                yield target, {**payload, "size": 0} if is_closed else payload


def quote_events(invocation: Invocation) -> Iterator[tuple[str, Payload]]:
    """Yield contract id and payload of each quote."""
    if invocation.target.lower() == _QUOTE_TARGET and invocation.arguments:
        contract_id, *arguments = invocation.arguments
        if isinstance(contract_id, str):
            for _action, payload in _unwrapped(arguments, None, _MAX_NESTING + 1):
                yield contract_id, payload


def _unwrapped(argument: Any, action: Any, nesting: int) -> Iterator[tuple[Any, Payload]]:
    if isinstance(argument, list) and nesting:
        for part in argument:
            yield from _unwrapped(part, action, nesting - 1)
    elif isinstance(argument, dict):
        if "action" in argument and isinstance(argument.get("data"), (dict, list)) and nesting:
            yield from _unwrapped(argument["data"], argument["action"], nesting - 1)
        else:
            yield action, argument
