"""The practice gateway: the broker interface over a simulated market.

It runs the market and the practice traders in this process.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from riskd.gateway import mapping, targets
from riskd.gateway.commands import (
    CancelOrder,
    CloseContract,
    Command,
    ModifyOrder,
    PartialCloseContract,
    PlaceOrder,
)
from riskd.gateway.interface import Found, IGateway, IGatewayListener
from riskd.gateway.payload_listener import PayloadListener, found, readable
from riskd.model.broker import BrokerAccount, BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.contracts import Contract
from riskd.practice.broker import PracticeBroker

_CHANGES: Final = {
    CloseContract: ("close_contract", ("contractId",)),
    PartialCloseContract: ("partial_close_contract", ("contractId", "size")),
    CancelOrder: ("cancel_order", ("orderId",)),
    ModifyOrder: ("modify_order", ("orderId",)),
    PlaceOrder: ("place_order", ()),
}
"""The method that carries out each command, and the fields that it takes beside the account."""


@implementer(IGateway)
class PracticeGateway(PracticeBroker):
    """The practice broker as a gateway: values in place of payloads."""

    name = "practice"
    answer_seconds = 2.0

    def start(self, listener: IGatewayListener | None = None) -> Deferred[None]:
        """Open the market; report what happens from now on to ``listener``, if given."""
        self.open_market(None if listener is None else PayloadListener(listener))
        return succeed(None)

    def has_room(self, requests: int) -> bool:  # noqa: ARG002
        """Return true: this broker grants riskd any number of requests."""
        return True

    def follow_account(self, account_id: int) -> None:
        """Do nothing: the listener receives the events of all accounts."""

    def follow_quotes(self, contract_id: str) -> None:
        """Do nothing: the listener receives the quotes of all contracts."""

    def expect_commands(self, number: int) -> None:
        """Do nothing: commands need no connection."""

    def search_account(self, account_id: int) -> Deferred[BrokerAccount]:
        """Return an account."""
        return self.ask("Account/search", lambda store: store.account(account_id)).addCallback(
            partial(readable, "Account/search", read=mapping.account)
        )

    def search_open_positions(
        self,
        account_id: int,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[Found[BrokerPosition]]:
        """Return the account's open positions."""
        answer = self.ask("Position/searchOpen", lambda store: store.open_positions(account_id))
        return answer.addCallback(partial(found, targets.POSITION, kind=BrokerPosition))

    def search_open_orders(
        self,
        account_id: int,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[Found[BrokerOrder]]:
        """Return the account's working orders."""
        answer = self.ask("Order/searchOpen", lambda store: store.open_orders(account_id))
        return answer.addCallback(partial(found, targets.ORDER, kind=BrokerOrder))

    def search_orders(
        self,
        account_id: int,
        since: datetime,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[Found[BrokerOrder]]:
        """Return the account's orders placed at ``since`` or later, working or ended."""
        answer = self.ask("Order/search", lambda store: store.orders(account_id, since))
        return answer.addCallback(partial(found, targets.ORDER, kind=BrokerOrder))

    def search_order(
        self,
        account_id: int,
        order_id: int,
        *,
        urgent: bool = False,  # noqa: ARG002
    ) -> Deferred[BrokerOrder]:
        """Return an order, working or ended."""
        return self.ask(
            "Order/searchById", lambda store: store.order(account_id, order_id)
        ).addCallback(partial(readable, "Order/searchById", read=mapping.order))

    def search_trades(self, account_id: int, since: datetime) -> Deferred[Found[BrokerTrade]]:
        """Return the account's trades made at ``since`` or later, up to eight days old."""
        answer = self.ask("Trade/search", lambda store: store.trades(account_id, since))
        return answer.addCallback(partial(found, targets.TRADE, kind=BrokerTrade))

    def search_contract(self, contract_id: str) -> Deferred[Contract]:
        """Return a contract."""
        return self.ask(
            "Contract/searchById", lambda store: store.contract(contract_id)
        ).addCallback(partial(readable, "Contract/searchById", read=mapping.contract))

    def carry_out(self, command: Command) -> Deferred[int | None]:
        """Carry out a command."""
        arguments = mapping.body_of(command)
        account_id = arguments.pop("accountId")
        method, keys = _CHANGES[type(command)]
        ids = [arguments.pop(key) for key in keys]
        # What is left are the fields of an order.
        answer: Deferred[int | None] = getattr(self, method)(
            account_id, *ids, *((arguments,) if arguments else ())
        )
        return answer
