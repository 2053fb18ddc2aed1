"""What each endpoint of the REST API does: a table from its path to a function.

A function takes the desk and the request's body, and returns the fields that stand beside the envelope.
What the exchange refuses, it raises.

Source: the ProjectX Gateway API documentation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from riskd.gateway.interface import GatewayRefusedError, Payload
from riskd.practice.server import bodies
from riskd.practice.server.bars import UNIT_SECONDS, Bar, Chart
from riskd.practice.server.contract_search import search
from riskd.practice.server.rest_payloads import full_order, full_position, full_trade

if TYPE_CHECKING:
    from riskd.practice.gateway import PracticeGateway

MAX_BARS: Final = 20_000
_BAR_UNIT_INVALID: Final = 2
_BAR_UNIT_NUMBER_INVALID: Final = 3
_BAR_LIMIT_INVALID: Final = 4
_CHANGE_REJECTED: Final = 3
_PRICE_INVALID: Final = 2

_EVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass
class Desk:
    """What the endpoints work on.

    :ivar gateway: where accounts trade.
    :ivar now: gives the time of day, aware.
    :ivar chart: the bars of the market.
    """

    gateway: PracticeGateway
    now: Callable[[], datetime]
    chart: Chart = field(default_factory=Chart)


Act = Callable[[Desk, Any], Awaitable[Payload]]


@dataclass(frozen=True)
class Endpoint:
    """One endpoint.

    :ivar body: what its body holds.
    :ivar act: what it does.
    :ivar nothing: the fields of its reply when it is refused.
    """

    body: type[bodies.Nothing]
    act: Act
    nothing: Payload = field(default_factory=dict)


# Accounts and contracts.


async def _search_accounts(desk: Desk, body: bodies.SearchAccounts) -> Payload:
    accounts = await desk.gateway.ask("Account/search", lambda exchange: exchange.accounts())
    return {
        "accounts": [
            account for account in accounts if account["canTrade"] or not body.only_active_accounts
        ]
    }


async def _search_contracts(desk: Desk, body: bodies.SearchContracts) -> Payload:
    contracts = await desk.gateway.ask("Contract/search", lambda exchange: exchange.contracts())
    return {"contracts": search(contracts, body.search_text)}


async def _available_contracts(desk: Desk, _body: bodies.Nothing) -> Payload:
    ask = desk.gateway.ask("Contract/available", lambda exchange: exchange.contracts())
    return {"contracts": await ask}


async def _search_contract(desk: Desk, body: bodies.OfContract) -> Payload:
    contract = await desk.gateway.search_contract(body.contract_id)
    # Some clients look for a list here as in the other searches.
    return {"contract": contract, "contracts": [contract]}


async def _retrieve_bars(desk: Desk, body: bodies.Bars) -> Payload:
    await desk.gateway.search_contract(body.contract_id)
    for is_sound, code, sentence in (
        (body.unit in UNIT_SECONDS, _BAR_UNIT_INVALID, f"unit {body.unit} is none of 1, 2, 3, 4"),
        (body.unit_number > 0, _BAR_UNIT_NUMBER_INVALID, "unitNumber is not above zero"),
        (0 < body.limit <= MAX_BARS, _BAR_LIMIT_INVALID, f"limit is not from 1 to {MAX_BARS}"),
    ):
        if not is_sound:
            raise GatewayRefusedError("History/retrieveBars", code, sentence)
    begin, end = body.start_time.timestamp(), body.end_time.timestamp()
    seconds = UNIT_SECONDS[body.unit] * body.unit_number

    def is_wanted(bar: Bar) -> bool:
        is_whole = bar.start + seconds <= desk.now().timestamp()
        return begin <= bar.start < end and (is_whole or body.include_partial_bar)

    bars = desk.chart.bars(body.contract_id, body.unit, body.unit_number)
    return {"bars": [bar.payload() for bar in filter(is_wanted, bars)][: body.limit]}


# Orders.


async def _place_order(desk: Desk, body: bodies.PlaceOrder) -> Payload:
    order = _given(body)
    return {"orderId": await desk.gateway.place_order(order.pop("accountId"), order)}


async def _cancel_order(desk: Desk, body: bodies.OfOrder) -> Payload:
    await desk.gateway.cancel_order(body.account_id, body.order_id)
    return {}


async def _modify_order(desk: Desk, body: bodies.ModifyOrder) -> Payload:
    if body.trail_price is not None:
        sentence = "trailPrice is not wanted: no trailing orders are traded here"
        raise GatewayRefusedError("Order/modify", _CHANGE_REJECTED, sentence)
    changes = _given(body)
    account_id, order_id = changes.pop("accountId"), changes.pop("orderId")
    await desk.gateway.modify_order(account_id, order_id, changes)
    return {}


def _given(body: bodies.Nothing) -> Payload:
    """Return what a body says under the API's names, without what it does not say."""
    fields = msgspec.structs.fields(body)
    values = {known.encode_name: getattr(body, known.name) for known in fields}
    return {name: value for name, value in values.items() if value is not None}


async def _open_orders(desk: Desk, body: bodies.OfAccount) -> Payload:
    orders = await desk.gateway.search_open_orders(body.account_id)
    return {"orders": [full_order(order) for order in orders]}


async def _search_orders(desk: Desk, body: bodies.Since) -> Payload:
    orders = await desk.gateway.search_orders(body.account_id, body.start_timestamp)
    return {"orders": [full_order(order) for order in orders if _is_before(order, body)]}


async def _search_order(desk: Desk, body: bodies.OfOrder) -> Payload:
    order = await desk.gateway.search_order(body.account_id, body.order_id)
    return {"order": full_order(order)}


async def _query_orders(desk: Desk, body: bodies.QueryOrders) -> Payload:
    wanted = body.filter
    since = wanted.created_after or _EVER
    before = wanted.created_before
    orders = await desk.gateway.search_orders(wanted.account_id, since)
    found = [
        full_order(order)
        for order in orders
        if (wanted.statuses is None or order["status"] in wanted.statuses)
        and wanted.contract_id in (None, order["contractId"])
        and (before is None or _created(order) < before)
    ]
    page = found[body.page_offset : body.page_offset + body.page_size]
    return {"orders": page, "totalCount": len(found) if body.include_total_count else None}


# Positions and trades.


async def _open_positions(desk: Desk, body: bodies.OfAccount) -> Payload:
    positions = await desk.gateway.search_open_positions(body.account_id)
    contract = desk.gateway.exchange.contract
    return {
        "positions": [
            full_position(position, contract(position["contractId"])) for position in positions
        ]
    }


async def _close_contract(desk: Desk, body: bodies.CloseContract) -> Payload:
    await desk.gateway.close_contract(body.account_id, body.contract_id)
    return {}


async def _partial_close_contract(desk: Desk, body: bodies.PartialCloseContract) -> Payload:
    await desk.gateway.partial_close_contract(body.account_id, body.contract_id, body.size)
    return {}


async def _search_trades(desk: Desk, body: bodies.Since) -> Payload:
    trades = await desk.gateway.search_trades(body.account_id, body.start_timestamp)
    return {"trades": [full_trade(trade) for trade in trades if _is_before(trade, body)]}


def _created(payload: Payload) -> datetime:
    return datetime.fromisoformat(payload["creationTimestamp"])


def _is_before(payload: Payload, body: bodies.Since) -> bool:
    return body.end_timestamp is None or _created(payload) < body.end_timestamp


# What no broker offers.


async def _move_market(desk: Desk, body: bodies.MoveMarket) -> Payload:
    try:
        desk.gateway.move_market(body.contract_id, body.price)
    except ValueError as error:
        raise GatewayRefusedError("Practice/moveMarket", _PRICE_INVALID, str(error)) from None
    return {}


async def _set_can_trade(desk: Desk, body: bodies.SetCanTrade) -> Payload:
    desk.gateway.set_can_trade(body.account_id, body.can_trade)
    return {}


async def _void_trade(desk: Desk, body: bodies.VoidTrade) -> Payload:
    desk.gateway.void_trade(body.account_id, body.trade_id)
    return {}


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "/api/Account/search": Endpoint(bodies.SearchAccounts, _search_accounts, {"accounts": []}),
    "/api/Contract/search": Endpoint(bodies.SearchContracts, _search_contracts, {"contracts": []}),
    "/api/Contract/available": Endpoint(bodies.Nothing, _available_contracts, {"contracts": []}),
    "/api/Contract/searchById": Endpoint(
        bodies.OfContract, _search_contract, {"contract": None, "contracts": []}
    ),
    "/api/History/retrieveBars": Endpoint(bodies.Bars, _retrieve_bars, {"bars": []}),
    "/api/Order/place": Endpoint(bodies.PlaceOrder, _place_order, {"orderId": None}),
    "/api/Order/cancel": Endpoint(bodies.OfOrder, _cancel_order),
    "/api/Order/modify": Endpoint(bodies.ModifyOrder, _modify_order),
    "/api/Order/searchOpen": Endpoint(bodies.OfAccount, _open_orders, {"orders": []}),
    "/api/Order/search": Endpoint(bodies.Since, _search_orders, {"orders": []}),
    "/api/Order/searchById": Endpoint(bodies.OfOrder, _search_order, {"order": None}),
    "/api/Order/v2/query": Endpoint(
        bodies.QueryOrders, _query_orders, {"orders": [], "totalCount": None}
    ),
    "/api/Position/searchOpen": Endpoint(bodies.OfAccount, _open_positions, {"positions": []}),
    "/api/Position/closeContract": Endpoint(bodies.CloseContract, _close_contract),
    "/api/Position/partialCloseContract": Endpoint(
        bodies.PartialCloseContract, _partial_close_contract
    ),
    "/api/Trade/search": Endpoint(bodies.Since, _search_trades, {"trades": []}),
    "/api/Practice/moveMarket": Endpoint(bodies.MoveMarket, _move_market),
    "/api/Practice/setCanTrade": Endpoint(bodies.SetCanTrade, _set_can_trade),
    "/api/Practice/voidTrade": Endpoint(bodies.VoidTrade, _void_trade),
}
"""What each endpoint does, by its path; those of logging in and out are not among them."""
