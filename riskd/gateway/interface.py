"""The interface of a gateway: news and answers in, commands out, as values.

A gateway maps what its broker says to the values of :mod:`riskd.model.broker`, and the commands of
:mod:`riskd.gateway.commands` to its broker's requests.  Nothing behind it sees the broker's own fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from zope.interface import Attribute, Interface

from riskd.model.broker import Unreadable

if TYPE_CHECKING:
    from datetime import datetime

    from twisted.internet.defer import Deferred

    from riskd.gateway.commands import Command
    from riskd.model.broker import (
        BrokerAccount,
        BrokerNews,
        BrokerOrder,
        BrokerPosition,
        BrokerQuote,
        BrokerTrade,
    )
    from riskd.model.contracts import Contract

_T = TypeVar("_T")


class Found(NamedTuple, Generic[_T]):
    """The answer to a search.

    :ivar items: all that could be read, in the broker's order.
    :ivar unreadable: what exists and could not be read; the caller must not take it for gone.
    :ivar beyond: the rest, which is more than riskd follows and exists, too: the ids of orders and trades, the
        contract ids of positions.
    """

    items: tuple[_T, ...]
    unreadable: tuple[Unreadable, ...] = ()
    beyond: tuple[int | str, ...] = ()


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


class GatewayUnreadableError(GatewayUnansweredError):
    """There was an answer, and the value that it is about cannot be read."""


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

    def receive(account_id: int, news: BrokerNews) -> None:
        """Receive news of an account, in the order in which the broker sent them."""

    def receive_quote(quote: BrokerQuote) -> None:
        """Receive what has changed of a contract's quote."""

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

    def now() -> datetime:
        """Return the broker's time, or the wall clock's while that is unknown."""

    def gateway_problem(source: str, sentence: str) -> None:
        """Note another problem at the gateway; events of accounts still arrive.

        :param source: what has the problem; a source has one sentence at a time.
        :param sentence: for a trader; an empty one ends the problem.
        """


class IGateway(Interface):
    """A connection to the broker: it reports events and carries out requests.

    Any request may fail with :class:`GatewayError`, or take long.

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

    def expect_commands(number: int) -> None:
        """Be ready for so many commands at once.

        There is one for each open position and working order.
        """

    def search_account(account_id: int) -> Deferred[BrokerAccount]:
        """Return a Deferred of an account."""

    def search_open_positions(
        account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerPosition]]:
        """Return a Deferred of the account's open positions."""

    def search_open_orders(
        account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        """Return a Deferred of the account's working orders."""

    def search_orders(
        account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        """Return a Deferred of all orders placed at ``since`` or later.

        :param since: aware.
        """

    def search_order(
        account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[BrokerOrder]:
        """Return a Deferred of an order, working or ended.

        It fails with :class:`GatewayRefusedError`, code 1, when the gateway does not know the order, and with
        :class:`GatewayUnreadableError` when it cannot read the order.
        """

    def search_trades(account_id: int, since: datetime) -> Deferred[Found[BrokerTrade]]:
        """Return a Deferred of all trades made at ``since`` or later, oldest first.

        Half-turns and voided trades are included.

        :param since: aware.
        """

    def search_contract(contract_id: str) -> Deferred[Contract]:
        """Return a Deferred of a contract."""

    def carry_out(command: Command) -> Deferred[int | None]:
        """Carry out a command; return a Deferred of a placed order's id, or of ``None``.

        Commands are urgent.
        """
