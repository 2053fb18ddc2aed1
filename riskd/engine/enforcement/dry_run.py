"""Announce what riskd would enforce, and do nothing at the broker.

A :class:`DryRun` takes the place of an :class:`~riskd.engine.enforcement.enforcer.Enforcer`.  It has no
gateway, so it cannot place, cancel, change or close anything by mistake, and it sets no locks.

It announces an action a moment after it was decided on, with the time of the decision: brokers send a trade before
they send what became of the position and the order, and riskd would have found nothing to do about what was over.
What is closed or canceled within that moment counts, for riskd would have been quicker.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import datetime
from functools import reduce
from typing import Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from riskd.engine.enforcement.actions import (
    announce_dry_run,
    flatten_action,
    rejection_action,
    stop_action,
)
from riskd.engine.enforcement.flattening import (
    flattening_of_locked,
    merged,
    rejection_of_locked,
    to_cancel,
    to_close,
    to_resize,
)
from riskd.engine.enforcement.reported_breaches import ReportedBreaches
from riskd.engine.interface import ConfirmedFlatten
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.interface import Found
from riskd.model.account import AccountState, Flattening
from riskd.model.broker import BrokerOrder, BrokerPosition
from riskd.model.events import EnforcementAction, EventData, LockoutSet, OrderState
from riskd.model.lockouts import forbidden_orders
from riskd.rules.evaluation import Decision, RuleInForce
from riskd.rules.interface import (
    ChangeStop,
    Command,
    Flatten,
    PlaceStop,
    RejectOrder,
    Trigger,
    WithdrawStop,
)

_log = Logger()

ACTING_SECONDS: Final = 0.25
"""How long after a decision its action is announced: by then it is known what was over before it."""


def _to_close(plan: Flattening, positions: Iterable[BrokerPosition]) -> set[str]:
    """Return the contracts of which a flatten would close something."""
    return {each.contract_id for each in to_close(plan, Found(tuple(positions)))}


def _to_cancel(plan: Flattening, state: AccountState) -> set[int]:
    """Return the orders that a flatten would cancel."""
    held, working = Found(state.open_positions), Found(state.working_orders)
    # An exit that is left nothing to close is canceled.
    without_use = {each.order_id for each in to_resize(plan, working, held) if not each.size}
    return without_use.union(to_cancel(plan, working))


def _really_held(
    known: AccountState, later: AccountState, moment: datetime
) -> Iterator[BrokerPosition]:
    """Yield the positions that an account had at a moment, closed ones left out.

    :param known: the account as it was known then.
    :param later: the account as it is known once late news have come.
    """
    late = [
        trade
        for number, trade in later.trades.items()
        if number not in known.trades and trade.execution_time <= moment
    ]
    for position in known.open_positions:
        contract_id, unmatched = position.contract_id, known.risk.unmatched
        closed = unmatched[contract_id].contracts if contract_id in unmatched else 0
        closed += sum(trade.quantity for trade in late if trade.contract_id == contract_id)
        if (left := position.size - max(closed, 0)) > 0:
            yield msgspec.structs.replace(position, size=left)


class DryRun:
    """Announces what riskd would do, once for each breach while it lasts.

    :param account: the account.
    :param clock: delays what is announced.
    :param now: gives the time of day, aware.
    :ivar observe: called with each action that is announced and the account's state when it was decided on, in the
        order of the decisions.
    """

    def __init__(
        self, account: TrackedAccount, clock: IReactorTime, now: Callable[[], datetime]
    ) -> None:
        self._account = account
        self._clock = clock
        self._now = now
        self._announcing: list[IDelayedCall] = []
        # The orders that ended while something is to be announced.
        self._ended: dict[int, BrokerOrder] = {}
        self._reported = ReportedBreaches()
        self._held_to: set[Hashable] = set()
        self._logged: dict[int, Command] = {}
        self.observe: Callable[[EnforcementAction, AccountState], None] = lambda *_: None

    def resume(self) -> None:
        """Leave the flatten that an earlier daemon began to the next one that enforces."""
        plan = self._account.state.risk.flattening
        if plan is not None:
            _log.warn(
                "account {account}: a flatten that was begun before this dry run waits until "
                "riskd enforces again: {reason}",
                account=self._account.account_id,
                reason=plan.reason,
            )

    def receive(self, news: EventData) -> None:
        """Note how an order ended."""
        is_awaited = any(call.active() for call in self._announcing)
        if is_awaited and isinstance(news, BrokerOrder) and news.has_ended:
            self._ended[news.id] = news

    def _was_over(self, order_id: int, moment: datetime) -> bool:
        """Return whether riskd could not have canceled an order at a moment."""
        ended = self._ended.get(order_id)
        if ended is None:
            return False
        is_earlier = ended.stamp is not None and ended.stamp < moment
        return is_earlier or ended.state is not OrderState.CANCELED

    def stop(self) -> None:
        """Announce nothing more."""
        for call in self._announcing:
            if call.active():
                call.cancel()

    def confirmation(self) -> Deferred[ConfirmedFlatten]:
        """Return a Deferred that does not fire: nothing is closed."""
        return Deferred()

    def is_handling(self, decision: Decision) -> bool:
        """Return whether this was announced and is not over."""
        command = decision.command
        if isinstance(command, (ChangeStop, WithdrawStop)):
            return self._logged.get(command.order_id) == command
        return self._reported.has(decision, self._now())

    def is_effect(self, _subject: EventData | None) -> bool:
        """Return ``False``: there is no flatten under way that may have caused an event."""
        return False

    @property
    def has_reported_breaches(self) -> bool:
        """Whether a breach was announced that is not known to be over."""
        return self._reported.has_any

    def forget_ended(
        self,
        state: AccountState,
        rules: Iterable[RuleInForce],
        review: Trigger,
        *,
        is_strict: bool,
    ) -> None:
        """Forget breaches that are over, so that they are announced when they come back."""
        self._reported.forget_ended(state, rules, review, is_strict=is_strict)
        self._logged = {key: seen for key, seen in self._logged.items() if key in state.orders}

    def forget_locks(self) -> None:
        """Forget the locks that would be in force: an operator has ended them."""
        self._reported.forget_locks()

    def enforce_lock(self, lock: LockoutSet, state: AccountState) -> None:
        """Announce what a lock from before the dry run would do.

        Each position and order is announced once.
        """
        positions = {(held.contract_id, held.opening) for held in state.open_positions}
        self._held_to &= {*positions, *state.orders}
        if not positions <= self._held_to:
            self._held_to |= {*positions, *state.orders}
            self._announce_later(self._announce_flatten, flattening_of_locked(lock, self._now()))
        for order in forbidden_orders(state):
            if order.id not in self._held_to:
                self._held_to.add(order.id)
                rejection = rejection_of_locked(lock, order)
                self._announce_later(
                    self._announce_rejection, lock.rule_id, rejection, self._now()
                )

    def flatten(self, *wanted: Flattening) -> None:
        """Announce one flatten that does all that is wanted, if there is anything to do."""
        decisions = [
            Decision(each.rule_id, Flatten(reason=each.reason, keep=each.keep)) for each in wanted
        ]
        for each, decision in zip(wanted, decisions, strict=True):
            self._reported.add(decision, each.locks)
        self._announce_later(self._announce_flatten, reduce(merged, wanted), decisions)

    def carry_out(
        self, rule_id: str, command: RejectOrder | PlaceStop | ChangeStop | WithdrawStop
    ) -> None:
        """Announce a rejection or a new stop; log any other command."""
        if isinstance(command, (ChangeStop, WithdrawStop)):
            self._logged[command.order_id] = command
            _log.info(
                "account {account}, not done, this is a dry run: {reason}",
                account=self._account.account_id,
                reason=command.reason,
            )
            return
        self._reported.add(Decision(rule_id, command))
        announce = (
            self._announce_rejection if isinstance(command, RejectOrder) else self._announce_stop
        )
        self._announce_later(announce, rule_id, command, self._now())

    def _announce_later(self, announce: Callable[..., None], *arguments: object) -> None:
        """Announce an action once late news have come, with the time of its decision."""
        self._announcing = [call for call in self._announcing if call.active()]
        if not self._announcing:
            self._ended.clear()
        known = self._account.state_with_pending
        self._announcing.append(self._clock.callLater(ACTING_SECONDS, announce, known, *arguments))

    def _announce_flatten(
        self, known: AccountState, plan: Flattening, decisions: Iterable[Decision] = ()
    ) -> None:
        state = self._account.state
        held = _really_held(known, state, plan.begun)
        closed = _to_close(plan, held) | _to_close(plan, state.open_positions)
        canceled = {
            order_id
            for order_id in _to_cancel(plan, known) | _to_cancel(plan, state)
            if not self._was_over(order_id, plan.begun)
        }
        if plan.locks or closed or canceled:
            action = flatten_action(
                plan,
                success=False,
                closed=len(closed),
                canceled=len(canceled),
                now=plan.begun,
            )
            self._announce(action, known)
            return
        # Nothing was announced, so it is announced as soon as there is something to do.
        for decision in decisions:
            self._reported.discard(decision)

    def _announce_rejection(
        self, known: AccountState, rule_id: str, command: RejectOrder, decided: datetime
    ) -> None:
        if not self._was_over(command.order_id, decided):
            action = rejection_action(rule_id, command, success=False, canceled=1, now=decided)
            self._announce(action, known)

    def _announce_stop(
        self, known: AccountState, rule_id: str, command: PlaceStop, decided: datetime
    ) -> None:
        self._announce(stop_action(rule_id, command, None, decided), known)

    def _announce(self, action: EnforcementAction, known: AccountState) -> None:
        self.observe(announce_dry_run(self._account, action), known)
