"""Carry out one account's commands at the broker, and verify that they were done.

Commands fail, are half done, or are overtaken.  So a flatten is journaled, acted on, verified by asking the
broker, and repeated until the broker says that the account is flat.  An account has one flatten under way at a
time; a breach that comes meanwhile merges into it.

**Close first.**  What is to be closed in full, and what is to be canceled, is known from the account's state and
needs no read.  All of it leaves at once when the intent is on the disk, after 5 ms at the latest; and so does what
another breach or an event adds meanwhile (:mod:`.full_closes`).  Of what the broker accepted, nothing is repeated
until a search that was sent a second later still lists it; what it refused or did not answer is sent again after
0.25, 0.5, 1, 2, 5, 5, ... seconds (:mod:`.sent_commands`).  Only where a part of a position is kept, the broker is
asked before each close (:mod:`.partial_closes`).

**Then verify.**  When the commands are answered, and events have reported what they did or 0.2 s are over, the
account is reconciled, which tells whether it is flat: four reads at once.  So a flatten of one position takes five
requests, of two positions and two orders eight.  Events alone do not verify; an answer that failed does not mean
flat.

**A locked account** is reconciled every five seconds anyway, and that verifies what was closed since: a program that
enters again every second has each position closed at once, and one reconciliation in five seconds verifies five
closes.  What was closed after it was sent is left to the next one, and is a flatten of its own.  Only the flatten with
which a lock begins, since the lock is announced after it, and the first one in half a minute are verified at once.

The broker decides what is flat.  A position that it no longer lists is gone, whatever late events say.  Positions are
never inferred from fills.  What the broker says is applied before the rules are evaluated again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from functools import reduce
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.broker import Broker
from riskd.engine.enforcement.actions import announce, flatten_action
from riskd.engine.enforcement.flattening import (
    Listing,
    closed_since_begun,
    closes_all_of,
    concerns,
    covers,
    flattening_of_locked,
    merged,
    rejection_of_locked,
    still_open,
    things,
)
from riskd.engine.enforcement.full_closes import FullCloses
from riskd.engine.enforcement.orders import EVENT_SECONDS, OrderRequests
from riskd.engine.enforcement.partial_closes import PartialCloses
from riskd.engine.enforcement.rejections import Rejections
from riskd.engine.enforcement.sent_commands import RETRY_SECONDS
from riskd.engine.enforcement.stop_orders import StopOrders
from riskd.engine.interface import ConfirmedFlatten
from riskd.engine.together import together
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.interface import Found, GatewayError
from riskd.host.timing import done_within
from riskd.model.account import AccountState, Flattening
from riskd.model.broker import BrokerOrder
from riskd.model.events import (
    OPERATOR,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    LockoutSet,
    MarketQuote,
)
from riskd.model.lockouts import forbidden_orders, is_locked, lock_announcements, locks_in_force
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

OVERDUE_SECONDS: Final = 5.0
"""A flatten that is not verified by then is announced as failed, and goes on."""

AGAIN_SECONDS: Final = 30.0
"""How long after a position of a locked account the next ones are verified by the rounds of reconciliation."""

WRITE_SECONDS: Final = 0.005
"""How long a flatten waits for its intent to be on the disk.

The intent is written first where the disk is quick; a slow or hanging disk must not keep a position open.
"""


class Enforcer:
    """Carries out the commands of one account's rules.

    :param account: the account.
    :param broker: the broker.
    :param reconcile: reconciles the account by requests that are sent from now on, and returns what the broker
        lists; with True at once, with False together with the next reconciliation that is due.
    :param observe_reaction: receives the seconds from deciding on a flatten to its first request that
        closes or cancels.
    :ivar on_settled: called when a flatten is done and verified, with whether there was anything to do.
    """

    def __init__(
        self,
        account: TrackedAccount,
        broker: Broker,
        reconcile: Callable[[bool], Awaitable[Listing]],
        observe_reaction: Callable[[float], None] | None = None,
    ) -> None:
        self._account = account
        self._broker = broker
        self._clock = broker.clock
        self._now = broker.now
        self._reconcile = reconcile
        self.on_settled: Callable[[bool], None] | None = None
        self._observe_reaction = observe_reaction
        self._orders = OrderRequests(account, broker)
        self._stops = StopOrders(account, broker, self._orders, self.flatten)
        self._full = FullCloses(
            account, self._orders, self._clock, self._now, self._note_action, self._react
        )
        self._rejections = Rejections(account, broker, self._orders)
        self._partial = PartialCloses(account, self._orders, self._clock, self._note_action)
        self._decided_at: float | None = None
        self._flattening: Deferred[None] | None = None
        self._is_acting = False
        # The latest breach by a trade that followed what the flatten under way has closed.
        self._next: Flattening | None = None
        self._did_something = False
        self._done = ConfirmedFlatten(0, 0)
        self._confirmations: list[Deferred[ConfirmedFlatten]] = []
        # Whether an earlier daemon has begun the flatten.
        self._is_resumed = True
        self._entered_again_at = -math.inf
        self._event: Deferred[None] | None = None

    @property
    def is_flattening(self) -> bool:
        """Whether a flatten is under way."""
        return self._flattening is not None

    def stop(self) -> None:
        """Stop acting.

        A flatten that is under way is in the journal, and goes on at the next start.
        """
        # First: to cancel a request lets the flatten that waits for it go on.
        self._orders.is_stopped = True
        self._full.stop()
        if self._flattening is not None:
            self._flattening.cancel()
        self._orders.stop()

    def confirmation(self) -> Deferred[ConfirmedFlatten]:
        """Return a Deferred that fires when the broker next confirms a flatten as done.

        It fires with what this flatten has done since it began, as far as that is confirmed.  It may be canceled.
        """
        waiting: Deferred[ConfirmedFlatten] = Deferred(self._confirmations.remove)
        self._confirmations.append(waiting)
        return waiting

    def is_handling(self, decision: Decision) -> bool:
        """Return whether the flatten under way does a decision, or makes it needless."""
        plan, command = self._plan, decision.command
        if plan is None or not self.is_flattening:
            return False
        if isinstance(command, Flatten):
            is_covered = command.lock is None and covers(plan, command.keep)
            return is_covered and not self._full.has_next_trade(plan, command)
        if isinstance(command, PlaceStop):
            return self._closes_all_of(command.contract_id)
        if isinstance(command, LiftLock):
            return False
        order = self._account.state.orders.get(command.order_id)
        return order is not None and self._closes_all_of(order.contract_id)

    def is_effect(self, subject: EventData | None) -> bool:
        """Return whether the flatten under way may have caused an event."""
        plan = self._plan
        return (
            plan is not None
            and self.is_flattening
            # A flatten that has failed so far must not hide what becomes of its positions.
            and not plan.is_announced
            and isinstance(subject, (GatewayUserPosition, GatewayUserOrder, MarketQuote))
            and concerns(plan, subject.contract_id)
            and not self._full.is_next_trade(plan, subject.contract_id)
        )

    def _closes_all_of(self, contract_id: str) -> bool:
        """Return whether the flatten under way leaves neither a position nor an order."""
        plan = self._plan
        return (
            plan is not None
            and closes_all_of(plan, contract_id)
            and not self._full.is_next_trade(plan, contract_id)
        )

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
            self._is_resumed = False
        known, new = self._plan, reduce(merged, wanted)
        plan = new if known is None else merged(known, new)
        goes_on = known is not None and self.is_flattening and self._full.take_up(known, new)
        if goes_on:
            self._next = new
        if plan is not known:
            self._account.change_risk(flattening=plan)
        # One that begins waits for the disk by itself.
        if self.is_flattening and (goes_on or plan is not known):
            self._orders.begin(object(), self._extend())
        self.resume()

    async def _extend(self) -> None:
        """Act on a breach that has merged into the flatten under way."""
        await done_within(WRITE_SECONDS, self._account.make_durable(), self._clock)
        plan = self._plan
        if self._is_acting and plan is not None:
            self._full.extend(plan)

    def resume(self) -> None:
        """Go on with the flatten that is in the account's state, if it is not under way."""
        if self._flattening is None and self._plan is not None and not self._orders.is_stopped:
            self._full.begin()
            self._next = None
            # The coroutine may end before fromCoroutine returns; then it is not under way.
            beginning: Deferred[None] = Deferred()
            self._flattening = beginning
            under_way = Deferred.fromCoroutine(self._flatten())
            if self._flattening is beginning:
                self._flattening = under_way
            under_way.addErrback(self._flatten_failed)

    def receive(self, news: EventData) -> None:
        """Act on a position or an order as it is now; the rules are evaluated afterwards."""
        if isinstance(news, BrokerOrder):
            self._orders.receive(news)
            self._full.receive(news)
        self._react()
        if self._event is not None and not self._event.called:
            self._event.callback(None)

    def _react(self) -> None:
        """Send what the flatten under way needs by what is known now."""
        plan = self._plan
        if self._is_acting and plan is not None and not self._orders.is_stopped:
            self._full.send(plan)

    def carry_out(
        self, rule_id: str, command: RejectOrder | PlaceStop | ChangeStop | WithdrawStop
    ) -> None:
        """Begin to do something about an order."""
        if isinstance(command, RejectOrder):
            self._orders.begin(command.order_id, self._rejections.reject(rule_id, command))
        else:
            self._stops.carry_out(rule_id, command)

    # Flattening.

    @property
    def _plan(self) -> Flattening | None:
        return self._account.state.risk.flattening

    async def _flatten(self) -> None:
        self._did_something = False
        self._done = ConfirmedFlatten(0, 0)
        await done_within(WRITE_SECONDS, self._account.make_durable(), self._clock)
        self._is_acting = True
        while self._plan is not None:
            await self._finish()
        self._is_acting = False
        self._flattening = None
        self._report_not_flat("")
        self._orders.end_refusal()
        if self.on_settled is not None:
            self.on_settled(self._did_something)

    async def _finish(self) -> None:
        """Try until the flatten is done and announced."""
        begun = self._clock.seconds()
        for attempt in itertools.count():
            plan = self._plan
            if plan is None:
                return
            is_at_once = self._is_verified_at_once(plan)
            tried = await self._try(plan, is_at_once=is_at_once)
            # What another breach has added is not verified yet.
            is_whole = plan is self._plan
            if isinstance(tried, Listing) and is_whole:
                self._conclude(plan, success=True, until=tried.sent_at)
                self._begin_next(tried.sent_at)
                return
            if not is_at_once:
                # It has waited for its turn, not for the broker.
                begun = self._clock.seconds()
            is_overdue = (
                attempt >= len(RETRY_SECONDS) - 1
                or self._clock.seconds() - begun >= OVERDUE_SECONDS
            )
            if is_overdue and is_whole:
                self._report_not_flat(
                    f"Account {self._account.account_id} is not flat yet ({tried}), "
                    f"riskd keeps trying: {plan.reason}"
                )
                if not plan.is_announced:
                    self._conclude(plan, success=False)
            await deferLater(self._clock, RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])

    def _is_verified_at_once(self, plan: Flattening) -> bool:
        """Return whether a flatten is verified as soon as possible.

        If not, an account that is locked is entered again and again.
        """
        state, now = self._account.state_with_pending, self._clock.seconds()
        is_new_lock = bool(plan.locks) and not plan.is_announced
        if is_new_lock or plan.rule_id == OPERATOR or not is_locked(state, self._now()):
            return True
        if now - self._entered_again_at < AGAIN_SECONDS:
            return False
        self._entered_again_at = now
        return True

    async def _try(self, plan: Flattening, *, is_at_once: bool) -> Listing | str:
        """Try to flatten; return the listing that shows it done, or why it is not.

        Only a cancellation prevents the next try.
        """
        try:
            return await self._try_to_flatten(plan, is_at_once=is_at_once)
        except GatewayError as error:
            # A read that failed does not mean flat.
            _log.warn("account {account}: {error}", account=self._account.account_id, error=error)
        except Exception:  # an unexpected answer, perhaps; the next may be sound
            if self._orders.is_stopped:
                raise
            _log.failure("a try to flatten failed: internal error")
            return "internal error, see the log"
        finally:
            # A cancellation may come as another error, or as no answer: nothing goes on after stop().
            if self._orders.is_stopped:
                raise CancelledError
        return "the broker does not say what is open"

    async def _try_to_flatten(self, plan: Flattening, *, is_at_once: bool) -> Listing | str:
        self._full.extend(plan)
        await together(self._full.wait(), self._partial.act(plan))
        await self._wait_for_events(plan)
        if not is_at_once and self._full.has_failed:
            # A search would only show what the broker has refused to close.
            state = self._account.state
            return f"{still_open(plan, Found(state.open_positions), Found(state.working_orders))} open"
        listing = await self._reconcile(is_at_once)
        # The lock may have ended meanwhile; then the flatten leaves the next trade alone.
        plan = self._plan or plan
        left = self._full.pursue(plan, listing)
        partial = self._partial.left(plan, listing)
        if partial or any(left):
            return f"{' and '.join(filter(None, (things(*left), partial)))} open"
        await self._apply_ends(listing)
        if self._is_contradicted(plan, listing):
            return "the broker has reported a position that it does not list"
        goes_on = self._next is not None or is_locked(
            self._account.state_with_pending, self._now()
        )
        if not goes_on and self._full.is_unverified(listing.sent_at):
            return "what was closed last is not verified"
        return listing

    async def _wait_for_events(self, plan: Flattening) -> None:
        """Wait a moment for events of what the commands did: searches trail them."""
        until = self._clock.seconds() + EVENT_SECONDS
        while not (self._full.is_confirmed and self._partial.is_confirmed(plan)):
            left = until - self._clock.seconds()
            if left <= 0:
                return
            self._event = Deferred()
            await done_within(left, self._event, self._clock)

    async def _apply_ends(self, listing: Listing) -> None:
        """Apply the ends that no event has reported: events may be late or lost."""
        positions, orders = self._full.ended(listing)
        for position in positions:
            self._account.close_vanished(position, listing.sent_at)
        for order in orders:
            await self._orders.look_up(order.id)

    def _is_contradicted(self, plan: Flattening, listing: Listing) -> bool:
        """Return whether a position is open by an event that is newer than the listing."""
        keep = plan.keep or {}
        return any(
            held.size > keep.get(held.contract_id, 0)
            and self._full.is_of_flatten(plan, held, listing.sent_at)
            for held in self._account.state.open_positions
        )

    def _note_action(self) -> None:
        """Report how long the first action took, not a repeated or merged one."""
        if self._decided_at is not None and self._observe_reaction is not None:
            self._observe_reaction(self._clock.seconds() - self._decided_at)
        self._decided_at = None

    def _conclude(self, plan: Flattening, *, success: bool, until: float = math.inf) -> None:
        """Announce the result of a flatten, once, and then the locks that begin with it.

        :param until: what was closed later is announced with the next one.
        """
        now = self._now()
        full, partial = self._full.take_done(until), self._partial.take_done()
        closed, canceled = full.closed + partial.closed, full.canceled + partial.canceled
        state = self._account.state_with_pending
        if self._is_resumed:
            closed = max(closed, closed_since_begun(plan, state))
        self._did_something |= bool(closed or canceled)
        if success:
            done = self._done
            self._done = ConfirmedFlatten(done.closed + closed, done.canceled + canceled)
        is_news = not plan.is_announced and bool(plan.locks or closed or canceled or not success)
        left = None if success else msgspec.structs.replace(plan, is_announced=True, locks=())
        self._account.change_risk(flattening=left)
        if is_news:
            action = flatten_action(
                plan, success=success, closed=closed, canceled=canceled, now=now
            )
            try:
                announce(self._account, action, *lock_announcements(plan.locks, state, now))
            except Exception:
                # What was not announced is not done: the next try announces it.
                self._account.change_risk(flattening=plan)
                raise

    def _begin_next(self, verified_at: float) -> None:
        """Go on with what was closed after the listing, or confirm the flatten."""
        state, now = self._account.state_with_pending, self._now()
        locks = locks_in_force(state, now)
        plan = flattening_of_locked(locks[0], now) if locks else self._next
        self._next = None
        goes_on = plan is not None and self._full.is_unverified(verified_at)
        if goes_on:
            self._is_resumed = False
            self._account.change_risk(flattening=plan)
        # Into a locked account a program may enter again and again: that is not what was to be flattened.
        if locks or not goes_on:
            self._confirm()

    def _confirm(self) -> None:
        waiting, self._confirmations[:] = [*self._confirmations], []
        for each in waiting:
            each.callback(self._done)

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
