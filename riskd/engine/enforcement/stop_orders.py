"""Place, change and cancel the protective stops of one account.

Placing is never repeated blindly: an order without an answer is looked for by its tag, and the next try
uses the same tag, so that the broker itself refuses a second stop.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Final

from twisted.internet.task import deferLater
from twisted.logger import Logger

from riskd.engine.broker import Broker
from riskd.engine.enforcement.actions import announce, stop_action
from riskd.engine.enforcement.orders import OrderRequests
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.commands import ModifyOrder, PlaceOrder
from riskd.gateway.interface import GatewayError, GatewayRefusedError, GatewayUnansweredError
from riskd.model.account import Flattening
from riskd.model.events import Action, OrderSide, OrderState, OrderType
from riskd.rules.interface import OWN_STOP_TAG, ChangeStop, PlaceStop, WithdrawStop

_log = Logger()

_RETRY_SECONDS: Final = 5.0
"""How long after a failure the next stop is placed for a contract."""

_SEARCH_SECONDS: Final = (0.25, 0.5, 1.0)
"""How long to wait before each search for an order that was placed without an answer."""

_TAG_AGE: Final = timedelta(hours=1)
"""How far back orders are searched for a tag."""

_ORDER_REJECTED: Final = 2
"""``Order/place``: the order is not acceptable, such as a stop on the wrong side of the market."""


class StopOrders:
    """Manages the stops of one account.

    :param account: the account.
    :param broker: the broker.
    :param orders: sends the requests.
    :param flatten: closes a position that no stop can protect.
    """

    def __init__(
        self,
        account: TrackedAccount,
        broker: Broker,
        orders: OrderRequests,
        flatten: Callable[[Flattening], None],
    ) -> None:
        self._account = account
        self._gateway = broker.gateway
        self._orders = orders
        self._clock = broker.clock
        self._now = broker.now
        self._flatten = flatten
        self._failed_at: dict[str, float] = {}
        self._unknown_tags: dict[str, str] = {}
        self._placed = itertools.count(1)
        # The prices to which stops were changed, by order id: news of that may be lost.
        self._changed_to: dict[int, Decimal] = {}

    def carry_out(self, rule_id: str, command: PlaceStop | ChangeStop | WithdrawStop) -> None:
        """Begin to place, change or cancel a stop, one request at a time for each."""
        if isinstance(command, PlaceStop):
            failed_at = self._failed_at.get(command.contract_id)
            if failed_at is None or self._clock.seconds() - failed_at >= _RETRY_SECONDS:
                self._orders.begin(command.contract_id, self._place(rule_id, command))
        else:
            self._orders.begin(command.order_id, self._change(command))

    async def _place(self, rule_id: str, command: PlaceStop) -> None:
        contract_id = command.contract_id
        # A tag is good for one order.  While it is unknown whether the broker accepted the last try, the
        # next uses the same tag, and so cannot become a second stop.
        earlier = self._unknown_tags.pop(contract_id, None)
        tag = (
            earlier or f"{OWN_STOP_TAG}-{int(self._now().timestamp() * 1000)}-{next(self._placed)}"
        )
        order_id: int | None = None
        try:
            order_id = await self._orders.carry_out(
                PlaceOrder(
                    account_id=self._account.account_id,
                    contract_id=contract_id,
                    type=OrderType.STOP,
                    side=command.side,
                    size=command.size,
                    stop_price=command.stop_price,
                    custom_tag=tag,
                )
            )
        except GatewayUnansweredError as error:
            _log.warn("placing a stop: {error}", error=error)
            self._unknown_tags[contract_id] = tag
            order_id = await self._find(tag)
        except GatewayRefusedError as refusal:
            _log.warn("placing a stop: {refusal}", refusal=refusal)
            if earlier is not None:
                order_id = await self._find(tag)
            if order_id is None and refusal.code == _ORDER_REJECTED:
                self._close_unprotected(rule_id, command, refusal)
                return
        had_failed = contract_id in self._failed_at
        if order_id is None:
            self._failed_at[contract_id] = self._clock.seconds()
        else:
            self._unknown_tags.pop(contract_id, None)
            await self._orders.look_up(order_id)
            self._failed_at.pop(contract_id, None)
        if order_id is not None or not had_failed:
            announce(self._account, stop_action(rule_id, command, order_id, self._now()))

    async def _find(self, tag: str) -> int | None:
        """Return the id of the order with ``tag``, which searches may show late."""
        for seconds in _SEARCH_SECONDS:
            await deferLater(self._clock, seconds)
            try:
                placed = await self._orders.ask(
                    "Order/search",
                    self._gateway.search_orders(
                        self._account.account_id, self._now() - _TAG_AGE, urgent=True
                    ),
                )
            except GatewayError as error:
                _log.warn("looking for the order {tag}: {error}", tag=tag, error=error)
                continue
            for order in placed.items:
                # A rejected order has the tag, too.
                if order.custom_tag == tag and order.state is not OrderState.REJECTED:
                    return order.id
        return None

    def _close_unprotected(
        self, rule_id: str, command: PlaceStop, refusal: GatewayRefusedError
    ) -> None:
        """Close a position whose stop the broker rejects: the market is beyond it."""
        self._flatten(
            Flattening(
                action=Action.CLOSE_ALL_POSITIONS,
                rule_id=rule_id,
                reason=f"No stop at {command.stop_price} was accepted: {refusal.why}",
                begun=self._now(),
                keep={command.contract_id: 0},
            )
        )

    async def _change(self, command: ChangeStop | WithdrawStop) -> None:
        _log.info(
            "account {account}: {reason}", account=self._account.account_id, reason=command.reason
        )
        if isinstance(command, ChangeStop):
            price = self._nearest_price(command)
            is_accepted = await self._orders.modify(
                ModifyOrder(
                    account_id=self._account.account_id,
                    order_id=command.order_id,
                    size=command.size,
                    stop_price=price,
                )
            )
            if is_accepted:
                self._changed_to[command.order_id] = price
        else:
            outcome = await self._orders.cancel(command.order_id)
            await self._orders.look_up(command.order_id, outcome)

    def _nearest_price(self, command: ChangeStop) -> Decimal:
        """Return the price for a stop, or what it was changed to if that is nearer.

        A stop never moves away from the market, whatever is known of it.
        """
        orders = self._account.state.orders
        self._changed_to = {key: each for key, each in self._changed_to.items() if key in orders}
        price = command.stop_price
        order, earlier = orders.get(command.order_id), self._changed_to.get(command.order_id)
        if order is None or earlier is None:
            return price
        nearest = max if order.side is OrderSide.SELL else min
        return nearest(price, earlier)
