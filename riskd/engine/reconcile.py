"""Reconcile an account: take over what the broker says it holds.

Events may be lost, and a daemon may start in the middle of a day.  What the broker does not list any more
has ended, though no event said so.

Searches trail what the broker did by a moment.  So a position or an order that an event has just reported
is newer than the answer to a search, and is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from riskd.engine.enforcement.orders import UNKNOWN_ORDER
from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.interface import GatewayError, GatewayRefusedError, IGateway, Payload
from riskd.gateway.timeouts import answer_in_time
from riskd.model.events import GatewayUserOrder

_log = Logger()
_T = TypeVar("_T")

REQUESTS: Final = 4
"""How many reads a reconciliation takes, if no order has vanished."""

_DAY: Final = timedelta(days=1)


class Reconciler:
    """Asks the gateway what an account holds, and applies the answers.

    :param gateway: the gateway.
    :param clock: times the answers.
    :param now: gives the time of day, aware.
    :param apply: applies an answer as if it were an event; returns whether it could be read.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    :ivar search_lag: how many seconds searches may trail events.
    """

    def __init__(
        self,
        gateway: IGateway,
        clock: IReactorTime,
        now: Callable[[], datetime],
        apply: Callable[[str, Payload], bool],
        report_problem: Callable[[str, str], None],
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._now = now
        self._apply = apply
        self._report_problem = report_problem
        self.search_lag = 0.0

    async def reconcile(self, guarded: GuardedAccount) -> None:
        """Replace what differs from what the gateway says.

        :raises GatewayError: the gateway does not say all.
        """
        account, account_id, gateway = guarded.account, guarded.account.account_id, self._gateway
        began, search_lag = self._clock.seconds(), self.search_lag
        unlisted = await self._reconcile_permission(account)
        held = await self._ask("Position/searchOpen", gateway.search_open_positions(account_id))
        working = await self._ask("Order/searchOpen", gateway.search_open_orders(account_id))
        since = account.state.day_began or self._now() - _DAY
        trades = await self._ask("Trade/search", gateway.search_trades(account_id, since))
        is_read = [self._apply("GatewayUserTrade", payload) for payload in trades]

        def is_newer(key: object) -> bool:
            """Return whether an event may be newer than what was found."""
            return account.was_received_within(key, self._clock.seconds() - began + search_lag)

        gone = [
            contract_id
            for contract_id in account.missing_positions(held)
            if not is_newer(contract_id)
        ]
        for closed in account.close_vanished(gone, self._now()):
            guarded.risk_engine.receive(closed)
        is_read += [
            self._apply("GatewayUserPosition", payload)
            for payload in held
            if not is_newer(payload.get("contractId"))
        ]
        is_read += [
            await self._reconcile_vanished(account, order)
            for order in account.missing_orders(working)
            if not is_newer(order.id)
        ]
        is_read += [self._apply("GatewayUserOrder", payload) for payload in working]
        self._report_problem(f"permission {account_id}", unlisted)
        self._report_problem(
            f"reading {account_id}",
            ""
            if all(is_read)
            else f"Not all that the gateway says of account {account_id} can be read, and the rules "
            "do not see the rest; the log says what",
        )

    async def _reconcile_permission(self, account: TrackedAccount) -> str:
        """Apply whether the account may trade; return why that is unknown, or an empty string.

        An account that was listed and is not any more is guarded all the same, by what it holds.

        :raises GatewayError: the gateway does not say, and never has.
        """
        account_id = account.account_id
        try:
            found = await self._ask("Account/search", self._gateway.search_account(account_id))
        except GatewayError as error:
            if account.state.risk.can_trade is None:
                raise
            return f"The gateway does not say whether account {account_id} may trade: {error}"
        if not self._apply("GatewayUserAccount", found):
            return (
                f"What the gateway says of account {account_id} itself cannot be read; see the log"
            )
        return ""

    async def _reconcile_vanished(self, account: TrackedAccount, order: GatewayUserOrder) -> bool:
        """Apply what became of an order that is not working; return whether that could be read.

        :raises GatewayError: the gateway does not say.
        """
        try:
            payload = await self._ask(
                "Order/searchById", self._gateway.search_order(account.account_id, order.id)
            )
        except GatewayRefusedError as refusal:
            if refusal.code != UNKNOWN_ORDER:
                raise
            _log.warn(
                "order {id} is unknown to the gateway and counts as canceled: {refusal}",
                id=order.id,
                refusal=refusal,
            )
            account.end_vanished(order, self._now())
            return True
        is_read = self._apply("GatewayUserOrder", payload)
        if not is_read and account.state.orders.get(order.id) is order:
            # However it ended, an order that is gone protects nothing.
            account.end_vanished(order, self._now())
        return is_read

    async def _ask(self, request: str, answer: Deferred[_T]) -> _T:
        return await answer_in_time(request, answer, self._clock, self._gateway.answer_seconds)
