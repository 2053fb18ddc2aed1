"""The endpoints of the REST API: a table from a path to the function behind it.

A function takes the backend and the request's body.  It returns the response's fields beside those of the
envelope, if there are any, and raises :class:`GatewayRefusedError` for a refusal.

Source: the ProjectX Gateway API documentation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from riskd.gateway.fields import Payload
from riskd.practice.account_store import AccountStore
from riskd.practice.records import without_nulls
from riskd.practice.refusals import refusal
from riskd.practice.server import bodies
from riskd.practice.server.bar import Bar
from riskd.practice.server.bars import UNIT_SECONDS, Chart
from riskd.practice.server.contract_search import search
from riskd.practice.server.rest_payloads import full_order, full_position, full_trade

if TYPE_CHECKING:
    # The gateway knows the reactor, and the API can be tested without one.
    from riskd.practice.gateway import PracticeGateway

MAX_BARS: Final = 20_000

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass
class Backend:
    """What the endpoints work on.

    :ivar chart: the bars of the market.
    """

    gateway: PracticeGateway
    chart: Chart = field(default_factory=Chart)


@dataclass(frozen=True)
class Endpoint:
    """One endpoint.

    :ivar body: the type of its request's body.
    :ivar act: the function behind it.
    :ivar when_refused: the fields of its reply to a request that the exchange refuses.
    """

    body: type[bodies.Body]
    act: Callable[[Backend, Any], Awaitable[Payload | None]]
    when_refused: Payload = field(default_factory=dict)


# Accounts and contracts.


async def _search_accounts(backend: Backend, body: bodies.SearchAccounts) -> Payload:
    accounts = await backend.gateway.ask("Account/search", AccountStore.accounts)
    return {
        "accounts": [
            account for account in accounts if account["canTrade"] or not body.only_active_accounts
        ]
    }


async def _search_contracts(backend: Backend, body: bodies.SearchContracts) -> Payload:
    contracts = await backend.gateway.ask("Contract/search", AccountStore.contracts)
    return {"contracts": search(contracts, body.search_text)}


async def _available_contracts(backend: Backend, _body: bodies.Body) -> Payload:
    return {"contracts": await backend.gateway.ask("Contract/available", AccountStore.contracts)}


async def _search_contract(backend: Backend, body: bodies.ContractBody) -> Payload:
    contract = await backend.gateway.ask(
        "Contract/searchById", AccountStore.contract, body.contract_id
    )
    # Some clients read a list here, as in the other searches.
    return {"contract": contract, "contracts": [contract]}


async def _retrieve_bars(backend: Backend, body: bodies.RetrieveBars) -> Payload:
    await backend.gateway.ask("Contract/searchById", AccountStore.contract, body.contract_id)
    for is_sound, error, sentence in (
        (body.unit in UNIT_SECONDS, "UnitInvalid", f"unit {body.unit} is none of 1, 2, 3, 4"),
        (body.unit_number > 0, "UnitNumberInvalid", "unitNumber is not above zero"),
        (0 < body.limit <= MAX_BARS, "LimitInvalid", f"limit is not from 1 to {MAX_BARS}"),
    ):
        if not is_sound:
            raise refusal("History/retrieveBars", error, sentence)
    begin, end = body.start_time.timestamp(), body.end_time.timestamp()
    seconds = UNIT_SECONDS[body.unit] * body.unit_number

    def is_wanted(bar: Bar) -> bool:
        is_complete = bar.start + seconds <= backend.gateway.broker_time().timestamp()
        return begin <= bar.start < end and (is_complete or body.include_partial_bar)

    bars = backend.chart.bars(body.contract_id, body.unit, body.unit_number)
    return {"bars": [bar.payload() for bar in filter(is_wanted, bars)][: body.limit]}


# Orders.


async def _place_order(backend: Backend, body: bodies.PlaceOrder) -> Payload:
    order = _given(body)
    return {"orderId": await backend.gateway.place_order(order.pop("accountId"), order)}


async def _modify_order(backend: Backend, body: bodies.ModifyOrder) -> None:
    if body.trail_price is not None:
        raise refusal(
            "Order/modify",
            "Rejected",
            "trailPrice is not wanted: no trailing orders are traded here",
        )
    await backend.gateway.modify_order(body.account_id, body.order_id, _given(body))


def _given(body: bodies.Body) -> Payload:
    """Return the given fields of a body under the API's names."""
    return without_nulls(msgspec.to_builtins(body, builtin_types=(Decimal,)))


async def _open_orders(backend: Backend, body: bodies.AccountBody) -> Payload:
    orders = await backend.gateway.ask(
        "Order/searchOpen", AccountStore.open_orders, body.account_id
    )
    return {"orders": [full_order(order) for order in orders]}


async def _search_orders(backend: Backend, body: bodies.SearchSince) -> Payload:
    orders = await backend.gateway.ask(
        "Order/search", AccountStore.orders, body.account_id, body.start_timestamp
    )
    return {
        "orders": [full_order(each) for each in orders if _is_before(each, body.end_timestamp)]
    }


async def _search_order(backend: Backend, body: bodies.OrderBody) -> Payload:
    order = await backend.gateway.ask(
        "Order/searchById", AccountStore.order, body.account_id, body.order_id
    )
    return {"order": full_order(order)}


async def _query_orders(backend: Backend, body: bodies.QueryOrders) -> Payload:
    wanted = body.filter
    since = wanted.created_after or _BEGINNING
    orders = await backend.gateway.ask(
        "Order/search", AccountStore.orders, wanted.account_id, since
    )
    found = [
        full_order(order)
        for order in orders
        if (wanted.statuses is None or order["status"] in wanted.statuses)
        and wanted.contract_id in (None, order["contractId"])
        and _is_before(order, wanted.created_before)
    ]
    page = found[body.page_offset : body.page_offset + body.page_size]
    return {"orders": page, "totalCount": len(found) if body.include_total_count else None}


# Positions and trades.


async def _open_positions(backend: Backend, body: bodies.AccountBody) -> Payload:
    positions = await backend.gateway.ask(
        "Position/searchOpen", AccountStore.open_positions, body.account_id
    )
    # From the exchange itself: a second request could be lost by a fault.
    contract = backend.gateway.exchange.store.contract
    return {"positions": [full_position(each, contract(each["contractId"])) for each in positions]}


async def _search_trades(backend: Backend, body: bodies.SearchSince) -> Payload:
    trades = await backend.gateway.ask(
        "Trade/search", AccountStore.trades, body.account_id, body.start_timestamp
    )
    return {
        "trades": [full_trade(each) for each in trades if _is_before(each, body.end_timestamp)]
    }


def _is_before(payload: Payload, end: datetime | None) -> bool:
    return end is None or datetime.fromisoformat(payload["creationTimestamp"]) < end


# Requests that only the practice gateway has.


async def _move_market(backend: Backend, body: bodies.MoveMarket) -> None:
    try:
        backend.gateway.move_market(body.contract_id, body.price)
    except ValueError as error:
        raise refusal("Practice/moveMarket", "PriceInvalid", str(error)) from None


async def _set_can_trade(backend: Backend, body: bodies.SetCanTrade) -> None:
    backend.gateway.set_can_trade(body.account_id, body.can_trade)


async def _transfer(backend: Backend, body: bodies.Transfer) -> None:
    try:
        backend.gateway.transfer(body.account_id, body.amount)
    except ValueError as error:
        raise refusal("Practice/transfer", "AmountInvalid", str(error)) from None


async def _void_trade(backend: Backend, body: bodies.VoidTrade) -> None:
    backend.gateway.void_trade(body.account_id, body.trade_id, is_reported=body.is_reported)


async def _amend_trade(backend: Backend, body: bodies.AmendTrade) -> None:
    backend.gateway.amend_trade(
        body.account_id,
        body.trade_id,
        pnl=body.profit_and_loss,
        fees=body.fees,
        commissions=body.commissions,
        is_reported=body.is_reported,
    )


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "/api/Account/search": Endpoint(bodies.SearchAccounts, _search_accounts, {"accounts": []}),
    "/api/Contract/search": Endpoint(bodies.SearchContracts, _search_contracts, {"contracts": []}),
    "/api/Contract/available": Endpoint(bodies.Body, _available_contracts, {"contracts": []}),
    "/api/Contract/searchById": Endpoint(
        bodies.ContractBody, _search_contract, {"contract": None, "contracts": []}
    ),
    "/api/History/retrieveBars": Endpoint(bodies.RetrieveBars, _retrieve_bars, {"bars": []}),
    "/api/Order/place": Endpoint(bodies.PlaceOrder, _place_order, {"orderId": None}),
    "/api/Order/cancel": Endpoint(
        bodies.OrderBody,
        lambda backend, body: backend.gateway.cancel_order(body.account_id, body.order_id),
    ),
    "/api/Order/modify": Endpoint(bodies.ModifyOrder, _modify_order),
    "/api/Order/searchOpen": Endpoint(bodies.AccountBody, _open_orders, {"orders": []}),
    "/api/Order/search": Endpoint(bodies.SearchSince, _search_orders, {"orders": []}),
    "/api/Order/searchById": Endpoint(bodies.OrderBody, _search_order, {"order": None}),
    "/api/Order/v2/query": Endpoint(
        bodies.QueryOrders, _query_orders, {"orders": [], "totalCount": None}
    ),
    "/api/Position/searchOpen": Endpoint(bodies.AccountBody, _open_positions, {"positions": []}),
    "/api/Position/closeContract": Endpoint(
        bodies.CloseContract,
        lambda backend, body: backend.gateway.close_contract(body.account_id, body.contract_id),
    ),
    "/api/Position/partialCloseContract": Endpoint(
        bodies.PartialCloseContract,
        lambda backend, body: backend.gateway.partial_close_contract(
            body.account_id, body.contract_id, body.size
        ),
    ),
    "/api/Trade/search": Endpoint(bodies.SearchSince, _search_trades, {"trades": []}),
    "/api/Practice/moveMarket": Endpoint(bodies.MoveMarket, _move_market),
    "/api/Practice/setCanTrade": Endpoint(bodies.SetCanTrade, _set_can_trade),
    "/api/Practice/transfer": Endpoint(bodies.Transfer, _transfer),
    "/api/Practice/voidTrade": Endpoint(bodies.VoidTrade, _void_trade),
    "/api/Practice/amendTrade": Endpoint(bodies.AmendTrade, _amend_trade),
}
"""The endpoints by path, without those for logging in and out, which :mod:`.api` has itself."""
