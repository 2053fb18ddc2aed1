"""Describe and announce what riskd did, or in a dry run would have done."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET
from twisted.logger import Logger

from riskd.engine.tracked_account import TrackedAccount
from riskd.model.account import Flattening, end_of_lock
from riskd.model.events import Action, EnforcementAction, EnforcementDetails, LockoutSet
from riskd.rules.interface import PlaceStop, RejectOrder

_log = Logger()


def flatten_action(
    flattening: Flattening, *, success: bool, closed: int, canceled: int, now: datetime
) -> EnforcementAction:
    """Describe a flatten.

    :param closed: the number of positions that were closed, in full or in part.
    :param canceled: the number of orders that were canceled.
    """
    details = EnforcementDetails(positions_closed=closed, orders_canceled=canceled)
    if flattening.keep is not None and len(flattening.keep) == 1:
        (contract_id,) = flattening.keep
        details = msgspec.structs.replace(details, contract_id=contract_id)
    lock = max(flattening.locks, key=end_of_lock, default=None)
    if lock is not None and flattening.action is Action.COOLDOWN:
        details = msgspec.structs.replace(details, cooldown_seconds=_seconds(lock))
    elif lock is not None:
        details = msgspec.structs.replace(details, locked_until=lock.locked_until)
    return EnforcementAction(
        action=flattening.action,
        reason=flattening.reason,
        rule_id=flattening.rule_id,
        success=success,
        timestamp=now,
        details=details,
    )


def _seconds(lock: LockoutSet) -> int:
    if lock.locked_until is None:
        return 0
    return max(0, round((lock.locked_until - lock.locked_at).total_seconds()))


def rejection_action(
    rule_id: str, command: RejectOrder, *, success: bool, canceled: int, now: datetime
) -> EnforcementAction:
    """Describe the rejection of an order, which cancels it.

    :param canceled: the number of orders that were canceled, 0 or 1.
    """
    return EnforcementAction(
        action=Action.REJECT_ORDER,
        reason=command.reason,
        rule_id=rule_id,
        success=success,
        timestamp=now,
        details=EnforcementDetails(
            positions_closed=0, orders_canceled=canceled, order_id=command.order_id
        ),
    )


def stop_action(
    rule_id: str, command: PlaceStop, order_id: int | None, now: datetime
) -> EnforcementAction:
    """Describe the placing of a protective stop.

    :param order_id: the order that the broker accepted; ``None`` if it accepted none.
    """
    return EnforcementAction(
        action=Action.AUTO_STOP_LOSS,
        reason=command.reason,
        rule_id=rule_id,
        success=order_id is not None,
        timestamp=now,
        details=EnforcementDetails(
            positions_closed=0,
            orders_canceled=0,
            contract_id=command.contract_id,
            order_id=UNSET if order_id is None else order_id,
            stop_price=command.stop_price,
            size=command.size,
        ),
    )


def announce(account: TrackedAccount, action: EnforcementAction, *locks: LockoutSet) -> None:
    """Log and announce an action, and the locks that begin with it."""
    outcome = "done" if action.success else "failed"
    if action.details.dry_run is True:
        outcome = "not done, this is a dry run"
    _log.warn(
        "account {account}: {action} by {rule}, {outcome}: {reason}",
        account=account.account_id,
        action=action.action.value,
        rule=action.rule_id,
        outcome=outcome,
        reason=action.reason,
    )
    account.announce(action, *locks)


def announce_dry_run(account: TrackedAccount, action: EnforcementAction) -> EnforcementAction:
    """Log, announce and return an action that a dry run does not take."""
    details = msgspec.structs.replace(action.details, dry_run=True)
    action = msgspec.structs.replace(action, details=details)
    announce(account, action)
    return action
