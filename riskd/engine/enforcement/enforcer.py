"""Carry out one account's commands at the broker, and verify that they were done.

Commands fail, are half done, or are overtaken.  So a flatten is journaled, acted on, verified by asking
the broker, and repeated until the broker says that the account is flat.  An account has one flatten
under way at a time; a breach that comes meanwhile merges into it.

The broker decides what is flat.  A read that failed does not mean flat; a position that the broker no
longer lists is gone, whatever late events say.  What the broker says is applied before the rules are
evaluated again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterable
from functools import reduce
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.broker import Broker
from riskd.engine.enforcement.actions import announce, flatten_action, rejection_action
from riskd.engine.enforcement.flattening import (
    Closing,
    closes_all_of,
    concerns,
    covers,
    flattening_of_locked,
    merged,
    rejection_of_locked,
    still_open,
    to_cancel,
    to_close,
    to_resize,
)
from riskd.engine.enforcement.orders import OrderRequests
from riskd.engine.enforcement.stop_orders import StopOrders
from riskd.engine.order_of_truth import SETTLED_SECONDS, thing_of
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.commands import ModifyOrder
from riskd.gateway.interface import Found, GatewayError, GatewayUnansweredError
from riskd.host.timing import done_within
from riskd.model.account import AccountState, Flattening
from riskd.model.broker import BrokerOrder, BrokerPosition
from riskd.model.events import LockoutSet, OrderState
from riskd.model.lockouts import forbidden_orders, lock_announcements
from riskd.rules.evaluation import Decision
from riskd.rules.interface import (
    ChangeStop,
    Flatten,
    LiftLock,
    PlaceStop,
    RejectOrder,
    WithdrawStop,
)

_log = Logger()

RETRY_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""How long to wait before each repetition; the last is repeated for as long as it takes."""

OVERDUE_SECONDS: Final = 5.0
"""A flatten that is not verified by then is announced as failed, and goes on."""

WRITE_SECONDS: Final = 0.005
"""How long a flatten waits for its intent to be on the disk.

The intent is written first where the disk is quick; a slow or hanging disk must not keep a position open.
"""


class Enforcer:
    """Carries out the commands of one account's rules.

    :param account: the account.
    :param broker: the broker.
    :param observe_reaction: receives the seconds from deciding on a flatten to its first request that
        closes or cancels.
    :ivar on_settled: called when a flatten is done and verified, with whether there was anything to do.
    """

    def __init__(
        self,
        account: TrackedAccount,
        broker: Broker,
        observe_reaction: Callable[[float], None] | None = None,
    ) -> None:
        self._account = account
        self._broker = broker
        self._clock = broker.clock
        self._now = broker.now
        self.on_settled: Callable[[bool], None] | None = None
        self._observe_reaction = observe_reaction
        self._orders = OrderRequests(account, broker)
        self._stops = StopOrders(account, broker, self._orders, self.flatten)
        self._decided_at: float | None = None
        self._flattening: Deferred[None] | None = None
        self._closed: set[str] = set()
        self._canceled: set[int] = set()
        self._reduced_at: dict[str, float] = {}

    @property
    def is_flattening(self) -> bool:
        """Whether a flatten is under way."""
        return self._flattening is not None

    def stop(self) -> None:
        """Stop acting.

        A flatten that is under way is in the journal, and goes on at the next start.
        """
        self._orders.stop()
        if self._flattening is not None:
            self._flattening.cancel()

    def is_handling(self, decision: Decision) -> bool:
        """Return whether the flatten under way does a decision, or makes it needless."""
        plan, command = self._plan, decision.command
        if plan is None or not self.is_flattening:
            return False
        if isinstance(command, Flatten):
            return command.lock is None and covers(plan, command.keep)
        if isinstance(command, PlaceStop):
            return closes_all_of(plan, command.contract_id)
        if isinstance(command, LiftLock):
            return False
        order = self._account.state.orders.get(command.order_id)
        return order is not None and closes_all_of(plan, order.contract_id)

    def enforce_lock(self, lock: LockoutSet, state: AccountState) -> None:
        """Flatten a locked account, or cancel the orders that it may not have."""
        if state.open_positions:
            # That cancels the orders, too.
            self.flatten(flattening_of_locked(lock, self._now()))
            return
        for order in forbidden_orders(state):
            self.carry_out(lock.rule_id, rejection_of_locked(lock, order))

    def flatten(self, *wanted: Flattening) -> None:
        """Begin one flatten that does all of these, or extend the one under way."""
        if self._plan is None:
            self._decided_at = self._clock.seconds()
        known, new = self._plan, reduce(merged, wanted)
        plan = new if known is None else merged(known, new)
        if plan is not known:
            self._account.change_risk(flattening=plan)
            if self.is_flattening:
                # One that begins waits for the disk by itself.
                self._account.make_durable()
        self.resume()

    def resume(self) -> None:
        """Go on with the flatten that is in the account's state, if it is not under way."""
        if self._flattening is None and self._plan is not None and not self._orders.is_stopped:
            self._closed, self._canceled = set(), set()
            # The coroutine may end before fromCoroutine returns; then it is not under way.
            beginning: Deferred[None] = Deferred()
            self._flattening = beginning
            under_way = Deferred.fromCoroutine(self._flatten())
            if self._flattening is beginning:
                self._flattening = under_way
            under_way.addErrback(self._flatten_failed)

    def carry_out(
        self, rule_id: str, command: RejectOrder | PlaceStop | ChangeStop | WithdrawStop
    ) -> None:
        """Begin to do something about an order."""
        if isinstance(command, RejectOrder):
            self._orders.begin(command.order_id, self._reject(rule_id, command))
        else:
            self._stops.carry_out(rule_id, command)

    # Flattening.

    @property
    def _plan(self) -> Flattening | None:
        return self._account.state.risk.flattening

    async def _flatten(self) -> None:
        begun = self._clock.seconds()
        await done_within(WRITE_SECONDS, self._account.make_durable(), self._clock)
        for attempt in itertools.count():
            plan = self._plan
            if plan is None:
                break
            left = await self._try(plan)
            # A plan that another breach has merged into meanwhile is not done yet.
            if not left and plan is self._plan:
                self._conclude(plan, success=True)
                break
            is_overdue = (
                attempt >= len(RETRY_SECONDS) - 1
                or self._clock.seconds() - begun >= OVERDUE_SECONDS
            )
            plan = self._plan
            if is_overdue and plan is not None:
                self._report_not_flat(
                    f"Account {self._account.account_id} is not flat yet ({left or 'more is to be closed now'}), "
                    f"riskd keeps trying: {plan.reason}"
                )
                if not plan.is_announced:
                    self._conclude(plan, success=False)
            await deferLater(self._clock, RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        self._flattening = None
        self._report_not_flat("")
        self._orders.end_refusal()
        if self.on_settled is not None:
            self.on_settled(bool(self._closed or self._canceled))

    async def _try(self, plan: Flattening) -> str:
        """Try to flatten; return why it is not done, or an empty string.

        Only a cancellation prevents the next try.
        """
        try:
            return await self._try_to_flatten(plan)
        except GatewayError as error:
            # A read that failed does not mean flat.
            _log.warn("account {account}: {error}", account=self._account.account_id, error=error)
        except Exception:  # an unexpected payload, perhaps; the next may be sound
            # A cancellation may come wrapped in another error: nothing goes on after stop().
            if self._orders.is_stopped:
                raise
            _log.failure("a try to flatten failed: internal error")
            return "internal error, see the log"
        return "the broker does not say what is open"

    async def _try_to_flatten(self, plan: Flattening) -> str:
        """Close and cancel; return what is left, or an empty string."""
        held, working, began = await self._orders.search_open()
        if await self._act(plan, held, working):
            held, working, began = await self._orders.search_open()
        if self._is_contradicted(plan, held, began):
            return "the broker has reported a position that it does not list"
        if left := still_open(plan, held, working):
            return f"{left} open"
        await self._apply_result(plan, held, working, began)
        return ""

    async def _apply_result(
        self,
        plan: Flattening,
        held: Found[BrokerPosition],
        working: Found[BrokerOrder],
        began: float,
    ) -> None:
        """Apply the broker's answers: its events may come late, or never."""
        for position in self._account.missing_positions(held):
            if concerns(plan, position.contract_id):
                self._account.close_vanished(position, began)
        for position in held.items:
            if concerns(plan, position.contract_id):
                self._broker.apply(self._account.account_id, position, began)
        for order in self._account.missing_orders(working):
            if concerns(plan, order.contract_id):
                await self._orders.look_up(order.id)

    def _is_contradicted(
        self, plan: Flattening, held: Found[BrokerPosition], began: float
    ) -> bool:
        """Return whether an event is so recent that searches may not show it yet."""
        return any(
            position.contract_id not in self._closed
            and concerns(plan, position.contract_id)
            and not self._account.truth.covers(thing_of(position), began)
            for position in self._account.missing_positions(held)
        )

    async def _act(
        self, plan: Flattening, held: Found[BrokerPosition], working: Found[BrokerOrder]
    ) -> bool:
        """Close and cancel; return whether there was anything to do.

        Close first: a position loses money, an order does not yet.
        """
        closings = [one for one in to_close(plan, held) if not self._is_being_reduced(one)]
        cancels = to_cancel(plan, working)
        if closings or cancels:
            self._note_action()
        await _all(self._close(closing) for closing in closings)
        await _all(self._cancel(order_id) for order_id in cancels)
        resizings = to_resize(plan, working, held)
        await _all(
            self._orders.modify(
                ModifyOrder(
                    account_id=self._account.account_id,
                    order_id=resizing.order_id,
                    size=resizing.size,
                )
            )
            if resizing.size
            else self._cancel(resizing.order_id)
            for resizing in resizings
        )
        return bool(closings or cancels or resizings)

    def _is_being_reduced(self, closing: Closing) -> bool:
        """Return whether a part was closed so recently that searches may not show it.

        To close all of a position may be repeated; a part that is closed twice is too much.
        """
        at = self._reduced_at.get(closing.contract_id)
        return (
            closing.size is not None
            and at is not None
            and self._clock.seconds() - at < SETTLED_SECONDS
        )

    def _note_action(self) -> None:
        """Report how long the first action took, not a repeated or merged one."""
        if self._decided_at is not None and self._observe_reaction is not None:
            self._observe_reaction(self._clock.seconds() - self._decided_at)
        self._decided_at = None

    async def _close(self, closing: Closing) -> None:
        if await self._orders.close(closing):
            self._closed.add(closing.contract_id)
            self._reduced_at[closing.contract_id] = self._clock.seconds()

    async def _cancel(self, order_id: int) -> None:
        if await self._orders.cancel(order_id):
            self._canceled.add(order_id)

    def _conclude(self, plan: Flattening, *, success: bool) -> None:
        """Announce the result of a flatten, once, and then the locks that begin with it."""
        now = self._now()
        is_news = not plan.is_announced and bool(
            plan.locks or self._closed or self._canceled or not success
        )
        state = self._account.state_with_pending
        done = None if success else msgspec.structs.replace(plan, is_announced=True, locks=())
        self._account.change_risk(flattening=done)
        if is_news:
            action = flatten_action(
                plan,
                success=success,
                closed=len(self._closed),
                canceled=len(self._canceled),
                now=now,
            )
            try:
                announce(self._account, action, *lock_announcements(plan.locks, state, now))
            except Exception:
                # What was not announced is not done: the next try announces it.
                self._account.change_risk(flattening=plan)
                raise

    def _report_not_flat(self, sentence: str) -> None:
        self._broker.report_problem(f"enforcement {self._account.account_id}", sentence)

    def _flatten_failed(self, failure: Failure) -> None:
        """Begin anew after an internal error: the account must become flat."""
        self._flattening = None
        if self._orders.is_stopped:
            return
        if failure.check(CancelledError) is None:
            _log.failure("the flatten failed: internal error", failure)
        self._report_not_flat(
            f"Enforcement failed for account {self._account.account_id}, riskd tries again: "
            "internal error"
        )
        self._clock.callLater(RETRY_SECONDS[-1], self.resume)

    # Orders that are rejected.

    async def _reject(self, rule_id: str, command: RejectOrder) -> None:
        """Cancel an order until the broker says that it has ended; announce the result."""
        is_announced = False
        has_canceled = False
        for attempt in itertools.count():
            has_canceled |= await self._orders.cancel(command.order_id)
            try:
                order = await self._orders.fetch(command.order_id)
                if order is None or order.has_ended:
                    break
            except GatewayUnansweredError as error:
                _log.warn("asking for {order}: {error}", order=command.order_id, error=error)
            if attempt >= len(RETRY_SECONDS) - 1 and not is_announced:
                is_announced = True
                self._announce_rejection(rule_id, command, canceled=0)
            await deferLater(self._clock, RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        was_filled = order is not None and order.state is OrderState.FILLED
        # If it was filled before it could be canceled, other rules see the position that it opened.
        if has_canceled and not was_filled and not is_announced:
            self._announce_rejection(rule_id, command, canceled=1)

    def _announce_rejection(self, rule_id: str, command: RejectOrder, *, canceled: int) -> None:
        action = rejection_action(
            rule_id, command, success=bool(canceled), canceled=canceled, now=self._now()
        )
        announce(self._account, action)


async def _all(acts: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines at the same time, and wait for all of them."""
    await gatherResults([Deferred.fromCoroutine(act) for act in acts], consumeErrors=True)
