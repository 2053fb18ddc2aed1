"""What an account holds by the fills that its orders have reported.

Brokers report a fill twice, in its order and in its position, a moment apart and in either order.  In between, the
position alone does not say what an order began with.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.broker import BrokerOrder, BrokerPosition
from riskd.rules.interface import RuleResult, Trigger
from riskd.rules.positions import held_in

_APART: Final = timedelta(seconds=2)
"""How long orders and positions may tell different stories."""

_AGAIN: Final = timedelta(seconds=0.25)
"""How soon a rule is checked again while the trade of an exit is missing."""

_Check = Callable[[AccountState, Any, Trigger], RuleResult]


def checked_until_trades_come(check: _Check) -> _Check:
    """Return a rule's check that asks for the next one while a trade is missing.

    An exit may be reported as a change of the position first, and as a trade later.  Rules that look at what the
    account holds are not evaluated on that trade, but it may realize more than the position showed, and it counts.
    """

    @wraps(check)
    def checked(state: AccountState, settings: Any, trigger: Trigger) -> RuleResult:
        result = check(state, settings, trigger)
        if not any(each.contracts < 0 for each in state.risk.unmatched.values()):
            return result
        again = trigger.now + _AGAIN
        wake_at = again if result.wake_at is None else min(again, result.wake_at)
        return msgspec.structs.replace(result, wake_at=wake_at)

    return checked


class Ledger(msgspec.Struct, frozen=True):
    """What positions and orders have reported of one contract.

    Contracts bought and sold are counted apart: a position that was opened and closed again may be reported in two
    steps when both orders have long been filled.

    :ivar size: the position as it was reported last, in signed contracts.
    :ivar at: when any of it was reported.
    :ivar bought: how many contracts more orders have reported as bought than positions; negative if positions are
        ahead.
    :ivar sold: the same of contracts that were sold.
    """

    size: int
    at: datetime
    # Journals of earlier versions do not have these.
    bought: int = 0
    sold: int = 0

    def after_order(self, filled: int, at: datetime) -> Ledger:
        """Return the ledger after an order has reported so many signed contracts more."""
        return Ledger(self.size, at, self.bought + max(0, filled), self.sold + max(0, -filled))

    def after_position(self, size: int, at: datetime) -> Ledger:
        """Return the ledger after the position was reported with this size."""
        change = size - self.size
        return Ledger(size, at, self.bought - max(0, change), self.sold - max(0, -change))


class Fills(msgspec.Struct, frozen=True):
    """What positions and orders have reported.

    :ivar ledgers: by contract id.
    :ivar parts: how many contracts each working order has filled, by order id.
    """

    ledgers: dict[str, Ledger] = {}
    parts: dict[int, int] = {}

    def held(self, contract_id: str) -> int:
        """Return the signed number of contracts held, by all that was reported."""
        ledger = self.ledgers.get(contract_id)
        if ledger is None:
            return 0
        return ledger.size + max(0, ledger.bought) - max(0, ledger.sold)

    def held_by_orders(self, contract_id: str) -> int:
        """Return the signed number of contracts held, by what orders have reported.

        That is the size before an order whose event is not counted yet.
        """
        ledger = self.ledgers.get(contract_id)
        return 0 if ledger is None else ledger.size + ledger.bought - ledger.sold

    def counted_until(self) -> list[datetime]:
        """Return when fills that no position shows no longer count."""
        return [
            each.at + _APART for each in self.ledgers.values() if each.bought > 0 or each.sold > 0
        ]


def with_positions(
    known: Fills, state: AccountState, trigger: Trigger, apart: timedelta = _APART
) -> Fills:
    """Return the fills with the positions as they are now.

    :param apart: how long orders and positions may tell different stories.
    """
    now, subject = trigger.now, trigger.subject
    ledgers = dict(known.ledgers)
    for contract_id in state.positions:
        size, last = held_in(state, contract_id), ledgers.get(contract_id)
        if last is None:
            is_new = isinstance(subject, BrokerPosition) and subject.contract_id == contract_id
            last = Ledger(0 if is_new else size, now)
        if now - last.at >= apart and (last.bought or last.sold):
            last = Ledger(last.size, now)
        if size != last.size:
            last = last.after_position(size, now)
        ledgers[contract_id] = last
    return Fills(ledgers, known.parts)


def with_order(known: Fills, state: AccountState, trigger: Trigger) -> Fills:
    """Return the fills with what an event says that its order has filled."""
    parts = {order.id: order.filled for order in state.working_orders if order.filled}
    order = trigger.subject
    if not isinstance(order, BrokerOrder):
        return Fills(known.ledgers, parts)
    news = (order.filled - known.parts.get(order.id, 0)) * order.side.sign
    if not news:
        return Fills(known.ledgers, parts)
    last = known.ledgers.get(order.contract_id) or Ledger(0, trigger.now)
    ledger = last.after_order(news, trigger.now)
    return Fills({**known.ledgers, order.contract_id: ledger}, parts)
