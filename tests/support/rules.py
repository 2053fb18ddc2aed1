"""What the tests of rules build their accounts of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from riskd.model.account import AccountState, Charge, OrderDetail, apply
from riskd.model.events import (
    Event,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
)
from riskd.rules.interface import Flatten, Kind, RuleResult, Trigger
from riskd.rules.settings import RuleSettings

ACCOUNT = 123

MNQ = "CON.F.US.MNQ.U25"
MNQ_DEC = "CON.F.US.MNQ.Z25"
ES = "CON.F.US.EP.U25"
ES_DEC = "CON.F.US.EP.Z25"
MES = "CON.F.US.MES.U25"
RTY = "CON.F.US.RTY.U25"
UNKNOWN = "CON.F.US.TYA.U25"
"""A contract that the table of products does not have."""

NOON = datetime(2025, 7, 17, 12, 0, tzinfo=UTC)
RESET = datetime(2025, 7, 17, 22, 0, tzinfo=UTC)

LONG, SHORT = PositionType.LONG, PositionType.SHORT
BUY, SELL = OrderSide.BUY, OrderSide.SELL

_Settings = TypeVar("_Settings", bound=RuleSettings)

_KINDS: dict[type[EventData], Kind] = {
    GatewayUserPosition: Kind.POSITION,
    GatewayUserOrder: Kind.ORDER,
    MarketQuote: Kind.QUOTE,
}


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def position(
    contract_id: str,
    size: int,
    side: PositionType = LONG,
    price: str = "21000",
    *,
    seconds: float = 0,
    opened: float = 0,
) -> Event:
    """Return what is told of a position so many seconds after noon."""
    data = GatewayUserPosition(
        id=1,
        contract_id=contract_id,
        type=side,
        size=size,
        average_price=Decimal(price),
        created_at=at(opened),
        updated_at=at(seconds),
    )
    return Event(ACCOUNT, data)


def order(
    number: int,
    contract_id: str = MNQ,
    side: OrderSide = SELL,
    size: int = 1,
    *,
    kind: OrderType = OrderType.STOP,
    state: OrderState = OrderState.ACTIVE,
    price: str = "20900",
    seconds: float = 0,
) -> Event:
    """Return what is told of an order so many seconds after noon."""
    has_stop = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    has_limit = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    data = GatewayUserOrder(
        id=number,
        contract_id=contract_id,
        type=kind,
        side=side,
        size=size,
        limit_price=Decimal(price) if has_limit else None,
        stop_price=Decimal(price) if has_stop else None,
        state=state,
        created_at=at(0),
        updated_at=at(seconds),
    )
    return Event(ACCOUNT, data)


def canceled(event: Event, seconds: float = 0) -> Event:
    """Return what is told when an order is canceled."""
    return Event(
        ACCOUNT,
        msgspec.structs.replace(event.data, state=OrderState.CANCELED, updated_at=at(seconds)),
    )


def trade(number: int, pnl: str, seconds: float = 0) -> Event:
    """Return a full-turn trade that was executed so many seconds after noon."""
    data = GatewayUserTrade(
        id=number,
        contract_id=MNQ,
        profit_and_loss=Decimal(pnl),
        quantity=1,
        execution_time=at(seconds),
        timestamp=at(seconds),
    )
    return Event(ACCOUNT, data)


def quote(contract_id: str, last: str, seconds: float = 0) -> Event:
    """Return a quote of so many seconds after noon."""
    price = Decimal(last)
    data = MarketQuote(
        contract_id=contract_id, bid=price, ask=price, last=price, timestamp=at(seconds)
    )
    return Event(ACCOUNT, data)


def state_after(*events: Event, state: AccountState | None = None) -> AccountState:
    """Return what is known of an account after ``events``."""
    state = state or AccountState(account_id=ACCOUNT)
    for event in events:
        state = apply(state, event)
    return state


def with_risk(state: AccountState, **changes: Any) -> AccountState:
    """Return ``state`` with changes in what only the daemon knows."""
    return msgspec.structs.replace(state, risk=msgspec.structs.replace(state.risk, **changes))


def with_memory(state: AccountState, rule_id: str, result: RuleResult) -> AccountState:
    """Return ``state`` with what a rule wants to remember."""
    if result.memory is None:
        return state
    return with_risk(state, memory={**state.risk.memory, rule_id: result.memory})


def with_details(state: AccountState, details: Mapping[int, OrderDetail]) -> AccountState:
    """Return ``state`` with what the gateway says of orders."""
    return with_risk(state, order_details=details)


def with_detail(state: AccountState, number: int, **detail: object) -> AccountState:
    """Return ``state`` with what the gateway says of one more order."""
    known = {**state.risk.order_details, number: msgspec.convert(detail, OrderDetail)}
    return with_details(state, known)


def with_charges(state: AccountState, *charges: tuple[float, str]) -> AccountState:
    """Return ``state`` with what the broker took, so many seconds after noon."""
    known = {
        number: Charge(at(seconds), Decimal(amount))
        for number, (seconds, amount) in enumerate(charges)
    }
    return with_risk(state, charges=known)


def trigger(
    kind: Kind, seconds: float = 0, subject: EventData | None = None, reset: datetime = RESET
) -> Trigger:
    """Return an occasion of so many seconds after noon."""
    return Trigger(kind=kind, now=at(seconds), next_reset=reset, subject=subject)


def review(seconds: float = 0) -> Trigger:
    """Return the occasion of a review."""
    return trigger(Kind.REVIEW, seconds)


def timer(seconds: float) -> Trigger:
    """Return the occasion of a timer, so many seconds after noon."""
    return trigger(Kind.TIMER, seconds)


def told(event: Event, seconds: float = 0) -> Trigger:
    """Return the occasion of an event, so many seconds after noon."""
    return trigger(_KINDS[type(event.data)], seconds, event.data)


def quoted(state: AccountState, contract_id: str, seconds: float = 0) -> Trigger:
    """Return the occasion of the quote that came last."""
    return trigger(Kind.QUOTE, seconds, state.quotes[contract_id])


def traded(event: Event, seconds: float | None = None) -> Trigger:
    """Return the occasion of a trade, told as it was executed or so many seconds after noon."""
    assert isinstance(event.data, GatewayUserTrade)
    late = (event.data.execution_time - NOON).total_seconds()
    return trigger(Kind.TRADE, late if seconds is None else seconds, event.data)


def settings_of(settings_type: type[_Settings], **table: object) -> _Settings:
    """Return the settings that a table of the configuration says."""
    return msgspec.convert(table, settings_type)


def flatten_of(result: RuleResult) -> Flatten:
    """Return the flatten that is all that a verdict wants."""
    (command,) = result.commands
    assert isinstance(command, Flatten)
    return command


def kept(result: RuleResult) -> list[tuple[str, int]]:
    """Return what the flattens of a verdict leave, in order."""
    return [
        pair
        for command in result.commands
        if isinstance(command, Flatten) and command.keep is not None
        for pair in command.keep.items()
    ]
