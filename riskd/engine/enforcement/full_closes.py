"""Close positions and cancel orders in full, all at once, without a read.

A full close needs no read: whatever the size is by then, the broker closes all of it.  So each command leaves
as soon as it is known to be needed: when a flatten begins, when another breach merges into it, and when an
event or a listing shows something more.

What comes up during a flatten need not belong to it.  A position that was opened after another one in the same
contract was sent a close for is closed at once while the account is locked.  In an account that is not locked it
is the trader's next trade, with which only the rules may find fault; when they do, it is closed at once, too.
Where an order that was to be canceled was filled, the position is an effect of the flatten.  An order that comes
up during a flatten is canceled while the account is locked, or when the broker lists it in a contract without
such a next trade.

An order at the market that closes a position is left to do so, for as long as a close may take: it may be what
the broker made of the close.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from riskd.engine.enforcement.flattening import (
    Closing,
    Listing,
    cancels,
    closes_all_of,
    concerns,
)
from riskd.engine.enforcement.orders import OrderRequests
from riskd.engine.enforcement.sent_commands import Done, Outcome, SentCommands
from riskd.engine.order_of_truth import Thing, thing_of
from riskd.engine.tracked_account import TrackedAccount, missing_orders, missing_positions
from riskd.model.account import Flattening
from riskd.model.broker import BrokerOrder, BrokerPosition, Opening, Unreadable
from riskd.model.events import OrderState, OrderType
from riskd.model.lockouts import is_exit, is_locked
from riskd.rules.interface import Flatten

_NONE: Final = object()


class Left(NamedTuple):
    """What is still to be closed.

    :ivar positions: their number.
    :ivar orders: their number.
    """

    positions: int
    orders: int


class FullCloses:
    """Closes and cancels for one account.

    :param account: the account.
    :param orders: sends the requests.
    :param clock: times them.
    :param now: gives the broker's time, aware.
    :param sending: called before each command.
    :param answered: called when more may be sent: after each answer, and when one that failed is due again.
    """

    def __init__(
        self,
        account: TrackedAccount,
        orders: OrderRequests,
        clock: IReactorTime,
        now: Callable[[], datetime],
        sending: Callable[[], None],
        answered: Callable[[], None],
    ) -> None:
        self._account = account
        self._orders = orders
        self._clock = clock
        self._now = now
        self._sending = sending
        self._answered = answered
        self._sent = SentCommands()
        # The orders to cancel, with the number of contracts that were filled when they were found.
        self._to_cancel: dict[int, int] = {}
        self._reversed: set[str] = set()
        # The trader's next trades with which a rule has found fault: what tells each from the next one.
        self._faulty: dict[str, Opening | None] = {}
        self._ended: Deferred[None] | None = None
        self._repetitions: list[IDelayedCall] = []

    def begin(self) -> None:
        """Forget earlier flattens."""
        self._sent.forget()
        self._to_cancel.clear()
        self._reversed.clear()
        self._faulty.clear()

    # Sending.

    def stop(self) -> None:
        """Repeat nothing any more."""
        for repetition in self._repetitions:
            if repetition.active():
                repetition.cancel()

    def take_up(self, plan: Flattening, wanted: Flattening) -> bool:
        """Close next trades that a rule wants closed, too; return whether there are any.

        :param plan: the flatten under way.
        :param wanted: what the rule wants.
        """
        found = self._next_trades(plan, wanted)
        self._faulty.update((held.contract_id, held.opening) for held in found)
        return bool(found)

    def has_next_trade(self, plan: Flattening, wanted: Flatten) -> bool:
        """Return whether a rule wants the trader's next trade closed."""
        return bool(self._next_trades(plan, wanted))

    def is_next_trade(self, plan: Flattening, contract_id: str) -> bool:
        """Return whether the position in a contract is the trader's next trade.

        While anything of the flatten is still open, none is: rules would count both together.
        """
        return self._has_next_trade(contract_id) and bool(self._next_trades(plan, plan))

    def _next_trades(self, plan: Flattening, wanted: Flattening | Flatten) -> list[BrokerPosition]:
        """Return the next trades that are wanted closed in full."""
        found = []
        for held in self._account.state.open_positions:
            contract_id = held.contract_id
            if not concerns(plan, contract_id):
                continue
            if self._belongs(contract_id, held.opening):
                return []
            if closes_all_of(wanted, contract_id):
                found.append(held)
        return found

    def extend(self, plan: Flattening) -> None:
        """Send what is needed now, also for a breach that has just been added."""
        for order in self._account.state.working_orders:
            if cancels(plan, order) and not self._has_next_trade(order.contract_id):
                self._to_cancel.setdefault(order.id, order.filled)
        self.send(plan)

    def send(self, plan: Flattening) -> None:
        """Send what is needed and was not sent: the closes, then the cancels."""
        # A gateway may carry a command out, and report what follows, within the call that sends it.
        for position in self._account.state.open_positions:
            contract_id, opened = position.contract_id, position.opening
            if closes_all_of(plan, contract_id) and self._belongs(contract_id, opened):
                self._send_close(contract_id, opened)
        for order in self._account.state.working_orders:
            if (
                cancels(plan, order)
                and (order.id in self._to_cancel or self._is_locked)
                and not self._is_closing(order)
            ):
                self._send_cancel(order.id)

    @property
    def _is_locked(self) -> bool:
        return is_locked(self._account.state_with_pending, self._now())

    def _belongs(self, contract_id: str, opened: Opening | None) -> bool:
        """Return whether a position is to be closed, and not the trader's next trade."""
        is_another = self._sent.is_another(("position", contract_id), opened)
        is_faulty = self._faulty.get(contract_id, _NONE) == opened
        return not is_another or is_faulty or contract_id in self._reversed or self._is_locked

    def _has_next_trade(self, contract_id: str) -> bool:
        held = self._account.state.positions.get(contract_id)
        return (
            held is not None and bool(held.size) and not self._belongs(contract_id, held.opening)
        )

    def _is_closing(self, order: BrokerOrder | Unreadable) -> bool:
        """Return whether an order at the market may still close a position."""
        return (
            isinstance(order, BrokerOrder)
            and order.type is OrderType.MARKET
            and is_exit(self._account.state, order)
            and self._sent.is_awaited(("position", order.contract_id))
        )

    def _send_close(self, contract_id: str, opened: Opening | None) -> None:
        thing = ("position", contract_id)
        if self._sent.may_send(thing, opened):
            self._begin(thing, opened, self._orders.close(Closing(contract_id, None)))

    def _send_cancel(self, order_id: int) -> None:
        thing = ("order", order_id)
        if self._sent.may_send(thing):
            self._begin(thing, None, self._orders.cancel(order_id))

    def _begin(self, thing: Thing, identity: object, act: Coroutine[Any, Any, Outcome]) -> None:
        self._sending()
        self._sent.begin(thing, identity, self._clock.seconds())
        # Not by its thing: the next one may begin before this one has quite ended.
        self._orders.begin(object(), self._carry_out(thing, act))

    async def _carry_out(self, thing: Thing, act: Coroutine[Any, Any, Outcome]) -> None:
        try:
            outcome = await act
        # Not finally: that would also run when an engine that was given up is collected.
        except Exception:
            self._end(thing, Outcome.UNANSWERED)
            raise
        self._end(thing, outcome)
        self._answered()

    def _end(self, thing: Thing, outcome: Outcome) -> None:
        again_after = self._sent.end(thing, outcome, self._clock.seconds())
        if again_after is not None and not self._orders.is_stopped:
            self._repetitions = [each for each in self._repetitions if each.active()]
            self._repetitions.append(self._clock.callLater(again_after, self._repeat, thing))
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended.callback(None)

    def _repeat(self, thing: Thing) -> None:
        self._sent.repeat(thing)
        self._answered()

    async def wait(self) -> None:
        """Wait until every command that is under way is answered, or will not be.

        Not for later ones: of a trader who enters again and again, one is under way at every moment.
        """
        now = self._clock.seconds()
        while self._sent.is_any_under_way(now):
            self._ended = Deferred()
            await self._ended

    # What became of it.

    def receive(self, order: BrokerOrder) -> None:
        """Note that an order which was to be canceled has opened a position instead."""
        filled = self._to_cancel.get(order.id)
        if filled is None or not order.has_ended:
            return
        if order.state is OrderState.FILLED or order.filled > filled:
            self._reversed.add(order.contract_id)

    @property
    def is_confirmed(self) -> bool:
        """Whether events have reported the end of all that commands were sent for."""
        return not any(self._sent.is_accepted(*each) for each in self._open)

    @property
    def has_failed(self) -> bool:
        """Whether a command was refused or unanswered, and its thing is still open."""
        return any(self._sent.has_failed(*each) for each in self._open)

    @property
    def _open(self) -> Iterator[tuple[Thing, object]]:
        """The open positions and working orders by what is known, each with its identity."""
        state = self._account.state
        yield from ((thing_of(held), held.opening) for held in state.open_positions)
        yield from ((thing_of(order), None) for order in state.working_orders)

    def pursue(self, plan: Flattening, listing: Listing) -> Left:
        """Send for what a listing shows, and return what is still to be closed of it."""
        held = [(each.contract_id, each.opening) for each in listing.positions.items]
        unread = [(each.contract_id, None) for each in listing.positions.unreadable]
        working: list[BrokerOrder | Unreadable] = [*listing.orders.items]
        working += listing.orders.unreadable
        # What is beyond the number that riskd follows is listed when those before it are gone.
        return Left(
            sum(
                self._is_position_left(plan, contract_id, opened, listing.sent_at)
                for contract_id, opened in (*held, *unread)
            ),
            sum(self._is_order_left(plan, order, listing.sent_at) for order in working),
        )

    def _is_position_left(
        self, plan: Flattening, contract_id: str | None, opened: Opening | None, sent_at: float
    ) -> bool:
        if contract_id is None:
            # It cannot be closed, and is not gone.
            return plan.keep is None
        if not closes_all_of(plan, contract_id):
            return False
        if not self._belongs(contract_id, opened):
            return False
        is_new = self._is_new(contract_id, opened, sent_at)
        self._sent.listed(("position", contract_id), opened, sent_at)
        self._send_close(contract_id, opened)
        # What came up since and is closed, too, is left to the next flatten.
        return not (is_new and self._goes_on(contract_id))

    def _is_order_left(
        self, plan: Flattening, order: BrokerOrder | Unreadable, sent_at: float
    ) -> bool:
        if order.id is None:
            return plan.keep is None
        contract_id = order.contract_id
        is_of_next = contract_id is not None and self._has_next_trade(contract_id)
        if not cancels(plan, order) or (is_of_next and order.id not in self._to_cancel):
            return False
        if not self._is_closing(order):
            self._to_cancel.setdefault(order.id, getattr(order, "filled", 0))
            self._sent.listed(("order", order.id), None, sent_at)
            self._send_cancel(order.id)
        return True

    def ended(self, listing: Listing) -> tuple[list[BrokerPosition], list[BrokerOrder]]:
        """Return what a listing no longer has, and no event has ended yet."""
        account = self._account
        positions = [
            held
            for held in missing_positions(account.state, listing.positions)
            if self._sent.was_sent(thing_of(held), held.opening)
        ]
        orders = [
            order
            for order in missing_orders(account.state, listing.orders)
            if self._sent.was_sent(thing_of(order))
        ]
        return positions, orders

    def is_of_flatten(self, plan: Flattening, held: BrokerPosition, sent_at: float) -> bool:
        """Return whether an open position that a listing lacks is of a flatten.

        :param sent_at: when the listing was asked for.
        """
        contract_id, opened = held.contract_id, held.opening
        return (
            concerns(plan, contract_id)
            and self._belongs(contract_id, opened)
            and not (self._is_new(contract_id, opened, sent_at) and self._goes_on(contract_id))
        )

    def _goes_on(self, contract_id: str) -> bool:
        """Return whether another flatten follows for what was opened last in a contract."""
        return contract_id in self._faulty or self._is_locked

    def _is_new(self, contract_id: str, opened: Opening | None, sent_at: float) -> bool:
        """Return whether a position came up after a listing was asked for."""
        thing = ("position", contract_id)
        # What the listing itself has shown first was open before.
        is_told_since = not self._account.truth.covers(thing, sent_at, trail=0.0)
        return self._sent.is_another(thing, opened) or (
            is_told_since and self._sent.is_after(thing, opened, sent_at)
        )

    def is_unverified(self, sent_at: float) -> bool:
        """Return whether a command was answered after that, or is under way."""
        return self._sent.is_any_after(sent_at)

    def take_done(self, until: float) -> Done:
        """Return how many positions and orders were closed until then, each once."""
        return self._sent.take_done(until)
