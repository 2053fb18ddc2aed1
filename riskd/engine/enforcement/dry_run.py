"""Telling what would be enforced, and doing nothing.

A :class:`DryRun` stands in the place of an :class:`~riskd.engine.enforcement.enforcer.Enforcer` and has no gateway: it
cannot place, cancel, change or close anything.  It sets no locks.  What would be closed and canceled it
tells from what is known of the account when riskd would have acted: brokers tell of a trade before they
tell what became of the position.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from functools import reduce
from typing import Final, NamedTuple

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from riskd.engine.enforcement.flattening import (
    flattening_of_locked,
    merged,
    rejection_of_locked,
    report,
    to_cancel,
    to_close,
    to_resize,
)
from riskd.engine.enforcement.reported import Told
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.interface import Payload
from riskd.model.account import AccountState, Flattening
from riskd.model.events import (
    Action,
    EnforcementAction,
    EnforcementDetails,
    GatewayUserOrder,
    LockoutSet,
    OrderSide,
    OrderType,
)
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
"""How long riskd would take to act; what is over by then, such as an order that is filled, it would miss."""

_GATEWAY_TYPES: Final = {
    OrderType.MARKET: GatewayOrderType.MARKET,
    OrderType.LIMIT: GatewayOrderType.LIMIT,
    OrderType.STOP: GatewayOrderType.STOP,
    OrderType.STOP_LIMIT: GatewayOrderType.STOP_LIMIT,
}
_GATEWAY_SIDES: Final = {
    OrderSide.BUY: GatewayOrderSide.BID,
    OrderSide.SELL: GatewayOrderSide.ASK,
}


class Extent(NamedTuple):
    """How much a flatten would do.

    :ivar closed: the positions that would be closed, whole or in part.
    :ivar canceled: the orders that would be canceled.
    """

    closed: int
    canceled: int


def extent(plan: Flattening, state: AccountState) -> Extent:
    """Return how much a flatten would do to an account, if all that is known of it is so."""
    held: list[Payload] = [
        {"contractId": each.contract_id, "type": int(each.type), "size": each.size}
        for each in state.open_positions
    ]
    working = [_payload(state, order) for order in state.working_orders]
    canceled = set(to_cancel(plan, working))
    canceled |= {each.order_id for each in to_resize(plan, working, held) if not each.size}
    return Extent(len(to_close(plan, held)), len(canceled))


def _payload(state: AccountState, order: GatewayUserOrder) -> Payload:
    """Return an order in the gateway's terms, in which flattens are reckoned."""
    detail = state.risk.order_details.get(order.id)
    return {
        "id": order.id,
        "contractId": order.contract_id,
        "type": _GATEWAY_TYPES[order.type],
        "side": _GATEWAY_SIDES[order.side],
        "size": order.size,
        "fillVolume": detail.filled if detail else 0,
        "stopPrice": order.stop_price,
        "limitPrice": order.limit_price,
    }


class DryRun:
    """Tells what would be done for one account, each thing once for as long as it lasts.

    :param account: the account.
    :param clock: times what is told.
    :param now: gives the time of day, aware.
    """

    is_flattening: Final = False
    """Nothing is ever under way."""

    def __init__(
        self, account: TrackedAccount, clock: IReactorTime, now: Callable[[], datetime]
    ) -> None:
        self._account = account
        self._clock = clock
        self._now = now
        self._acting: list[IDelayedCall] = []
        self._told = Told()
        self._held_to: set[Hashable] = set()
        self._logged: dict[int, Command] = {}

    def resume(self) -> None:
        """Leave what an earlier daemon has begun to the next one that enforces."""
        plan = self._account.state.risk.flattening
        if plan is not None:
            _log.warn(
                "account {account}: a flatten that was begun before this dry run waits until "
                "riskd enforces again: {reason}",
                account=self._account.account_id,
                reason=plan.reason,
            )

    def stop(self) -> None:
        """Leave off."""
        for act in self._acting:
            if act.active():
                act.cancel()

    def sees_to(self, decision: Decision) -> bool:
        """Tell whether this was told and lasts."""
        command = decision.command
        if isinstance(command, (ChangeStop, WithdrawStop)):
            return self._logged.get(command.order_id) == command
        return self._told.has(decision, self._now())

    def forget_ended(
        self,
        state: AccountState,
        rules: Iterable[RuleInForce],
        review: Trigger,
        *,
        is_strict: bool,
    ) -> None:
        """Forget what is over, so that it is told again when it comes back."""
        self._told.forget_ended(state, rules, review, is_strict=is_strict)
        self._logged = {key: seen for key, seen in self._logged.items() if key in state.orders}

    def forget_locks(self) -> None:
        """Take it that an operator has ended the locks that would hold."""
        self._told.forget_locks()

    def hold_to(self, lock: LockoutSet, state: AccountState) -> None:
        """Tell what a lock of before would do: once for each position, and once for each order."""
        positions = {(held.contract_id, held.created_at) for held in state.open_positions}
        self._held_to &= {*positions, *state.orders}
        if not positions <= self._held_to:
            self._held_to |= {*positions, *state.orders}
            self._act(self._tell_flatten, flattening_of_locked(lock, self._now()))
        for order in forbidden_orders(state):
            if order.id not in self._held_to:
                self._held_to.add(order.id)
                rejection = rejection_of_locked(lock, order)
                self._act(self._tell_rejection, lock.rule_id, rejection)

    def flatten(self, *wanted: Flattening) -> None:
        """Tell of one flatten that does all that is wanted, unless there is nothing to be done."""
        decisions = [
            Decision(each.rule_id, Flatten(reason=each.reason, keep=each.keep)) for each in wanted
        ]
        for each, decision in zip(wanted, decisions, strict=True):
            self._told.add(decision, each.locks)
        self._act(self._tell_flatten, reduce(merged, wanted), decisions)

    def reject(self, rule_id: str, wanted: RejectOrder) -> None:
        """Tell of an order that may not be."""
        self._told.add(Decision(rule_id, wanted))
        self._act(self._tell_rejection, rule_id, wanted)

    def place_stop(self, rule_id: str, wanted: PlaceStop) -> None:
        """Tell of a stop that would be placed."""
        self._told.add(Decision(rule_id, wanted))
        details = EnforcementDetails(
            positions_closed=0,
            orders_canceled=0,
            contract_id=wanted.contract_id,
            stop_price=wanted.stop_price,
            size=wanted.size,
        )
        self._tell(self._action(Action.AUTO_STOP_LOSS, rule_id, wanted.reason, details))

    def change_stop(self, wanted: ChangeStop) -> None:
        """Log that a stop would be changed."""
        self._log_stop(wanted)

    def withdraw_stop(self, wanted: WithdrawStop) -> None:
        """Log that a stop would be canceled."""
        self._log_stop(wanted)

    # Telling.

    def _act(self, tell: Callable[..., None], *what: object) -> None:
        """Tell when riskd would have acted."""
        self._acting = [act for act in self._acting if act.active()]
        self._acting.append(self._clock.callLater(ACTING_SECONDS, tell, *what))

    def _tell_flatten(self, plan: Flattening, decisions: Iterable[Decision] = ()) -> None:
        closed, canceled = extent(plan, self._account.state)
        if plan.locks or closed or canceled:
            now = self._now()
            self._tell(report(plan, success=False, closed=closed, canceled=canceled, now=now))
            return
        # As soon as there is something to be done, it is news.
        for decision in decisions:
            self._told.discard(decision)

    def _tell_rejection(self, rule_id: str, wanted: RejectOrder) -> None:
        if wanted.order_id not in self._account.state.orders:
            return
        details = EnforcementDetails(
            positions_closed=0, orders_canceled=1, order_id=wanted.order_id
        )
        self._tell(self._action(Action.REJECT_ORDER, rule_id, wanted.reason, details))

    def _action(
        self, action: Action, rule_id: str, reason: str, details: EnforcementDetails
    ) -> EnforcementAction:
        return EnforcementAction(
            action=action,
            reason=reason,
            rule_id=rule_id,
            success=False,
            timestamp=self._now(),
            details=details,
        )

    def _tell(self, action: EnforcementAction) -> None:
        _log.warn(
            "account {account}: {action} by {rule}, not done, this is a dry run: {reason}",
            account=self._account.account_id,
            action=action.action.value,
            rule=action.rule_id,
            reason=action.reason,
        )
        details = msgspec.structs.replace(action.details, dry_run=True)
        self._account.announce(msgspec.structs.replace(action, details=details))

    def _log_stop(self, wanted: ChangeStop | WithdrawStop) -> None:
        self._logged[wanted.order_id] = wanted
        _log.info(
            "account {account}, not done, this is a dry run: {reason}",
            account=self._account.account_id,
            reason=wanted.reason,
        )
