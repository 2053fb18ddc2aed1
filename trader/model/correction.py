"""A live account, corrected by the published copy.

A trade that the broker voids or amends was broadcast before, and cannot be unsent: the copy is corrected, and then
a ``daemon_status`` says so.  The copy may be a moment older than that status, so the events that it may lack are
kept here and applied on top of it.  A void must not be undone by them: of a trade, the copy decides.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

import msgspec

from riskd.model.account import AccountState, without_trade
from riskd.model.events import Event, GatewayUserTrade
from riskd.model.received import after_event

PUBLISHED_WITHIN_SECONDS: Final = 2.0
"""By then, the copy has what was broadcast; the daemon publishes within a second."""

_MAX_KEPT: Final = 10_000


class _Kept(msgspec.Struct, frozen=True):
    event: Event
    received_at: datetime


class Correction:
    """The events since the last copy, to apply again to the next one."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque(maxlen=_MAX_KEPT)

    def begin(self) -> None:
        """Forget all events: the account was taken from a copy that has them."""
        self._kept.clear()

    def keep(self, event: Event, received_at: datetime) -> None:
        """Keep an event that the next copy may lack; quotes need not be kept.

        :param received_at: by this machine's clock, as the time of a copy.
        """
        self._kept.append(_Kept(event, received_at))

    def correct(
        self,
        live: AccountState,
        copy: AccountState,
        as_of: datetime,
        now: datetime,
        clock_offset: timedelta,
    ) -> AccountState | None:
        """Return the account by the copy, and by the events that it lacks.

        :param live: the account by the stream.
        :param copy: the account by the copy.
        :param as_of: the time of the copy, by this machine's clock.
        :param now: the time by this machine's clock.
        :param clock_offset: how far the broker's clock, which stamps trades, is ahead of it.
        :return: ``None`` if the copy is so old that events which it lacks are not kept any more.
        """
        if len(self._kept) == _MAX_KEPT and self._kept[0].received_at > as_of:
            return None
        while self._kept and self._kept[0].received_at <= as_of:
            self._kept.popleft()
        account = _with_ended_orders(copy, live)
        for kept in self._kept:
            if not _is_decided(kept, as_of + clock_offset, now):
                account = after_event(account, kept.event)
        # If the daemon sends one of these again, that does not bring it back either.
        for trade_id in {*live.risk.voided, *_trades_of_day(live, account)} - set(account.trades):
            account = without_trade(account, trade_id)
        return _with_quotes(account, live)


def _is_decided(kept: _Kept, as_of: datetime, now: datetime) -> bool:
    """Return whether a copy without this trade says that it was voided.

    :param as_of: the time of the copy, by the broker's clock.
    """
    trade = kept.event.data
    if not isinstance(trade, GatewayUserTrade) or trade.timestamp > as_of:
        return False
    # A console that was held up receives late; the trade is older than the copy all the same.
    return (now - kept.received_at).total_seconds() >= PUBLISHED_WITHIN_SECONDS


def _trades_of_day(live: AccountState, account: AccountState) -> list[int]:
    """Return the ids of the trades of the day of ``account``, by the stream."""
    return [
        trade.id
        for trade in live.trades.values()
        if account.is_of_trading_day(trade.execution_time)
    ]


def _with_ended_orders(copy: AccountState, live: AccountState) -> AccountState:
    """Return ``copy`` without the orders that have ended by the stream."""
    final_orders = {**copy.final_orders, **live.final_orders}
    orders = {key: order for key, order in copy.orders.items() if key not in final_orders}
    return msgspec.structs.replace(copy, final_orders=final_orders, orders=orders)


def _with_quotes(account: AccountState, live: AccountState) -> AccountState:
    """Return ``account`` with the quotes of the stream, unless it has later ones."""
    known = account.quotes
    later = {
        contract_id: quote
        for contract_id, quote in live.quotes.items()
        if contract_id not in known or quote.timestamp >= known[contract_id].timestamp
    }
    return msgspec.structs.replace(
        account, quotes={**known, **later}, outdated_quotes=live.outdated_quotes
    )
