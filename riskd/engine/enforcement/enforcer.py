"""Carrying decisions out at the broker, and seeing to it that they were carried out.

Commands fail, are half done, or are overtaken.  So a flatten is written down, acted on, verified by
asking the broker, and repeated until the broker says that the account is flat.  An account has one
flatten under way at a time; a breach that comes meanwhile merges into it.  Closing and canceling may be
repeated; placing never is: an order without an answer is looked for by its tag.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import reduce
from typing import Any, Final, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.enforcement.flattening import (
    Closing,
    closes_all_of,
    concerns,
    covers,
    flattening_of_locked,
    has_ended,
    merged,
    rejection_of_locked,
    report,
    still_open,
    to_cancel,
    to_close,
    to_resize,
)
from riskd.engine.tracked_account import SETTLED_SECONDS, TrackedAccount
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderStatus, GatewayOrderType
from riskd.gateway.interface import (
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    Payload,
)
from riskd.gateway.timeouts import in_time
from riskd.host.timing import done_within
from riskd.model.account import AccountState, Flattening
from riskd.model.events import Action, EnforcementAction, EnforcementDetails, LockoutSet
from riskd.model.lockouts import forbidden_orders, lock_announcements
from riskd.rules.evaluation import Decision
from riskd.rules.interface import (
    OWN_STOP_TAG,
    ChangeStop,
    Flatten,
    LiftLock,
    PlaceStop,
    RejectOrder,
    WithdrawStop,
)

_log = Logger()
_T = TypeVar("_T")

RETRY_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""How long to wait before each repetition; the last is repeated for as long as it takes."""

OVERDUE_SECONDS: Final = 5.0
"""A flatten that is not verified by then is told as a failure, and goes on."""

WRITE_SECONDS: Final = 0.005
"""How long a flatten waits for its intent to be on the disk: closing must not wait for a slow one."""

_STOP_RETRY_SECONDS: Final = 5.0

_MORE: Final = "more is to be closed now"

_TAG_AGE: Final = timedelta(hours=1)
"""How long ago an order may have been placed that is looked for by its tag."""

# Codes of the gateway's refusals, by request.
_GONE: Final = 2
_CANCEL_REFUSED_FOR_GOOD: Final = 6
_CLOSE_REFUSED_FOR_GOOD: Final = {
    "Position/closeContract": 8,
    "Position/partialCloseContract": 9,
}
_ORDER_REJECTED: Final = 2
_ORDER_UNKNOWN: Final = 1


class _Canceling(Enum):
    """What came of a request to cancel an order."""

    CANCELED = auto()
    GONE = auto()
    UNKNOWN = auto()


class _Tally:
    """What a flatten has done so far."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.canceled: set[int] = set()


class Enforcer:
    """Carries out what is decided for one account.

    :param account: the account.
    :param gateway: the broker.
    :param clock: times repetitions.
    :param now: gives the time of day, aware.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    :param settled: called when a flatten is done and verified, with whether there was anything to do.
    :param take: takes what the broker says of a position or an order, as if it had been told unasked.
    :ivar acted: told how many seconds passed from deciding on a flatten to its first request that
        closes or cancels.
    """

    def __init__(
        self,
        account: TrackedAccount,
        gateway: IGateway,
        clock: IReactorTime,
        now: Callable[[], datetime],
        report_problem: Callable[[str, str], None],
        settled: Callable[[bool], None],
        take: Callable[[str, Payload], object],
    ) -> None:
        self._account = account
        self._gateway = gateway
        self._clock = clock
        self._now = now
        self._report_problem = report_problem
        self._settled = settled
        self._take = take
        self.acted: Callable[[float], None] = _unmeasured
        self._decided_at: float | None = None
        self._is_stopped = False
        self._flattening: Deferred[None] | None = None
        self._tally = _Tally()
        self._busy: dict[object, Deferred[None]] = {}
        self._unprotected: dict[str, float] = {}
        self._reduced_at: dict[str, float] = {}
        self._unknown_tags: dict[str, str] = {}
        self._placed = itertools.count(1)

    @property
    def is_flattening(self) -> bool:
        """Whether a flatten is under way."""
        return self._flattening is not None

    def stop(self) -> None:
        """Leave off; what is under way is in the journal and goes on at the next start."""
        self._is_stopped = True
        for under_way in (self._flattening, *self._busy.values()):
            if under_way is not None:
                under_way.cancel()

    def sees_to(self, decision: Decision) -> bool:
        """Tell whether the flatten that is under way sees to what was decided, or will."""
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

    def hold_to(self, lock: LockoutSet, state: AccountState) -> None:
        """See to it that a locked account holds nothing and works nothing."""
        if state.open_positions:
            self.flatten(flattening_of_locked(lock, self._now()))
            return
        for order in forbidden_orders(state):
            self.reject(lock.rule_id, rejection_of_locked(lock, order))

    def flatten(self, *wanted: Flattening) -> None:
        """Begin one flatten that does all that is wanted, or let the one that is under way do more."""
        if self._plan is None:
            self._decided_at = self._clock.seconds()
        known, new = self._plan, reduce(merged, wanted)
        plan = new if known is None else merged(known, new)
        if plan is not known:
            self._account.change_risk(flattening=plan)
            if self.is_flattening:
                self._account.make_durable()
        self.resume()

    def resume(self) -> None:
        """Go on with the flatten that is in the account's state, if it is not under way."""
        if self._flattening is None and self._plan is not None and not self._is_stopped:
            self._tally = _Tally()
            # It may be done before there is a Deferred to hold on to.
            beginning: Deferred[None] = Deferred()
            self._flattening = beginning
            under_way = Deferred.fromCoroutine(self._flatten())
            if self._flattening is beginning:
                self._flattening = under_way
            under_way.addErrback(self._flatten_failed)

    def reject(self, rule_id: str, wanted: RejectOrder) -> None:
        """Cancel an order that may not be, and tell."""
        self._once(wanted.order_id, self._reject(rule_id, wanted))

    def place_stop(self, rule_id: str, wanted: PlaceStop) -> None:
        """Place a stop, and tell; only one at a time for each contract."""
        since = self._unprotected.get(wanted.contract_id)
        if since is None or self._clock.seconds() - since >= _STOP_RETRY_SECONDS:
            self._once(wanted.contract_id, self._place_stop(rule_id, wanted))

    def change_stop(self, wanted: ChangeStop) -> None:
        """Change a stop."""
        self._once(wanted.order_id, self._change_stop(wanted))

    def withdraw_stop(self, wanted: WithdrawStop) -> None:
        """Cancel a stop that protects nothing any more."""
        self._once(wanted.order_id, self._withdraw_stop(wanted))

    # Flattening.

    @property
    def _plan(self) -> Flattening | None:
        return self._account.state.risk.flattening

    async def _flatten(self) -> None:
        begun = self._clock.seconds()
        await self._intent_is_written()
        for attempt in itertools.count():
            plan = self._plan
            if plan is None:
                break
            left = await self._try(plan)
            # What merged into it meanwhile is still to be done.
            if not left and plan is self._plan:
                self._conclude(plan, success=True)
                break
            is_overdue = (
                attempt >= len(RETRY_SECONDS) - 1
                or self._clock.seconds() - begun >= OVERDUE_SECONDS
            )
            plan = self._plan
            if is_overdue and plan is not None:
                self._tell_not_flat(
                    f"Account {self._account.account_id} is not flat yet ({left or _MORE}), "
                    f"riskd keeps trying: {plan.reason}"
                )
                if not plan.is_announced:
                    self._conclude(plan, success=False)
            await deferLater(self._clock, RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        self._flattening = None
        self._tell_not_flat("")
        self._tell_refused("")
        self._settled(bool(self._tally.closed or self._tally.canceled))

    async def _intent_is_written(self) -> None:
        """Wait until the flatten is in the journal, but not for a slow disk."""
        await done_within(WRITE_SECONDS, self._account.make_durable(), self._clock)

    async def _try(self, plan: Flattening) -> str:
        """Try to flatten; return why it is not done, or nothing.

        Nothing but a cancellation stops the next try.
        """
        try:
            return await self._try_to_flatten(plan)
        except GatewayError as error:
            # A read that failed does not mean flat.
            _log.warn("account {account}: {error}", account=self._account.account_id, error=error)
        except Exception:  # a payload that nobody expected, perhaps; the next may be sound
            # Whatever a cancellation is wrapped in, nothing goes on.
            if self._is_stopped:
                raise
            _log.failure("a try to flatten failed: a mistake in riskd")
            return "a mistake in riskd, see the log"
        return "the broker does not say what is open"

    async def _try_to_flatten(self, plan: Flattening) -> str:
        """Close and cancel what is there; return what the broker says is left, or nothing."""
        held, working = await self._look()
        if await self._act(plan, held, working):
            held, working = await self._look()
        if self._is_contradicted(plan, held):
            return "the broker told of a position that it does not list"
        if left := still_open(plan, held, working):
            return f"{left} open"
        await self._learn(plan, held, working)
        return ""

    async def _learn(
        self, plan: Flattening, held: Iterable[Payload], working: Iterable[Payload]
    ) -> None:
        """Take what the broker says of all that was flattened: its events may come late, or never."""
        gone = self._account.missing_positions(held)
        self._account.close_vanished(
            [contract_id for contract_id in gone if concerns(plan, contract_id)], self._now()
        )
        for payload in held:
            if concerns(plan, payload["contractId"]):
                self._take("GatewayUserPosition", payload)
        for order in self._account.missing_orders(working):
            if concerns(plan, order.contract_id):
                await self._learn_order(order.id)

    def _is_contradicted(self, plan: Flattening, held: Iterable[Payload]) -> bool:
        """Tell whether the broker has told of a position so lately that its searches may not know it."""
        return any(
            contract_id not in self._tally.closed
            and concerns(plan, contract_id)
            and self._account.was_received_within(contract_id, SETTLED_SECONDS)
            for contract_id in self._account.missing_positions(held)
        )

    async def _look(self) -> tuple[list[Payload], list[Payload]]:
        account_id = self._account.account_id
        held = await self._ask(
            "Position/searchOpen", self._gateway.search_open_positions(account_id, urgent=True)
        )
        working = await self._ask(
            "Order/searchOpen", self._gateway.search_open_orders(account_id, urgent=True)
        )
        return held, working

    async def _act(self, plan: Flattening, held: list[Payload], working: list[Payload]) -> bool:
        """Close first: a position loses money, an order does not yet.  Return if there was anything."""
        closings = [one for one in to_close(plan, held) if not self._is_being_reduced(one)]
        cancels = to_cancel(plan, working)
        if closings or cancels:
            self._note_action()
        await self._all(self._close(closing) for closing in closings)
        await self._all(self._cancel_for_flatten(order_id) for order_id in cancels)
        resizings = to_resize(plan, working, held)
        await self._all(
            self._modify(resizing.order_id, {"size": resizing.size})
            if resizing.size
            else self._cancel_for_flatten(resizing.order_id)
            for resizing in resizings
        )
        return bool(closings or cancels or resizings)

    def _is_being_reduced(self, closing: Closing) -> bool:
        """Tell whether a part was closed so lately that the broker may not show it yet.

        To close all of a position may be repeated; a part that is closed twice is too much.
        """
        at = self._reduced_at.get(closing.contract_id)
        return (
            closing.size is not None
            and at is not None
            and self._clock.seconds() - at < SETTLED_SECONDS
        )

    def _note_action(self) -> None:
        """Tell how long the first action took; what is repeated or merged into it is no first one."""
        if self._decided_at is not None:
            self.acted(self._clock.seconds() - self._decided_at)
            self._decided_at = None

    async def _close(self, closing: Closing) -> None:
        account_id, contract_id = self._account.account_id, closing.contract_id
        try:
            if closing.size is None:
                await self._ask(
                    "Position/closeContract",
                    self._gateway.close_contract(account_id, contract_id),
                )
            else:
                await self._ask(
                    "Position/partialCloseContract",
                    self._gateway.partial_close_contract(account_id, contract_id, closing.size),
                )
        except GatewayRefusedError as refusal:
            self._note_refusal(refusal, _CLOSE_REFUSED_FOR_GOOD.get(refusal.request))
            return
        except GatewayUnansweredError as error:
            _log.warn("closing {contract}: {error}", contract=contract_id, error=error)
        else:
            self._tell_refused("")
        self._tally.closed.add(contract_id)
        self._reduced_at[contract_id] = self._clock.seconds()

    async def _cancel_for_flatten(self, order_id: int) -> None:
        outcome = await self._cancel(order_id)
        if outcome is not _Canceling.GONE:
            self._tally.canceled.add(order_id)

    def _conclude(self, plan: Flattening, *, success: bool) -> None:
        """Tell what came of a flatten, once, and then the locks that begin with it."""
        now = self._now()
        tally = self._tally
        is_telling = not plan.is_announced and bool(
            plan.locks or tally.closed or tally.canceled or not success
        )
        state = self._account.state_with_pending
        done = None if success else msgspec.structs.replace(plan, is_announced=True, locks=())
        self._account.change_risk(flattening=done)
        if is_telling:
            action = report(
                plan,
                success=success,
                closed=len(tally.closed),
                canceled=len(tally.canceled),
                now=now,
            )
            try:
                self._tell(action, *lock_announcements(plan.locks, state, now))
            except Exception:
                # What was not told is not done: the next try tells it.
                self._account.change_risk(flattening=plan)
                raise

    def _tell(self, action: EnforcementAction, *locks: LockoutSet) -> None:
        _log.warn(
            "account {account}: {action} by {rule}, {outcome}: {reason}",
            account=self._account.account_id,
            action=action.action.value,
            rule=action.rule_id,
            outcome="done" if action.success else "failed",
            reason=action.reason,
        )
        self._account.announce(action, *locks)

    # Orders.

    async def _reject(self, rule_id: str, wanted: RejectOrder) -> None:
        is_told = False
        has_canceled = False
        for attempt in itertools.count():
            outcome = await self._cancel(wanted.order_id)
            has_canceled |= outcome is not _Canceling.GONE
            payload = await self._learn_order(wanted.order_id)
            if payload is None or has_ended(payload):
                break
            if attempt >= len(RETRY_SECONDS) - 1 and not is_told:
                is_told = True
                self._tell_rejection(rule_id, wanted, canceled=0)
            await deferLater(self._clock, RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        was_filled = payload is not None and payload.get("status") == GatewayOrderStatus.FILLED
        # Filled before it could be canceled: what it opened is somebody else's business.
        if has_canceled and not was_filled and not is_told:
            self._tell_rejection(rule_id, wanted, canceled=1)

    def _tell_rejection(self, rule_id: str, wanted: RejectOrder, *, canceled: int) -> None:
        self._tell(
            EnforcementAction(
                action=Action.REJECT_ORDER,
                reason=wanted.reason,
                rule_id=rule_id,
                success=bool(canceled),
                timestamp=self._now(),
                details=EnforcementDetails(
                    positions_closed=0, orders_canceled=canceled, order_id=wanted.order_id
                ),
            )
        )

    async def _cancel(self, order_id: int) -> _Canceling:
        try:
            await self._ask(
                "Order/cancel", self._gateway.cancel_order(self._account.account_id, order_id)
            )
        except GatewayRefusedError as refusal:
            if refusal.code == _GONE:
                self._tell_refused("")
                return _Canceling.GONE
            self._note_refusal(refusal, _CANCEL_REFUSED_FOR_GOOD)
            return _Canceling.UNKNOWN
        except GatewayUnansweredError as error:
            _log.warn("canceling {order}: {error}", order=order_id, error=error)
            return _Canceling.UNKNOWN
        self._tell_refused("")
        return _Canceling.CANCELED

    async def _modify(self, order_id: int, changes: Payload) -> None:
        try:
            await self._ask(
                "Order/modify",
                self._gateway.modify_order(self._account.account_id, order_id, changes),
            )
        except GatewayError as error:
            _log.warn("changing {order}: {error}", order=order_id, error=error)
        await self._learn_order(order_id)

    async def _learn_order(self, order_id: int) -> Payload | None:
        """Return what the broker says of an order, and take it; ``None`` if it knows of none."""
        try:
            payload = await self._ask(
                "Order/searchById",
                self._gateway.search_order(self._account.account_id, order_id, urgent=True),
            )
        except GatewayRefusedError as refusal:
            known = self._account.state.orders.get(order_id)
            if refusal.code == _ORDER_UNKNOWN and known is not None:
                self._account.end_vanished(known, self._now())
            return None
        except GatewayUnansweredError as error:
            _log.warn("asking for {order}: {error}", order=order_id, error=error)
            return {"status": GatewayOrderStatus.NONE}
        self._take("GatewayUserOrder", payload)
        return payload

    # Stops.

    async def _place_stop(self, rule_id: str, wanted: PlaceStop) -> None:
        # A tag is good for one order: as long as it is not known whether the broker took the last try,
        # the next goes under the same tag, and cannot become a second stop.
        earlier = self._unknown_tags.pop(wanted.contract_id, None)
        tag = (
            earlier or f"{OWN_STOP_TAG}-{int(self._now().timestamp() * 1000)}-{next(self._placed)}"
        )
        order_id: int | None = None
        try:
            order_id = await self._ask(
                "Order/place",
                self._gateway.place_order(self._account.account_id, _stop_order(wanted, tag)),
            )
        except GatewayUnansweredError as error:
            _log.warn("placing a stop: {error}", error=error)
            self._unknown_tags[wanted.contract_id] = tag
            order_id = await self._find(tag)
        except GatewayRefusedError as refusal:
            _log.warn("placing a stop: {refusal}", refusal=refusal)
            if earlier is not None:
                order_id = await self._find(tag)
            if order_id is None and refusal.code == _ORDER_REJECTED:
                self._close_unprotected(rule_id, wanted, refusal)
                return
        if order_id is not None:
            self._unknown_tags.pop(wanted.contract_id, None)
            await self._learn_order(order_id)
        was_failing = wanted.contract_id in self._unprotected
        if order_id is None:
            self._unprotected[wanted.contract_id] = self._clock.seconds()
        else:
            self._unprotected.pop(wanted.contract_id, None)
        if order_id is not None or not was_failing:
            self._tell_stop(rule_id, wanted, order_id)

    async def _find(self, tag: str) -> int | None:
        """Return the id of the order with ``tag``; it may take a while until searches show it."""
        for seconds in RETRY_SECONDS[:3]:
            await deferLater(self._clock, seconds)
            try:
                placed = await self._ask(
                    "Order/search",
                    self._gateway.search_orders(
                        self._account.account_id, self._now() - _TAG_AGE, urgent=True
                    ),
                )
            except GatewayError as error:
                _log.warn("looking for the order {tag}: {error}", tag=tag, error=error)
                continue
            for payload in placed:
                # One that was rejected has the tag, too.
                is_rejected = payload.get("status") == GatewayOrderStatus.REJECTED
                if payload.get("customTag") == tag and not is_rejected:
                    found: int = payload["id"]
                    return found
        return None

    def _close_unprotected(
        self, rule_id: str, wanted: PlaceStop, refusal: GatewayRefusedError
    ) -> None:
        """Close what the broker takes no stop for: the market is through it already."""
        self.flatten(
            Flattening(
                action=Action.CLOSE_ALL_POSITIONS,
                rule_id=rule_id,
                reason=f"No stop at {wanted.stop_price} was accepted: {refusal.message}",
                begun=self._now(),
                keep={wanted.contract_id: 0},
            )
        )

    def _tell_stop(self, rule_id: str, wanted: PlaceStop, order_id: int | None) -> None:
        details = EnforcementDetails(
            positions_closed=0,
            orders_canceled=0,
            contract_id=wanted.contract_id,
            stop_price=wanted.stop_price,
            size=wanted.size,
        )
        if order_id is not None:
            details = msgspec.structs.replace(details, order_id=order_id)
        self._tell(
            EnforcementAction(
                action=Action.AUTO_STOP_LOSS,
                reason=wanted.reason,
                rule_id=rule_id,
                success=order_id is not None,
                timestamp=self._now(),
                details=details,
            )
        )

    async def _change_stop(self, wanted: ChangeStop) -> None:
        _log.info(
            "account {account}: {reason}", account=self._account.account_id, reason=wanted.reason
        )
        await self._modify(wanted.order_id, {"size": wanted.size, "stopPrice": wanted.stop_price})

    async def _withdraw_stop(self, wanted: WithdrawStop) -> None:
        _log.info(
            "account {account}: {reason}", account=self._account.account_id, reason=wanted.reason
        )
        await self._cancel(wanted.order_id)
        await self._learn_order(wanted.order_id)

    # The machinery.

    async def _ask(self, request: str, answer: Deferred[_T]) -> _T:
        """Wait for the gateway, but not for ever.

        :raises GatewayError: it refused, or did not answer in time.
        """
        try:
            return await in_time(request, answer, self._clock, self._gateway.answer_seconds)
        finally:
            # However a gateway answers what was left waiting, nothing goes on.
            if self._is_stopped:
                raise CancelledError

    async def _all(self, acts: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Do things at the same time, and wait for all of them."""
        await gatherResults([Deferred.fromCoroutine(act) for act in acts], consumeErrors=True)

    def _once(self, key: object, act: Coroutine[Any, Any, None]) -> None:
        """Begin ``act``, unless there is one of this key under way."""
        if key in self._busy:
            act.close()
            return
        self._busy[key] = Deferred()
        self._busy[key] = under_way = Deferred.fromCoroutine(act)

        def done(result: Any) -> Any:
            self._busy.pop(key, None)
            return result

        under_way.addBoth(done).addErrback(self._failed, str(key))

    def _tell_not_flat(self, sentence: str) -> None:
        self._report_problem(f"enforcement {self._account.account_id}", sentence)

    def _tell_refused(self, sentence: str) -> None:
        self._report_problem(f"refusal {self._account.account_id}", sentence)

    def _note_refusal(self, refusal: GatewayRefusedError, for_good: int | None) -> None:
        _log.warn("{refusal}", refusal=refusal)
        if refusal.code == for_good:
            self._tell_refused(
                f"The broker refuses to let riskd act for account {self._account.account_id}: "
                f"{refusal.message}"
            )

    def _flatten_failed(self, failure: Failure) -> None:
        """Begin anew after a mistake of ours: what is not flat must become flat all the same."""
        self._flattening = None
        if not self._is_stopped:
            self._failed(failure, "the flatten")
            self._tell_not_flat(
                f"Enforcement failed for account {self._account.account_id}, riskd tries again: "
                "a mistake in riskd"
            )
            self._clock.callLater(RETRY_SECONDS[-1], self.resume)

    def _failed(self, failure: Failure, what: str) -> None:
        # What is not done will be seen again by the rules.
        if failure.check(CancelledError) is None and not self._is_stopped:
            _log.failure("{what} failed: a mistake in riskd", failure, what=what)


def _unmeasured(_seconds: float) -> None:
    """Let nobody know how long it took."""


def _stop_order(wanted: PlaceStop, tag: str) -> Payload:
    is_sale = wanted.side.name == "SELL"
    return {
        "contractId": wanted.contract_id,
        "type": int(GatewayOrderType.STOP),
        "side": int(GatewayOrderSide.ASK if is_sale else GatewayOrderSide.BID),
        "size": wanted.size,
        "stopPrice": wanted.stop_price,
        "customTag": tag,
    }
