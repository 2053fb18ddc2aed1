"""The interface of a broker's gateway: events in, reads and commands out.

Payloads are the gateway's own: dictionaries with its field names and its enums, timestamps as text,
whole numbers as ``int`` and fractions as ``Decimal``.  :mod:`riskd.gateway.mapping` maps them to riskd's
events.
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

    :ivar why: the reason alone, as a trader would say it.
    """

    why: str = ""


class GatewayUnansweredError(GatewayError):
    """There was no answer, or none that says what became of the request.

    After a read, nothing is known; after a change, the caller must look up whether it was made.

    :ivar request: the name of the request, such as ``Order/place``.
    :ivar why: the reason, as far as it is known.
    """

    def __init__(self, request: str, why: str) -> None:
        self.request = request
        self.why = why
        super().__init__(f"{request} was not answered: {why}")


class GatewayRefusedError(GatewayError):
    """The gateway understood a request and refused it.

    :ivar request: the name of the request, such as ``Order/place``.
    :ivar code: the gateway's error code for that request.
    :ivar why: the reason that the gateway gives.
    """

    def __init__(self, request: str, code: int, why: str) -> None:
        self.request = request
        self.code = code
        self.why = why
        super().__init__(f"{request} refused with code {code}: {why}")


class IGatewayListener(Interface):
    """Receives the events of a gateway."""

    def user_event(target: str, payload: Payload) -> None:
        """Receive an event of an account.

        :param target: ``GatewayUserAccount``, ``GatewayUserPosition``, ``GatewayUserOrder`` or
            ``GatewayUserTrade``.
        """

    def market_event(target: str, contract_id: str, payload: Payload) -> None:
        """Receive an event of the market of a contract.

        :param target: ``GatewayQuote``; its payload may hold only what changed.
        """

    def feed_lost(sentence: str) -> None:
        """Note that from now on events of accounts may be missing.

        Requests may still be answered.

        :param sentence: the reason, for a trader.
        """

    def feed_restored() -> None:
        """Note that events arrive again; those since :meth:`feed_lost` are lost."""

    def clock_reported(at: datetime, precision: float, delay: float) -> None:
        """Note what the broker's clock showed.

        It is called before the answer that brought it is handed on.

        :param at: aware; the clock showed a time from ``at`` to ``at + precision`` ...
        :param precision: seconds; an HTTP ``Date`` has whole ones.
        :param delay: ... at a moment within the last ``delay`` seconds.
        """

    def gateway_problem(source: str, sentence: str) -> None:
        """Note another problem at the gateway; events of accounts still arrive.

        :param source: what has the problem; a source has one sentence at a time.
        :param sentence: for a trader; an empty one ends the problem.
        """


class IGateway(Interface):
    """A connection to the broker: it reports events and carries out requests.

    A read returns payloads.  Any request may fail with :class:`GatewayError`, or take long.

    Brokers answer a limited number of requests a minute, and riskd keeps some of them for enforcement:
    commands are always urgent, reads only with ``urgent``.
    """

    name = Attribute("the kind of gateway: ``practice`` or ``projectx``")
    answer_seconds = Attribute("how long an answer may take; after that there will be none")

    def start(listener: IGatewayListener) -> Deferred[None]:
        """Begin to report events to ``listener``; the Deferred fires when the feed is up.

        The gateway tries until it succeeds, or is stopped.
        """

    def stop() -> Deferred[None]:
        """Stop reporting; the Deferred fires when the connections are closed."""

    def has_room(requests: int) -> bool:
        """Return whether so many reads that are not urgent can be answered now."""

    def follow_account(account_id: int) -> None:
        """Report the events of an account from now on, for as long as the gateway runs."""

    def follow_quotes(contract_id: str) -> None:
        """Report the quotes of a contract from now on, for as long as the gateway runs."""

    def search_account(account_id: int) -> Deferred[Payload]:
        """Return a Deferred of an account: its balance, and whether it may trade."""

    def search_open_positions(account_id: int, *, urgent: bool = False) -> Deferred[list[Payload]]:
        """Return a Deferred of the payloads of the account's open positions."""

    def search_open_orders(account_id: int, *, urgent: bool = False) -> Deferred[list[Payload]]:
        """Return a Deferred of the payloads of the account's working orders."""

    def search_orders(
        account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return a Deferred of all orders placed at ``since`` or later.

        :param since: aware.
        """

    def search_order(account_id: int, order_id: int, *, urgent: bool = False) -> Deferred[Payload]:
        """Return a Deferred of the payload of an order, working or ended.

        It fails with :class:`GatewayRefusedError`, code 1, when the gateway does not know the order.
        """

    def search_trades(account_id: int, since: datetime) -> Deferred[list[Payload]]:
        """Return a Deferred of all trades made at ``since`` or later, oldest first.

        Half-turns and voided trades are included.

        :param since: aware.
        """

    def search_contract(contract_id: str) -> Deferred[Payload]:
        """Return a Deferred of the payload of a contract."""

    def place_order(account_id: int, order: Payload) -> Deferred[int]:
        """Place an order, given in the gateway's own fields; return a Deferred of its id."""

    def cancel_order(account_id: int, order_id: int) -> Deferred[None]:
        """Cancel a working order; return a Deferred of ``None``."""

    def close_contract(account_id: int, contract_id: str) -> Deferred[None]:
        """Close the account's position in a contract; return a Deferred of ``None``."""

    def modify_order(account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        """Change a working order; return a Deferred of ``None``.

        :param changes: ``size``, ``limitPrice`` or ``stopPrice``; fields that are missing do not change.
        """

    def partial_close_contract(account_id: int, contract_id: str, size: int) -> Deferred[None]:
        """Close ``size`` contracts of a position; return a Deferred of ``None``."""
