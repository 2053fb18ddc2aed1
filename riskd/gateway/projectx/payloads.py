"""The live feed's events as payloads: unwrapped, named as documented, one at a time.

It is pure.  Events of accounts come in a wrapper, ``{"action": 1, "data": {...}}``, sometimes bare, and
sometimes several in a list; those of markets have the contract id beside the payload.

Source: what clients see of the live gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from riskd.gateway.interface import Payload
from riskd.gateway.signalr import Invocation

LOGOUT: Final = "GatewayLogout"
"""The event that says that the token is good no more."""

_USER_TARGETS: Final = {
    target.lower(): target
    for target in (
        "GatewayUserAccount",
        "GatewayUserPosition",
        "GatewayUserOrder",
        "GatewayUserTrade",
    )
}
_QUOTE: Final = "GatewayQuote"
_DELETED: Final = 2
_MAX_NESTING: Final = 4


class UserEvent(NamedTuple):
    """What happened to an account."""

    target: str
    payload: Payload


class QuoteEvent(NamedTuple):
    """What changed in the quote of a contract."""

    contract_id: str
    payload: Payload


def is_logout(invocation: Invocation) -> bool:
    """Tell whether this is the end of the token; names are matched without case."""
    return invocation.target.lower() == LOGOUT.lower()


def user_events(invocation: Invocation) -> Iterator[UserEvent]:
    """Yield what an invocation tells of accounts; nothing if it is about something else."""
    target = _USER_TARGETS.get(invocation.target.lower())
    if target is not None:
        for argument in invocation.arguments:
            for action, payload in _unwrapped(argument, None, _MAX_NESTING):
                yield UserEvent(target, _as_it_is(target, action, payload))


def quote_events(invocation: Invocation) -> Iterator[QuoteEvent]:
    """Yield what an invocation tells of quotes; nothing if it is about something else."""
    if invocation.target.lower() != _QUOTE.lower():
        return
    contract_id = invocation.arguments[0] if invocation.arguments else None
    if isinstance(contract_id, str):
        for argument in invocation.arguments[1:]:
            for _action, payload in _unwrapped(argument, None, _MAX_NESTING):
                yield QuoteEvent(contract_id, payload)


def _unwrapped(argument: Any, action: Any, nesting: int) -> Iterator[tuple[Any, Payload]]:
    if isinstance(argument, list) and nesting:
        for part in argument:
            yield from _unwrapped(part, action, nesting - 1)
    elif isinstance(argument, dict):
        if "action" in argument and isinstance(argument.get("data"), (dict, list)) and nesting:
            yield from _unwrapped(argument["data"], argument["action"], nesting - 1)
        else:
            yield action, argument


def _as_it_is(target: str, action: Any, payload: Payload) -> Payload:
    """Return a payload that says by itself what the wrapper said."""
    if target == "GatewayUserPosition" and action == _DELETED:
        return {**payload, "size": 0}
    return payload
