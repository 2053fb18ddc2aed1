"""The reads and commands of ``IGateway`` as requests of the broker's REST API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred

from riskd.gateway import mapping, targets
from riskd.gateway.broker_text import broker_text
from riskd.gateway.commands import Command, PlaceOrder, request_name
from riskd.gateway.fields import Payload
from riskd.gateway.interface import Found, GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.payload_listener import FoundReader, readable
from riskd.gateway.projectx.responses import check_account, item, items, payloads
from riskd.gateway.projectx.rest import ANSWER_SECONDS, BrokerRequests
from riskd.host.timing import in_turns
from riskd.model.broker import BrokerAccount, BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.contracts import Contract

_T = TypeVar("_T")

_ACCOUNT_NOT_FOUND: Final = 1

_MAX_NAMED: Final = 50
"""How many accounts an error names."""


class BrokerApi:
    """The half of a gateway that answers requests.

    Its methods are described in :class:`~riskd.gateway.interface.IGateway`.

    :param requests: makes requests with a token, within the rate limit.
    """

    answer_seconds = ANSWER_SECONDS

    def __init__(self, requests: BrokerRequests) -> None:
        self._requests = requests

    def has_room(self, requests: int) -> bool:
        """Return whether so many reads leave enforcement its requests."""
        return self._requests.has_room(requests)

    def search_account(self, account_id: int) -> Deferred[BrokerAccount]:
        """Return an account, restricted or not."""
        return Deferred.fromCoroutine(self._search_account(account_id))

    async def _search_account(self, account_id: int) -> BrokerAccount:
        request = "Account/search"
        # Restricted accounts count as inactive, and need guarding all the same.
        fields = await self._requests.read(request, {"onlyActiveAccounts": False})
        accounts = items(request, fields, "accounts")
        for account in accounts:
            if account.get("id") == account_id:
                return readable(request, account, mapping.account)
        # The platform shows names and not ids, so this list is how a user finds the id.
        known = ", ".join(
            f"{broker_text(each.get('id'))} ({broker_text(each.get('name'))})"
            for each in accounts[:_MAX_NAMED]
        )
        raise GatewayRefusedError(
            request, _ACCOUNT_NOT_FOUND, f"this login has no such account, but {known or 'none'}"
        )

    def search_open_positions(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerPosition]]:
        """Return the account's open positions."""
        return self._list("Position/searchOpen", account_id, _POSITIONS, urgent=urgent)

    def search_open_orders(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        """Return the account's working orders."""
        return self._list("Order/searchOpen", account_id, _ORDERS, urgent=urgent)

    def search_orders(
        self, account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        """Return the account's orders placed at ``since`` or later."""
        return self._list("Order/search", account_id, _ORDERS, urgent=urgent, since=since)

    def search_order(
        self, account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[BrokerOrder]:
        """Return an order, working or ended."""
        request = "Order/searchById"
        body = {"accountId": account_id, "orderId": order_id}

        def order_of(fields: Payload) -> BrokerOrder:
            payload = item(request, fields, "order")
            check_account(request, payload, account_id)
            return readable(request, payload, mapping.order)

        return self._read(request, body, urgent=urgent).addCallback(order_of)

    def search_trades(self, account_id: int, since: datetime) -> Deferred[Found[BrokerTrade]]:
        """Return the account's trades made at ``since`` or later, oldest first."""
        trades = self._list("Trade/search", account_id, _TRADES, since=since)
        return trades.addCallback(_oldest_first)

    def search_contract(self, contract_id: str) -> Deferred[Contract]:
        """Return a contract."""
        request = "Contract/searchById"
        return self._read(request, {"contractId": contract_id}).addCallback(
            lambda fields: readable(request, item(request, fields, "contract"), mapping.contract)
        )

    def carry_out(self, command: Command) -> Deferred[int | None]:
        """Carry out a command, which is sent once."""
        return Deferred.fromCoroutine(self._carry_out(command))

    async def _carry_out(self, command: Command) -> int | None:
        request = request_name(command)
        fields = await self._requests.change(request, mapping.body_of(command))
        if not isinstance(command, PlaceOrder):
            return None
        order_id = fields.get("orderId")
        if type(order_id) is not int:
            raise GatewayUnansweredError(request, "the answer has no orderId")
        return order_id

    def _list(
        self,
        request: str,
        account_id: int,
        listing: _Listing[_T],
        *,
        since: datetime | None = None,
        urgent: bool = False,
    ) -> Deferred[Found[_T]]:
        body: Payload = {"accountId": account_id}
        if since is not None:
            body["startTimestamp"] = since.astimezone(UTC).isoformat()

        async def listed() -> Found[_T]:
            fields = await self._requests.read(request, body, urgent=urgent)
            reader = FoundReader(listing.target, listing.kind)

            def steps() -> Iterator[None]:
                for payload in payloads(request, fields, listing.name, reader.most):
                    check_account(request, payload, account_id)
                    reader.read(payload)
                    yield

            await in_turns(steps(), self._requests.clock)
            return reader.found()

        return Deferred.fromCoroutine(listed())

    def _read(self, request: str, body: Payload, *, urgent: bool = False) -> Deferred[Payload]:
        return Deferred.fromCoroutine(self._requests.read(request, body, urgent=urgent))


def _oldest_first(trades: Found[BrokerTrade]) -> Found[BrokerTrade]:
    in_order = sorted(trades.items, key=lambda trade: (trade.execution_time, trade.id))
    return trades._replace(items=tuple(in_order))


class _Listing(NamedTuple, Generic[_T]):
    """What a search returns.

    :ivar name: the field of the response that holds the list.
    :ivar target: what its items are, as events call it.
    """

    name: str
    target: str
    kind: type[_T]


_POSITIONS: Final = _Listing("positions", targets.POSITION, BrokerPosition)
_ORDERS: Final = _Listing("orders", targets.ORDER, BrokerOrder)
_TRADES: Final = _Listing("trades", targets.TRADE, BrokerTrade)
