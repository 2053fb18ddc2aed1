"""Send requests about one account's orders, and find out what became of them.

Closing and canceling may be repeated.  A request without an answer may have been carried out or not, so
it counts as neither done nor failed, and the broker is asked what became of the order.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.broker import Broker
from riskd.engine.enforcement.flattening import Closing
from riskd.engine.enforcement.sent_commands import Outcome
from riskd.engine.order_of_truth import thing_of
from riskd.engine.together import together
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.commands import (
    CancelOrder,
    CloseContract,
    Command,
    ModifyOrder,
    PartialCloseContract,
    request_name,
)
from riskd.gateway.interface import (
    Found,
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
)
from riskd.host.timing import done_within
from riskd.model.broker import BrokerOrder, BrokerPosition

_log = Logger()
_T = TypeVar("_T")

# The gateway's error codes differ from request to request.  These say that riskd may not act for the
# account at all: a problem that only an operator can solve.
_FORBIDDEN: Final[dict[type, int]] = {
    CancelOrder: 6,
    CloseContract: 8,
    PartialCloseContract: 9,
}

_NOT_FOUND: Final = 2
"""Of the same three requests: the position is closed already, or the order does not work any more."""

EVENT_SECONDS: Final = 0.2
"""How long an event may take that reports what a command did, after its answer.

Source: captures by clients of the live gateway, which sends positions about 0.1 s after a fill.
"""

_MAX_ENDED: Final = 256
"""How many ended orders are remembered."""

UNKNOWN_ORDER: Final = 1
"""``Order/searchById``: there is no order of that id."""


class OrderRequests:
    """Closes, cancels, modifies and looks up, for one account.

    :param account: the account.
    :param broker: the broker.
    :ivar is_stopped: whether :meth:`stop` was called; no request is continued after that.
    """

    def __init__(self, account: TrackedAccount, broker: Broker) -> None:
        self._account = account
        self._broker = broker
        self._gateway = broker.gateway
        self._busy: dict[object, Deferred[None]] = {}
        self._ends: dict[int, Deferred[None]] = {}
        self._ended: dict[int, BrokerOrder] = {}
        self._forbidden: set[type] = set()
        self.is_stopped = False

    def stop(self) -> None:
        """Cancel what is under way; the rules will decide it again after the next start."""
        self.is_stopped = True
        for under_way in tuple(self._busy.values()):
            under_way.cancel()

    def begin(self, key: object, act: Coroutine[Any, Any, None]) -> None:
        """Begin ``act``, unless one with this key is under way.

        :param key: the order or contract that is acted on: rules repeat what they want at each event.
        """
        if key in self._busy:
            act.close()
            return
        # Before it runs: it may end before fromCoroutine returns.
        self._busy[key] = Deferred()
        self._busy[key] = under_way = Deferred.fromCoroutine(act)

        def done(result: Any) -> Any:
            self._busy.pop(key, None)
            return result

        under_way.addBoth(done).addErrback(self._failed, key)

    def _failed(self, failure: Failure, key: object) -> None:
        # The rules see that it was not done, and decide it again.
        if failure.check(CancelledError) is None and not self.is_stopped:
            _log.failure("acting on {key} failed: internal error", failure, key=key)

    async def ask(self, request: str, answer: Deferred[_T]) -> _T:
        """Wait for the gateway's answer, but not forever.

        :raises GatewayError: it refused, or did not answer in time.
        """
        try:
            return await self._broker.ask(request, answer)
        finally:
            # A gateway may answer a canceled request after all; nothing may go on then.
            if self.is_stopped:
                raise CancelledError

    async def search_open(self) -> tuple[Found[BrokerPosition], Found[BrokerOrder]]:
        """Return the open positions and the working orders, from two searches at once.

        :raises GatewayError: the gateway did not say.
        """
        account_id = self._account.account_id
        positions: Any = self.ask(
            "Position/searchOpen", self._gateway.search_open_positions(account_id, urgent=True)
        )
        orders: Any = self.ask(
            "Order/searchOpen", self._gateway.search_open_orders(account_id, urgent=True)
        )
        held, working = await together(positions, orders)
        return held, working

    async def carry_out(self, command: Command) -> int | None:
        """Carry out a command; return the id of a placed order.

        :raises GatewayError: the gateway refused it, or did not answer in time.
        """
        return await self.ask(request_name(command), self._gateway.carry_out(command))

    async def close(self, closing: Closing) -> Outcome:
        """Close a position or a part of it."""
        account_id, contract_id = self._account.account_id, closing.contract_id
        if closing.size is None:
            return await self._change(
                CloseContract(account_id=account_id, contract_id=contract_id)
            )
        return await self._change(
            PartialCloseContract(account_id=account_id, contract_id=contract_id, size=closing.size)
        )

    async def cancel(self, order_id: int) -> Outcome:
        """Cancel an order."""
        return await self._change(
            CancelOrder(account_id=self._account.account_id, order_id=order_id)
        )

    async def _change(self, command: Command) -> Outcome:
        """Carry out a command that may be repeated."""
        try:
            await self.carry_out(command)
        except GatewayRefusedError as refusal:
            if refusal.code == _NOT_FOUND:
                self._note_permission(type(command))
                return Outcome.NOT_FOUND
            _log.warn("{refusal}", refusal=refusal)
            if refusal.code == _FORBIDDEN[type(command)]:
                self._forbidden.add(type(command))
                self._report_refusal(
                    f"The broker refuses to let riskd act for account {self._account.account_id}: "
                    f"{refusal.why}"
                )
            return Outcome.REFUSED
        except GatewayUnansweredError as error:
            # It may have been carried out.
            _log.warn("account {account}: {error}", account=self._account.account_id, error=error)
            return Outcome.UNANSWERED
        self._note_permission(type(command))
        return Outcome.ACCEPTED

    async def follow(self, order_id: int, outcome: Outcome) -> BrokerOrder | None:
        """Return what became of a canceled order; ``None``: unknown to the broker.

        The broker is asked for it only if no event reports its end soon.

        :param outcome: of the cancel.
        :raises GatewayUnansweredError: the broker does not say.
        """
        if order_id not in self._ended and outcome in (Outcome.ACCEPTED, Outcome.NOT_FOUND):
            ending: Deferred[None] = Deferred()
            self._ends[order_id] = ending
            await done_within(EVENT_SECONDS, ending, self._broker.clock)
            del self._ends[order_id]
        ended = self._ended.get(order_id)
        return await self.fetch(order_id) if ended is None else ended

    def receive(self, order: BrokerOrder) -> None:
        """Note an order that has ended."""
        if not order.has_ended:
            return
        self._ended[order.id] = order
        if len(self._ended) > _MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        ending = self._ends.get(order.id)
        if ending is not None and not ending.called:
            ending.callback(None)

    async def modify(self, command: ModifyOrder) -> bool:
        """Modify an order, and apply what the broker says of it then.

        Return whether the broker has accepted the change.
        """
        is_accepted = False
        try:
            await self.carry_out(command)
            is_accepted = True
        except GatewayError as error:
            # A change is sent once.  Without an answer it is looked up, for it may have been made.
            _log.warn("changing {order}: {error}", order=command.order_id, error=error)
        await self.look_up(command.order_id)
        return is_accepted

    async def look_up(self, order_id: int, outcome: Outcome = Outcome.UNANSWERED) -> None:
        """Apply the broker's answer about an order; without one, events will report.

        :param outcome: of a cancel: an event may make it needless to ask.
        """
        try:
            await self.follow(order_id, outcome)
        except GatewayUnansweredError as error:
            _log.warn("asking for {order}: {error}", order=order_id, error=error)

    async def fetch(self, order_id: int) -> BrokerOrder | None:
        """Apply and return the broker's answer about an order; ``None`` if it refuses.

        :raises GatewayUnansweredError: the broker does not say.
        """
        sent_at = self._broker.clock.seconds()
        try:
            order = await self.ask(
                "Order/searchById",
                self._gateway.search_order(self._account.account_id, order_id, urgent=True),
            )
        except GatewayRefusedError as refusal:
            known = self._account.state.orders.get(order_id)
            if refusal.code == UNKNOWN_ORDER and known is not None:
                truth = self._account.truth
                if truth.covers(thing_of(known), sent_at):
                    self._account.end_vanished(known, sent_at)
                else:
                    # The broker's searches do not know an order yet that was placed just now.
                    truth.doubt(sent_at)
            return None
        self._broker.apply(self._account.account_id, order, sent_at)
        return order

    def _note_permission(self, command: type) -> None:
        """Note that the broker carries out commands of a kind."""
        self._forbidden.discard(command)
        if not self._forbidden:
            self._report_refusal("")

    def end_refusal(self) -> None:
        """Report that the broker lets riskd act for the account."""
        self._forbidden.clear()
        self._report_refusal("")

    def _report_refusal(self, sentence: str) -> None:
        self._broker.report_problem(f"refusal {self._account.account_id}", sentence)
