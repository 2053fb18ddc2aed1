"""Close parts of positions, and reduce orders that would close too much.

How much is to be closed depends on the size, so the broker is asked for it right before each close.  To close all
of a position may be repeated; a part that is closed twice is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.internet.interfaces import IReactorTime

from riskd.engine.enforcement.flattening import Closing, Listing, still_open, to_close, to_resize
from riskd.engine.enforcement.orders import OrderRequests
from riskd.engine.enforcement.sent_commands import MAY_BE_DONE, Done
from riskd.engine.order_of_truth import SETTLED_SECONDS
from riskd.engine.together import together
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.commands import ModifyOrder
from riskd.model.account import Flattening


class PartialCloses:
    """Reduces the positions of one account.

    :param account: the account.
    :param orders: sends the requests.
    :param clock: times them.
    :param sending: called before each command.
    """

    def __init__(
        self,
        account: TrackedAccount,
        orders: OrderRequests,
        clock: IReactorTime,
        sending: Callable[[], None],
    ) -> None:
        self._account = account
        self._orders = orders
        self._clock = clock
        self._sending = sending
        self._reduced_at: dict[str, float] = {}
        self._closed: set[str] = set()
        self._canceled: set[int] = set()

    async def act(self, plan: Flattening) -> None:
        """Ask the broker what is open, and reduce what is too large.

        :raises GatewayError: the broker does not say.
        """
        parts = partial_plan(plan)
        if parts is None:
            return
        held, working = await self._orders.search_open()
        await together(
            *(self._close(one) for one in to_close(parts, held) if not self._is_reduced(one))
        )
        await together(
            *(
                self._orders.modify(
                    ModifyOrder(
                        account_id=self._account.account_id,
                        order_id=resizing.order_id,
                        size=resizing.size,
                    )
                )
                if resizing.size
                else self._cancel(resizing.order_id)
                for resizing in to_resize(parts, working, held)
            )
        )

    def _is_reduced(self, closing: Closing) -> bool:
        """Return whether a part was closed so recently that searches may not show it."""
        at = self._reduced_at.get(closing.contract_id)
        return (
            closing.size is not None
            and at is not None
            and self._clock.seconds() - at < SETTLED_SECONDS
        )

    async def _close(self, closing: Closing) -> None:
        self._sending()
        if await self._orders.close(closing) in MAY_BE_DONE:
            self._closed.add(closing.contract_id)
            self._reduced_at[closing.contract_id] = self._clock.seconds()

    async def _cancel(self, order_id: int) -> None:
        self._sending()
        if await self._orders.cancel(order_id) in MAY_BE_DONE:
            self._canceled.add(order_id)

    def is_confirmed(self, plan: Flattening) -> bool:
        """Return whether events have reported what was closed."""
        keep = plan.keep or {}
        return not any(
            held.contract_id in self._closed and held.size > keep.get(held.contract_id, held.size)
            for held in self._account.state.open_positions
        )

    def left(self, plan: Flattening, listing: Listing) -> str:
        """Return as text what a listing has left to reduce; "" if nothing."""
        parts = partial_plan(plan)
        return "" if parts is None else still_open(parts, listing.positions, listing.orders)

    def take_done(self) -> Done:
        """Return how many positions were reduced and orders canceled, each once."""
        done = Done(len(self._closed), len(self._canceled))
        self._closed.clear()
        self._canceled.clear()
        return done


def partial_plan(plan: Flattening) -> Flattening | None:
    """Return the part of a flatten that keeps something; ``None`` if there is none."""
    keep: Mapping[str, int] = {
        contract_id: size for contract_id, size in (plan.keep or {}).items() if size
    }
    return msgspec.structs.replace(plan, keep=keep) if keep else None
