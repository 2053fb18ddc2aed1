"""Announce what riskd would enforce, and do nothing at the broker.

A :class:`DryRun` takes the place of an :class:`~riskd.engine.enforcement.enforcer.Enforcer`.  It has no
gateway, so it cannot place, cancel, change or close anything by mistake, and it sets no locks.  It counts
what would be closed and canceled at the moment when riskd would have acted: brokers send a trade before
they send what became of the position.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from functools import reduce
from typing import Final

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
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.interface import Found
from riskd.model.account import AccountState, Flattening
from riskd.model.events import EventData, LockoutSet
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
"""How long riskd would take to act: what is over by then, such as a filled order, is not announced."""


def _extent(plan: Flattening, state: AccountState) -> tuple[int, int]:
    """Return how many positions a flatten would close and orders it would cancel."""
    held, working = Found(state.open_positions), Found(state.working_orders)
    canceled = set(to_cancel(plan, working))
    # An exit that is left nothing to close is canceled.
    canceled |= {each.order_id for each in to_resize(plan, working, held) if not each.size}
    return len(to_close(plan, held)), len(canceled)


class DryRun:
    """Announces what riskd would do, once for each breach while it lasts.

    :param account: the account.
    :param clock: delays what is announced.
    :param now: gives the time of day, aware.
    """

    def __init__(
        self, account: TrackedAccount, clock: IReactorTime, now: Callable[[], datetime]
    ) -> None:
        self._account = account
        self._clock = clock
        self._now = now
        self._announcing: list[IDelayedCall] = []
        self._reported = ReportedBreaches()
        self._held_to: set[Hashable] = set()
        self._logged: dict[int, Command] = {}

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
        """Do nothing about a position or an order: there is no flatten under way."""

    def stop(self) -> None:
        """Announce nothing more."""
        for call in self._announcing:
            if call.active():
                call.cancel()

    def is_handling(self, decision: Decision) -> bool:
        """Return whether this was announced and is not over."""
        command = decision.command
        if isinstance(command, (ChangeStop, WithdrawStop)):
            return self._logged.get(command.order_id) == command
        return self._reported.has(decision, self._now())

    def is_effect(self, _subject: EventData | None) -> bool:
        """Return ``False``: there is no flatten under way that may have caused an event."""
        return False

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
                self._announce_later(self._announce_rejection, lock.rule_id, rejection)

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
        if isinstance(command, RejectOrder):
            self._announce_later(self._announce_rejection, rule_id, command)
        else:
            announce_dry_run(self._account, stop_action(rule_id, command, None, self._now()))

    def _announce_later(self, announce: Callable[..., None], *arguments: object) -> None:
        """Announce an action at the moment when riskd would have acted."""
        self._announcing = [call for call in self._announcing if call.active()]
        self._announcing.append(self._clock.callLater(ACTING_SECONDS, announce, *arguments))

    def _announce_flatten(self, plan: Flattening, decisions: Iterable[Decision] = ()) -> None:
        closed, canceled = _extent(plan, self._account.state)
        if plan.locks or closed or canceled:
            action = flatten_action(
                plan, success=False, closed=closed, canceled=canceled, now=self._now()
            )
            announce_dry_run(self._account, action)
            return
        # Nothing was announced, so it is announced as soon as there is something to do.
        for decision in decisions:
            self._reported.discard(decision)

    def _announce_rejection(self, rule_id: str, command: RejectOrder) -> None:
        if command.order_id in self._account.state.orders:
            action = rejection_action(rule_id, command, success=False, canceled=1, now=self._now())
            announce_dry_run(self._account, action)
