"""Cancel the orders that rules reject, and find out what became of them."""

from __future__ import annotations

import itertools
import math

from twisted.internet.task import deferLater
from twisted.logger import Logger

from riskd.engine.broker import Broker
from riskd.engine.enforcement.actions import announce, rejection_action
from riskd.engine.enforcement.orders import OrderRequests
from riskd.engine.enforcement.sent_commands import (
    ANSWERED,
    MAY_BE_DONE,
    RETRY_SECONDS,
    Outcome,
)
from riskd.engine.order_of_truth import SETTLED_SECONDS
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.interface import GatewayUnansweredError
from riskd.model.broker import BrokerOrder
from riskd.model.events import OrderState
from riskd.rules.interface import RejectOrder

_log = Logger()


class Rejections:
    """Rejects orders of one account.

    :param account: the account.
    :param broker: the broker.
    :param orders: sends the requests.
    """

    def __init__(self, account: TrackedAccount, broker: Broker, orders: OrderRequests) -> None:
        self._account = account
        self._clock = broker.clock
        self._now = broker.now
        self._orders = orders
        # The orders that were announced as canceled; news of that may be late.
        self._canceled: set[int] = set()

    async def reject(self, rule_id: str, command: RejectOrder) -> None:
        """Cancel an order until the broker says that it has ended; announce the result."""
        self._canceled.intersection_update(self._account.state.orders)
        is_announced = command.order_id in self._canceled
        has_canceled = False
        order: BrokerOrder | None = None
        outcome = Outcome.UNANSWERED
        accepted_at = math.inf
        for attempt in itertools.count():
            try:
                asked_at = self._clock.seconds()
                if accepted_at <= asked_at < accepted_at + SETTLED_SECONDS:
                    # The broker has accepted it, and its searches may trail.
                    order = await self._orders.fetch(command.order_id)
                else:
                    outcome = await self._orders.cancel(command.order_id)
                    has_canceled |= outcome in MAY_BE_DONE
                    if outcome is Outcome.ACCEPTED:
                        accepted_at = self._clock.seconds()
                    order = await self._orders.follow(command.order_id, outcome)
                if self._has_ended(command.order_id, order, outcome):
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
            self._canceled.add(command.order_id)
            self._announce_rejection(rule_id, command, canceled=1)

    def _has_ended(self, order_id: int, order: BrokerOrder | None, outcome: Outcome) -> bool:
        """Return whether an order has ended, by the broker's answers about it."""
        if order is not None:
            return order.has_ended
        # A search may not know an order yet that was placed just now; a cancel does.
        return outcome in ANSWERED or order_id not in self._account.state.orders

    def _announce_rejection(self, rule_id: str, command: RejectOrder, *, canceled: int) -> None:
        action = rejection_action(
            rule_id, command, success=bool(canceled), canceled=canceled, now=self._now()
        )
        announce(self._account, action)
