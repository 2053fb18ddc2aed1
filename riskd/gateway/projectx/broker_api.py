"""The reads and commands of ``IGateway`` as requests of the broker's REST API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from twisted.internet.defer import Deferred

from riskd.gateway.fields import FieldReader, MappingError, whole
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError, Payload
from riskd.gateway.projectx.responses import item, items, of_account
from riskd.gateway.projectx.rest import ANSWER_SECONDS, BrokerRequests

_ACCOUNT_NOT_FOUND: Final = 1


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

    def search_account(self, account_id: int) -> Deferred[Payload]:
        """Return an account, restricted or not."""
        return Deferred.fromCoroutine(self._search_account(account_id))

    async def _search_account(self, account_id: int) -> Payload:
        request = "Account/search"
        # Restricted accounts count as inactive, and need guarding all the same.
        fields = await self._requests.read(request, {"onlyActiveAccounts": False})
        accounts = items(request, fields, "accounts")
        for account in accounts:
            if account.get("id") == account_id:
                return account
        # The platform shows names and not ids, so this list is how a user finds the id.
        known = ", ".join(f"{each.get('id')} ({each.get('name')})" for each in accounts)
        raise GatewayRefusedError(
            request, _ACCOUNT_NOT_FOUND, f"this login has no such account, but {known or 'none'}"
        )

    def search_open_positions(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return the account's open positions."""
        return self._list("Position/searchOpen", account_id, "positions", urgent=urgent)

    def search_open_orders(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return the account's working orders."""
        return self._list("Order/searchOpen", account_id, "orders", urgent=urgent)

    def search_orders(
        self, account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return the account's orders placed at ``since`` or later."""
        return self._list("Order/search", account_id, "orders", urgent=urgent, since=since)

    def search_order(
        self, account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[Payload]:
        """Return an order, working or ended."""
        request = "Order/searchById"
        body = {"accountId": account_id, "orderId": order_id}
        return self._read(request, body, urgent=urgent).addCallback(
            lambda fields: of_account(request, item(request, fields, "order"), account_id)
        )

    def search_trades(self, account_id: int, since: datetime) -> Deferred[list[Payload]]:
        """Return the account's trades made at ``since`` or later, oldest first."""
        return self._list("Trade/search", account_id, "trades", since=since).addCallback(
            lambda trades: sorted(trades, key=_age)
        )

    def search_contract(self, contract_id: str) -> Deferred[Payload]:
        """Return a contract."""
        request = "Contract/searchById"
        return self._read(request, {"contractId": contract_id}).addCallback(
            lambda fields: item(request, fields, "contract")
        )

    def place_order(self, account_id: int, order: Payload) -> Deferred[int]:
        """Place an order, once; return its id."""
        return Deferred.fromCoroutine(self._place_order({"accountId": account_id, **order}))

    async def _place_order(self, order: Payload) -> int:
        request = "Order/place"
        order_id = (await self._requests.change(request, order)).get("orderId")
        if type(order_id) is not int:
            raise GatewayUnansweredError(request, "the answer has no orderId")
        return order_id

    def cancel_order(self, account_id: int, order_id: int) -> Deferred[None]:
        """Cancel a working order."""
        return self._change("Order/cancel", {"accountId": account_id, "orderId": order_id})

    def modify_order(self, account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        """Change a working order."""
        return self._change(
            "Order/modify", {"accountId": account_id, "orderId": order_id, **changes}
        )

    def close_contract(self, account_id: int, contract_id: str) -> Deferred[None]:
        """Close a position at the market."""
        return self._change(
            "Position/closeContract", {"accountId": account_id, "contractId": contract_id}
        )

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int
    ) -> Deferred[None]:
        """Close ``size`` contracts of a position at the market."""
        return self._change(
            "Position/partialCloseContract",
            {"accountId": account_id, "contractId": contract_id, "size": size},
        )

    def _change(self, request: str, body: Payload) -> Deferred[None]:
        return Deferred.fromCoroutine(self._requests.change(request, body)).addCallback(
            lambda _: None
        )

    def _list(
        self,
        request: str,
        account_id: int,
        name: str,
        *,
        since: datetime | None = None,
        urgent: bool = False,
    ) -> Deferred[list[Payload]]:
        body: Payload = {"accountId": account_id}
        if since is not None:
            body["startTimestamp"] = since.astimezone(UTC).isoformat()
        return self._read(request, body, urgent=urgent).addCallback(
            lambda fields: [
                of_account(request, payload, account_id)
                for payload in items(request, fields, name)
            ]
        )

    def _read(self, request: str, body: Payload, *, urgent: bool = False) -> Deferred[Payload]:
        return Deferred.fromCoroutine(self._requests.read(request, body, urgent=urgent))


def _age(trade: Payload) -> tuple[datetime, int]:
    try:
        moment = FieldReader("GatewayUserTrade", trade).time("creationTimestamp")
    except MappingError:
        # The engine reports the field when it maps the trade.
        moment = datetime.min.replace(tzinfo=UTC)
    return moment, whole(trade.get("id")) or 0
