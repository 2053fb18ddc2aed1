"""What riskd asks of a broker's gateway, and what a gateway tells riskd.

Payloads are the gateway's own: dictionaries with its field names and its enums, timestamps as text,
whole numbers as ``int`` and fractions as ``Decimal``.  :mod:`riskd.gateway.mapping` puts them into
riskd's terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from datetime import datetime

    from twisted.internet.defer import Deferred

Payload = dict[str, Any]


class GatewayError(Exception):
    """A request of the gateway did not succeed.

    :ivar why: the reason alone, in words for a trader.
    """

    why: str = ""


class GatewayUnansweredError(GatewayError):
    """There was no answer, or none that says what became of the request.

    A read failed; what was to be changed may have been changed or not, and is to be looked up.

    :ivar request: what was asked, such as ``Order/place``.
    :ivar why: what is known of the reason.
    """

    def __init__(self, request: str, why: str) -> None:
        self.request = request
        self.why = why
        super().__init__(f"{request} was not answered: {why}")


class GatewayRefusedError(GatewayError):
    """The gateway understood a request and refused it.

    :ivar request: what was asked, such as ``Order/place``.
    :ivar code: the gateway's error code for that request.
    :ivar message: the gateway's own words.
    """

    def __init__(self, request: str, code: int, message: str) -> None:
        self.request = request
        self.code = code
        self.message = self.why = message
        super().__init__(f"{request} refused with code {code}: {message}")


class IGatewayListener(Interface):
    """Whoever is told what happens at the gateway."""

    def user_event(target: str, payload: Payload) -> None:
        """Something happened to an account.

        :param target: ``GatewayUserAccount``, ``GatewayUserPosition``, ``GatewayUserOrder`` or
            ``GatewayUserTrade``.
        """

    def market_event(target: str, contract_id: str, payload: Payload) -> None:
        """Something happened in the market of a contract.

        :param target: ``GatewayQuote``; its payload may hold only what changed.
        """

    def feed_lost(sentence: str) -> None:
        """From now on events of accounts may be missing; requests may still be answered.

        :param sentence: why, for a trader to read.
        """

    def feed_restored() -> None:
        """Events of accounts are told again; those since :meth:`feed_lost` never will be."""

    def gateway_problem(source: str, sentence: str) -> None:
        """Something else is wrong at the gateway, and what is told and answered stays right.

        :param source: what is in trouble; each has one sentence at a time.
        :param sentence: for a trader to read; an empty one says that it is over.
        """


class IGateway(Interface):
    """A way to the broker: events in, reads and orders out.

    A read answers with payloads.  Any request may fail with :class:`GatewayError`, or take its time.

    Brokers answer only so many requests a minute, and riskd keeps some of them for enforcement: a
    request that changes something is urgent by itself, a read is if it is asked with ``urgent``.
    """

    name = Attribute("what kind of gateway this is, in a word: ``practice`` or ``projectx``")
    answer_seconds = Attribute("how long an answer may take; whoever waits longer waits in vain")

    def start(listener: IGatewayListener) -> Deferred[None]:
        """Begin to tell ``listener`` what happens; return a Deferred that fires when it does.

        It tries until it succeeds, or is stopped.
        """

    def stop() -> Deferred[None]:
        """Stop telling; return a Deferred that fires when the gateway is left."""

    def has_room(requests: int) -> bool:
        """Tell whether so many reads that are not urgent can be answered now."""

    def follow_account(account_id: int) -> None:
        """Tell the events of an account from now on, for as long as the gateway runs."""

    def follow_quotes(contract_id: str) -> None:
        """Tell the quotes of a contract from now on, for as long as the gateway runs."""

    def search_account(account_id: int) -> Deferred[Payload]:
        """Return a Deferred of the payload of an account: its balance, and whether it may trade."""

    def search_open_positions(account_id: int, *, urgent: bool = False) -> Deferred[list[Payload]]:
        """Return a Deferred of the payloads of the account's open positions."""

    def search_open_orders(account_id: int, *, urgent: bool = False) -> Deferred[list[Payload]]:
        """Return a Deferred of the payloads of the account's working orders."""

    def search_orders(
        account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return a Deferred of the payloads of the account's orders, whatever became of them.

        They are all that were placed at ``since`` or later.

        :param since: aware.
        """

    def search_order(account_id: int, order_id: int, *, urgent: bool = False) -> Deferred[Payload]:
        """Return a Deferred of the payload of an order of the account, whatever became of it.

        It fails with :class:`GatewayRefusedError`, code 1, when the gateway knows none of that id.
        """

    def search_trades(account_id: int, since: datetime) -> Deferred[list[Payload]]:
        """Return a Deferred of the payloads of the account's trades, oldest first.

        They are all that were made at ``since`` or later, half-turns and voided ones too.

        :param since: aware.
        """

    def search_contract(contract_id: str) -> Deferred[Payload]:
        """Return a Deferred of the payload of a contract."""

    def place_order(account_id: int, order: Payload) -> Deferred[int]:
        """Place an order, given as the gateway's own fields; return a Deferred of its id."""

    def cancel_order(account_id: int, order_id: int) -> Deferred[None]:
        """Cancel a working order; return a Deferred of ``None``."""

    def close_contract(account_id: int, contract_id: str) -> Deferred[None]:
        """Close the account's position in a contract; return a Deferred of ``None``."""

    def modify_order(account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        """Change a working order; return a Deferred of ``None``.

        :param changes: ``size``, ``limitPrice`` or ``stopPrice``; what is not there stays as it is.
        """

    def partial_close_contract(account_id: int, contract_id: str, size: int) -> Deferred[None]:
        """Close ``size`` contracts of the account's position; return a Deferred of ``None``."""
